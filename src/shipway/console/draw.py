"""Draw charts as inline SVG on the server: they print, need no script, and carry their numbers as text.

Geometry lives in SVG attributes, never in `style`, so that the page's policy can forbid inline style.
The drawing stretches with the page and its text does not: curves sit in a nested, stretched `<svg>`
of 1000 x 1000, labels beside it in per cent and pixels. Every word that comes from outside is escaped.

Not here: which chart a page shows and the table of the same numbers (see the templates).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from shipway.console import figures

Points = Sequence[tuple[float, float | None]]
"""(x, y) in the units of the chart; y is None where nothing is known, which breaks the line."""

LAMPS = {
    "ok": '<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M4.8 8.2 7.1 10.5 11.3 5.8" fill="none" stroke="var(--paper)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/>',
    "bad": '<path d="M8 1 15.4 14.4H.6z" fill="currentColor" stroke="currentColor" stroke-linejoin="round"/><path d="M8 5.6v4.2M8 12v.1" stroke="var(--paper)" stroke-width="1.8" stroke-linecap="round"/>',
    "wait": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/>',
    "off": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="2.6 2.2"/>',
    "soft": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/><circle cx="8" cy="8" r="2.4" fill="currentColor"/>',
}  # fmt: skip
"""One shape per state, so that colour is never the only sign."""


def lamp(state: str) -> Markup:
    """Draw the shape of a state: ok, bad, wait, off or soft. Put its word beside it."""
    body = LAMPS.get(state, LAMPS["soft"])
    return Markup('<svg class="lamp {}" viewBox="0 0 16 16" aria-hidden="true">{}</svg>').format(state, Markup(body))


def _numbers(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.0f} {y:.0f}" for x, y in pairs)


def _pieces(pairs: Points) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in pairs:
        if y is None or not math.isfinite(y):
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def spark(values: Sequence[float | None], label: str, *, area: bool = False, role: str = "") -> Markup:
    """Draw a small line without axes; `label` says what it is and on which scale."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if len(known) < 2:
        return Markup("")
    low, high = (0.0 if area else min(known)), max(known)
    spread = (high - low) or max(abs(high), 1e-9)
    last = max(len(values) - 1, 1)
    scaled: Points = [(100 * i / last, None if v is None else 26 - 24 * (v - low) / spread) for i, v in enumerate(values)]
    body = Markup("")
    for piece in _pieces(scaled):
        if area:
            body += Markup('<path class="a soft" d="M{} 28L{}L{} 28z"/>').format(
                f"{piece[0][0]:.0f}", _numbers(piece), f"{piece[-1][0]:.0f}"
            )
        body += Markup('<path class="l" d="M{}"/>').format(_numbers(piece))
    return Markup(
        '<svg class="spark {}" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(role, label, body)


def share(champion: float, challenger: float) -> Markup:
    """Draw who answers as one bar; the two are fractions of all requests."""
    total = (champion + challenger) or 1.0
    width = 100 * challenger / total
    label = f"champion {figures.percent(champion / total)}"
    second = Markup("")
    if challenger > 0:
        label += f", challenger {figures.percent(challenger / total)}"
        second = Markup('<rect class="challenger" x="{}%" width="{}%" height="100%"/>').format(f"{100 - width:.2f}", f"{width:.2f}")
    gap = 0.5 if 0 < width < 99.5 else 0
    return Markup('<svg role="img" aria-label="{}"><rect class="champion" width="{}%" height="100%"/>{}</svg>').format(
        label, f"{max(100 - width - gap, 0):.2f}", second
    )


def gauge(log_e: float, log_bar: float, *, role: str, name: str) -> Markup:
    """Draw evidence on a log scale from 1 to its bar, which stands at four fifths of the width.

    The label gives both as e-values: how many times more the data speak for it than chance would let them.
    """
    reach = 80 * log_e / log_bar if log_bar > 0 else 0.0
    bar = math.exp(min(log_bar, 700))
    label = f"{name} {evidence(log_e)}, the bar is {evidence(log_bar)}"
    ticks = [(0.0, "1", "start")]
    if bar > 30:
        ticks.append((80 * math.log(10) / log_bar, "10", "middle"))
    ticks.append((80.0, evidence(log_bar), "middle"))
    texts = Markup("").join(
        Markup('<text x="{}%" y="25" text-anchor="{}">{}</text>').format(f"{x:.1f}", anchor, text) for x, text, anchor in ticks
    )
    return Markup(
        '<svg class="gauge" height="28" role="img" aria-label="{}"><rect class="track" width="100%" height="10" rx="2"/>'
        '<g class="{}"><rect class="fill" width="{}%" height="10" rx="2"/></g>'
        '<line class="bar" x1="80.0%" x2="80.0%" y1="-3" y2="13"/>{}</svg>'
    ).format(label, role, f"{min(max(reach, 0.0), 100.0):.1f}", texts)


def evidence(log_e: float) -> str:
    """Write an e-value given as its logarithm.

    >>> evidence(0.0), evidence(2.995732), evidence(9.08), evidence(40.0), evidence(-5.0)
    ('1', '20', '8,780', 'over a billion', 'none')
    """
    if log_e < math.log(0.5):
        return "none"
    if log_e > math.log(1e9):
        return "over a billion"
    return figures.number(math.exp(log_e), 3)


def toward(log_e: float, log_bar: float) -> str:
    """Say how far evidence has come to its bar; never rounded up to it.

    >>> toward(1.16, 2.996), toward(2.995, 2.996), toward(-1, 3), toward(3.1, 3)
    ('38 % of the evidence needed', '99 % of the evidence needed', 'no evidence yet', 'proved')
    """
    if log_e >= log_bar:
        return "proved"
    if log_e <= 0 or log_bar <= 0:
        return "no evidence yet"
    return f"{math.floor(100 * log_e / log_bar)} % of the evidence needed"


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
    """An interval over x that holds the truth."""

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
    """Scale of a chart: what x and y span, and how their ticks are written."""

    x: tuple[float, float]
    y: tuple[float, float]
    y_text: Callable[[float], str]
    times: bool = True
    """True: x is Unix seconds; the page's script writes the ticks in the reader's zone."""
    height: int = 160


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


def time_ticks(first: float, last: float) -> list[float]:
    """Choose round instants for the ticks of a time axis."""
    span = last - first
    for step in (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400):
        if span / step <= 4:
            break
    else:
        step = 30 * 86_400
    start = math.ceil(first / step) * step
    return [start + i * step for i in range(6) if start + i * step <= last]


def _tick(at: float, span: float) -> str:
    moment = figures.instant(at)
    if span > 2 * 86_400:
        return f"{moment.day} {moment:%b}"
    return f"{moment:%H:%M:%S}" if span < 300 else f"{moment:%H:%M}"


def chart(axes: Axes, label: str, *, lines: Sequence[Line] = (), bands: Sequence[Band] = (), marks: Sequence[Mark] = (), limits: Sequence[Limit] = (), inset: float = 0.07) -> Markup:  # fmt: skip  # noqa: PLR0913 - the four kinds of things a chart can hold
    """Draw a chart of curves, bands, moments and limits over time or another quantity.

    Args:
        axes: what x and y span.
        label: the sentence read aloud instead of the picture.
        lines: curves.
        bands: intervals, drawn under the curves.
        marks: moments.
        limits: lines that matter.
        inset: share of the width on the left kept for the labels of the y axis.
    """
    plot = axes.height - 34
    (x0, x1), (y0, y1) = axes.x, axes.y
    x_span, y_span = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def place_x(x: float) -> float:
        return 1000 * (inset + (1 - inset) * (x - x0) / x_span)

    def place_y(y: float) -> float:
        return min(max(1000 * (1 - (y - y0) / y_span), -600.0), 1600.0)

    def pixel(y: float) -> float:
        return 16 + plot * place_y(y) / 1000

    inner, outer = Markup(""), Markup("")
    for tick in steps(y0, y1):
        inner += Markup('<path class="{}" d="M0 {}H1000"/>').format("zero" if tick == y0 == 0 else "grid", f"{place_y(tick):.0f}")
        if tick != y0 or y0 != 0:
            outer += Markup('<text class="halo" x="0" y="{}">{}</text>').format(f"{pixel(tick) - 4:.0f}", axes.y_text(tick))
    for band in bands:
        upper = [(place_x(x), place_y(high)) for x, _, high in band.points]
        lower = [(place_x(x), place_y(low)) for x, low, _ in band.points]
        if upper:
            inner += Markup('<path class="a {0}" d="M{1}L{2}z"/><path class="l {0}" d="M{1}"/><path class="l {0}" d="M{2}"/>').format(
                band.role, _numbers(upper), _numbers(lower[::-1])
            )
    for line in lines:
        inner += _curve(line, place_x, place_y)
        ends = [y for _, y in line.points if y is not None]
        if line.label and ends:
            outer += Markup('<text class="halo {}" x="100%" y="{}" text-anchor="end">{}</text>').format(
                line.role, f"{pixel(ends[-1]) - 5:.0f}", line.label
            )
    for limit in limits:
        inner += Markup('<path class="{}" d="M0 {}H1000"/>').format("zero" if limit.zero else "limit", f"{place_y(limit.y):.0f}")
        outer += Markup('<text class="halo {}" x="100%" text-anchor="end" y="{}">{}</text>').format(
            "" if limit.zero else "bad", f"{pixel(limit.y) - 4:.0f}", limit.label
        )
    for mark in marks:
        x = place_x(mark.x)
        inner += Markup('<path class="mark" d="M{} 0V1000"/>').format(f"{x:.0f}")
        anchor = "end" if x > 500 else "start"
        outer += Markup('<text class="halo" x="{}%" dx="{}" y="26" text-anchor="{}">{}</text>').format(
            f"{x / 10:.1f}", -4 if x > 500 else 4, anchor, mark.label
        )
    return Markup(
        '<svg class="plot" height="{}" role="img" aria-label="{}"><svg x="0" y="16" width="100%" height="{}" viewBox="0 0 1000 1000"'
        ' preserveAspectRatio="none" overflow="{}">{}</svg>{}{}</svg>'
    ).format(axes.height, label, plot, "hidden" if bands else "visible", inner, outer, _x_labels(axes, place_x))


def _x_labels(axes: Axes, place_x: Callable[[float], float]) -> Markup:
    x0, x1 = axes.x
    y = axes.height - 3
    out = Markup("")
    for tick in time_ticks(x0, x1) if axes.times else steps(x0, x1):
        x = place_x(tick) / 10
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        if axes.times:
            out += Markup('<text x="{}%" y="{}" text-anchor="{}" data-time="{}">{}</text>').format(
                f"{x:.1f}", y, anchor, figures.iso(tick), _tick(tick, x1 - x0)
            )
        else:
            out += Markup('<text x="{}%" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", y, anchor, figures.number(tick))
    return out


def _curve(line: Line, place_x: Callable[[float], float], place_y: Callable[[float], float]) -> Markup:
    out = Markup("")
    for piece in _pieces(line.points):
        placed = [(place_x(x), place_y(y)) for x, y in piece]
        if len(placed) == 1:  # one point has no line: a short dash shows it
            placed = [(placed[0][0] - 4, placed[0][1]), (placed[0][0] + 4, placed[0][1])]
        if line.area:
            out += Markup('<path class="a {} soft" d="M{} 1000L{}L{} 1000z"/>').format(
                line.role, f"{placed[0][0]:.0f}", _numbers(placed), f"{placed[-1][0]:.0f}"
            )
        out += Markup('<path class="l {} {}" d="M{}"/>').format(line.role, line.kind, _numbers(placed))
    return out


def histogram(before: Sequence[float], now: Sequence[float], edges: Sequence[float], label: str) -> Markup:
    """Draw shares per bin before (filled) and now (outline); bins are drawn equally wide, edges written below."""
    bins = max(len(before), 1)
    top = max([*before, *now, 1e-9])

    def y(value: float) -> str:
        return f"{1000 - 940 * value / top:.0f}"

    def x(i: int) -> str:
        return f"{1000 * i / bins:.0f}"

    was = " ".join(f"M{x(i)} 1000V{y(v)}H{x(i + 1)}V1000z" for i, v in enumerate(before))
    is_now = "M0 1000" + "".join(f"V{y(v)}H{x(i + 1)}" for i, v in enumerate(now)) + "V1000"
    labels = Markup("")
    chosen = sorted({0, bins // 4, bins // 2, 3 * bins // 4, bins}) if bins >= 4 else list(range(bins + 1))
    for i in chosen:
        if i < len(edges) and math.isfinite(edges[i]):
            anchor = "start" if i == 0 else "end" if i == bins else "middle"
            labels += Markup('<text x="{}%" y="101" text-anchor="{}">{}</text>').format(
                f"{100 * i / bins:.1f}", anchor, figures.number(edges[i])
            )
    return Markup(
        '<svg class="plot" height="104" role="img" aria-label="{}"><svg x="0" y="4" width="100%" height="82" viewBox="0 0 1000 1000"'
        ' preserveAspectRatio="none" overflow="visible"><path class="was" d="{}"/><path class="l bold" d="{}"/>'
        '<path class="zero" d="M0 1000H1000"/></svg>{}</svg>'
    ).format(label, was, is_now, labels)


def levels(rows: Sequence[tuple[str, float, float, bool]], label: str) -> Markup:
    """Draw shares per level before (pale) and now (dark); the last flag marks a row that is news."""
    top = max([max(was, is_now) for _, was, is_now, _ in rows] + [1e-9])
    body = Markup("")
    for i, (name, was, is_now, news) in enumerate(rows):
        y, cls = 21 * i, Markup(' class="k"') if news else Markup("")
        short = name if len(name) <= 16 else f"{name[:15]}…"
        body += Markup(
            '<text x="0" y="{0}"{1}>{2}</text><svg x="38%" y="{3}" width="41%" height="16" overflow="visible">'
            '<rect class="was" width="{4}%" y="1" height="14"/><rect class="bars" width="{5}%" y="5" height="6"/></svg>'
            '<text x="100%" text-anchor="end" y="{0}"{1}>{6}</text>'
        ).format(y + 11, cls, short, y, f"{100 * was / top:.1f}", f"{100 * is_now / top:.1f}", figures.percent(is_now))
    return Markup('<svg class="plot" height="{}" role="img" aria-label="{}">{}</svg>').format(max(21 * len(rows), 21), label, body)


def text(value: object) -> Markup:
    """Escape anything for a page."""
    return escape(str(value))
