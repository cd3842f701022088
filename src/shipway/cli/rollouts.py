"""The `rollout` commands: plan, start, follow, steer, verify."""

from pathlib import Path
from time import sleep
from typing import Annotated

import typer

from shipway.cli.assignments import text
from shipway.cli.frame import PLATFORM, Answer, Session, command, group, table
from shipway.cli.shipping import CODES as CODES_OF_GATE
from shipway.cli.shipping import judged, registered
from shipway.cli.wording import plan_text, rollout_text
from shipway.errors import Missing

app = group("Move traffic to a challenger, one safe step at a time, and back.")

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help="Version to try.")]
Which = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Rollout id, or an endpoint for its newest rollout.")]
PolicyFile = Annotated[
    Path | None,
    typer.Option(help="rollout.toml; by default the endpoint's own, or the built-in one.", show_default=False),
]
Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]

CODES = {"promoted": 0, "rolled_back": 1, "superseded": 1}
"""Exit status by state at the end of a wait; one that awaits approval is undecided."""


def newest(session: Session, which: str) -> str:
    """Return the id of a rollout named by id or by endpoint.

    Raises:
        Missing: an endpoint of this name has had no rollout, and no rollout has this id.
    """
    found = session.client.rollouts()
    if any(row["id"] == which for row in found):
        return which
    own = [row for row in found if row["endpoint"] == which]
    if own:
        return str(own[0]["id"])
    if any(row["name"] == which for row in session.client.endpoints()):
        raise Missing(
            f"the endpoint {which} has had no rollout", fix=f"start one with `shipway rollout start {which} REF`"
        )
    raise Missing(
        f"{which[:60]!r} is neither a rollout nor an endpoint",
        fix="`shipway rollout status` lists the rollouts there are",
    )


@command(app, "plan", options=PLATFORM)
def plan(session: Session, endpoint: Endpoint, ref: Reference, policy: PolicyFile = None) -> Answer:
    """Say what starting a rollout would do and how long it may take, without starting it."""
    value = session.client.plan_rollout(endpoint, ref, policy=text(policy) if policy else None)
    return Answer(value, plan_text(value))


@command(app, "start", options=PLATFORM)
def start(
    session: Session,
    endpoint: Endpoint,
    bundle: Annotated[str, typer.Argument(metavar="REF|FOLDER", help="Version, or bundle folder.")],
    policy: PolicyFile = None,
) -> Answer:
    """Put a version on trial: shadow first, then a growing share, then everyone, each by evidence.

    A bundle folder is uploaded and registered first; a version that has not been judged is judged.
    """
    session.client.endpoint(endpoint)  # before anything is uploaded for an endpoint that is not there
    version = registered(session, bundle)
    named = f"{version['model']}:{version['version']}"
    judgement = judged(session, version, endpoint, {}, {})
    if judgement and judgement["verdict"] != "pass":
        value = {"started": False, "version": named, "gate": judgement}
        return Answer(value, f"not started\n  fix: see `shipway gate {named}`", CODES_OF_GATE[judgement["verdict"]])
    started = session.client.start_rollout(endpoint, named, policy=text(policy) if policy else None)
    value = session.client.rollout(started)
    return Answer(
        {**value, "id": started},
        f"{started}\n{value.get('sentence', '')}\n  follow it: shipway rollout status {endpoint}",
    )


@command(app, "status", options=PLATFORM)
def status(
    session: Session,
    *,
    which: Annotated[
        str,
        typer.Argument(metavar="[ROLLOUT]", help="Rollout id or endpoint; all rollouts without.", show_default=False),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it ends or awaits approval.")] = False,
) -> Answer:
    """Show where rollouts stand; with --wait the exit status is 0 promoted, 1 rolled back, 4 awaiting approval."""
    if not which:
        rows = session.client.rollouts()
        lines = [
            [
                r["id"],
                r["endpoint"],
                f"{r['champion']} -> {r['challenger']}",
                r["state"],
                r["sentence"],
            ]
            for r in rows
        ]
        return Answer(
            {"rollouts": rows},
            table(["rollout", "endpoint", "versions", "state", "why"], lines)
            if lines
            else "no rollouts yet: `shipway rollout start` begins one",
        )
    found = newest(session, which)
    value = session.client.rollout(found)
    told = ""
    while wait and value["state"] not in (*CODES, "waiting"):
        if value.get("sentence") != told:
            told = value.get("sentence", "")
            session.say(f"{value['state']}: {told}")
        sleep(1)
        value = session.client.rollout(found)
    return Answer(value, rollout_text(value), CODES.get(value["state"], 4) if wait else 0)


@command(app, "explain", options=PLATFORM)
def explain(session: Session, which: Which) -> Answer:
    """Explain why a rollout stands where it stands: every figure against its bar."""
    value = session.client.explain_rollout(newest(session, which))
    return Answer(value, rollout_text(value))


def _act(session: Session, which: str, action: str, why: str) -> Answer:
    value = session.client.act_on_rollout(newest(session, which), action, why=why)
    return Answer(value, f"{value['state']}: {value.get('sentence', '')}")


@command(app, "approve", options=PLATFORM)
def approve(session: Session, which: Which, why: Reason = "") -> Answer:
    """Let a rollout that awaits approval promote its challenger."""
    return _act(session, which, "approve", why)


@command(app, "promote", options=PLATFORM)
def promote(session: Session, which: Which, why: Reason = "") -> Answer:
    """Promote the challenger now, on your own responsibility; the ledger says so."""
    return _act(session, which, "promote", why)


@command(app, "rollback", options=PLATFORM)
def rollback(session: Session, which: Which, why: Reason = "") -> Answer:
    """Return all traffic to the champion now."""
    return _act(session, which, "rollback", why)


@command(app, "pause", options=PLATFORM)
def pause(session: Session, which: Which, why: Reason = "") -> Answer:
    """Keep shares as they are; a rollback by evidence stays armed."""
    return _act(session, which, "pause", why)


@command(app, "resume", options=PLATFORM)
def resume(session: Session, which: Which, why: Reason = "") -> Answer:
    """Go on after a pause."""
    return _act(session, which, "resume", why)


@command(app, "verify", options=PLATFORM)
def verify(session: Session, which: Which) -> Answer:
    """Recompute every decision of a rollout from the counts in the ledger: 0 if all agree, 1 if not."""
    value = session.client.verify_rollout(newest(session, which))
    return Answer(value, value["sentence"], 0 if value["ok"] else 1)
