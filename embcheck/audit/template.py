"""Judges laws in processes of their own: ``python -m embcheck.audit.template``.

It imports torch and the factory's module once and runs nothing; each request, a JSON object a line, is answered by a
fork of it that calls the factory afresh.  Where a fork is not safe the request is answered by a new process.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import warnings
from dataclasses import asdict
from typing import Any

import torch

from embcheck.audit import hf, laws
from embcheck.audit.discovery import Facts, explored
from embcheck.audit.factory import FactoryError, imported, silenced, told
from embcheck.audit.finding import AS_BUILT, LAWS, NotApplicable, Note, Undecided
from embcheck.audit.subject import Subject
from embcheck.core.processes import end_with_parent
from embcheck.engine.crashes.patience import Hangs, Patience, attended

Request = dict[str, Any]


def answered(request: Request) -> dict[str, Any]:
    """What a request asks for: the facts of a model, or what one law says of it."""
    started = time.process_time()
    try:
        answer = _facts(request) if request["do"] == "explore" else _judged(request)
    except FactoryError as error:
        answer = {"unbuilt": str(error)}
    except NotApplicable as reason:
        answer = {"reason": str(reason)}
    except Undecided as reason:
        answer = {"error": str(reason)}
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        answer = {"error": f"{told(error)} ({os.path.basename(where.filename)}:{where.lineno})"}
    return {**answer, "cpu": time.process_time() - started}


def _facts(request: Request) -> dict[str, Any]:
    source = request["source"]
    if source["kind"] == "hf" and source["config"] is None:
        try:
            source = hf.settle(source)
        except Exception as error:
            raise FactoryError(f"no tiny configuration works: {told(error)}") from error
    facts = explored(source, request["expect"], request.get("variant", AS_BUILT))
    return {"facts": asdict(facts), "source": source}


def _judged(request: Request) -> dict[str, Any]:
    laws.load()
    facts = Facts(**request["facts"])
    facts.pairs = [(one, other) for one, other in facts.pairs]
    subject = Subject(request["source"], facts, request.get("variant", AS_BUILT))
    said = LAWS[request["law"]].judge(subject)
    return {
        "findings": [asdict(one) for one in said if not isinstance(one, Note)],
        "notes": [one.words for one in said if isinstance(one, Note)],
    }


def forked(request: Request, limit: float, idle: float | None = None) -> dict[str, Any]:
    """The answer of a fork; how it ended if it gave none, or that it hangs, as `embcheck.engine.crashes.patience` tells it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        end_with_parent()
        gc.disable()  # it ends soon, and a collection would touch, and so copy, all that was imported
        os.close(read)
        os.setpgid(0, 0)
        silenced()
        with os.fdopen(write, "w") as pipe:
            pipe.write(json.dumps(answered(request)))
        os._exit(0)
    os.close(write)
    text, patience = b"", Patience(child, limit, idle)
    hangs = False
    while not hangs:
        ready, _, _ = select.select([read], [], [], 0.1)
        part = os.read(read, 1 << 20) if ready else b""
        if ready and not part:
            break
        text += part
        hangs = patience.over
    if hangs:
        os.kill(child, signal.SIGKILL)
    os.close(read)
    _, status = os.waitpid(child, 0)
    if hangs:
        return {"ended": str(Hangs(limit))}
    if text and not os.WIFSIGNALED(status):
        return json.loads(text)  # type: ignore[no-any-return]
    name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
    return {"ended": f"the process died: {name}"}


def spawned(request: Request, limit: float) -> dict[str, Any]:
    """The answer of a new process."""
    command = [sys.executable, "-m", "embcheck.audit.template", "once"]
    try:
        done = attended(command, limit, given=json.dumps(request))
    except Hangs as error:
        return {"ended": str(error)}
    line = done.stdout.strip().rpartition("\n")[2]
    return json.loads(line) if line.startswith("{") else {"ended": f"the process died: exit {done.returncode}"}


def forks_are_safe() -> bool:
    """Whether this process may be forked: its system does it well, and nothing runs beside the main thread."""
    if not sys.platform.startswith("linux") or threading.active_count() > 1 or torch.cuda.is_initialized():
        return False
    return len(os.listdir("/proc/self/task")) == 1


def prepared(source: dict[str, Any]) -> str | None:
    """Imports what the source needs; a line that says why it can't."""
    try:
        if source["kind"] == "hf":
            hf.warm()
        else:
            imported(source)
    except FactoryError as error:
        return str(error)
    except ImportError as error:
        return f"transformers can't be imported: {told(error)} (pip install 'embcheck[models]')"
    return None


def _told(source: dict[str, Any]) -> dict[str, Any]:
    """The sources that are meant, and the laws there are."""
    laws.load()
    told_laws = [[law.name, law.sentence, list(law.variants)] for law in LAWS.values()]
    if source["kind"] != "hf" or "name" not in source:
        return {"sources": [source], "laws": told_laws}
    try:
        return {"sources": hf.chosen(source["name"]), "laws": told_laws}
    except hf.Unknown as reason:
        return {"unbuilt": str(reason)}


def main() -> None:
    """Answers the requests on standard input, in forks where that is safe."""
    end_with_parent()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    answers = os.fdopen(silenced(), "w")
    if sys.argv[1:] == ["once"]:
        request = json.loads(sys.stdin.read())
        failure = prepared(request["source"])
        print(json.dumps({"unbuilt": failure} if failure else answered(request)), file=answers, flush=True)
        return
    ready = False
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        failure = None if ready else prepared(request["source"])
        ready = ready or failure is None
        if not ready:
            said: dict[str, Any] = {"unbuilt": failure}
        elif request["do"] == "prepare":
            said = _told(request["source"])
        else:
            hf.warm_class(request["source"])
            if request["do"] == "law":  # what an optimizer imports would cost each fork seconds
                importlib.import_module("torch._dynamo")
            said = (forked if forks_are_safe() else spawned)(request, float(request["limit"]))
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
