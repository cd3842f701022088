"""The form that asks an endpoint: made from its signature, answered by a real server, labelled by the reader."""

import re
import sys
import time
from pathlib import Path

import msgspec
import pytest

from shipway import bundle, rollout
from shipway.bundle import BundleStore
from shipway.console import session
from shipway.database import Database, schema
from shipway.endpoint import EndpointSettings
from shipway.registry import SqlRegistry
from shipway.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))  # a real server and a tiny bundle for it

from serve_scenes import Home, Server, champion, route


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server that answers as the endpoint `toy`."""
    home = Home(tmp_path_factory.mktemp("serving"))
    digest = home.bundle()
    home.publish(route(champion(digest)))
    server = Server(home).wait()
    yield home.folder, digest, server.port
    server.kill()
    server.log.close()


@pytest.fixture
def platform(served, storyteller):
    """A control plane beside that server, which knows the same bundle."""
    folder, digest, port = served
    (folder / "shipway.db").unlink(missing_ok=True)
    settings = Settings(home=folder, server_port=port)
    database = Database.open(settings.metadata_url)
    database.migrate()
    made = storyteller[1](settings, database, time.time)  # the server names events by the real clock
    with database.transaction() as tx:
        manifest = bundle.read(BundleStore(settings.bundles).path(digest)).manifest
        registry = SqlRegistry(tx)
        registry.add_version("default", manifest, digest, by="mia", now=1.0)
        row = registry.version("default", "toy", 1)
        rollout.deploy(
            tx, project="default", endpoint="toy", version_row=row, settings=EndpointSettings(require_gate=False),
            policies={}, actor="mia", now=2.0,
        )  # fmt: skip
    yield made
    database.close()


@pytest.fixture
def reader(app, platform, browse):
    """A browser with a session by the real clock."""
    client = browse(app, origin="http://127.0.0.1:8787")
    secret = session.key(platform.settings.home)
    opened = session.Session("mia", "default", platform.clock() + 600)
    client.cookies.set(session.cookie_name(secret), session.seal(secret, opened))
    return client


def test_form_has_a_field_for_each_column_with_a_row_of_the_bundle_in_it(reader):
    first, second = reader.get("/endpoints/toy/try").text, reader.get("/endpoints/toy/try?example=1").text

    assert re.search(r'<label for="c0">x</label>\s*<input id="c0" name="c0" value="1"', first)
    assert re.search(r'<label for="c1">y</label>\s*<input id="c1" name="c1" value="-1"', second)
    assert "Example 1 of 2" in first
    assert "Example 2 of 2" in second


def test_question_is_answered_by_the_data_plane_with_an_event_to_label(reader, platform):
    page = reader.post("/endpoints/toy/try", {"example": "0", "c0": "3.5", "c1": "2"}).text

    said = re.search(r"Version 1 says (yes|no), with a probability of [\d.]+ %\.", page)
    event = re.search(r'name="event" value="([0-9a-f]{32})"', page)
    assert said
    assert event
    assert 'value="3.5"' in page

    answer = reader.post("/endpoints/toy/label", {"event": event[1], "value": "yes"})

    assert answer.headers["location"] == "/endpoints/toy/try?done=labelled"
    with platform.database.read() as tx:
        labels = tx.execute(schema.label_inbox.select()).mappings().all()
    assert [(row["endpoint"], row["event"]) for row in labels] == [("toy", event[1])]


@pytest.mark.parametrize("wrong", ["seventeen", "nan", "1e999", "1,5"])
def test_value_that_is_no_number_is_refused_at_its_field_and_kept(reader, wrong):
    page = reader.post("/endpoints/toy/try", {"example": "0", "c0": wrong, "c1": "2"})

    assert page.status_code == 422
    assert f'value="{wrong}"' in page.text
    assert 'aria-describedby="c0-fault"' in page.text
    assert "Version 1 says" not in page.text


def test_missing_value_is_refused_where_the_model_was_not_made_for_it(reader):
    page = reader.post("/endpoints/toy/try", {"example": "0", "c0": "", "c1": "2"})

    assert "It may not be missing" in page.text


def test_label_that_is_no_class_is_refused(reader, platform):
    answer = reader.post("/endpoints/toy/label", {"event": "0" * 32, "value": "perhaps"})

    assert answer.status_code == 422
    with platform.database.read() as tx:
        assert tx.execute(schema.label_inbox.select()).all() == []


def test_server_that_does_not_answer_is_named_with_what_to_do(reader, platform):
    settings = msgspec.structs.replace(platform.settings, server_port=9)
    object.__setattr__(platform, "settings", settings)

    page = reader.post("/endpoints/toy/try", {"example": "0", "c0": "1", "c1": "2"}).text

    assert "Nothing listens at http://127.0.0.1:9." in page
    assert "shipway up" in page


def test_examples_that_are_not_what_was_packed_are_not_shown(reader, served):
    folder, digest, _ = served
    file = BundleStore(folder / "bundles").path(digest) / "reference/examples.json"
    packed = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(packed.replace(b"3.0", b"4.0"))
    try:
        page = reader.get("/endpoints/toy/try").text
    finally:
        file.write_bytes(packed)

    assert "Example 1" not in page
    assert "values in the middle of what it has seen" in page
