"""What a plot shows, as plain numbers: a record carries it, and whoever makes a page of the record draws it."""

from dataclasses import dataclass
from typing import Any

from embcheck.core.typed import Malformed


@dataclass(frozen=True)
class Curve:
    """A line through points, within a band from ``low`` to ``high`` if there is one; ``dashed`` for what was claimed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dashed: bool = False

    def __post_init__(self) -> None:
        lengths = (len(self.y), len(self.low or self.x), len(self.high or self.x))
        if any(length != len(self.x) for length in lengths) or bool(self.low) != bool(self.high):
            raise Malformed(f"a curve through {len(self.x)} points has {', '.join(map(str, lengths))}")


@dataclass(frozen=True)
class Histogram:
    """Bars over neighbouring intervals, whose ``edges`` are one more than the ``heights``."""

    name: str
    edges: tuple[float, ...]
    heights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.heights) + 1:
            raise Malformed(f"a histogram of {len(self.heights)} bars has {len(self.edges)} edges")


@dataclass(frozen=True)
class Figure:
    """A plot: what it shows in words, the names of its axes, and what is drawn on them."""

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...] = ()
    histogram: Histogram | None = None
    logarithmic: bool = False


def rounded(values: Any) -> tuple[float, ...]:
    """Numbers with as many digits as an eye can tell apart."""
    return tuple(float(f"{value:.4g}") for value in values)
