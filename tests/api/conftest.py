"""A real platform in a temporary folder, and the API on it without a socket."""

import asyncio
import io
import shutil
import tarfile
from functools import cached_property
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shipway import access, pack, settings
from shipway.api import create_app
from shipway.bundle import BundleStore
from shipway.database import Database
from shipway.lake import Lake

NOW = 1_800_000_000.0


class Platform(SimpleNamespace):
    """A platform whose lake is opened when a test first asks for it."""

    @cached_property
    def lake(self):
        return Lake.open(self.settings.catalog_url, self.settings.lake)


class Caller:
    """Calls an ASGI application as a browser or a script would, with the headers of one principal."""

    def __init__(self, app, headers=None, url="http://127.0.0.1:8787"):
        self.app, self.headers, self.url = app, dict(headers or {}), url

    def request(self, method, path, **options):
        async def call():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.url) as client:
                return await client.request(method, path, headers=self.headers | options.pop("headers", {}), **options)

        return asyncio.run(call())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def patch(self, path, **options):
        return self.request("PATCH", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty database with all tables, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "shipway.db"
    database = Database.open(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def platform(tmp_path, migrated):
    loaded = settings.load({"HOME": str(tmp_path)}, None, home=tmp_path / "home")
    for folder in (loaded.home, loaded.bundles, loaded.incoming):
        folder.mkdir(parents=True)
    shutil.copy(migrated, loaded.home / "shipway.db")
    database = Database.open(loaded.metadata_url)
    yield Platform(settings=loaded, database=database, bundles=BundleStore(loaded.bundles), clock=lambda: NOW)
    database.close()


@pytest.fixture
def issue(platform):
    """Make a token and return the header that shows it."""

    def make(role, name="", *, endpoints=(), expires_at=None, project="default", now=NOW):
        named = name or f"a-{role}"
        with platform.database.transaction() as tx:
            secret = access.issue(
                tx,
                project=project,
                name=named,
                role=role,
                endpoints=endpoints,
                now=now,
                expires_at=expires_at,
                actor="t",
            )
        return {"authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def app(platform):
    return create_app(platform)


@pytest.fixture
def calling(app):
    """Make a caller of the API with these headers and this URL."""
    return lambda headers=None, url="http://127.0.0.1:8787": Caller(app, headers, url)


@pytest.fixture
def anonymous(calling):
    return calling()


@pytest.fixture
def api(calling, issue):
    """The API as an admin of the default project."""
    return calling(issue("admin", "ann"))


ROWS = 400


@pytest.fixture(scope="session")
def table():
    """Rows of a made-up customer table and who left."""
    rng = np.random.default_rng(7)
    tenure, fee = rng.integers(0, 60, ROWS).astype(float), rng.normal(50, 15, ROWS).round(2)
    plan = rng.choice(["monthly", "yearly"], ROWS)
    score = 1.5 - 0.08 * tenure + 0.03 * (fee - 50) + np.where(plan == "monthly", 1.0, -0.5)
    left = np.where(score + rng.normal(0, 0.8, ROWS) > 0, "yes", "no")
    return pd.DataFrame({"tenure": tenure, "fee": fee, "plan": plan, "left": left})


@pytest.fixture(scope="session")
def bundles(table, tmp_path_factory):
    """Two real bundles of one model: a good one and one that knows less."""
    folder = tmp_path_factory.mktemp("bundles")
    train, holdout = table[:250], table[250:]
    made = {}
    for name, columns in {"good": ["tenure", "fee"], "poor": ["fee"]}.items():
        model = make_pipeline(
            ColumnTransformer([("n", StandardScaler(), columns), ("c", OneHotEncoder(), ["plan"])]),
            LogisticRegression(),
        )
        model.fit(train.drop(columns="left"), train["left"])
        packed = pack.pack(
            model, name="churn", data=pa.Table.from_pandas(train), holdout=pa.Table.from_pandas(holdout),
            target="left", out=folder / name, now=NOW,
        )  # fmt: skip
        made[name] = packed.folder
    return made


@pytest.fixture
def upload(api):
    """Send a bundle folder as the client does; return the answer."""

    def send(folder):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                tar.add(path, path.relative_to(folder).as_posix())
        return api.put("/v1/bundles", content=raw.getvalue())

    return send


@pytest.fixture
def churn(api, upload, bundles):
    """The good bundle as churn:1 and the poor one as churn:2, both registered."""
    for folder in bundles.values():
        digest = upload(folder).json()["digest"]
        assert api.post("/v1/models/churn/versions", json={"digest": digest}).status_code == 201
    return api
