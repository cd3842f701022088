"""The `monitor`, `alert` and `retrain` commands."""

from pathlib import Path
from typing import Annotated

import typer

from shipway.cli.assignments import text
from shipway.cli.frame import PLATFORM, Answer, Session, command, group, table
from shipway.cli.wording import facts_text, monitor_text

app = group("Compare traffic with the reference.")
alert_app = group("Check that alerts arrive.")
retrain_app = group("Make a challenger from captured and labelled rows.")

Endpoint = Annotated[str, typer.Argument(help="Name of the endpoint.")]


@command(app, "compare")
def compare(
    session: Session,
    *,
    reference: Annotated[Path, typer.Argument(help="Rows as they were: CSV, Parquet or JSON lines.")],
    current: Annotated[Path, typer.Argument(help="Rows as they are now.")],
    policy: Annotated[
        Path | None, typer.Option(help="monitor.toml; by default the built-in one.", show_default=False)
    ] = None,
) -> Answer:
    """Compare two files column by column, without a server: 0 nothing changed, 1 something did."""
    from shipway import monitor

    with session.progress("comparing"):
        found = monitor.compare(reference, current, monitor.parse_policy(text(policy)) if policy else None)
    return Answer(found, str(found), 1 if found.changed else 0)


@command(app, "profile")
def profile(
    session: Session, data: Annotated[Path, typer.Argument(help="Rows: CSV, Parquet or JSON lines.")]
) -> Answer:
    """Show what the columns of a file hold: range, missing cells, levels."""
    from shipway import monitor

    with session.progress("counting"):
        found = monitor.profile(data)
    return Answer(found, str(found))


@command(app, "status", options=PLATFORM)
def status(session: Session, endpoint: Endpoint) -> Answer:
    """Show what the monitor knows about an endpoint, and the signals that are open."""
    value = session.client.monitor(endpoint)
    signals = value.pop("signals", [])
    raised = (
        table(["signal", "kind", "what"], [[s["id"], s["kind"], s["sentence"]] for s in signals])
        if signals
        else "no signal is open"
    )
    unknown = session.client.unknown_labels(endpoint)
    lost = f"\n{unknown['labels']:,} labels name events that never arrived; check the ids" if unknown["labels"] else ""
    text_ = f"{monitor_text(value)}{lost}\n\n{raised}".strip()
    return Answer({**value, "signals": signals, "unknown_labels": unknown}, text_)


@command(app, "explain", options=PLATFORM)
def explain(session: Session, signal: Annotated[str, typer.Argument(help="Id of a signal.")]) -> Answer:
    """Explain a signal: what changed, since when, how sure, what to do."""
    value = session.client.explain_signal(signal)
    return Answer(value, facts_text(value))


@command(alert_app, "test", options=PLATFORM)
def alert_test(session: Session, endpoint: Endpoint) -> Answer:
    """Send a test alert through every channel of an endpoint: 0 if all took it, 1 if not."""
    value = session.client.check_alerts(endpoint)
    rows = [[channel["target"], "arrived" if channel["ok"] else channel["error"]] for channel in value["channels"]]
    said = (
        table(["channel", "result"], rows)
        if rows
        else f"the endpoint has no webhook: shipway endpoint set {endpoint} webhooks=URL"
    )
    return Answer(value, said, 0 if rows and all(channel["ok"] for channel in value["channels"]) else 1)


@command(retrain_app, "run", options=PLATFORM)
def retrain_run(
    session: Session,
    *,
    endpoint: Endpoint,
    why: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
) -> Answer:
    """Retrain now, by the endpoint's retrain policy; the output becomes a challenger."""
    job = session.client.retrain(endpoint, why=why)
    return Answer({"id": job}, f"{job} is queued; follow it: shipway retrain status {endpoint}")


@command(retrain_app, "status", options=PLATFORM)
def retrain_status(
    session: Session,
    *,
    endpoint: Annotated[
        str, typer.Argument(metavar="[ENDPOINT]", help="Name of the endpoint; all without.", show_default=False)
    ] = "",
) -> Answer:
    """List retraining jobs, newest first."""
    jobs = session.client.jobs(endpoint or None)
    rows = [[job["id"], job["subject"], job["state"], job.get("sentence", "")] for job in jobs]
    said = table(["job", "endpoint", "state", "what"], rows) if rows else "no retraining yet"
    return Answer({"jobs": jobs}, said)


@command(retrain_app, "approve", options=PLATFORM)
def retrain_approve(session: Session, job: Annotated[str, typer.Argument(help="Id of a job.")]) -> Answer:
    """Let a proposed retraining run."""
    value = session.client.approve_job(job)
    return Answer(value, f"{job} is {value['state']}")
