"""``embcheck explain``: one law in full, with an example and what torch is known to get wrong of it."""

import inspect
from itertools import islice
from typing import Annotated, Any

import typer

from embcheck.cli.parameters import explained_names
from embcheck.cli.usage import audit_laws, law_named
from embcheck.core.facts import holds
from embcheck.core.law import Family, Law
from embcheck.core.ledger import SHIPPED, read
from embcheck.engine.obligations import enumerated, unmet
from embcheck.report.style import console


def explain(
    law: Annotated[
        str, typer.Argument(help="The name of a law, as a verdict shows it.", autocompletion=explained_names)
    ],
) -> None:
    """Explains a law: its sentence and source, what its cases must meet, an example case, and what is known of it."""
    audits = audit_laws()
    if law in audits:
        _audits(audits[law])
        return
    family, found = law_named(law, audits)
    out = console()
    out.print(f"[bold]{found.name}[/bold]", highlight=False)
    out.print(found.sentence, markup=False)
    judged = "some" if found.conditional else "all"
    rows = {
        "family": f"{family.name}, in mode {', '.join(found.modes or family.modes)}",
        "source": found.source,
        "applies": f"to {judged} cases that {'must be refused' if found.refusal else 'are accepted'}",
        "implied": f"by {found.implied_by}, where that holds exactly" if found.implied_by else "",
        "covers": ", ".join(sorted(found.must_cover)) or "nothing but a judged case",
        "unmet": _never_met(family, found),
        "example": repr(_example(family, found)),
        "run": f"embcheck run --law {found.name}",
    }
    for name, words in rows.items():
        if words:
            out.print(f"  {name:8} {words}", markup=False)
    # An entry may speak of every law: it is one of this family's if its witness is.
    entries = [entry for entry in read(SHIPPED) if entry.speaks_of(found.name)]
    entries = [entry for entry in entries if isinstance(entry.case, family.space.case_type)]
    out.print(f"  known    {len(entries) or 'nothing'} in the ledger", markup=False)
    for entry in entries:
        where = "" if entry.mode == "*" else f" (in {entry.mode})"
        out.print(f"           {entry.name}{where}: {entry.reason}", markup=False)
        what = "every difference" if entry.kind == "*" else f"a difference of kind {entry.kind}"
        out.print(f"             excuses {what}; cases: {entry.region}", style="dim", markup=False, highlight=False)
    out.print(f"\n{inspect.getsource(inspect.unwrap(found.judge)).rstrip()}", markup=False)


def _never_met(family: Family, law: Law) -> str:
    """What the law obliges that no case of the family meets, with what to do; empty if there is nothing."""
    lacking = ", ".join(unmet(family, law))
    return f"{lacking}: no enumerated case of {family.name}; add a value of an axis, or a fixed case" if lacking else ""


def _audits(law: Any) -> None:
    """The same of a law of ``embcheck audit``, which judges models and has no cases."""
    out = console()
    out.print(f"[bold]{law.name}[/bold]", highlight=False)
    out.print(law.sentence, markup=False)
    turned = ", and with tie_word_embeddings turned round" * (len(law.variants) > 1)
    out.print(
        f"  family   audit\n  applies  to a model as built{turned}\n  run      embcheck audit MODULE:FACTORY",
        markup=False,
    )
    out.print(f"\n{inspect.getsource(law.judge).rstrip()}", markup=False)


def _example(family: Family, law: Law) -> Any:
    """The first case that the law judges: of what the family enumerates without a seed, the one that meets most of what
    the law obliges."""

    def met(case: Any) -> int:
        facts = case.facts()
        return sum(holds(each, facts) for each in law.must_cover)

    judged = (case for case in enumerated(family) if law.refusal == family.refused(case) and law.when(case))
    return max(islice(judged, 2000), key=met, default=None)
