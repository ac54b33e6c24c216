"""The page's plots, as SVG that takes the colour of its text, light or dark, and its charts of cases and ratios."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from embcheck.core.plot_data import Figure
from embcheck.core.verdict import LEDGER
from embcheck.record.grid import Grid
from embcheck.record.totals import cases_by_engine

#: Okabe and Ito's palette, which the colour-blind can tell apart; none is lost on a light or a dark page.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
#: What stands for the colour of the page's text until the SVG is written; no plot has it by chance.
_INK = "#010203"


def svg(figure: Figure) -> str:
    """The plot as an ``<svg>`` element; all of its text is escaped."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import LogFormatter

    # Text stays text, and the same figure is the same file.
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": figure.title,
        "font.size": 9.0,
        "text.parse_math": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    }
    with matplotlib.rc_context(settings):
        canvas = Canvas(figsize=(5.6, 3.0), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        if figure.histogram is not None:
            bars = figure.histogram
            axes.stairs(bars.heights, bars.edges, fill=True, color=_INK, alpha=0.25, label=bars.name)
        for curve, colour in zip(figure.curves, _COLOURS, strict=False):
            axes.plot(curve.x, curve.y, "--" if curve.dashed else "-", color=colour, label=curve.name, linewidth=1.6)
            if curve.low:
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(figure.x)
        axes.set_ylabel(figure.y)
        if figure.logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.5)))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        written = io.StringIO()
        canvas.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # Several plots stand in one page: of the names of their parts only those remain that something refers to.
    referred = set(re.findall(r"#([\w-]+)", text))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in referred else "", text)


ENGINES = ("scope", "product", "random", "witness")


class Bar(NamedTuple):
    """A bar of a chart: its label and its parts, each with a name, a number and its share of the longest bar."""

    label: str
    parts: Sequence[tuple[str, int, float]]

    @property
    def total(self) -> int:
        return sum(number for _, number, _ in self.parts)


def cases_by_family(grid: Grid) -> list[Bar]:
    """How many cases each family's engines judged, over all runs (each case once, whichever laws judge it)."""
    counts: dict[str, Counter[str]] = {}
    for record in filter(None, (column.record for column in grid.columns)):
        for family, engines in cases_by_engine(record.verdicts).items():
            counts.setdefault(family, Counter()).update(engines)
    longest = max((count.total() for count in counts.values()), default=0) or 1
    return [
        Bar(family, [(engine, count[engine], 100 * count[engine] / longest) for engine in ENGINES if count[engine]])
        for family, count in sorted(counts.items(), key=lambda item: -item[1].total())
    ]


def ratios(grid: Grid) -> tuple[list[Bar], int]:
    """How near the bounds the laws come: a bar for each tenth, and how many laws are exact."""
    worst = [row.worst for row in grid.rows if row.family != LEDGER]
    tenths = Counter(min(int(ratio * 10), 9) for ratio in worst if ratio is not None)
    longest = max(tenths.values(), default=0) or 1
    parts = [("laws", tenths[n], 100 * tenths[n] / longest) for n in range(10)]
    return [Bar(f"{n / 10:.1f}–{(n + 1) / 10:.1f}", [part]) for n, part in enumerate(parts)], sum(
        ratio is None for ratio in worst
    )
