"""Lay out what the monitor found: which columns changed, how surely, and how often the answers were wrong.

Pure: the summary that the monitor keeps for pages and its open signals in, values for the templates out.
Before its first window there is no summary, and the page says what will fill it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from shipway.console import draw, figures, plot, sentences
from shipway.console.charts import Chart, Tile, metrics
from shipway.console.figures import count, number, percent, plural
from shipway.console.views import Alarm, Endpoint, Rollout, Version

KINDS = {"number": "number", "level": "category", "length": "free text, by its length"}
LISTED = 12
"""Unchanged columns shown before the rest is folded away."""


@dataclass(frozen=True)
class Column:
    """One watched column, before and after."""

    name: str
    kind: str
    changed: bool
    log_e: float
    bar: float
    sentence: str
    notes: tuple[str, ...]
    distance: str
    chart: Chart


def _changed(endpoint: Endpoint) -> list[str]:
    """Name the columns that a signal names now, in the signal's order."""
    named: dict[str, None] = {}
    for found in endpoint.monitor.get("open", {}).values():
        named.update(dict.fromkeys(found.get("columns", ())))
    return list(named)


def columns(endpoint: Endpoint) -> list[Column]:
    """List the watched columns: those that changed first, by how far they moved, then by evidence."""
    changed = set(_changed(endpoint))
    bar = float(endpoint.monitor.get("bar", 0.0))
    made = [(c, _column(c, c["column"] in changed, bar)) for c in endpoint.monitor.get("columns", [])]
    made.sort(key=lambda pair: (not pair[1].changed, -pair[0]["distance"] if pair[1].changed else -pair[1].log_e))
    return [column for _, column in made]


def _column(change: dict[str, Any], changed: bool, bar: float) -> Column:  # noqa: FBT001 - private
    name, chart = str(change["column"]), change["chart"]
    sentence = str(change["sentence"]).removeprefix(f"{name}: ")
    return Column(
        name=name,
        kind=KINDS.get(change["kind"], change["kind"]),
        changed=changed,
        log_e=float(change["log_e"]),
        bar=bar,
        sentence=figures.start(sentence),
        notes=_notes(change["before"], change["after"], sentence),
        distance=percent(_moved(change), 2),
        chart=_picture(name, change["kind"], chart["labels"], chart["before"], chart["after"]),
    )


GAPS = (("missing", "Missing"), ("new", "Never seen before"), ("outside", "Outside the range seen in training"))


def _moved(change: dict[str, Any]) -> float:
    """Share of rows that moved at most: among the values present, or into gaps, news and out of the range."""
    before, after = change["before"], change["after"]
    gaps = [abs(float(after[key]) - float(before[key])) for key, _ in GAPS if key in before and key in after]
    return max([float(change["distance"]), *gaps])


def _notes(before: dict[str, Any], after: dict[str, Any], said: str) -> tuple[str, ...]:
    """Say the figures that a histogram hides and the sentence has not said: gaps, news, values outside the range."""
    out = []
    for key, word in GAPS:
        if word.lower() in said:
            continue
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and max(was, now) > 0 and round(was, 4) != round(now, 4):
            out.append(f"{word}: {percent(now, 2)}, was {percent(was, 2)}.")
    return tuple(out)


def _picture(name: str, kind: str, labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Chart:
    rows = tuple((label, percent(was), percent(now)) for label, was, now in zip(labels, before, after, strict=True))
    heads = ("Value" if kind == "level" else "Range", "Before", "Now")
    most = max(range(len(labels)), key=lambda i: abs(after[i] - before[i]), default=None)
    says = f"{name} before and now"
    if most is not None:
        says += f": the largest change is {labels[most]}, {percent(after[most])}, was {percent(before[most])}"
    if kind == "level":
        shown = [
            (label, was, now, i == most) for i, (label, was, now) in enumerate(zip(labels, before, after, strict=True))
        ]
        svg = draw.levels(shown[:6], says)
    else:
        svg = draw.histogram(before, after, [label.partition(" to ")[0] for label in labels], says)
    return Chart(f"{name} before and now", svg, heads, rows)


def brief(endpoint: Endpoint) -> tuple[str, str]:
    """Say in a few words what drifted, for the home page: words and their address, "" for none."""
    watched = len(endpoint.monitor.get("columns", []))
    changed = len(_changed(endpoint))
    if not endpoint.compared:
        return "Not compared yet", ""
    return (f"{changed} of {plural(watched, 'column')}", f"/drift/{endpoint.name}") if changed else ("No change", "")


def quality(endpoint: Endpoint) -> list[Tile]:
    """Say what the labels that came back have shown, with its uncertainty."""
    seen = endpoint.monitor.get("performance") or {}
    if not seen:
        return []
    if seen["metric"] == "error_rate":
        wrong = f"{percent(seen['low'])} to {percent(seen['high'])}; was {percent(seen['before'])} on holdout rows"
        tile = Tile("Wrong answers", percent(seen["after"]), "", wrong)
    else:
        tile = Tile("Mean absolute error", number(seen["after"]), "", f"was {number(seen['before'])} on holdout rows")
    return [tile, Tile("Labelled answers", count(seen["rows"]), "", "compared with what turned out to be true")]


def good(endpoint: Endpoint) -> tuple[str, str]:
    """Say in a few words how good the answers turned out to be, for the home page, and how sure that is."""
    seen = endpoint.monitor.get("performance") or {}
    if not seen:
        return "Not known yet", ""
    if seen["metric"] == "error_rate":
        return f"{percent(seen['after'], 2)} wrong", f"{percent(seen['low'], 2)} to {percent(seen['high'], 2)}"
    return f"off by {number(seen['after'])}", f"was {number(seen['before'])}"


def unknown(endpoint: Endpoint, past: Sequence[Rollout], champion: Version) -> list[str]:
    """Say what is known of how good the champion is while no labels of its own have been weighed."""
    said = [
        f"At its gate: {name} {value} ({between}) on rows it had not seen."
        for name, value, between in metrics(champion)[:1]
    ]
    mine = [r for r in past if r.challenger == endpoint.champion and r.state == "promoted" and r.latest is not None]
    return said + [f"In its rollout: {r.latest.sentence}" for r in mine[:1] if r.latest is not None]


def page(endpoint: Endpoint, past: Sequence[Alarm], now: float) -> dict[str, Any]:
    """Lay out the drift page; while nothing has changed, with the last change that is over."""
    if not endpoint.compared:
        endpoint = replace(endpoint, monitor={})
    watched = columns(endpoint)
    changed = [c for c in watched if c.changed]
    others = [c for c in watched if not c.changed]
    rows = int(endpoint.monitor.get("rows", 0))
    found = endpoint.monitor.get("open", {})
    since = min((found[kind]["since"] for kind in ("drift", "quality") if kind in found), default=None)
    return {
        "says": sentences.drift(endpoint.name, [c.name for c in changed], len(watched), rows)
        if watched
        else sentences.no_drift(endpoint),
        "over": None if changed else _over(past),
        "changed": changed,
        "others": others[:LISTED],
        "rest": others[LISTED:],
        "evidence": _evidence(endpoint),
        "tiles": _tiles(endpoint, len(changed), since, now) if watched else [],
        "orders": _orders(endpoint),
        "rows": rows,
        "promise": str(endpoint.monitor.get("false_alarms", "")),
        "window": str(endpoint.monitor.get("window", "")),
    }


def _over(past: Sequence[Alarm]) -> tuple[Alarm, list[Column]] | None:
    """Find the newest alarm that is over and showed what changed, with its columns before and after."""
    for alarm in past:
        if changes := alarm.signal.details.get("changes"):
            return alarm, [_column(change, True, alarm.signal.bar) for change in changes]
    return None


ORDERS = {
    "shipway retrain": "Retrain on what callers send now",
    "shipway rollback": "Go back to the version before",
    "shipway monitor explain": "Read the whole explanation",
}
"""Beginning of a proposed command -> what it does."""


def _orders(endpoint: Endpoint) -> list[tuple[str, str]]:
    """List what open alarms propose: in words, and as a command; each once, best first."""
    alarms = [alarm.signal for alarm in endpoint.alarms if alarm.signal.kind in ("drift", "quality", "performance")]
    made: dict[str, str] = {}
    for action in (action for signal in alarms for action in signal.actions):
        made.setdefault(next((said for begins, said in ORDERS.items() if action.startswith(begins)), action), action)
    return list(made.items())


def _tiles(endpoint: Endpoint, changed: int, since: float | None, now: float) -> list[Tile]:
    monitor = endpoint.monitor
    tiles = [
        Tile(
            "Columns changed",
            str(changed),
            f"of {len(monitor['columns'])}",
            "beyond what chance explains" if changed else "within what chance explains",
        ),
        Tile(
            "Rows compared",
            count(monitor.get("rows", 0)),
            "",
            f"in {plural(int(monitor.get('windows', 0)), 'window')} of {monitor.get('window', '')}",
        ),
    ]
    if since is not None:
        tiles.append(Tile("Since", figures.duration(now - since), "ago", _time(since)))
    return [*tiles, *quality(endpoint)]


SMALL = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def _power(exponent: float) -> str:
    """Write a power of ten as it is read: 1,000 in full, beyond a million by its exponent.

    >>> _power(3.0), _power(12.0)
    ('1,000', '10\u00b9\u00b2')
    """
    if exponent > 6 and exponent.is_integer():
        return f"10{str(int(exponent)).translate(SMALL)}"
    return figures.number(10**exponent, 2)


def _evidence(endpoint: Endpoint) -> Chart | None:
    """Draw the evidence that something changed over time, on a log scale, to its bar."""
    past = endpoint.monitor.get("history", [])
    bar = float(endpoint.monitor.get("bar", 0.0))
    if len(past) < 2 or bar <= 0:
        return None
    points = [(float(p["at"]), max(float(p["drift"]), float(p["quality"]), 0.0) / math.log(10)) for p in past]
    # Far above the bar the curve is cut off: how far says nothing more, and the stretch below would be flat.
    top = min(max(1.25 * bar / math.log(10), 1.1 * max(y for _, y in points)), 2 * bar / math.log(10))
    curve = [(x, min(y, top)) for x, y in points]
    axes = plot.Axes((points[0][0], points[-1][0]), (0.0, top), _power, height=170)
    last = draw.evidence(points[-1][1] * math.log(10))
    says = f"Evidence that the data changed, {last} now; the bar is {draw.evidence(bar)}"
    bar_says = (
        f"bar: {draw.evidence(bar)}, so that false alarms come at most {endpoint.monitor.get('false_alarms', 'rarely')}"
    )
    svg = plot.chart(axes, says, [plot.Line(curve, "ink", "bold")], limits=[plot.Limit(bar / math.log(10), bar_says)])
    chosen = points if len(points) <= 12 else [points[round(i * (len(points) - 1) / 11)] for i in range(12)]
    rows = tuple((_time(at), draw.evidence(y * math.log(10))) for at, y in chosen)
    caption = Markup(
        "<b>Evidence that something changed</b>, all columns together, window by window. "
        "Below the bar it may wander without meaning anything."
    )
    return Chart(caption, svg, ("Window until", "Evidence"), rows)


def _time(at: float) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(figures.iso(at), figures.utc(at))
