"""Items and profiles: what a run consists of, and how much of it is run.

An *item* is what a worker takes at a time: family × subject × mode × engine × part.  Its seed is a hash of its
name and of the run's seed, never the worker's, so that the same seed gives the same cases on any number of workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from embcheck.core.law import Family

ENGINES = ("scope", "product", "random")
#: Random cases that one Hypothesis example carries.
DECK = 64


@dataclass(frozen=True)
class Profile:
    """How much is run.

    Of what is enumerated the cases that `embcheck.core.deck` has for ``deck``, and where it has none, or there is no ``deck``,
    one of ``stride`` and ``covers`` covers of up to ``strength`` axes with ``extra_rows`` rows (see `embcheck.core.space`);
    ``random`` cases a family (fewer of those that cost more) and ``aimed`` cases of one that can aim, all in ``parts``;
    ``limit`` is how many seconds of CPU time a case may take. Of modes beyond a family's own it takes one of ``further`` times
    as many cases as full, and by default it runs the modes ``sliced``, where a family makes calls that these change, on one of
    so many chosen cases. Without ``processes`` it leaves out, where nothing was selected by name, families whose cases run in
    processes of their own.
    """

    name: str
    stride: int
    strength: int
    covers: int
    extra_rows: int
    random: int
    parts: dict[str, int]
    aimed: int = 600
    limit: float = 30.0
    deck: str = ""
    further: int = 1
    sliced: Mapping[str, int] = field(default_factory=dict)
    processes: bool = True

    @property
    def sparing(self) -> bool:
        """Whether it leaves out some of what is enumerated, and what is slow."""
        return self.stride > 1


#: Of modes that decompose, tell shapes, pass flags on and compile one of so many of *gate*'s cases: some seconds of it.
_SLICED = {"decompositions": 12, "meta": 48, "subclass": 48, "aot_eager": 500}
_SLICED_QUICKLY = {"decompositions": 24, "meta": 24, "subclass": 12}
_ONCE, _TWICE = dict.fromkeys(ENGINES, 1), dict.fromkeys(ENGINES, 2)
PROFILES = {
    "quick": Profile(
        "quick", 80, 2, 1, 0, 40, _ONCE, aimed=100, deck="quick", further=3, sliced=_SLICED_QUICKLY, processes=False
    ),
    "gate": Profile("gate", 20, 2, 1, 0, 240, _ONCE, aimed=540, deck="gate", sliced=_SLICED),
    "full": Profile("full", 1, 3, 1, 4, 1920, _TWICE, aimed=1500, sliced=_SLICED),
    "deep": Profile(
        "deep", 1, 3, 2, 4, 16000, {"scope": 2, "product": 8, "random": 8}, aimed=8000, limit=120.0, sliced=_SLICED
    ),
}


class Item(NamedTuple):
    family: str
    subject: str
    mode: str
    engine: str
    part: int = 0
    parts: int = 1

    @property
    def label(self) -> str:
        """family/subject/mode/engine/part, as seeds and reports name it."""
        return "/".join(map(str, self[:5]))


def items_of(
    family: Family, engine: str, profile: Profile, modes: Sequence[str] = (), subject: str = "torch"
) -> list[Item]:
    """The items of one engine: every mode, the first one in parts.

    By default they are the family's own, of which the product alone is run also in a subject's lives, and of torch in the
    profile's slices: the first part of as many as there are cases for each that is taken.
    """
    found = [
        Item(family.name, subject, mode, engine, part, parts)
        for mode in modes or (*family.modes, *(family.lives if engine == "product" else ()))
        for parts in [profile.parts[engine] if mode == family.modes[0] else 1]
        for part in range(parts)
    ]
    if engine == "product" and subject == "torch" and family.call and not modes:
        found += [Item(family.name, subject, mode, engine, 0, parts) for mode, parts in profile.sliced.items()]
    return found


def all_items(family: Family, profile: Profile, modes: Sequence[str] = (), subject: str = "torch") -> list[Item]:
    return [item for engine in ENGINES for item in items_of(family, engine, profile, modes, subject)]
