"""The whole story on real data: nine steps, each telling what happened with its figures.

Every step goes through the doors that users have: bundles are packed by `shipway.pack`, the platform is
spoken to by `shipway.client`, callers use HTTP. The story decides nothing; it waits for what the
platform decides and checks that it is what the step's name says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd

from shipway import pack
from shipway.demo import models
from shipway.demo.data import Data, records, to_arrow
from shipway.demo.patience import PatientClient
from shipway.demo.receiver import Receiver
from shipway.demo.traffic import Rows, Traffic
from shipway.errors import ShipwayError, Unavailable

ENDPOINT = "demo"
MODEL = "demo"
RATE = 500.0


@dataclass
class Step:
    """One line of the closing table."""

    name: str
    ok: bool = False
    detail: str = ""


@dataclass
class Story:
    """What the steps share."""

    data: Data
    client: PatientClient
    folder: Path
    traffic: Traffic
    receiver: Receiver
    say: Callable[[str], None]
    clock: Callable[[], float]
    steps: list[Step] = field(default_factory=list)
    drift_columns: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    """Which version is the `first`, `better`, `worse`, `crashing`, `retrained`."""
    ledger: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Tell one step; a failure of it is told in a sentence and does not end the others."""
        step = Step(name)
        self.steps.append(step)
        began = monotonic()
        self.say(f"\n{name}")
        try:
            yield step
        except ShipwayError as failure:
            step.ok, step.detail = False, str(failure)
            self.say(f"  {failure}\n  fix: {failure.fix}")
        self.say(f"  {'ok' if step.ok else 'NOT OK'} ({monotonic() - began:.1f} s): {step.detail}")

    def answered(self, which: str) -> int:
        """How many callers a version answered."""
        return self.traffic.tally.versions[f"{MODEL}:{self.versions[which]}"]


def policy(name: str, **values: str) -> str:
    """Read one of the demo's policy files and put this run's values in."""
    text = (resources.files("shipway.demo") / "policies" / f"{name}.toml").read_text()
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def pack_version(story: Story, which: str, model: Any, train: pd.DataFrame, holdout: pd.DataFrame) -> pack.Packed:  # noqa: ANN401 - whatever pack takes
    """Pack a model of the story into a bundle."""
    data = story.data
    return pack.pack(
        model,
        name=MODEL,
        data=to_arrow(train),
        holdout=to_arrow(holdout),
        target=data.target,
        task=data.task,
        out=story.folder / which,
        now=story.clock(),
        description=f"the demo's {which} version on {data.name}",
    )


def ship(story: Story, which: str, packed: pack.Packed) -> dict[str, Any]:
    """Upload, register and gate a bundle; returns the judgement."""
    digest = story.client.upload(packed.folder)
    story.versions[which] = story.client.register(MODEL, digest)
    judgement: dict[str, Any] = story.client.gate(MODEL, story.versions[which], policy=policy("gate"))
    story.say(f"  version {story.versions[which]} ({which}), gate {judgement['verdict']}: {judgement['sentence']}")
    return judgement


def wait_for_rollout(
    story: Story, rollout: str, until: Callable[[dict[str, Any]], bool], timeout_s: float
) -> dict[str, Any]:
    """Wait for a state of a rollout, telling each new sentence about a new step."""
    deadline = monotonic() + timeout_s
    told = ""
    while True:
        now: dict[str, Any] = story.client.rollout(rollout)
        where = f"{now['state']} {now.get('step')}"
        if where != told:
            told = where
            story.say(f"  {now.get('sentence', '')}")
        if until(now):
            return now
        if monotonic() > deadline:
            raise Unavailable(
                f"the rollout is {now.get('state', 'unknown')} after {timeout_s:.0f} s: {now.get('sentence', '')}",
                fix=f"shipway rollout explain {rollout}",
            )
        story.traffic.wait(lambda: False, 0.2)


def ended(now: dict[str, Any]) -> bool:
    """Whether a rollout has ended."""
    return now["state"] in ("promoted", "rolled_back", "superseded")


def begin(story: Story, webhook: str) -> None:
    """Steps pack, gate, deploy: the first model becomes an endpoint that answers."""
    data, say = story.data, story.say
    with story.step("pack") as step:
        model, column = models.first(data)
        packed = pack_version(story, "first", model, data.train, data.holdout)
        say(f"  a shallow tree on {column!r}, trained on {len(data.train):,} rows, held out {len(data.holdout):,}")
        for heading, cell in packed.report.table():
            say(f"  {heading:<13} {cell}")
        step.ok, step.detail = True, f"{packed.manifest.runtime.kind} bundle {packed.digest[:19]}"
    if not step.ok:
        return
    with story.step("gate") as step:
        judgement = ship(story, "first", packed)
        step.ok, step.detail = judgement["verdict"] == "pass", judgement["sentence"]
    with story.step("deploy") as step:
        policies = {
            "gate": policy("gate"),
            "rollout": policy("rollout"),
            "monitor": policy("monitor", WEBHOOK=webhook),
        }
        show(story, policies)
        story.client.deploy(
            ENDPOINT,
            f"{MODEL}:{story.versions['first']}",
            settings={"auto_promote": True},
            policies=policies,
        )
        answer = first_answer(story, records(data.stream.head(1)[data.features])[0])
        step.ok, step.detail = True, f"endpoint {ENDPOINT!r} answers: {answer}"


def show(story: Story, policies: dict[str, str]) -> None:
    """Print policy files as they are handed over."""
    for name, text in policies.items():
        story.say(f"  --- {name}.toml")
        for line in text.strip().splitlines():
            story.say(f"  | {line}")


def first_answer(story: Story, row: dict[str, Any]) -> str:
    """Ask until the server has the new endpoint."""
    deadline = monotonic() + 15
    while True:
        try:
            return str(story.client.predict(ENDPOINT, [row]).rows[0])
        except ShipwayError:
            if monotonic() > deadline:
                raise
        story.traffic.wait(lambda: False, 0.05)


def promote_better(story: Story) -> None:
    """A better version is shadowed, takes a share of callers, and is promoted by evidence."""
    data = story.data
    with story.step("promote_better") as step:
        model = models.fit(data.train, data.target, data.task)
        packed = pack_version(story, "better", model, data.train, data.holdout)
        ship(story, "better", packed)
        rollout = story.client.start_rollout(ENDPOINT, f"{MODEL}:{story.versions['better']}")
        last = wait_for_rollout(story, rollout, ended, 40)
        step.ok, step.detail = last["state"] == "promoted", last["sentence"]


def rollback_worse(story: Story) -> None:
    """A version that is worse only on live traffic is rolled back before it answers anyone."""
    with story.step("rollback_worse") as step:
        other = models.another_unit(story.data)
        story.say(f"  injected: trained and held out with {other.column!r} {other.change}; callers send the usual unit")
        packed = pack_version(story, "worse", other.model, other.train, other.holdout)
        judgement = ship(story, "worse", packed)
        rollout = story.client.start_rollout(ENDPOINT, f"{MODEL}:{story.versions['worse']}")
        last = wait_for_rollout(story, rollout, ended, 25)
        callers = story.answered("worse")
        step.ok = last["state"] == "rolled_back" and judgement["verdict"] == "pass"
        step.detail = f"{last['sentence']} It answered {callers} callers."


def survive_crashing(story: Story) -> None:
    """A version whose graph raises on values that come only once it answers: callers notice nothing."""
    data = story.data
    with story.step("survive_crashing") as step:
        model = models.fit(data.train, data.target, data.task)
        converted = pack.convert(model, to_arrow(data.train), target=data.target, task=data.task)
        crash = models.crash(data, converted.encoding)
        graph = models.with_crash(converted.graph, position=crash.position, test=crash.test, bound=crash.bound)
        packed = pack_version(
            story, "crashing", pack.OnnxModel(graph, encoding=converted.encoding), data.train, data.holdout
        )
        ship(story, "crashing", packed)
        rollout = story.client.start_rollout(ENDPOINT, f"{MODEL}:{story.versions['crashing']}")
        before = story.traffic.tally.failed
        now = wait_for_rollout(story, rollout, lambda now: ended(now) or now["kind"] == "canary", 30)
        if ended(now):
            step.detail = f"it never answered callers: {now['sentence']}"
            return
        ordinary = story.traffic.rows
        rows = data.stream.sample(1000, replace=True, random_state=1).reset_index(drop=True)
        beyond = rows[data.features].copy()
        beyond.loc[beyond.index % 5 == 0, crash.column] = crash.cell
        story.say(f"  injected: in one row of five {crash}, where the graph raises")
        story.traffic.rows = Rows.of(records(beyond), rows[data.target].tolist())
        last = wait_for_rollout(story, rollout, ended, 25)
        story.traffic.rows = ordinary
        failed = story.traffic.tally.failed - before
        step.ok = last["state"] == "rolled_back" and failed == 0
        step.detail = f"{last['sentence']} {failed} requests failed; the champion answered in the same request."


def drift_and_retrain(story: Story) -> None:
    """Two columns drift, an alert goes out, a retrained version passes gate and rollout and is promoted."""
    data, client = story.data, story.client
    with story.step("detect_drift") as step:
        drift = models.drift(data)
        drifted = drift.apply(data.stream)
        story.say(f"  injected: {drift}")
        story.traffic.rows = Rows.of(
            records(drifted[data.features]), drifted[data.target].tolist(), ordered=data.ordered
        )
        wanted = set(drift.columns)

        def named() -> list[str]:
            return [
                column
                for signal in client.signals(ENDPOINT)
                if signal["kind"] == "drift"
                for column in signal["columns"]
            ]

        def alerted() -> bool:
            return any(wanted <= set(message.get("columns", ())) for message in story.receiver.messages)

        found = story.traffic.wait(lambda: wanted <= set(named()), 25) and story.traffic.wait(alerted, 10)
        story.drift_columns = list(dict.fromkeys(named()))
        for signal in client.signals(ENDPOINT):
            story.say(f"  {signal['sentence']}")
        step.ok = found
        alerts = len(story.receiver.messages)
        step.detail = f"named {', '.join(story.drift_columns) or 'nothing'}; {alerts} alerts reached the webhook"
    with story.step("retrain") as step:
        policies = {"retrain": policy("retrain")}
        show(story, policies)
        story.say("  automatic retraining is switched on")
        client.set_endpoint(ENDPOINT, settings={"auto_retrain": True}, policies=policies)
        step.ok, step.detail = _retrained(story)


def _retrained(story: Story) -> tuple[bool, str]:
    client = story.client
    deadline = monotonic() + 45
    job: dict[str, Any] = {}
    while monotonic() < deadline:
        jobs = client.jobs(ENDPOINT)
        job = jobs[0] if jobs else {}
        if job.get("state") in ("done", "failed"):
            break
        story.traffic.wait(lambda: False, 0.2)
    if job.get("state") != "done":
        return False, f"the retraining is {job.get('state', 'not started')}: {job.get('sentence', '')}"
    story.say(f"  {job.get('sentence', 'retrained')}")
    story.versions["retrained"] = int(job["version"])
    while monotonic() < deadline:
        running = [r for r in client.rollouts(ENDPOINT) if r["challenger"] == story.versions["retrained"]]
        if running:
            last = wait_for_rollout(story, running[0]["id"], ended, max(5.0, deadline - monotonic()))
            return last["state"] == "promoted", last["sentence"]
        story.traffic.wait(lambda: False, 0.2)
    return False, "no rollout of the retrained version began"


def verify(story: Story) -> None:
    """The ledger verifies and every decision recomputes."""
    client = story.client
    with story.step("verify_ledger") as step:
        story.ledger = client.verify_ledger()
        checks = [client.verify_rollout(rollout["id"]) for rollout in client.rollouts(ENDPOINT)]
        decisions = sum(check["decisions"] for check in checks)
        step.ok = bool(story.ledger["ok"]) and all(check["ok"] for check in checks)
        step.detail = (
            f"{story.ledger['entries']} entries, chain whole; "
            f"{decisions} decisions of {len(checks)} rollouts recomputed"
        )


def tell(story: Story, webhook: str) -> None:
    """Run all steps in order; traffic flows from the first deployment on."""
    data = story.data
    begin(story, webhook)
    if not all(step.ok for step in story.steps):
        return
    story.traffic.rows = Rows.of(
        records(data.stream[data.features]), data.stream[data.target].tolist(), ordered=data.ordered
    )
    with story.traffic:
        story.say(
            f"\ntraffic: {RATE:.0f} requests a second from {len(data.stream):,} rows that no model has seen; "
            "labels follow 0.4 s later"
        )
        promote_better(story)
        rollback_worse(story)
        survive_crashing(story)
        drift_and_retrain(story)
    verify(story)
