"""Asks how a case ends without taking part in it: the client of `embcheck.crashes.forks`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from embcheck.ledger import SHIPPED


class Prober:
    """Asks a process that has imported torch, but runs nothing itself, how cases end in forks of it.

    A fork of the worker would not do: its thread pools don't survive one.
    """

    def __init__(self, family: str, mode: str, limit: float = 5.0) -> None:
        self._request = {"family": family, "mode": mode, "limit": limit}
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, cases: list[Any]) -> list[str | None]:
        """The symptom of each case, up to the first that hangs."""
        answer: list[str | None] = self.ask(cases=[repr(case) for case in cases])
        return answer

    def ask(self, **more: Any) -> Any:
        """One request, one answer.

        Raises:
            RuntimeError: if the process died without one.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "embcheck.crashes.forks"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**self._request, **more}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that isolates crashes died itself")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


_SERVERS: dict[tuple[str, str], Prober] = {}


def confined(family: str, mode: str, case: str, device: str) -> dict[str, Any]:
    """How a case ends on a device, in a process of its own: its error's name and message, and what it wrote."""
    server = _SERVERS.get((family, mode))
    if server is None:
        server = _SERVERS[family, mode] = Prober(family, mode, limit=60.0)
    answer: dict[str, Any] = server.ask(refusal=case, device=device)
    return answer


def examine(
    family: str,
    mode: str,
    case: str | bytes,
    *,
    limit: float = 5.0,
    seconds: float = 20.0,
    ledger: Path = SHIPPED,
) -> dict[str, Any]:
    """A case's symptom in a child, the smallest case found within ``seconds`` that shares it, and its script.

    The case is given as it prints, or as a slot holds it.  What the ledger excludes is no smaller case.
    """
    prober = Prober(family, mode, limit)
    try:
        given = {"case": case} if isinstance(case, str) else {"slot": case.hex()}
        answer: dict[str, Any] = prober.ask(**given, seconds=seconds, ledger=str(ledger))
        return answer
    finally:
        prober.close()
