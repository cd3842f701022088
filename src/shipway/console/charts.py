"""Lay out what an endpoint and a version show: tiles, charts with their numbers, who answers, how to call it.

Pure: views in, values for templates out. Each chart carries the same numbers as a table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from shipway.console import draw, figures, plot
from shipway.console.figures import count, latency, number, percent, plural, rate
from shipway.console.traffic import Traffic
from shipway.console.views import Endpoint, Rollout, Version
from shipway.settings import Settings
from shipway.terms import BASIS, Column, Manifest

FRESH_S = 15.0
"""A server that was silent for longer is not counted as obeying."""


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
    if total and challenger is not None and not shadow:
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
    value, unit = rate(seen.per_second)
    rates = [y for _, y in seen.rates()]
    label = f"Requests a second over {figures.duration(seen.ends - seen.begins)}, now {value} {unit}"
    return Row(
        value, unit, draw.spark(rates, label, area=True), " ".join(latency(seen.overall[2])), bar, tuple(answers)
    )


def tiles(endpoint: Endpoint) -> list[Tile]:
    """Lay out the numbers of an endpoint."""
    seen = endpoint.traffic
    if seen is None:
        return []
    value, unit = rate(seen.per_second)
    p50, p95, p99 = (latency(value) for value in seen.overall)
    over = figures.duration(seen.ends - seen.begins)
    by_version = ", ".join(f"v{version} {count(n)}" for version, n in sorted(seen.failures.items()) if n)
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
        Tile("Answer time, p50", *p50, f"p95 {' '.join(p95)}"),
        Tile("Answer time, p99", *p99, "inside the server"),
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
    if seen is None or len(seen.requests) < 2:
        return []
    marks = [
        plot.Mark(r.started_at, f"v{r.challenger} begins") for r in past if seen.begins < r.started_at < seen.ends
    ][:2]
    return [_requests(endpoint, seen, marks), _speed(seen, marks)]


def _requests(endpoint: Endpoint, seen: Traffic, marks: Sequence[plot.Mark]) -> Chart:
    challenger = endpoint.variant("challenger")
    other = challenger.version if challenger is not None and challenger.mode == "answer" else None
    everyone = seen.rates()
    theirs = seen.rates(other) if other is not None else []
    top = max([y for _, y in everyone if y is not None] + [0.001]) * 1.1
    lines = [plot.Line(everyone, "champion", area=True)]
    caption = Markup('<b>Requests a second</b>, <span class="champion">all</span>')
    if other is not None:
        lines.append(plot.Line(theirs, "challenger", "bold"))
        caption += Markup(' and <span class="challenger">answered by version {}</span>').format(other)
    value, unit = rate(seen.per_second)
    svg = plot.chart(
        plot.Axes((seen.begins, seen.ends), (0.0, top), lambda y: number(y, 2)),
        f"Requests a second over {figures.duration(seen.ends - seen.begins)}, now {value} {unit}",
        lines=lines, marks=marks,
    )  # fmt: skip
    rows = []
    for i in _sampled(seen):
        cells: tuple[str | Markup, ...] = (_time(everyone[i][0], seen.ends), number(everyone[i][1]))
        rows.append((*cells, number(theirs[i][1])) if theirs else cells)
    heads = ("Time", "All a second", f"Version {other}") if theirs else ("Time", "All a second")
    return Chart(caption, svg, heads, tuple(rows))


def _speed(seen: Traffic, marks: Sequence[plot.Mark]) -> Chart:
    at = [x for x, _ in seen.rates()]
    curves = [
        [(x, None if q[k] is None else (q[k] or 0.0) / 1000) for x, q in zip(at, seen.quantiles, strict=True)]
        for k in range(3)
    ]
    top = max([y for curve in curves for _, y in curve if y is not None] + [0.001]) * 1.15
    lines = [
        plot.Line(curves[2], "champion", "bold", "p99"),
        plot.Line(curves[1], "champion", "", "p95"),
        plot.Line(curves[0], "champion", "thin", "p50"),
    ]
    words = ", ".join(
        f"{name} {' '.join(latency(value))}"
        for name, value in zip(("median", "95th percentile", "99th percentile"), seen.overall, strict=True)
    )
    svg = plot.chart(
        plot.Axes((seen.begins, seen.ends), (0.0, top), lambda y: f"{number(y, 2)} ms"),
        f"Answer time: {words}",
        lines=lines,
        marks=marks,
    )
    rows = tuple((_time(at[i], seen.ends), *(number(curves[k][i][1]) for k in range(3))) for i in _sampled(seen))
    return Chart(
        Markup("<b>Answer time</b> inside the server: half, 95 % and 99 % of answers are faster than"),
        svg,
        ("Time", "p50 ms", "p95 ms", "p99 ms"),
        rows,
    )


def obeyed(servers: Sequence[tuple[str, float, int, dict[str, Any]]], epoch: int, now: float) -> tuple[str, str]:
    """Say which servers obey the newest route table: a lamp and a sentence."""
    alive = [s for s in servers if now - s[1] < FRESH_S]
    if not servers:
        return "off", "no server has reported yet"
    obeying = sum(s[2] >= epoch for s in alive)
    lamp = "ok" if obeying == len(servers) else "wait" if alive else "bad"
    silent = len(servers) - len(alive)
    said = f"route table {epoch}, obeyed by {obeying} of {plural(len(servers), 'server')}"
    return lamp, f"{said}; {plural(silent, 'has', 'have')} been silent" if silent else said


def machine(
    settings: Settings, servers: Sequence[tuple[str, float, int, dict[str, Any]]], now: float
) -> list[tuple[str, str, str]]:
    """Say what runs on this machine: lamp, name, sentence."""
    alive = [s for s in servers if now - s[1] < FRESH_S]
    serving = (
        f"{plural(len(alive), 'server')} on port {settings.server_port}, no endpoint yet"
        if alive
        else "no server has reported yet; shipway serve starts one"
    )
    return [
        ("ok", "Control plane", f"answers on port {settings.control_port}"),
        ("ok" if alive else "wait", "Serving", serving),
        ("ok", "Storage", f"SQLite and files under {settings.home}"),
    ]


def call(endpoint: Endpoint, settings: Settings) -> str:
    """Write a command that asks the endpoint, with a value for every column."""
    example = {column.name: _example(column) for column in endpoint.manifest.signature.inputs[:40]}
    host = settings.server_host if settings.server_host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - a comparison, not a bind
    body = json.dumps({"rows": [example]}, ensure_ascii=False).replace("'", "'\\''")
    token = "" if endpoint.settings.public else ' \\\n  -H "Authorization: Bearer $SHIPWAY_TOKEN"'
    return f"curl -s http://{host}:{settings.server_port}/v2/models/{endpoint.name}/infer{token} \\\n  -d '{body}'"


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
            out.append((shown, number(value["value"]), between))
        elif isinstance(value, int | float):
            out.append((shown, number(value), "no interval"))
    return out


def version_tiles(version: Version) -> list[Tile]:
    """Lay out the numbers of a version."""
    manifest = version.manifest
    made = [Tile(name, value, "", between) for name, value, between in metrics(version)[:2]]
    lamp = {"pass": "ok", "fail": "bad", "undecided": "wait"}.get(version.verdict, "off")
    made.append(
        Tile(
            "Gate",
            version.verdict or "not judged",
            "",
            figures.utc(version.judged_at) if version.judged_at is not None else "shipway gate judges it",
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
    if parent is not None:
        out.append((f"/models/{parent.model}/{parent.number}", f"{parent.model} version {parent.number}", "its parent"))
    return out or [("", "Not recorded", "pack it with its data, inside its git repository")]


def used_by(version: Version, children: Sequence[Version]) -> list[tuple[str, str, str]]:
    """List who uses a version: address, name, a line about it."""
    out = []
    for name, variant, weight in version.serves:
        share = f", {percent(weight / BASIS)}" if weight else ", in shadow"
        out.append((f"/endpoints/{name}", f"Endpoint {name}", f"{variant}{share}"))
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
