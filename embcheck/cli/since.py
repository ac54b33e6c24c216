"""``embcheck since FAILURE``: the release in which a counterexample began to fail, or was fixed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from embcheck.cli.releases import CacheFolder, Index, Python, resources
from embcheck.cli.usage import INTERNAL, Store, only_in_checkout, refuse, where_kept
from embcheck.core.ledger import SHIPPED, read
from embcheck.core.verdict import entry_name
from embcheck.engine.crashes.crash import exit_statuses
from embcheck.known import tried
from embcheck.known.recorded import public, scripts
from embcheck.record.store import StoreError
from embcheck.record.store import script_of as kept
from embcheck.record.totals import counted
from embcheck.releases.bisect import Outcome, bisect, minor_releases, try_script, turns
from embcheck.releases.cell import write_line
from embcheck.releases.environment import Cache, Release, ReleaseError
from embcheck.report.style import console


def since(
    failure: Annotated[
        str,
        typer.Argument(metavar="FAILURE", help="The id of a failure, the name of a known bug, or a script's path."),
    ] = "",
    asked: Annotated[
        list[str] | None,
        typer.Argument(metavar="RELEASE", help="Releases from old to new; by default every minor release."),
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="Try every release instead of bisecting.")] = False,
    known: Annotated[
        bool,
        typer.Option(
            "--known", help="Run the scripts of all known bugs in every release, and keep the results for their pages."
        ),
    ] = False,
    store: Store = None,
    index: Index = "",
    python: Python = "",
    cache: CacheFolder = None,
) -> None:
    """Bisects the releases with the failure's script: exit 0 if a first one was found, 1 if nothing changes."""
    if known:
        only_in_checkout("since --known", "it keeps what it finds for the pages")
        _try_known(*resources(_named([failure, *(asked or ())], index), index, python, cache, needed=True))
        return
    if not failure:
        refuse("name a failure, a known bug or a script; --known tries every known bug")
    script = script_of_failure(failure, store)
    held, wanted = resources(_named(asked or [], index), index, python, cache, needed=True)
    names = [release.asked for release in wanted]

    def attempt(number: int) -> Outcome:
        write_line(f"{wanted[number].asked}: …")
        names[number], found = outcome(held, wanted[number], script)
        return found

    count = len(wanted)
    tried = {number: attempt(number) for number in range(count)} if every else bisect(count, attempt)
    show(tried, names)
    raise typer.Exit(0 if turns(tried) else 1 if decided(tried) else INTERNAL)


def _named(asked: list[str], index: str) -> list[str]:
    """The releases that were asked for, by default the last patch of every minor one."""
    try:
        return list(filter(None, asked)) or minor_releases(index)
    except OSError as error:
        refuse(f"can't list torch's releases ({error}); name them, from old to new")


def _try_known(cache: Cache, wanted: list[Release]) -> None:
    """Runs the script of every known bug in each release, and keeps how they end; exit 3 if none can be installed."""
    texts, installed = scripts(), False
    for release in wanted:
        write_line(f"{release.asked}: …")
        try:
            environment = cache.environment(release)
        except ReleaseError as error:
            write_line(f"{release.asked}: {error}")
            continue
        installed = True
        ended = exit_statuses(list(texts.values()), 300.0, str(environment.python), environment.variables())
        statuses = dict(zip(texts, ended, strict=True))
        tried.keep(tried.updated(tried.kept(), texts, public(environment.torch), statuses))
        counts = {words: ended.count(status) for status, words in ((1, "fail"), (0, "are right"))}
        write_line(
            f"{release.asked}: {', '.join(f'{count} {words}' for words, count in counts.items())} of {len(ended)}"
        )
    if not installed:
        raise typer.Exit(INTERNAL)
    write_line("now make their pages: embcheck known --write")


def outcome(cache: Cache, release: Release, script: str) -> tuple[str, Outcome]:
    """A release's own name and what the script says in it; one that can't be installed decides nothing."""
    try:
        environment = cache.environment(release)
        return environment.torch, try_script(script, environment, cache.folder / "trials")
    except ReleaseError as error:
        write_line(f"{release.asked}: {error}")
        return release.asked, Outcome.UNDECIDED


def decided(tried: Mapping[int, Outcome]) -> list[Outcome]:
    """What the releases said that could decide it."""
    return [outcome for outcome in tried.values() if outcome is not Outcome.UNDECIDED]


def show(tried: Mapping[int, Outcome], names: list[str]) -> None:
    """The line of releases with what the script said; then every change that was seen, and what is assumed."""
    from rich.text import Text

    styles = {Outcome.FAILS: "bold red", Outcome.RIGHT: "green", Outcome.UNDECIDED: "magenta", None: "dim"}
    out = console()
    width = max(map(len, names))
    found = turns(tried)
    marks = {turn.first_after: f"   ← {turn.words} {names[turn.first_after]}" for turn in found}
    for number, name in enumerate(names):
        said = tried.get(number)
        line = Text.assemble(f"  {name:{width}}  ", (said.value if said else "not tried", styles[said]))
        out.print(line.append(marks.get(number, ""), "bold"))
    for turn in found:
        out.print(Text(f"{turn.words} {names[turn.first_after]} (before it: {names[turn.last_before]})", "bold"))
    for words in closing(tried, len(names), bool(found)):
        out.print(Text(words))


def closing(tried: Mapping[int, Outcome], count: int, changes: bool) -> list[str]:
    """What is said of a line of releases beside its changes: that there are none, and what nobody looked at."""
    said = decided(tried)
    if not said:
        return ["no release could decide it"]
    left = count - len(tried)
    told = []
    if not changes:
        told.append(f"nothing changes: {said[0].value} in {counted(len(said), 'release')} that could decide it")
    if dark := len(tried) - len(said):
        told.append(f"nothing is known of {counted(dark, 'release')} in which it can't run")
    if left:
        told.append(f"assumed: it changes at most once; {counted(left, 'release')} not tried (--every tries all)")
    return told


def script_of_failure(failure: str, store: Path | None) -> str:
    """The script of a kept failure, of a cause or an entry of the ledger, or in a file; anything else is refused."""
    path = Path(failure)
    if path.suffix == ".py" and path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            refuse(f"can't read {path}: {error}; name the script of a failure")
    from embcheck.engine.witness import script_of

    # Of an entry that of its witness, as the installed torch fails now.
    entry = next((entry for entry in read(SHIPPED) if entry.name == entry_name(failure)), None)
    if known := script_of(entry) if entry is not None else scripts().get(failure, ""):
        return known
    try:
        return kept(failure, where_kept(failure, store))
    except StoreError as error:
        refuse(f"{error}; it may also be the name of a known bug or the path of a script")
