"""``embcheck since FAILURE``: the release in which a counterexample began to fail, or was fixed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embcheck.commands.releases import CacheFolder, Index, Python, resources
from embcheck.commands.usage import INTERNAL, refuse

if TYPE_CHECKING:
    from embcheck.releases.bisect import Turn
    from embcheck.releases.environment import Cache, Release
    from embcheck.releases.trial import Outcome


def since(
    failure: Annotated[str, typer.Argument(help="The id of a failure, a ledger entry's name, or a script's path.")],
    asked: Annotated[
        list[str] | None, typer.Argument(metavar="[RELEASE]…", help="From old to new; by default every minor release.")
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="Try every release instead of bisecting.")] = False,
    store: Annotated[Path, typer.Option("--store", help="Where failures are kept.")] = Path(".embcheck"),
    index: Index = "",
    python: Python = "",
    cache: CacheFolder = None,
) -> None:
    """Bisects the releases with the failure's script: exit 0 if a first one was found, 1 if nothing changes."""
    from embcheck.releases.bisect import Turn, bisect, minor_releases
    from embcheck.releases.cell import write_line

    script = script_of_failure(failure, store)
    if not asked:
        try:
            asked = minor_releases(index)
        except OSError as error:
            refuse(f"can't list torch's releases ({error}); name them, from old to new")
    held, wanted = resources(asked, index, python, cache, needed=True)
    names = [release.asked for release in wanted]

    def attempt(number: int) -> Outcome:
        write_line(f"{wanted[number].asked}: …")
        names[number], found = outcome(held, wanted[number], script)
        return found

    if every:
        tried = {number: attempt(number) for number in range(len(wanted))}
        turn = bisect(len(wanted), tried.__getitem__)
        turn = Turn(tried, turn.last_before, turn.first_after)
    else:
        turn = bisect(len(wanted), attempt)
    show(turn, names)
    raise typer.Exit(0 if turn.first_after is not None else 1 if decided(turn) else INTERNAL)


def outcome(cache: Cache, release: Release, script: str) -> tuple[str, Outcome]:
    """A release's own name and what the script says in it; one that can't be installed decides nothing."""
    from embcheck.releases.cell import write_line
    from embcheck.releases.environment import ReleaseError
    from embcheck.releases.trial import Outcome, try_script

    try:
        environment = cache.environment(release)
        return environment.torch, try_script(script, environment, cache.folder / "trials")
    except ReleaseError as error:
        write_line(f"{release.asked}: {error}")
        return release.asked, Outcome.UNDECIDED


def decided(turn: Turn) -> bool:
    """Whether any release said anything."""
    from embcheck.releases.trial import Outcome

    return any(outcome is not Outcome.UNDECIDED for outcome in turn.outcomes.values())


def show(turn: Turn, names: list[str]) -> None:
    """The line of releases with what the script said, and where it turns."""
    from rich.text import Text

    from embcheck.releases.trial import Outcome
    from embcheck.report.style import console

    styles = {Outcome.FAILS: "bold red", Outcome.RIGHT: "green", Outcome.UNDECIDED: "magenta", None: "dim"}
    out = console()
    width = max(map(len, names))
    for number, name in enumerate(names):
        found = turn.outcomes.get(number)
        line = Text.assemble(f"  {name:{width}}  ", (found.value if found else "not tried", styles[found]))
        if number == turn.first_after:
            line.append(f"   ← {turn.words} {name}", "bold")
        out.print(line)
    if turn.first_after is not None and turn.last_before is not None:
        out.print(Text(f"{turn.words} {names[turn.first_after]} (before it: {names[turn.last_before]})", "bold"))
    elif decided(turn):
        said = next(o for o in turn.outcomes.values() if o is not Outcome.UNDECIDED)
        out.print(Text(f"nothing changes: {said.value} in every release that was tried"))
    else:
        out.print(Text("no release could decide it"))


def script_of_failure(failure: str, store: Path) -> str:
    """The script of a kept failure, of a ledger entry, or in a file; anything else is refused."""
    from embcheck.records.store import recorded

    path = Path(failure)
    if path.suffix == ".py" and path.is_file():
        return path.read_text(encoding="utf-8")
    entry = _of_entry(failure)
    if entry:
        return entry
    try:
        recorded(failure, store)
    except (FileNotFoundError, ValueError) as error:
        refuse(f"{error}; it may also be the name of a ledger entry or the path of a script")
    return (store / f"{failure}.py").read_text(encoding="utf-8")


def _of_entry(name: str) -> str:
    """The script of a ledger entry's witness, as the installed torch writes it; empty if there is no such entry."""
    from embcheck.ledger import SHIPPED, read
    from embcheck.witness import script_of

    entry = next((entry for entry in read(SHIPPED) if entry.name == name.removeprefix("ledger: ")), None)
    return script_of(entry) if entry is not None else ""
