"""The few decisions people take on a page: each asks once more, naming versions and traffic, then acts.

The question comes as a page of its own (GET), the order as a form (POST); both check what is still
possible, and the rooms' own functions decide whether it is done. None of it is undone by going back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, update
from starlette.responses import Response

from shipway import ledger
from shipway.console import read
from shipway.console.figures import percent
from shipway.console.views import Rollout
from shipway.console.visit import Visit
from shipway.database import schema
from shipway.errors import Conflict, Missing
from shipway.retrain import jobs as training
from shipway.rollout.deployment import rollback_endpoint
from shipway.rollout.run import approve, pause, promote, resume, rollback


@dataclass(frozen=True)
class Order:
    """One thing that may be ordered of a rollout."""

    button: str
    done: str
    act: Callable[..., Any]
    stop: bool = False


ORDERS = {
    "pause": Order("Pause", "paused", pause),
    "resume": Order("Resume", "resumed", resume),
    "approve": Order("Approve", "approved", approve),
    "promote": Order("Promote now", "promoted", promote, stop=True),
    "rollback": Order("Roll back now", "rolled-back", rollback, stop=True),
}


def on_rollout(visit: Visit) -> Response:
    """Pause, resume, approve, promote or roll back a rollout."""
    action, key = visit.path("action"), visit.path("id")
    order = ORDERS.get(action)
    if order is None:
        raise Missing(f"a rollout has no action {action[:40]!r}", fix="go back to its page and use its buttons")
    with visit.platform.database.read() as tx:
        found = read.rollout(tx, visit.project, key)
        sentence, lines = _question(tx, visit, found, action)
    if not found.open:
        raise Conflict(
            f"this rollout has already ended: {found.state.replace('_', ' ')}",
            fix="look at the endpoint's page for what runs now",
        )
    if not visit.posted:
        return visit.render(
            "confirm.html",
            title=order.button,
            sentence=sentence,
            lines=lines,
            button=order.button,
            back=f"/rollouts/{found.id}",
            stop=order.stop,
            ask="Why",
        )
    with visit.platform.database.transaction() as tx:
        order.act(tx, found.id, actor=visit.principal.name, now=visit.now, why=visit.form.get("why", "").strip()[:300])
    return visit.go(f"/rollouts/{found.id}", order.done)


def _question(tx: Connection, visit: Visit, found: Rollout, action: str) -> tuple[str, list[str]]:
    at = read.endpoint(tx, visit.project, found.endpoint, visit.now)
    challenger = at.variant("challenger")
    share = challenger.weight / 10_000 if challenger is not None else 0.0
    now_on = f"{percent(share)} of requests" if share else "copies of requests only"
    new, old, name = found.challenger, found.champion, found.endpoint
    if action == "rollback":
        return f"Roll back version {new} of {name}?", [
            f"Version {new} is on {now_on} now. Version {old} will answer everyone within a second; it is loaded.",
            "The trial ends. To try the version again, start another rollout.",
        ]
    if action == "promote":
        passed = sum(c.verdict == "passed" for c in found.latest.checks) if found.latest is not None else 0
        total = len(found.latest.checks) if found.latest is not None else 0
        return f"Promote version {new} of {name} now, ahead of its evidence?", [
            f"{passed} of {total} checks have passed. Version {new} is on {now_on} now and will answer everyone.",
            f"Version {old} stays ready, so that this can be taken back within a second.",
        ]
    if action == "approve":
        return f"Approve version {new} of {name}?", [
            found.latest.sentence if found.latest is not None else "",
            f"Version {new} will answer everyone; version {old} stays ready.",
        ]
    if action == "pause":
        return f"Pause the rollout of version {new} of {name}?", [
            f"Version {new} stays on {now_on}. Evidence goes on being collected, and proved harm still rolls it back."
        ]
    return f"Go on with the rollout of version {new} of {name}?", [f"Version {new} is on {now_on}."]


def roll_back_endpoint(visit: Visit) -> Response:
    """Return all traffic of an endpoint: to the champion while a version is on trial, else to the champion before."""
    name = visit.path("name")
    with visit.platform.database.read() as tx:
        found = read.endpoint(tx, visit.project, name, visit.now)
    trying = found.variant("challenger")
    if trying is None and found.previous is None:
        raise Conflict(
            f"{name} has no version to go back to: version {found.champion} is its first",
            fix="deploy another version with `shipway deploy`",
        )
    if not visit.posted:
        back = found.champion if trying is not None else found.previous
        leaving = trying.version if trying is not None else found.champion
        lines = [
            f"Version {back} will answer everyone within a second; it is loaded already.",
            f"Version {leaving} answers nobody from then on.",
        ]
        return visit.render(
            "confirm.html",
            title="Roll back",
            sentence=f"Roll {name} back to version {back}?",
            lines=lines,
            button="Roll back now",
            back=f"/endpoints/{name}",
            stop=True,
            ask="",
        )
    with visit.platform.database.transaction() as tx:
        rollback_endpoint(tx, visit.project, name, visit.principal.name, visit.now)
    return visit.go(f"/endpoints/{name}", "rolled-back")


def retrain(visit: Visit) -> Response:
    """Train a challenger on all labelled rows, by hand."""
    name = visit.path("name")
    with visit.platform.database.read() as tx:
        read.endpoint(tx, visit.project, name, visit.now)
    if not visit.posted:
        lines = [
            "The endpoint's own command is run on all captured rows whose label has arrived.",
            "What it makes is judged by the gate. It answers nobody before a rollout has shown that it is not worse.",
        ]
        return visit.render(
            "confirm.html", title="Retrain", sentence=f"Train a new version for {name}?", lines=lines, button="Retrain",
            back=f"/drift/{name}", stop=False, ask="Why",
        )  # fmt: skip
    why, by = visit.form.get("why", "").strip()[:300], visit.principal.name
    with visit.platform.database.transaction() as tx:
        training.request(tx, project=visit.project, endpoint=name, actor=by, why=why, now=visit.now)
    return visit.go(f"/endpoints/{name}", "retraining")


def approve_training(visit: Visit) -> Response:
    """Let a proposed training run."""
    with visit.platform.database.read() as tx:
        job = training.get(tx, visit.path("id"))
    if job.project != visit.project:
        raise Missing(f"there is no training {job.id}", fix="the endpoint's page lists them")
    if not visit.posted:
        return visit.render(
            "confirm.html", title="Retrain", sentence=f"Let the training for {job.endpoint} run?",
            lines=[job.body.why, "What it makes is judged by the gate and tried by a rollout before it answers."],
            button="Retrain", back=f"/endpoints/{job.endpoint}", stop=False, ask="",
        )  # fmt: skip
    with visit.platform.database.transaction() as tx:
        training.approve(tx, job.id, actor=visit.principal.name, now=visit.now)
    return visit.go(f"/endpoints/{job.endpoint}", "retraining")


def acknowledge(visit: Visit) -> Response:
    """Say that somebody looks after an alarm."""
    with visit.platform.database.read() as tx:
        found = read.alarm(tx, visit.project, visit.path("id"))
    if not visit.posted:
        return visit.render(
            "confirm.html", title="Acknowledge", sentence=f"Acknowledge the alarm on {found.signal.endpoint}?",
            lines=[found.signal.sentence, "It stays listed until its cause is gone; it only stops asking."],
            button="Acknowledge", back="/alerts", stop=False, ask="",
        )  # fmt: skip
    with visit.platform.database.transaction() as tx:
        values = {"acknowledged_at": visit.now, "acknowledged_by": visit.principal.name}
        tx.execute(update(schema.signal).where(schema.signal.c.id == found.signal.id).values(**values))
        subject = f"signal:{found.signal.id}"
        ledger.append(
            tx,
            project=visit.project,
            actor=visit.principal.name,
            kind="signal.acknowledged",
            subject=subject,
            payload=values,
            now=visit.now,
        )
    return visit.go("/alerts", "acknowledged")
