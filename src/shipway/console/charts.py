"""Lay out what an endpoint and a version show: tiles, charts with their numbers, who answers, how to call it.

Pure: views in, values for templates out. Each chart carries the same numbers as a table.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from shipway.console import draw, figures, machine, plot
from shipway.console.figures import count, latency, number, percent, rate
from shipway.console.traffic import Traffic
from shipway.console.views import Endpoint, Rollout, Version
from shipway.settings import Settings
from shipway.terms import BASIS, Column, Manifest


@dataclass(frozen=True)
class Chart:
    """A picture and its numbers."""

    caption: Markup | str
    svg: Markup
    heads: tuple[str, ...]
    rows: tuple[tuple[str | Markup, ...], ...]


@dataclass(frozen=True)
class Tile:
    """One number with its unit, and a line below it."""

    name: str
    value: str
    unit: str = ""
    sub: str | Markup = ""
    lamp: str = ""


@dataclass(frozen=True)
class Split:
    """Who was asked to answer how much, and who did."""

    champion: int
    challenger: int | None
    warm: int | None
    shadow: bool
    champion_asked: float
    challenger_asked: float
    champion_says: str
    challenger_says: str


@dataclass(frozen=True)
class Row:
    """An endpoint in one line of the home page."""

    rate: str
    unit: str
    spark: Markup
    p99: str
    bar: Markup
    answers: tuple[tuple[str, int], ...]


def split(endpoint: Endpoint) -> Split:
    """Compare the shares that were asked for with those of the last five minutes."""
    challenger = endpoint.variant("challenger")
    shadow = challenger is not None and challenger.mode == "shadow"
    asked = challenger.weight / BASIS if challenger is not None else 0.0
    said = f"{percent(1 - asked)} of requests asked"
    theirs = f"{percent(asked)} of requests asked"
    recent = endpoint.traffic.recent if endpoint.traffic is not None else {}
    total = sum(recent.values())
    if total and challenger is not None and not shadow and _steady(endpoint):
        got = recent.get(challenger.version, 0) / total
        said = f"{percent(1 - got)} of requests lately, {percent(1 - asked)} asked"
        theirs = f"{percent(got)} of requests lately, {percent(asked)} asked"
    if challenger is None or shadow:
        said = "answers everyone"
    if shadow and challenger is not None:
        theirs = f"scores copies of {percent(challenger.shadow_share / BASIS)} of requests; no caller sees its answers"
    warm = endpoint.previous if endpoint.previous not in (None, challenger.version if challenger else None) else None
    return Split(
        endpoint.champion, challenger.version if challenger else None, warm, shadow, 1 - asked, asked, said, theirs
    )


def _steady(endpoint: Endpoint) -> bool:
    """Whether the split was the same for all of the last five minutes, so that their counts say something about it."""
    rollout, seen = endpoint.rollout, endpoint.traffic
    return rollout is None or seen is None or rollout.step_started_at <= seen.ends - seen.recent_s


def row(endpoint: Endpoint) -> Row:
    """Lay an endpoint out for the home page."""
    shares = split(endpoint)
    answers = [("champion", endpoint.champion)]
    if shares.challenger is not None:
        answers.append(("challenger", shares.challenger))
    bar = draw.share(shares.champion_asked, shares.challenger_asked)
    seen = endpoint.traffic
    if seen is None:
        return Row("no request yet", "", Markup(""), figures.NOTHING, bar, tuple(answers))
    value, unit = _rate(seen)
    rates = [y for _, y in seen.rates()]
    label = f"Requests a second over {figures.duration(seen.span_s)}, now {value} {unit}"
    return Row(
        value, unit, draw.spark(rates, label, area=True), " ".join(latency(seen.overall[2])), bar, tuple(answers)
    )


def _rate(seen: Traffic) -> tuple[str, str]:
    return ("quiet", f"for {figures.duration(seen.quiet_s)}") if seen.quiet_s else rate(seen.per_second)


def tiles(endpoint: Endpoint) -> list[Tile]:
    """Lay out the numbers of an endpoint."""
    seen = endpoint.traffic
    if seen is None:
        return []
    value, unit = _rate(seen)
    p50, p95, p99 = (latency(value) for value in seen.overall)
    over = figures.duration(seen.span_s)
    by_version = ", ".join(f"version {version} {count(n)}" for version, n in sorted(seen.failures.items()) if n)
    failed = (
        f"{by_version}; where a challenger fails, the champion answers"
        if by_version
        else f"none of {count(seen.total)}"
    )
    kept, why = ("on", "requests and answers are kept for monitoring")
    if not endpoint.settings.capture:
        kept, why = ("off", "nothing is kept: no drift, no quality")
    return [
        Tile("Requests", value, unit, f"{count(seen.total)} in {over}"),
        Tile("Failed tries", percent(seen.failed / max(seen.total, 1), 2), "", failed),
        Tile("Usual answer time", *p50, f"median; 95 % take at most {' '.join(p95)}"),
        Tile("Slowest 1 %", *p99, "or longer, inside the server (p99)"),
        Tile("Capture", kept, "", why),
    ]


def _sampled(seen: Traffic, most: int = 12) -> list[int]:
    n = len(seen.requests)
    return list(range(n)) if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def _time(at: float, now: float) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        figures.iso(at), figures.utc(at), figures.clock(at, now)
    )


def traffic(endpoint: Endpoint, past: Sequence[Rollout]) -> list[Chart]:
    """Draw requests and answer times of an endpoint, with rollouts as marks."""
    seen = endpoint.traffic
    if seen is None:
        return []
    marks = _marks(seen, past)
    return [_requests(endpoint, seen, marks), _speed(seen, marks)]


HAPPENED = {"promoted": "v{} promoted", "rolled_back": "v{} rolled back", "superseded": "v{} ended"}


def _marks(seen: Traffic, past: Sequence[Rollout]) -> list[plot.Mark]:
    """Mark how rollouts ended and where one began, newest first; words only where they do not cover others."""
    begins = max(seen.begins, seen.opened)
    marks: list[plot.Mark] = []
    for rollout in past:
        at = rollout.started_at if rollout.ended_at is None else rollout.ended_at
        if not begins < at < seen.ends:
            continue
        said = HAPPENED.get(rollout.state, "v{} on trial").format(rollout.challenger)
        free = all(abs(at - mark.x) > 0.35 * (seen.ends - begins) for mark in marks if mark.label)
        marks.append(plot.Mark(at, said if free else ""))
    return marks


def _stepped(seen: Traffic, values: Sequence[float | None]) -> list[tuple[float, float | None]]:
    """Draw each value over the whole stretch that it was counted in."""
    return [(x, value) for span, value in zip(seen.spans(), values, strict=True) for x in span]


def _requests(endpoint: Endpoint, seen: Traffic, marks: Sequence[plot.Mark]) -> Chart:
    challenger = endpoint.variant("challenger")
    other = challenger.version if challenger is not None and challenger.mode == "answer" else None
    everyone = seen.rates()
    theirs = seen.rates(other) if other is not None else []
    top = max([y for _, y in everyone if y is not None] + [0.001]) * 1.1
    lines = [plot.Line(_stepped(seen, [y for _, y in everyone]), "champion", area=True)]
    caption = Markup('<b>Requests a second</b>, <span class="champion">all</span>')
    if other is not None:
        lines.append(plot.Line(_stepped(seen, [y for _, y in theirs]), "challenger", "bold"))
        caption += Markup(' and <span class="challenger">answered by version {}</span>').format(other)
    value, unit = _rate(seen)
    svg = plot.chart(
        plot.Axes((seen.ends - seen.span_s, seen.ends), (0.0, top), lambda y: number(y, 2)),
        f"Requests a second over {figures.duration(seen.span_s)}, now {value} {unit}",
        lines=lines, marks=marks,
    )  # fmt: skip
    rows = []
    for i in _sampled(seen):
        cells: tuple[str | Markup, ...] = (_time(everyone[i][0], seen.ends), number(everyone[i][1]))
        rows.append((*cells, number(theirs[i][1])) if theirs else cells)
    heads = ("Time", "All a second", f"Version {other}") if theirs else ("Time", "All a second")
    return Chart(caption, svg, heads, tuple(rows))


def _speed(seen: Traffic, marks: Sequence[plot.Mark]) -> Chart:
    """Draw answer times on a log scale: the slowest take a hundred times as long as the usual ones."""
    curves = [[q[k] for q in seen.quantiles] for k in range(3)]
    logs = [[None if y is None else math.log10(max(y, 1.0)) for y in curve] for curve in curves]
    known = [y for curve in logs for y in curve if y is not None] or [2.0]
    low, high = math.floor(min(known)), math.ceil(max(known) + 0.05)
    lines = [
        plot.Line(_stepped(seen, logs[2]), "champion", "bold", "p99"),
        plot.Line(_stepped(seen, logs[1]), "champion", "", "p95"),
        plot.Line(_stepped(seen, logs[0]), "champion", "thin", "p50"),
    ]
    words = ", ".join(
        f"{name} {' '.join(latency(value))}"
        for name, value in zip(("median", "95th percentile", "99th percentile"), seen.overall, strict=True)
    )
    axes = plot.Axes((seen.ends - seen.span_s, seen.ends), (low, high), lambda y: " ".join(latency(10**y)))
    svg = plot.chart(axes, f"Answer time: {words}", lines=lines, marks=marks)
    at = [x for x, _ in seen.rates()]
    rows = tuple(
        (
            _time(at[i], seen.ends),
            *(number(None if (y := curves[k][i]) is None else y / 1000) for k in range(3)),
        )
        for i in _sampled(seen)
    )
    return Chart(
        Markup("<b>Answer time</b> inside the server: half, 95 % and 99 % of answers take at most this long"),
        svg,
        ("Time", "p50 ms", "p95 ms", "p99 ms"),
        rows,
    )


def call(endpoint: Endpoint, settings: Settings, example: Mapping[str, Any]) -> str:
    """Write a command that asks the endpoint about an example row, one column a line."""
    lines = [f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(v)}" for name, v in list(example.items())[:200]]
    body = ('{"rows": [{\n' + ",\n".join(lines) + "\n}]}").replace("'", "'\\''")
    token = "" if endpoint.settings.public else ' \\\n  -H "Authorization: Bearer $SHIPWAY_TOKEN"'
    return f"curl -s {machine.server_url(settings)}/v2/models/{endpoint.name}/infer{token} \\\n  -d '{body}'"


def middles(manifest: Manifest) -> dict[str, Any]:
    """Make a row from the middle of what each column was seen to hold."""
    return {column.name: _example(column) for column in manifest.signature.inputs}


def _example(column: Column) -> Any:  # noqa: ANN401 - any JSON value
    if column.datatype == "BYTES":
        return column.levels[0] if column.levels else "text"
    if column.datatype == "BOOL":
        return True
    middle = ((column.low or 0.0) + (column.high or 0.0)) / 2
    value: Any = round(middle) if column.integral or column.datatype.startswith("INT") else float(f"{middle:.4g}")
    for extent in reversed(column.shape):
        value = [value] * max(extent, 1)
    return value


METRIC_NAMES = {"auc": "AUC", "macro_f1": "Macro F1", "brier": "Brier score", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}


def metrics(version: Version) -> list[tuple[str, str, str]]:
    """List the metrics of a version: name, value, interval in words."""
    out = []
    for name, value in version.metrics.items():
        shown = METRIC_NAMES.get(name, name.replace("_", " ").capitalize())
        if isinstance(value, dict) and isinstance(value.get("value"), int | float):
            low, high = value.get("low"), value.get("high")
            between = f"{number(low)} to {number(high)}" if low is not None and high is not None else "no interval"
            if low == high == value["value"]:  # resampling rows that are all alike gives no width, not certainty
                between = "no interval: all rows agree"
            out.append((shown, number(value["value"]), between))
        elif isinstance(value, int | float):
            out.append((shown, number(value), "no interval"))
    return out


def version_tiles(version: Version) -> list[Tile]:
    """Lay out the numbers of a version."""
    manifest = version.manifest
    made = [Tile(name, value, "", between) for name, value, between in metrics(version)[:2]]
    lamp = {"pass": "ok", "fail": "bad", "undecided": "wait"}.get(version.verdict, "off")
    judged = version.judged_at
    made.append(
        Tile(
            "Gate",
            version.verdict or "not judged",
            "",
            _time(judged, judged + 2 * 86_400) if judged is not None else "shipway gate judges it",
            lamp,
        )
    )
    if cost := manifest.runtime.cost_us.get("1"):
        value, unit = latency(cost)
        made.append(
            Tile(
                "Speed",
                value,
                f"{unit} a row",
                f"{manifest.runtime.kind}, {figures.size(sum(f.size for f in manifest.files))}",
            )
        )
    places = sorted({name for name, _, _ in version.serves})
    made.append(
        Tile(
            "Runs in",
            str(len(places)),
            "endpoint" if len(places) == 1 else "endpoints",
            ", ".join(places) or "nowhere now",
        )
    )
    return made


def made_from(version: Version, parent: Version | None) -> list[tuple[str, str, str]]:
    """List what a version was made from: address or "", name, a line about it."""
    provenance = version.manifest.provenance
    out = []
    for key, name in (("data", "Reference rows"), ("holdout", "Holdout rows")):
        rows = provenance.get(key)
        if isinstance(rows, dict) and "rows" in rows:
            out.append(("", name, f"{count(rows['rows'])} rows, sha256:{str(rows.get('sha256', ''))[:12]}…"))
    git = provenance.get("git")
    if isinstance(git, dict) and git.get("commit"):
        state = "with uncommitted changes" if git.get("dirty") else "nothing uncommitted"
        out.append(("", f"Code at {git['commit'][:10]}", state))
    if (job := version.trained_by) is not None:
        out.append(
            (f"/endpoints/{job.endpoint}", f"Captured rows of {job.endpoint}", f"{count(job.body.rows)} with labels")
        )
        if job.body.parent and parent is None:
            address, name = f"/models/{version.model}/{job.body.parent}", f"{version.model} version {job.body.parent}"
            out.append((address, name, "the champion it was trained to replace"))
    if parent is not None:
        out.append((f"/models/{parent.model}/{parent.number}", f"{parent.model} version {parent.number}", "its parent"))
    return out or [("", "Not recorded", "pack it with its data, inside its git repository")]


def used_by(version: Version, children: Sequence[Version]) -> list[tuple[str, str, str]]:
    """List who uses a version: address, name, a line about it."""
    out = []
    for name, variant, weight in version.serves:
        share = f", {percent(weight / BASIS)}" if weight else ", in shadow"
        out.append((f"/endpoints/{name}", f"Endpoint {name}", f"{variant}{share}"))
    out += [(f"/endpoints/{name}", f"Endpoint {name}", "ready for an instant rollback") for name in version.ready]
    out += [
        (f"/models/{child.model}/{child.number}", f"{child.model} version {child.number}", "made from it")
        for child in children
    ]
    return out or [("", "Nothing yet", "no endpoint and no later version")]


def packages(manifest: Manifest) -> list[tuple[str, str]]:
    """List the packages of the environment it was packed in, with their versions."""
    found = manifest.environment.get("packages")
    rows = found if isinstance(found, list) else []
    return sorted((str(p.get("name", "")), str(p.get("version", ""))) for p in rows if isinstance(p, dict))
