"""Asks a template process, and starts another where one hangs: the client of `embcheck.audit.template`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Any, NamedTuple

from embcheck.engine.crashes.patience import IDLE, Hangs, Patience

#: Seconds for which the template may use next to no CPU time: twice as long as a law, which it ends itself.
_IDLE = 2 * IDLE
#: A process whose libraries have started threads can't be forked safely.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Unbuilt(Exception):
    """There is no model to audit; the message is one line that says why."""


class Lost(Unbuilt):
    """Whether there is one nobody knows: what would build it hangs, or took its process down."""


class Listed(NamedTuple):
    """A law, for who does not judge it: its name, its sentence, the variants of a model that it is asked of."""

    name: str
    sentence: str
    variants: tuple[str, ...]


class Template:
    """A process that has imported torch and the factory, and answers each request from a process of its own."""

    def __init__(self, limit: float, idle: float = _IDLE) -> None:
        """``limit``: seconds of CPU time that a law may take."""
        self.limit, self.idle = limit, idle
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request, one answer; a factory whose import hangs is told as what it is."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"limit": self.limit, **request}) + "\n")
            process.stdin.flush()
            line = self._answer(process)
        except Hangs as error:
            self.close()
            return {"lost": f"it can't be imported: {error}"}
        except OSError:
            line = ""
        if not line:
            code = process.wait()
            self.close()
            return {"lost": f"the process that imports it died (exit {code})"}
        return json.loads(line)  # type: ignore[no-any-return]

    def _answer(self, process: subprocess.Popen[str]) -> str:
        """The next line that the template writes; empty if it died.

        Raises:
            Hangs: if an import does; laws the template itself ends.
        """
        assert process.stdout is not None
        patience = Patience(process.pid, 2 * self.limit + 30, self.idle)
        while not select.select([process.stdout], [], [], 0.5)[0]:
            if patience.over:
                raise Hangs(patience.limit)
        return process.stdout.readline()

    def prepare(self, source: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Listed]]:
        """The sources that are meant (``--hf all`` means many), and the laws in the order in which they are judged.

        Raises:
            Unbuilt: if the factory or transformers can't be imported, or there is no such architecture.
            Lost: if that hangs, or takes the process down.
        """
        answer = self.ask(do="prepare", source=source)
        if "sources" not in answer:
            raise Lost(answer["lost"]) if "lost" in answer else Unbuilt(answer["unbuilt"])
        return answer["sources"], [Listed(name, sentence, tuple(kinds)) for name, sentence, kinds in answer["laws"]]

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "embcheck.audit.template"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD,
                text=True,
            )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
