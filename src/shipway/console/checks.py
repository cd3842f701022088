"""Lay out a rollout: its steps, its checks with their evidence over time, whether the comparison is fair.

Pure: a rollout as read in, values for the template out. Every figure is one that the decision recorded;
nothing is estimated here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from shipway.console import draw, figures, plot
from shipway.console.charts import Chart
from shipway.console.figures import count, duration, percent, points, start, words
from shipway.console.sentences import ENDED, Says
from shipway.console.views import Endpoint, Rollout
from shipway.rollout.decide import Check
from shipway.rollout.policy import Policy, parse_policy
from shipway.rollout.policy import Step as Stage

TAGS = {
    "passed": ("Passed", "ok"),
    "undecided": ("Undecided", "wait"),
    "harmed": ("Harm proved", "bad"),
    "no_data": ("No data yet", "off"),
    "not_asked": ("No labels, not asked", "off"),
}
OUTCOMES = {
    "failure": "errors, timeouts, refused outputs and crashes; the champion answers the caller instead",
    "slower_than": "answers slower than the champion's own usual worst, frozen before the trial",
    "loss": "wrong answers, by the labels that have arrived",
}


@dataclass(frozen=True)
class Step:
    """One stage of a rollout."""

    cls: str
    lamp: str
    title: str
    text: str


@dataclass(frozen=True)
class Card:
    """One check of a rollout."""

    title: str
    tag: str
    role: str
    figure: str
    interval: str
    line: str
    means: str
    check: Check
    chart: Chart | None


def policy(rollout: Rollout) -> Policy:
    """Parse the policy a rollout runs under, as it was at its start."""
    return parse_policy(rollout.policy)


def _share(step: Stage) -> str:
    if step.kind == "shadow":
        return "Shadow"
    return percent(step.share) if step.kind == "canary" else "Promote"


def steps(rollout: Rollout, now: float) -> list[Step]:
    """Lay out the stages: done, now, to come."""
    out = []
    rolled_back = rollout.state == "rolled_back"
    for i, step in enumerate(policy(rollout).step):
        if rollout.state == "promoted" or i < rollout.step:
            out.append(Step("done", "ok", _share(step), "done"))
        elif i == rollout.step and rollout.open:
            out.append(Step("now", "wait", _share(step), f"for {duration(now - rollout.step_started_at)}"))
        elif i == rollout.step and rolled_back:
            out.append(Step("", "bad", _share(step), "rolled back here"))
        else:
            out.append(Step("", "off", _share(step), _until(step) if rollout.open else "not reached"))
    return out


def _until(step: Stage) -> str:
    if step.kind == "promote":
        return "answers everyone"
    if step.until == "pass":
        return "until it passes"
    parts = ([f"{count(step.hold_units)} requests"] if step.hold_units else []) + ([step.hold] if step.hold else [])
    return f"holds {words(parts)}"


def says(rollout: Rollout, endpoint: Endpoint) -> Says:
    """Say where the rollout stands and what happens next."""
    name = start(rollout.endpoint)
    if not rollout.open:
        how = ENDED.get(rollout.state, rollout.state)
        then = rollout.latest.sentence if rollout.latest is not None else ""
        new, served = f"Version {rollout.challenger}", rollout.endpoint
        if rollout.state == "promoted":
            return Says(f"{new} was promoted and answers {served}.", then)
        return Says(f"{new} of {served} was {how}; version {endpoint.champion} answers everyone.", then)
    step = policy(rollout).step[rollout.step]
    where = (
        f"{name} tries version {rollout.challenger} on copies of its requests"
        if step.kind == "shadow"
        else f"Version {rollout.challenger} answers {percent(step.share)} of requests to {rollout.endpoint}"
    )
    if rollout.latest is None:
        return Says(f"{where}. Nothing has been counted yet.", "The first decision follows the first requests.")
    if rollout.state == "paused":
        return Says(
            f"{where}. The rollout is paused by a person.", "It can still be rolled back by the evidence, or by you."
        )
    if rollout.state == "waiting":
        return Says(f"{where}. All that was asked is shown; it waits for your approval.", rollout.latest.sentence)
    passed = sum(c.verdict == "passed" for c in rollout.latest.checks)
    total = sum(c.verdict != "not_asked" for c in rollout.latest.checks)
    harm = any(c.verdict == "harmed" for c in rollout.latest.checks)
    calm = "" if harm else " No harm is proved in any check; if it is, all traffic returns within a second."
    return Says(f"{where}. {passed} of {total} checks have passed.", rollout.latest.sentence + calm)


def asked(rollout: Rollout | None) -> str:
    """Say what the running rollout of an endpoint waits for, "" if none runs."""
    if rollout is None or not rollout.open:
        return ""
    if rollout.latest is None:
        return "The rollout waits for its first requests."
    if rollout.state == "waiting":
        return f"{rollout.latest.sentence} It waits for your approval."
    return rollout.latest.sentence


MORE = re.compile(r"about ([\d,]+) more requests")


def more(lines: Sequence[str]) -> int | None:
    """Read off the rollout's own explanation how many more requests its slowest check needs.

    >>> more(["errors: 39 % of the evidence needed, about 1,200 more requests at the rates seen so far."])
    1200
    """
    return max((int(n.replace(",", "")) for line in lines for n in MORE.findall(line)), default=None)


def nearest(rollout: Rollout | None) -> Check | None:
    """Choose the check that a rollout waits for: the undecided one with the least evidence."""
    if rollout is None or rollout.latest is None:
        return None
    waiting = [c for c in rollout.latest.checks if c.verdict == "undecided"]
    return min(waiting, key=lambda c: c.log_e_margin / c.bar_margin, default=None)


def cards(rollout: Rollout, lines: Sequence[str]) -> list[Card]:
    """Lay out every check of the newest decision, with the line that the rollout explains it by."""
    if rollout.latest is None:
        return []
    rules = {g.name: g for g in policy(rollout).guardrail}
    out = []
    for check, line in zip(rollout.latest.checks, lines, strict=True):
        tag, role = TAGS[check.verdict]
        interval = _interval(check) if check.estimate is not None else ""
        rule = rules.get(check.name)
        out.append(
            Card(
                title=start(check.name.replace("_", " ")),
                tag=tag,
                role=role,
                figure=points(check.estimate) if check.estimate is not None else figures.NOTHING,
                interval=interval or "no units yet",
                line=start(line.removeprefix(f"{check.name}: ")),
                means=OUTCOMES[rule.outcome] if rule is not None else "",
                check=check,
                chart=_band(rollout, check, role),
            )
        )
    return out


def _interval(check: Check) -> str:
    """Write the bounds of the difference; each comes from evidence of its own, so that they may contradict."""
    if check.low <= check.high:
        return f"points, {points(check.low)} to {points(check.high)}"
    return f"points over all; at times below {points(check.high)}, at others above {points(check.low)}"


def _past(rollout: Rollout, name: str) -> list[tuple[float, dict[str, Any]]]:
    """Find the points of one check that have an interval."""
    found = [(float(point["at"]), point["checks"].get(name)) for point in rollout.history]
    return [(at, check) for at, check in found if check is not None and check["estimate"] is not None]


def _band(rollout: Rollout, check: Check, role: str) -> Chart | None:
    past = _past(rollout, check.name)
    if len(past) < 2:
        return None
    axes = plot.Axes(
        (past[0][0], past[-1][0]), _reach(check, past), lambda y: f"{100 * y:+.3g}" if y else "", height=170, inset=0.1
    )
    low, high = sorted((check.low, check.high))
    between = f"between {points(low)} and {points(high)} points; margin {points(check.margin)} points"
    versions = f"version {rollout.challenger} minus version {rollout.champion}"
    bounds = [(at, min(c["low"], c["high"]), max(c["low"], c["high"])) for at, c in past]
    band = plot.Band(bounds, role if role in ("ok", "bad") else "wait")
    limits = [plot.Limit(0.0, "no difference", zero=True), plot.Limit(check.margin, f"margin {points(check.margin)}")]
    svg = plot.chart(axes, f"{check.name}: {versions}, {between}", bands=[band], limits=limits)
    chosen = past if len(past) <= 12 else [past[round(i * (len(past) - 1) / 11)] for i in range(12)]
    rows = tuple(
        (
            Markup('<time datetime="{}">{}</time>').format(figures.iso(at), figures.clock(at, past[-1][0])),
            points(min(c["low"], c["high"])),
            points(max(c["low"], c["high"])),
            draw.evidence(float(c["harm"]) * check.bar_harm),
            draw.evidence(float(c["margin"]) * check.bar_margin),
        )
        for at, c in chosen
    )
    return Chart(
        f"{start(check.name)}: {versions} over time",
        svg,
        ("Time", "Lower, points", "Upper, points", "For rollback", "For promotion"),
        rows,
    )


def _reach(check: Check, past: Sequence[tuple[float, dict[str, Any]]]) -> tuple[float, float]:
    """Choose what the picture spans: both lines and the newest bounds; the wide ones of the start are cut off."""
    recent = past[len(past) // 2 :]
    inside = [0.0, check.margin, *(float(c[key]) for _, c in recent for key in ("low", "high"))]
    low, high = min(inside), max(inside)
    room = 0.18 * max(high - low, 0.002)
    return low - room, high + room


def fair(rollout: Rollout, obeyed: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Say whether the two versions can be compared: lamp, name, sentence."""
    latest = rollout.latest
    if latest is None:
        return [("off", "Split", "nothing has been counted yet"), (obeyed[0], "Servers", obeyed[1])]
    off = latest.log_e_ratio >= latest.bar_ratio
    weighed = f"evidence of the contrary {draw.evidence(latest.log_e_ratio)}, bar {draw.evidence(latest.bar_ratio)}"
    reach = "do not reach" if off else "reach"
    split = f"requests and labels {reach} the two versions in the shares that were asked for ({weighed})"
    lamps = [("bad" if off else "ok", "Split", split), (obeyed[0], "Servers", obeyed[1])]
    for check in latest.checks:
        if check.obstacle:
            lamps.append(("wait", start(check.name), check.obstacle))
        elif check.verdict == "not_asked":
            lamps.append(("off", start(check.name), "no labels have arrived; a pass is asked for only once they do"))
    return lamps


def cost(rollout: Rollout) -> list[tuple[str, str, str]]:
    """Say what the trial has cost callers: what, of the challenger, what the champion would have had."""
    if rollout.latest is None:
        return []
    rows = [("Requests it has seen", count(rollout.latest.challenger_units), "the same")]
    for check in rollout.latest.checks:
        if check.challenger and check.champion:
            expected = check.champion_bad / check.champion * check.challenger
            rows.append((start(check.name), count(check.challenger_bad), f"{figures.number(expected, 2)} expected"))
    return rows


def buttons(rollout: Rollout) -> list[tuple[str, str, str]]:
    """Offer what may be done now: address, word, class."""
    if not rollout.open:
        return []
    at = f"/rollouts/{rollout.id}"
    out = [(f"{at}/resume", "Resume", "")] if rollout.state == "paused" else [(f"{at}/pause", "Pause", "")]
    out.append(
        (f"{at}/approve", "Approve", "main") if rollout.state == "waiting" else (f"{at}/promote", "Promote now", "")
    )
    return [*out, (f"{at}/rollback", "Roll back now", "stop")]
