"""A console with a story in it: four endpoints in four states, made by the rooms' own functions."""

import asyncio
import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

import httpx
import msgspec
import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from shipway import access, console, ledger, rollout
from shipway.bundle import BundleStore
from shipway.console import session
from shipway.database import Database, schema
from shipway.endpoint import EndpointSettings
from shipway.monitor import decide as monitor_decide
from shipway.monitor.policy import default_policy as monitor_policy
from shipway.registry import SqlRegistry
from shipway.retrain import jobs
from shipway.rollout import rows
from shipway.rollout.decide import Assigned, Counts, Evidence, decide
from shipway.rollout.moves import set_split
from shipway.settings import Settings
from shipway.stats import profile
from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs
from shipway.stats.sequences import Baseline, Losses
from shipway.terms import Column, CountsReport, File, Manifest, RuntimeSpec, Signal, Signature, Task, Verdict

NOW = 1_795_183_800.0  # Friday 20 November 2026, 14:10 UTC
HOUR = 3600.0
URL = "http://127.0.0.1:8787"
INPUTS = (
    Column("tenure_months", "FP64", integral=True, low=0.0, high=240.0),
    Column("plan", "BYTES", levels=("monthly", "prepaid", "yearly")),
    Column("fee_eur", "FP64", nullable=True, low=0.0, high=250.0),
)
OUTPUTS = (Column("label", "BYTES"), Column("probability", "FP64", shape=(2,)))


@dataclass(frozen=True)
class Platform:
    """What pages need of the real platform, with a clock that stands still."""

    settings: Settings
    database: Database
    clock: object = field(default=lambda: NOW)

    @property
    def bundles(self):
        return BundleStore(self.settings.bundles)


def make_manifest(model: str, accuracy: float, **changes) -> Manifest:
    fields = {
        "format": 1,
        "model": model,
        "task": Task.BINARY,
        "signature": Signature(INPUTS, OUTPUTS, ("stays", "leaves")),
        "runtime": RuntimeSpec("onnx", "model/model.onnx", cost_us={"1": 6.1, "64": 80.0}, inline=True),
        "files": (
            File("model/model.onnx", "9c" * 32, 4_300_000, "application/octet-stream"),
            File("reference/profile.json", "3b" * 32, 21_000, "application/json"),
        ),
        "environment": {
            "python": "3.11.9",
            "packages": [{"name": "numpy", "version": "2.2.0"}, {"name": "scikit-learn", "version": "1.6.1"}],
        },
        "provenance": {
            "git": {"commit": "3f9d2c1" + "0" * 33, "dirty": False},
            "packed_at": "2026-11-18T13:00:00Z",
            "data": {"rows": 412_306, "columns": 4, "sha256": "7b" * 32},
            "holdout": {"rows": 96_184, "columns": 4, "sha256": "c2" * 32},
            "seed": 7,
        },
        "parity": {
            "rows": 4000,
            "edge_rows": 3000,
            "labels_changed": 0,
            "largest_difference": 2.2e-16,
            "tolerance": 1e-9,
            "compared_with": "the original HistGradientBoostingClassifier",
            "converter": "shipway",
            "refused": [],
        },
        "metrics": {"accuracy": {"value": accuracy, "low": accuracy - 0.006, "high": accuracy + 0.006}},
        "description": "Who will cancel within 7 days?",
    }
    return Manifest(**(fields | changes))


def register(tx, manifest: Manifest, verdict: Verdict | None = Verdict.PASS, *, ago: float = 48 * HOUR) -> int:
    registry = SqlRegistry(tx)
    digest = "sha256:" + f"{abs(hash((manifest.model, str(manifest.metrics)))):064x}"[-64:]
    number = registry.add_version("default", manifest, digest, by="mia", now=NOW - ago)
    if verdict is not None:
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "urn:shipway:gate:v1",
            "predicate": {
                "verdict": str(verdict),
                "sentence": f"{manifest.model} passes: 96184 rows (200 asked).",
                "rows": 96_184,
                "metrics": manifest.metrics,
                "checks": [{"kind": "rows", "metric": "rows", "verdict": "pass", "sentence": "96184 rows (200 asked)"}],
                "policy_digest": "sha256:" + "0f" * 32,
                "judged_at": NOW - ago + 60,
            },
        }
        registry.attach("default", digest, "gate", statement, verdict, NOW - ago + 60, by="gate")
    return number


def latencies(median_us: float, n: int) -> tuple[int, ...]:
    """Counts per bin, 4 an octave from 1 us, roughly lognormal."""
    middle = 4 * math.log2(median_us)
    weights = [math.exp(-(((i - middle) / 2.4) ** 2)) + (0.002 if 0 < i - middle < 12 else 0) for i in range(64)]
    return tuple(round(n * w / sum(weights)) for w in weights)


def serve(database: Database, endpoint: str, version: int, per_minute: float, median_us: float, **some) -> None:
    """Let an endpoint answer for some hours, more by day than by night, with `failures` once an hour."""
    made = []
    for ago in range(some.get("minutes", 1440)):
        minute = int(NOW // 60) - ago
        n = round(per_minute * (0.65 + 0.35 * math.cos((minute % 1440 - 780) / 1440 * 2 * math.pi)))
        bins = msgspec.json.encode(latencies(median_us, n)).decode()
        key = {"project": "default", "endpoint": endpoint, "minute": minute, "version": version}
        made.append(key | {"outcome": "ok", "n": n, "latency_us": bins})
        if some.get("failures") and ago % 60 == 5:
            made.append(key | {"outcome": "error", "n": some["failures"], "latency_us": "[]"})
    with database.transaction() as tx:
        tx.execute(insert(schema.endpoint_count), made)


def watch(database: Database, name: str, digest: str, *, drifted: bool) -> None:
    """Run the monitor's own decisions over forty windows of rows, the last three of them drifted."""
    draw = np.random.default_rng(7)

    def columns(n: int, *, moved: bool) -> dict[str, np.ndarray]:
        plans = ["monthly", "prepaid", "yearly"] + (["weekly"] if moved else [])
        fee = np.where(draw.random(n) < (0.12 if moved else 0.01), np.nan, draw.gamma(3.0, 13.0, n))
        return {
            "tenure_months": np.floor(draw.gamma(2.0, 30.0 if moved else 18.0, n)),
            "plan": np.array(draw.choice(plans, n), dtype=object),
            "fee_eur": fee,
        }

    signature = Signature(INPUTS, OUTPUTS, ("stays", "leaves"))
    reference = profile.make_reference(signature, columns(5000, moved=False))
    policy = monitor_policy()
    begins = NOW - 40 * HOUR
    baseline = Baseline(Losses(5000, (800,), 800.0))
    state = monitor_decide.begin(name, reference, policy, begins, baseline)
    findings = []
    window = profile.empty(reference)
    for hour in range(40):
        window = profile.count(reference, columns(800, moved=drifted and hour >= 37))
        wrong = 130 if not drifted or hour < 37 else 190
        state, found = monitor_decide.update(
            state, reference, window, policy, begins + (hour + 1) * HOUR, Losses(800, (wrong,), float(wrong))
        )
        findings += found
    summary = monitor_decide.summarise(state, reference, window, policy)
    with database.transaction() as tx:
        tx.execute(
            insert(schema.monitor_state).values(
                project="default",
                endpoint=name,
                digest=digest,
                policy_digest="",
                window=NOW,
                state=b"",
                summary=msgspec.json.encode(summary).decode(),
            )
        )
        for i, f in enumerate(f for f in findings if f.status == "raised"):
            told = (name, f.kind, f.sentence)
            raise_alarm(
                tx, f"{name}-{i}", told, f.since, columns=f.columns, log_e=f.log_e, bar=f.bar, details=f.details
            )


def raise_alarm(tx, key: str, signal: tuple[str, str, str], since: float, **changes) -> None:
    """Write an open signal; `signal` is its endpoint, kind and sentence."""
    endpoint, kind, sentence = signal
    acts = {
        k: changes.pop(k) for k in ("acknowledged_at", "acknowledged_by", "muted_until", "closed_at") if k in changes
    }
    fields = {
        "id": key, "project": "default", "endpoint": endpoint, "kind": kind, "since": since, "raised_at": since + HOUR,
        "sentence": sentence, "log_e": 9.5, "bar": 9.08, "actions": (f"shipway retrain run {endpoint}",),
    }  # fmt: skip
    made = Signal(**(fields | changes))
    body = {"body": msgspec.json.encode(made).decode(), "raised_at": made.raised_at}
    row = {"id": key, "project": "default", "endpoint": endpoint, "kind": kind}
    tx.execute(insert(schema.signal).values(**row, **body, **acts))


def try_out(database: Database, endpoint: str, version: int, *, until: int = 60) -> str:
    """Start a rollout and take it to its first canary step with an hour of evidence."""
    with database.transaction() as tx:
        row = SqlRegistry(tx).version("default", endpoint, version)
        text = rollout.DEFAULT_TOML.replace("share = 0.05", "share = 0.1")
        key = rollout.start(
            tx, project="default", endpoint=endpoint, challenger=row, policy_text=text, actor="mia", now=NOW - 2 * HOUR
        )
        trial = rows.trial(tx, key)
        policy = rollout.parse_policy(text)
        rows.change(tx, key, step=1, step_started_at=NOW - HOUR)
        set_split(tx, rows.trial(tx, key), policy.step[1], by="rollout", why="Passed the shadow step", now=NOW - HOUR)
        pairs = Pairs(worse=9, better=14, same=1977)
        for i in range(1, until + 1):
            n = 24 * i
            errors = Segment(
                0.1,
                challenger_bad=n // 400,
                challenger_good=n - n // 400,
                champion_bad=n // 50,
                champion_good=9 * n - n // 50,
            )
            slow = Segment(
                0.1,
                challenger_bad=n // 20,
                challenger_good=n - n // 20,
                champion_bad=9 * n // 20,
                champion_good=9 * n - 9 * n // 20,
            )
            evidence = Evidence(
                step=1, state="running", started_at=trial.started_at, step_started_at=NOW - HOUR,
                guardrails={
                    "errors": Counts(Pairs(same=2000), (errors,)),
                    "slow": Counts(segments=(slow,)),
                    "quality": Counts(pairs),
                },
                shadowed=2000, assigned=(Assigned(1000, n, 9 * n),), units_before=2000,
                last_unit_at=NOW - HOUR + 60 * i,
            )  # fmt: skip
            rows.note(tx, rows.trial(tx, key), decide(policy, evidence, NOW - HOUR + 60 * i))
        decision = {"action": "advance", "sentence": "Passed the shadow step."}
        payload = {"rollout": key, "endpoint": endpoint, "challenger": version, "decision": decision}
        ledger.append(
            tx, project="default", actor="rollout", kind="rollout.decided", subject=f"rollout:{key}", payload=payload,
            now=NOW - HOUR,
        )  # fmt: skip
    return key


@pytest.fixture
def platform(tmp_path):
    """An installation with nothing in it."""
    settings = Settings(home=tmp_path)
    database = Database.open(settings.metadata_url)
    database.migrate()
    yield Platform(settings, database)
    database.close()


@pytest.fixture
def token(platform):
    """An admin's token."""
    with platform.database.transaction() as tx:
        return access.issue(tx, project="default", name="mia", role="admin", now=NOW - 72 * HOUR, actor="shipway up")


def tell_story(platform) -> str:
    """Fill an installation: churn on trial, delivery drifted, fraud new, lead silent. Returns the rollout's id."""
    database = platform.database
    with database.transaction() as tx:
        for model, verdict in (
            ("churn", Verdict.PASS),
            ("delivery-eta", Verdict.PASS),
            ("fraud", Verdict.PASS),
            ("lead-score", Verdict.PASS),
        ):
            manifest = make_manifest(
                model, 0.842, description="" if model == "fraud" else f"What {model} answers, in one line"
            )
            number = register(tx, manifest, verdict)
            row = SqlRegistry(tx).version("default", model, number)
            rollout.deploy(
                tx,
                project="default",
                endpoint=model,
                version_row=row,
                settings=EndpointSettings(),
                policies={},
                actor="mia",
                now=NOW - 40 * HOUR,
            )
        register(tx, make_manifest("churn", 0.849), ago=3 * HOUR)
        register(tx, make_manifest("churn", 0.7), Verdict.FAIL, ago=2 * HOUR)
        digests = {m: SqlRegistry(tx).version("default", m, 1).digest for m in ("churn", "delivery-eta")}
        quiet = ("lead-score", "silence", "lead-score: no label for 37 hours")
        raise_alarm(tx, "lead-quiet", quiet, NOW - 37 * HOUR, acknowledged_at=NOW - HOUR, acknowledged_by="ines")
        past = ("churn", "drift", "churn gets different rows: fee_eur moved")
        raise_alarm(tx, "old", past, NOW - 30 * HOUR, closed_at=NOW - 24 * HOUR)
        why = "delivery-eta: 3 columns changed"
        jobs.create(tx, "default", "delivery-eta", "proposed", jobs.Body(why, "waits", "retrain"), NOW - HOUR)
        rollout.record_counts(tx, CountsReport(1, "local", {}, epoch=99), NOW - 1)
    serve(database, "churn", 1, 1440, 900.0, failures=1)
    serve(database, "churn", 2, 150, 950.0, minutes=60)
    serve(database, "delivery-eta", 1, 126, 1400.0)
    serve(database, "lead-score", 1, 3, 300.0)
    watch(database, "churn", digests["churn"], drifted=False)
    watch(database, "delivery-eta", digests["delivery-eta"], drifted=True)
    return try_out(database, "churn", 2)


@pytest.fixture(scope="session")
def told(tmp_path_factory):
    """The story told once: a database file to copy, and the id of its rollout."""
    settings = Settings(home=tmp_path_factory.mktemp("told"))
    database = Database.open(settings.metadata_url)
    database.migrate()
    key = tell_story(Platform(settings, database))
    database.close()
    return settings.home / "shipway.db", key


@pytest.fixture
def story(platform, told):
    """An installation with the whole story; the value is the id of its rollout."""
    source, key = told
    with closing(sqlite3.connect(source)) as master, closing(sqlite3.connect(platform.database.path)) as copy:
        master.backup(copy)
    return key


@pytest.fixture
def app(platform):
    made = FastAPI()
    console.mount(made, platform)
    return made


class Browser:
    """Sends requests to the application without a socket, and keeps cookies."""

    def __init__(self, app, **headers):
        self.app, self.headers, self.cookies = app, headers, httpx.Cookies()

    def request(self, method, path, *, headers=None, **content):
        async def send():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=URL, cookies=self.cookies) as client:
                answer = await client.request(method, path, headers={**self.headers, **(headers or {})}, **content)
                self.cookies = client.cookies
                return answer

        return asyncio.run(send())

    def get(self, path, **content):
        return self.request("GET", path, **content)

    def post(self, path, form=None, **content):
        return self.request("POST", path, data=form or {}, **content)


@pytest.fixture
def stranger(app):
    """A browser that nobody has signed in with."""
    return Browser(app)


@pytest.fixture
def reader(app, platform):
    """A browser with the owner's session."""
    client = Browser(app, origin=URL)
    secret = session.key(platform.settings.home)
    client.cookies.set(session.cookie_name(secret), session.seal(secret, session.Session("mia", "default", NOW + HOUR)))
    return client


@pytest.fixture(scope="session")
def storyteller():
    """What a longer-lived installation is made with: the story, and the platform's type."""
    return tell_story, Platform


@pytest.fixture(name="make_manifest")
def _make_manifest():
    return make_manifest


@pytest.fixture
def browse():
    """Open a browser on any application."""
    return Browser
