"""An endpoint with a real packed champion, labelled rows, and a command that trains."""

import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from shipway import bundle, ledger, pack, retrain
from shipway.bundle import BundleStore
from shipway.database import Database
from shipway.endpoint import EndpointSettings, SqlEndpoints
from shipway.registry import SqlRegistry
from shipway.retrain import jobs
from shipway.terms import Signal

NOW = 1_800_000_000.0
TRAIN = """
import os, sys
from pathlib import Path
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from shipway import pack

def train(data, target, out, champion, model, task):
    table = pq.read_table(data)
    rows = table.to_pandas()
    fitted = LogisticRegression().fit(rows.drop(columns=[target]), rows[target])
    assert Path(champion, "manifest.json").exists() and task == "binary"
    pack.pack(fitted, name=model, data=table, target=target, out=Path(out) / "packed", now=1.0)

if __name__ == "__main__":
    names = ("DATA", "TARGET", "OUT", "CHAMPION", "MODEL", "TASK")
    train(*(os.environ["SHIPWAY_" + name] for name in names))
    print("trained well")
"""


def labelled(seed, n, *, target="target"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = np.where(x[:, 0] + 0.5 * x[:, 1] + 0.3 * rng.normal(size=n) > 0, "yes", "no")
    return pa.table({"a": x[:, 0], "b": x[:, 1], target: y})


@pytest.fixture(scope="session")
def champion(tmp_path_factory):
    """A packed model, made once."""
    table = labelled(1, 600)
    frame = pd.DataFrame({"a": table["a"], "b": table["b"]})
    model = LogisticRegression().fit(frame, table["target"].to_numpy(zero_copy_only=False))
    folder = tmp_path_factory.mktemp("champion") / "bundle"
    pack.pack(model, name="churn", data=table, target="target", out=folder, now=0.0)
    return folder


class Rows:
    """A lake in memory: labelled rows, and since when they were asked for."""

    def __init__(self):
        self.rows = 500
        self.asked = []

    def training(self, project, endpoint, *, since=None, target="target"):
        assert (project, endpoint) == ("default", "churn")
        self.asked.append(since)
        return labelled(2, self.rows, target=target)


class House:
    def __init__(self, root: Path, champion: Path):
        self.root = root
        self.database = Database.open(f"sqlite:///{root}/shipway.db")
        self.database.migrate()
        self.bundles = BundleStore(root / "bundles")
        self.lake = Rows()
        self.script = root / "training.py"
        self.script.write_text(TRAIN)
        digest = self.bundles.add(champion)
        with self.database.transaction() as tx:
            SqlRegistry(tx).add_version("default", bundle.read(champion).manifest, digest, by="ann", now=NOW)

    def endpoint(self, command=None, *, auto=True, **options):
        """Make the endpoint with a command of this kind; `{python}` is the interpreter."""
        lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in options.items()]
        if "entry" not in options:
            lines.append(f"command = {msgspec.json.encode(command or ['{python}', str(self.script)]).decode()}")
        policy = "\n".join(["[retrain]", *lines])
        with self.database.transaction() as tx:
            settings = EndpointSettings(auto_retrain=auto)
            SqlEndpoints(tx).create(
                "default", "churn", "churn", 1, settings=settings, policies={"retrain": policy}, by="ann", now=NOW
            )

    def step(self, now, signals=(), **options):
        return retrain.step(self.database, self.lake, self.bundles, signals, now, **options)

    def jobs(self):
        with self.database.read() as tx:
            return jobs.jobs(tx, "default", "churn")

    def finish(self, now=NOW + 100, *, within_s=60.0):
        """Pass until the newest job has ended, in real time."""
        deadline = time.monotonic() + within_s
        while self.jobs()[0].state not in {"done", "failed"}:
            assert time.monotonic() < deadline, self.jobs()[0]
            time.sleep(0.05)
            now += 0.05
            self.step(now)
        return self.jobs()[0]

    def kinds(self):
        with self.database.read() as tx:
            return [e.kind for e in ledger.entries(tx)]

    def challenger(self):
        with self.database.read() as tx:
            found = SqlRegistry(tx).alias("default", "churn", "challenger")
        return found.version if found else None

    def signal(self, kind="drift", *, since=NOW - 60, at=NOW):
        return Signal(f"s-{kind}", "default", "churn", kind, since, at, "churn gets different rows", 12.0, 10.0)


@pytest.fixture
def house(tmp_path, champion):
    made = House(tmp_path, champion)
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def python():
    return sys.executable
