import json

import pytest

from shipway import settings
from shipway.client import Client, connect, context
from shipway.errors import Broken


def loaded(home, **env):
    return settings.load({"HOME": str(home), "SHIPWAY_HOME": str(home), **env}, None)


def test_the_context_file_says_whom_to_talk_to(tmp_path):
    (tmp_path / "context.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "sw_file"}))

    found = context(loaded(tmp_path))

    assert (found.url, found.token) == ("http://127.0.0.1:9", "sw_file")


def test_without_a_context_the_default_ports_are_asked(tmp_path):
    found = context(loaded(tmp_path, SHIPWAY_CONTROL_HOST="0.0.0.0", SHIPWAY_CONTROL_PORT="1234"))

    assert (found.url, found.token) == ("http://127.0.0.1:1234", "")


def test_the_environment_wins_over_the_file(tmp_path):
    (tmp_path / "context.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "sw_file"}))

    found = context(loaded(tmp_path, SHIPWAY_URL="http://10.0.0.1:1", SHIPWAY_TOKEN="sw_env"))

    assert (found.url, found.token) == ("http://10.0.0.1:1", "sw_env")


def test_the_token_on_file_is_not_sent_to_another_host(tmp_path):
    (tmp_path / "context.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "sw_file"}))

    assert context(loaded(tmp_path, SHIPWAY_URL="http://evil.example:9")).token == ""
    with connect(loaded(tmp_path), url="http://evil.example:9") as client:
        assert client._token == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "x"}', '{"url": 3}'])
def test_a_broken_context_file_is_named(tmp_path, text):
    (tmp_path / "context.json").write_text(text)

    with pytest.raises(Broken, match=r"context\.json") as failure:
        context(loaded(tmp_path))

    assert "shipway up" in failure.value.fix


def test_a_context_written_by_a_newer_release_is_still_read(tmp_path):
    (tmp_path / "context.json").write_text('{"url": "http://127.0.0.1:9", "token": "t", "later": 1}')

    assert context(loaded(tmp_path)).token == "t"


@pytest.mark.parametrize(
    ("control", "said", "asked"),
    [
        ("http://127.0.0.1:8787", "http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://ship.example:8787", "http://127.0.0.1:9001", "http://ship.example:9001"),
        ("http://ship.example:8787", "http://models.example:80", "http://models.example:80"),
        ("http://[fd00::1]:8787", "http://[::1]:9001", "http://[fd00::1]:9001"),
    ],
)
def test_a_server_beside_a_distant_control_plane_is_asked_there(control, said, asked):
    assert Client(control, "t")._beside(said) == asked


def test_where_predictions_are_answered_is_asked_of_the_control_plane(peer, reply):
    def talks(reader, connection):
        while request := peer.read(reader):
            body = (
                {"server": peer.url}
                if "/v1/health" in request[0]
                else {"event_id": "e", "model": "m", "version": 3, "rows": []}
            )
            connection.sendall(reply(json.dumps(body).encode(), "200 OK", "shipway-variant: champion"))

    with Client(peer.serve(talks).url, "t") as client:
        answer = client.predict("churn", [{"age": None}], key="mine", deadline_ms=50)

    first, headers, body = peer.requests[1]
    assert first == "POST /v2/models/churn/infer HTTP/1.1"
    assert headers["shipway-deadline-ms"] == "50"
    assert json.loads(body) == {"rows": [{"age": None}], "key": "mine"}
    assert (answer.event_id, answer.version, answer.variant) == ("e", 3, "champion")
