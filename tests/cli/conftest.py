"""Run commands in this process against real files, and against a real control plane on a socket."""

import contextlib
import io
import json
import pickle
import threading
from dataclasses import dataclass
from functools import cached_property
from time import sleep
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import uvicorn
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shipway import access, settings
from shipway.api import create_app
from shipway.bundle import BundleStore
from shipway.cli import main
from shipway.database import Database
from shipway.lake import Lake

NOW = 1_800_000_000.0
ROWS = 400


class Platform(SimpleNamespace):
    """A platform whose lake is opened when a test first asks for it."""

    @cached_property
    def lake(self):
        return Lake.open(self.settings.catalog_url, self.settings.lake)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def shipway(tmp_path, monkeypatch):
    """Run one command line in an empty folder with a home of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("SHIPWAY_URL", "SHIPWAY_TOKEN", "SHIPWAY_CONFIG", "SHIPWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_CONTROL_PORT", "9")

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return Done(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A folder with what a user has: a model in a pickle, training rows, holdout rows."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(7)
    tenure, fee = rng.integers(0, 60, ROWS).astype(float), rng.normal(50, 15, ROWS).round(2)
    plan = rng.choice(["monthly", "yearly"], ROWS)
    score = 4 * (1.5 - 0.08 * tenure + 0.03 * (fee - 50) + np.where(plan == "monthly", 1.0, -0.5))
    left = np.where(score + rng.normal(0, 0.8, ROWS) > 0, "yes", "no")
    table = pd.DataFrame({"tenure": tenure, "fee": fee, "plan": plan, "left": left})
    train, holdout = table[:200], table[200:]
    train.to_csv(folder / "train.csv", index=False)
    holdout.to_csv(folder / "holdout.csv", index=False)
    holdout.to_parquet(folder / "holdout.parquet", index=False)
    (folder / "empty.csv").write_text("")
    for name, columns in {"model": ["tenure", "fee"], "poor": ["fee"]}.items():
        model = make_pipeline(
            ColumnTransformer([("n", StandardScaler(), columns), ("c", OneHotEncoder(), ["plan"])]),
            LogisticRegression(),
        )
        model.fit(train.drop(columns="left"), train["left"])
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
    return folder


@pytest.fixture(scope="session")
def packed(work):
    """Bundles of both models, made by the command itself."""
    for name, out in {"model": "good", "poor": "poor"}.items():
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = main([
                "pack", str(work / f"{name}.pkl"), "--data", str(work / "train.csv"),
                "--holdout", str(work / "holdout.csv"),
                "--target", "left", "--name", "churn", "--out", str(work / out),
            ])  # fmt: skip
        assert code == 0, said.getvalue()
    return work


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "shipway.db"
    database = Database.open(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path.read_bytes()


@pytest.fixture
def control(tmp_path, migrated):
    """A control plane on a socket, its context written where `shipway` looks for it."""
    loaded = settings.load({"HOME": str(tmp_path)}, None, home=tmp_path / "home")
    for folder in (loaded.home, loaded.bundles, loaded.incoming):
        folder.mkdir(parents=True)
    (loaded.home / "shipway.db").write_bytes(migrated)
    database = Database.open(loaded.metadata_url)
    with database.transaction() as tx:
        token = access.issue(tx, project="default", name="ann", role="admin", now=NOW, actor="t")
    platform = Platform(settings=loaded, database=database, bundles=BundleStore(loaded.bundles), clock=lambda: NOW)
    config = uvicorn.Config(create_app(platform), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.005)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    context = {"url": url, "token": token, "server": "http://127.0.0.1:9"}
    loaded.context_file.write_text(json.dumps(context))
    yield SimpleNamespace(platform=platform, url=url, token=token)
    server.should_exit = True
    thread.join()
    database.close()


@pytest.fixture
def deployed(shipway, control, packed):
    """The good bundle deployed as churn:1 at the endpoint churn, the poor one pushed as churn:2."""
    done = shipway("deploy", packed / "good", "--endpoint", "churn", "--wait", "0")
    assert done.code == 0, done.err + done.out
    assert shipway("push", packed / "poor").code == 0
    return control
