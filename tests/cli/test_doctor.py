import http.server
import json
import socket
import threading
import time

import pytest
from sqlalchemy import text


def named(done):
    return {check["name"]: check for check in done.json["checks"]}


@pytest.fixture
def ports(monkeypatch):
    """Ports that are free, named in the environment."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    numbers = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    for variable, number in zip(("CONTROL", "SERVER", "ADMIN"), numbers, strict=True):
        monkeypatch.setenv(f"SHIPWAY_{variable}_PORT", str(number))
    return numbers


@pytest.mark.usefixtures("ports")
def test_a_fresh_machine_is_well(shipway, tmp_path):
    done = shipway("doctor", "--json")

    assert done.json["state"] in ("ok", "warn")
    assert {"python", "packages", "home", "disk", "control port", "database"} <= set(named(done))
    assert not (tmp_path / "home").exists(), "a doctor looks and changes nothing"


def test_a_port_that_something_else_uses_is_named(shipway, ports):
    with socket.create_server(("127.0.0.1", ports[1])):
        done = shipway("doctor", "--json")

    check = named(done)["server port"]
    assert done.code == 3
    assert check["state"] == "fail"
    assert str(ports[1]) in check["evidence"]
    assert "SHIPWAY_SERVER_PORT" in check["fix"]


@pytest.mark.usefixtures("ports")
def test_a_port_of_ours_is_well(shipway, control, monkeypatch):
    monkeypatch.setenv("SHIPWAY_CONTROL_PORT", control.url.rsplit(":", 1)[1])

    done = shipway("doctor", "--json")

    assert named(done)["control port"]["state"] == "ok"
    assert "used by Shipway" in named(done)["control port"]["evidence"]
    assert named(done)["ledger"]["state"] == "ok"


@pytest.mark.usefixtures("ports")
def test_an_edited_ledger_is_found(shipway, control):
    with control.platform.database.transaction() as tx:
        for (trigger,) in tx.execute(
            text("select name from sqlite_master where type = 'trigger' and tbl_name = 'ledger'")
        ).all():
            tx.execute(text(f"drop trigger {trigger}"))
        tx.execute(text("update ledger set actor = 'nobody' where seq = 1"))

    done = shipway("doctor", "--json")

    assert done.code == 3
    assert named(done)["ledger"]["state"] == "fail"
    assert "entry 1" in named(done)["ledger"]["evidence"]


@pytest.mark.usefixtures("ports")
def test_what_is_no_database_is_found_and_left_as_it_is(shipway, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "shipway.db").write_text("not a database, and long enough to be read as one" * 20)

    done = shipway("doctor", "--json")

    assert done.code == 3
    assert named(done)["database"]["state"] == "fail"
    assert named(done)["database"]["fix"]


@pytest.mark.usefixtures("ports")
def test_a_home_that_cannot_be_made_is_found(shipway, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "file" / "home"))

    done = shipway("doctor")

    assert done.code == 3
    assert "not writable" in done.out


@pytest.mark.usefixtures("ports")
@pytest.mark.parametrize(("age_s", "state"), [(1.0, "ok"), (60.0, "warn")])
def test_a_server_may_lag_behind_a_table_that_was_just_made_and_not_behind_an_older_one(shipway, control, age_s, state):
    with control.platform.database.transaction() as tx:
        tx.execute(
            text("insert into server (name, seen_at, epoch, health) values ('here', :now, 0, '{}')"),
            {"now": time.time()},
        )
        tx.execute(
            text("insert into route (epoch, issued_at, body) values (9, :at, '{}')"), {"at": time.time() - age_s}
        )

    assert named(shipway("doctor", "--json"))["server here"]["state"] == state


@pytest.mark.usefixtures("ports")
def test_a_server_that_fell_silent_is_named(shipway, control):
    with control.platform.database.transaction() as tx:
        tx.execute(text("insert into server (name, seen_at, epoch, health) values ('here', 1.0, 0, '{}')"))

    done = shipway("doctor", "--json")

    assert named(done)["server here"]["state"] == "warn"
    assert "ago" in named(done)["server here"]["evidence"]


@pytest.mark.usefixtures("ports")
def test_a_port_that_another_installation_uses_is_not_called_well(shipway, control, monkeypatch, tmp_path):
    monkeypatch.setenv("SHIPWAY_CONTROL_PORT", control.url.rsplit(":", 1)[1])
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "another"))

    check = named(shipway("doctor", "--json"))["control port"]

    assert check["state"] == "fail"
    assert "another home" in check["evidence"]
    assert "SHIPWAY_HOME" in check["fix"]


@pytest.mark.usefixtures("ports", "deployed")
def test_a_changed_bundle_is_found(shipway, control):
    sound = shipway("doctor", "--json")
    (digest, *_) = control.platform.bundles.digests()
    (control.platform.bundles.path(digest) / "model" / "model.onnx").write_bytes(b"rot")

    done = shipway("doctor", "--json")

    assert "byte for byte" in named(sound)["bundles"]["evidence"]
    assert done.code == 3
    assert "is not what was packed: model/model.onnx" in named(done)["bundle"]["evidence"]
    assert "push" in named(done)["bundle"]["fix"]


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        ({"capture_stopped": "disk_full"}, "captures nothing now: disk_full"),
        ({"workers": 0}, "0 of 1 workers answer"),
        ({"problems": {"churn": "it is not what was packed"}}, "churn: it is not what was packed"),
        ({"shadow": {"problems": {"churn": "it cannot be shadowed"}}}, "churn: it cannot be shadowed"),
    ],
)
def test_a_server_in_trouble_is_asked_past_the_control_plane(shipway, tmp_path, change, evidence):
    health = {"workers": 1, "wanted": 1, "capture_stopped": "", "problems": {}, "shadow": {}, **change}
    body = json.dumps({"server": "here", "health": health}).encode()

    class Admin(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Admin) as admin:
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        folder = tmp_path / "home" / "servers" / "here"
        folder.mkdir(parents=True)
        (folder / "address.json").write_text(json.dumps({"port": 1, "admin_port": admin.server_port}))
        done = shipway("doctor", "--json")
        admin.shutdown()

    found = [check for check in done.json["checks"] if check["name"] == "server here"]
    assert [evidence in check["evidence"] and bool(check["fix"]) for check in found] == [True]
    assert done.code == 3
