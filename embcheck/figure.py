"""What a plot shows, as plain numbers: a record carries it, and whoever makes a page of the record draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Curve:
    """A line through points, within a band from ``low`` to ``high`` if there is one; ``dashed`` for what was claimed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Histogram:
    """Bars over neighbouring intervals, whose ``edges`` are one more than the ``heights``."""

    name: str
    edges: tuple[float, ...]
    heights: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """A plot: what it shows in words, the names of its axes, and what is drawn on them."""

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...] = ()
    histogram: Histogram | None = None
    logarithmic: bool = False

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Figure:
        """A figure from what `dataclasses.asdict` and JSON made of one.

        Raises:
            TypeError: if a field is missing, unknown or no list where one is due.
        """
        curves = tuple(Curve(**_tuples(curve)) for curve in data.pop("curves", ()))
        histogram = data.pop("histogram", None)
        return Figure(**data, curves=curves, histogram=None if histogram is None else Histogram(**_tuples(histogram)))


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}


def rounded(values: Any) -> tuple[float, ...]:
    """Numbers with as many digits as an eye can tell apart."""
    return tuple(float(f"{value:.4g}") for value in values)
