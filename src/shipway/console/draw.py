"""Draw charts as inline SVG on the server: they print, need no script, and carry their numbers as text.

Geometry lives in SVG attributes, never in `style`, so that the page's policy can forbid inline style.
The drawing stretches with the page and its text does not: curves sit in a nested, stretched `<svg>`
of 1000 x 1000, labels beside it in per cent and pixels. Every word that comes from outside is escaped.

Not here: which chart a page shows and the table of the same numbers (see the templates).
"""

import math
from collections.abc import Sequence

from markupsafe import Markup

from shipway.console import figures
from shipway.console.plot import Points, numbers, pieces

_RING = '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"{}/>'
_LINE = 'stroke="var(--paper)" stroke-width="1.8" stroke-linecap="round"'
LAMPS = {
    "ok": '<circle cx="8" cy="8" r="7" fill="currentColor"/><path d="M4.8 8.2 7.1 10.5 11.3 5.8" fill="none" '
    f'{_LINE} stroke-linejoin="round"/>',
    "bad": '<path d="M8 1 15.4 14.4H.6z" fill="currentColor" stroke="currentColor" stroke-linejoin="round"/>'
    f'<path d="M8 5.6v4.2M8 12v.1" {_LINE}/>',
    "wait": _RING.format("") + '<path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/>',
    "off": _RING.format(' stroke-dasharray="2.6 2.2"'),
    "soft": _RING.format("") + '<circle cx="8" cy="8" r="2.4" fill="currentColor"/>',
}
"""One shape per state, so that colour is never the only sign."""


def lamp(state: str) -> Markup:
    """Draw the shape of a state: ok, bad, wait, off or soft. Put its word beside it."""
    body = Markup(LAMPS.get(state, LAMPS["soft"]))  # noqa: S704 - our own text, from the table above
    return Markup('<svg class="lamp {}" viewBox="0 0 16 16" aria-hidden="true">{}</svg>').format(state, body)


def spark(values: Sequence[float | None], label: str, *, area: bool = False, role: str = "") -> Markup:
    """Draw a small line without axes; `label` says what it is and on which scale."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return Markup("")
    low, high = (0.0 if area else min(known)), max(known)
    spread = (high - low) or max(abs(high), 1e-9)
    # Each value stands for a stretch of time, so it is drawn as one: a slope between two counts would invent some.
    scaled: Points = [
        (100 * x / len(values), None if v is None else 26 - 24 * (v - low) / spread)
        for i, v in enumerate(values)
        for x in (i, i + 1)
    ]
    body = Markup("")
    for piece in pieces(scaled):
        if area:
            body += Markup('<path class="a soft" d="M{} 28L{}L{} 28z"/>').format(
                f"{piece[0][0]:.0f}", numbers(piece), f"{piece[-1][0]:.0f}"
            )
        body += Markup('<path class="l" d="M{}"/>').format(numbers(piece))
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
        second = Markup('<rect class="challenger" x="{}%" width="{}%" height="100%"/>').format(
            f"{100 - width:.2f}", f"{width:.2f}"
        )
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
        Markup('<text x="{}%" y="25" text-anchor="{}">{}</text>').format(f"{x:.1f}", anchor, text)
        for x, text, anchor in ticks
    )
    return Markup(
        '<svg class="gauge" height="28" role="img" aria-label="{}">'
        '<rect class="track" width="100%" height="10" rx="2"/>'
        '<g class="{}"><rect class="fill" width="{}%" height="10" rx="2"/></g>'
        '<line class="bar" x1="80.0%" x2="80.0%" y1="-3" y2="13"/>{}</svg>'
    ).format(label, role, f"{min(max(reach, 0.0), 100.0):.1f}", texts)


def evidence(log_e: float) -> str:
    """Write an e-value given as its logarithm.

    >>> evidence(0.0), evidence(2.995732), evidence(9.08), evidence(40.0), evidence(-5.0)
    ('1', '20', '8,778', 'over a billion', 'none')
    """
    if log_e < math.log(0.5):
        return "none"
    if log_e > math.log(1e9):
        return "over a billion"
    if log_e > math.log(1e6):
        return f"{figures.number(math.exp(log_e) / 1e6)} million"
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


def histogram(before: Sequence[float], now: Sequence[float], begins: Sequence[str], label: str) -> Markup:
    """Draw shares per bin before (filled) and now (outline); bins are drawn equally wide, four begins written below."""
    bins = max(len(before), 1)
    top = max([*before, *now, 1e-9])

    def y(value: float) -> str:
        return f"{1000 - 940 * value / top:.0f}"

    def x(i: int) -> str:
        return f"{1000 * i / bins:.0f}"

    was = " ".join(f"M{x(i)} 1000V{y(v)}H{x(i + 1)}V1000z" for i, v in enumerate(before))
    is_now = "M0 1000" + "".join(f"V{y(v)}H{x(i + 1)}" for i, v in enumerate(now)) + "V1000"
    labels = Markup("")
    free = 0.0
    for i in sorted({k * bins // 4 for k in range(4)}):
        # At the narrowest a letter takes 3 % of the width; what would run into its neighbour is left out.
        wide = 3.0 * len(begins[i])
        left = 100 * i / bins - (wide / 2 if i else 0.0)
        if left < free:
            continue
        free = left + wide + 2.0
        labels += Markup('<text x="{:.1f}%" y="101" text-anchor="{}">{}</text>').format(
            100 * i / bins, "middle" if i else "start", begins[i]
        )
    return Markup(
        '<svg class="plot" height="104" role="img" aria-label="{}"><svg x="0" y="4" width="100%" height="82"'
        ' viewBox="0 0 1000 1000" preserveAspectRatio="none" overflow="visible"><path class="was" d="{}"/>'
        '<path class="l bold" d="{}"/><path class="zero" d="M0 1000H1000"/></svg>{}</svg>'
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
    return Markup('<svg class="plot" height="{}" role="img" aria-label="{}">{}</svg>').format(
        max(21 * len(rows), 21), label, body
    )
