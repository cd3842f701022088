"""Draw curves, bands and limits over time as inline SVG.

The curves sit in a nested, stretched `<svg>` of 1000 x 1000; the labels beside it are placed in per cent
and pixels, so that the drawing stretches with the page and the text does not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shipway.console import figures

Points = Sequence[tuple[float, float | None]]
"""(x, y) in the units of the chart; y is None where nothing is known, which breaks the line."""

TOP = 16
"""Pixels above the plot, for labels of marks."""


def numbers(pairs: Sequence[tuple[float, float]]) -> str:
    """Write points as the coordinates of an SVG path."""
    return " ".join(f"{x:.0f} {y:.0f}" for x, y in pairs)


def pieces(pairs: Points) -> list[list[tuple[float, float]]]:
    """Cut a curve where it is not known."""
    out: list[list[tuple[float, float]]] = [[]]
    for x, y in pairs:
        if y is None or not math.isfinite(y):
            out.append([])
        else:
            out[-1].append((x, y))
    return [piece for piece in out if piece]


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    points: Points
    role: str = "champion"
    kind: str = ""
    """CSS of the stroke: bold, thin, dash."""
    label: str = ""
    """Written at its end."""
    area: bool = False
    """Filled down to zero."""


@dataclass(frozen=True)
class Band:
    """An interval over x that holds the truth: (x, low, high)."""

    points: Sequence[tuple[float, float, float]]
    role: str = "wait"


@dataclass(frozen=True)
class Mark:
    """A vertical line at a moment when something happened."""

    x: float
    label: str


@dataclass(frozen=True)
class Limit:
    """A horizontal line that matters."""

    y: float
    label: str
    zero: bool = False
    """True: no difference. False: the line not to be crossed."""


@dataclass(frozen=True)
class Axes:
    """What x and y span, how y is written, and where a point goes. x is Unix seconds."""

    x: tuple[float, float]
    y: tuple[float, float]
    y_text: Callable[[float], str] = figures.number
    height: int = 160
    inset: float = 0.07
    """Share of the width on the left kept for the labels of the y axis; 0 leaves them out."""

    @property
    def plot(self) -> int:
        """Height of the plot in pixels."""
        return self.height - 34

    def across(self, x: float) -> float:
        """Place x on a width of 1000."""
        low, high = self.x
        return 1000 * (self.inset + (1 - self.inset) * (x - low) / ((high - low) or 1.0))

    def down(self, y: float) -> float:
        """Place y on a height of 1000; far outside is cut off."""
        low, high = self.y
        return min(max(1000 * (1 - (y - low) / ((high - low) or 1.0)), -600.0), 1600.0)

    def pixel(self, y: float) -> float:
        """Place y in pixels from the top of the picture."""
        return TOP + self.plot * self.down(y) / 1000


Layers = tuple[Markup, Markup]
"""What is stretched with the plot, and what is not: text."""


def steps(low: float, high: float, wanted: int = 4) -> list[float]:
    """Choose round numbers between `low` and `high` for the ticks of an axis.

    >>> steps(0, 27.3)
    [0.0, 10.0, 20.0]
    >>> steps(0.8, 0.86, 3)
    [0.8, 0.82, 0.84, 0.86]
    """
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5, 10) if m * power >= rough), 10 * power)
    first = math.ceil(round(low / step, 9))
    return [round((first + i) * step, 12) for i in range(wanted * 3) if (first + i) * step <= high + step * 1e-6]


HOUR_S, DAY_S = 3600, 86_400
STRIDES = (10, 30, 60, 300, 600, 1800, HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, 7 * DAY_S)


def time_ticks(first: float, last: float) -> list[float]:
    """Choose at most five round instants for the ticks of a time axis."""
    span = last - first
    step = next((size for size in STRIDES if span / size <= 4), 30 * DAY_S)
    start = math.ceil(first / step) * step
    return [start + i * step for i in range(6) if start + i * step <= last]


def time_style(span: float) -> str:
    """Choose how the instants of an axis are written, by how much time it spans; the page's script knows the words."""
    if span < 300:
        return "seconds"
    return "hour" if span < 26 * HOUR_S else "weekday" if span < 6 * DAY_S else "date"


def _written(at: float, style: str) -> str:
    moment = figures.instant(at)
    if style == "date":
        return f"{moment.day} {moment:%b}"
    return moment.strftime({"seconds": "%H:%M:%S", "hour": "%H:%M", "weekday": "%a %H:%M"}[style])


def chart(
    axes: Axes,
    label: str,
    lines: Sequence[Line] = (),
    *,
    bands: Sequence[Band] = (),
    marks: Sequence[Mark] = (),
    limits: Sequence[Limit] = (),
) -> Markup:
    """Draw a chart over time.

    Args:
        axes: what x and y span.
        label: the sentence read aloud instead of the picture.
        lines: curves.
        bands: intervals, drawn under the curves.
        marks: moments.
        limits: lines that matter.
    """
    ends = _ends(axes, lines)
    layers = [_grid(axes), *(_band(axes, b) for b in bands)]
    layers += [_line(axes, x, end) for x, end in zip(lines, ends, strict=True)]
    layers += [*(_limit(axes, x) for x in limits), *(_mark(axes, x) for x in marks)]
    inner = Markup("").join(layer for layer, _ in layers)
    outer = Markup("").join(layer for _, layer in layers)
    return Markup(
        '<svg class="plot" height="{}" role="img" aria-label="{}"><svg x="0" y="{}" width="100%" height="{}"'
        ' viewBox="0 0 1000 1000" preserveAspectRatio="none" overflow="{}">{}</svg>{}{}</svg>'
    ).format(axes.height, label, TOP, axes.plot, "hidden" if bands else "visible", inner, outer, _times(axes))


def _grid(axes: Axes) -> Layers:
    if not axes.inset:
        return Markup(""), Markup("")
    inner, outer = Markup(""), Markup("")
    for tick in steps(*axes.y):
        floor = tick == axes.y[0] == 0
        inner += Markup('<path class="{}" d="M0 {:.0f}H1000"/>').format("zero" if floor else "grid", axes.down(tick))
        if not floor:
            words = axes.y_text(tick)
            outer += Markup('<text class="halo" x="0" y="{:.0f}">{}</text>').format(axes.pixel(tick) - 4, words)
    return inner, outer


def _band(axes: Axes, band: Band) -> Layers:
    upper = numbers([(axes.across(x), axes.down(high)) for x, _, high in band.points])
    lower = numbers([(axes.across(x), axes.down(low)) for x, low, _ in band.points][::-1])
    inner = Markup(
        '<path class="a {0}" d="M{1}L{2}z"/><path class="l {0}" d="M{1}"/><path class="l {0}" d="M{2}"/>'
    ).format(band.role, upper, lower)
    return (inner if band.points else Markup("")), Markup("")


LABEL = 14
"""Pixels that a label needs for itself."""


def _ends(axes: Axes, lines: Sequence[Line]) -> list[float | None]:
    """Place the labels at the ends of lines, in pixels, so that none covers another; None for no label."""
    known = [[y for _, y in line.points if y is not None] for line in lines]
    wanted = [axes.pixel(ys[-1]) - 5 if line.label and ys else None for line, ys in zip(lines, known, strict=True)]
    floor = math.inf
    for i in sorted((i for i, y in enumerate(wanted) if y is not None), key=lambda i: -(wanted[i] or 0.0)):
        wanted[i] = floor = min(wanted[i] or 0.0, floor - LABEL)
    return wanted


def _line(axes: Axes, line: Line, end: float | None) -> Layers:
    inner, outer = Markup(""), Markup("")
    for piece in pieces(line.points):
        placed = [(axes.across(x), axes.down(y)) for x, y in piece]
        if len(placed) == 1:  # one point makes no line: a short dash shows it
            placed = [(placed[0][0] - 4, placed[0][1]), (placed[0][0] + 4, placed[0][1])]
        if line.area:
            inner += Markup('<path class="a {} soft" d="M{:.0f} 1000L{}L{:.0f} 1000z"/>').format(
                line.role, placed[0][0], numbers(placed), placed[-1][0]
            )
        inner += Markup('<path class="l {} {}" d="M{}"/>').format(line.role, line.kind, numbers(placed))
    if end is not None:
        outer = Markup('<text class="halo {}" x="100%" y="{:.0f}" text-anchor="end">{}</text>').format(
            line.role, end, line.label
        )
    return inner, outer


def _limit(axes: Axes, limit: Limit) -> Layers:
    cls, words = ("zero", "") if limit.zero else ("limit", "bad")
    inner = Markup('<path class="{}" d="M0 {:.0f}H1000"/>').format(cls, axes.down(limit.y))
    outer = Markup('<text class="halo {}" x="100%" text-anchor="end" y="{:.0f}">{}</text>').format(
        words, axes.pixel(limit.y) + (13 if limit.zero else -4), limit.label
    )
    return inner, outer


def _mark(axes: Axes, mark: Mark) -> Layers:
    x = axes.across(mark.x)
    inner = Markup('<path class="mark" d="M{:.0f} 0V1000"/>').format(x)
    anchor, shift = ("end", -4) if x > 500 else ("start", 4)
    outer = Markup('<text class="halo" x="{:.1f}%" dx="{}" y="12" text-anchor="{}">{}</text>').format(
        x / 10, shift, anchor, mark.label
    )
    return inner, outer


def _times(axes: Axes) -> Markup:
    first, last = axes.x
    style = time_style(last - first)
    out = Markup("")
    for tick in time_ticks(first, last):
        x = axes.across(tick) / 10
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        out += Markup('<text x="{:.1f}%" y="{}" text-anchor="{}" data-time="{}" data-style="{}">{}</text>').format(
            x, axes.height - 3, anchor, figures.iso(tick), style, _written(tick, style)
        )
    return out
