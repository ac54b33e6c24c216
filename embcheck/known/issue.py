"""A cause as a text for the upstream tracker, in the order of its form.  Nothing here files it."""

from embcheck.core.cause import Cause
from embcheck.known.page import Known, by_release, inline, legend, short, twenty
from embcheck.known.recorded import Recorded

#: What stands in a stored text where whoever files it puts the versions of a machine that shows it.
_COLLECTED = "The output of: python -m torch.utils.collect_env"


def stored(known: Known) -> dict[str, str]:
    """The texts of the twenty causes that matter, by their paths in ``docs/known``; who files one adds the versions."""
    return {
        f"issues/{cause.name}.md": f"<!-- Made by `embcheck known --write`. -->\n\n> {inline(' '.join(elsewhere(known, cause)))}"
        f"\n\n{text(known, cause, _COLLECTED)}"
        for cause in twenty(known)
    }


def heading(cause: Cause) -> str:
    """The title: the function, the device, the symptom."""
    device = "" if "CPU" in cause.api or "meta" in cause.api else " on the CPU"
    symptom = cause.title.partition(": ")[0]  # what follows says why
    return f"{cause.api}{device}: {symptom.rstrip('.')}"


def elsewhere(known: Known, cause: Cause) -> list[str]:
    """Why an issue of its own may not be wanted: it is reported, or there is one for all of its kind."""
    told = [f"Reported already, comment there: {report}" for report in cause.upstream]
    if cause.umbrella:
        told.append(f"An umbrella issue collects these, comment there instead of filing another: {cause.umbrella}")
    if not told:
        told.append(f"Reports, search again before filing: {known.reported(cause)}")
    return told


def text(known: Known, cause: Cause, collected: str) -> str:
    """The form: what is wrong, a script, what else the cause does, what embcheck's own case gave, where it shows, and
    ``collected`` versions."""
    entries = known.of(cause)
    main = entries[0]
    found = known.recorded.get(main.name, Recorded(main.witness))
    script = cause.snippet or known.scripts.get(cause.name, "").rstrip()
    modes = sorted({name.strip() for entry in entries for name in entry.mode.split(",")} - {"*"})
    further = "\n".join(
        f"- {each}" for each in dict.fromkeys(entry.reason for entry in entries[1:]) if each[:3] != "As "
    )
    heads = known.heads(cause)
    words = known.row(cause, heads)
    shown = "\n".join(f"- torch {release}" for release in by_release(heads, words))
    law = f", law `{found.law}`" if found.law else ""
    parts = [
        f"Title: {heading(cause)}",
        "### 🐛 Describe the bug",
        cause.title,
        main.reason,
        f"```python\n{script}\n```",
        "The assertion fails."
        if cause.snippet
        else "The script exits with 1 where torch is wrong, and with 0 where it is right.",
        f"The same cause elsewhere, which the script does not show:\n{further}" if further else "",
        f"A property-based test (embcheck{law}) found it. "
        f"Its own case was `{main.witness}`{f', which gave: {short(found.words)}' if found.words else ''}.",
        "What is expected was computed from the definition, in exact integers or in float64, and not by torch.",
        f"Modes that show it: {', '.join(modes) if modes else 'eager, and what runs the same kernels'}.",
        f"Releases ({legend(words)}):\n{shown}",
        "; ".join(
            f"{word}: {told}" for word, told in (("Since", known.since(cause)), ("Fixed", known.fixed(cause))) if told
        ),
        "The script needs torch alone.",
        f"### Versions\n\n```\n{collected.strip()}\n```",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
