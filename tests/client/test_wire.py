import io
import json
import socket
import threading

import pytest

from shipway.client import Client, Predictor, Wire
from shipway.errors import Broken, Conflict, Forbidden, Missing, Rejected, Tampered, Unavailable


def test_requests_one_after_the_other_share_a_connection(peer, reply):
    def forever(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(b'{"n": 1}'))

    wire = Wire(peer.serve(forever).url)

    answers = [wire.request("GET", "/x").json() for _ in range(3)]

    assert answers == [{"n": 1}] * 3
    assert peer.connections == 1
    wire.close()


def test_a_reused_connection_that_ended_before_an_answer_is_replaced_once(peer, reply):
    def one_answer_then_nothing(reader, connection):
        peer.read(reader)
        connection.sendall(reply(b'"first"'))
        peer.read(reader)  # the second request is read and the connection dies without a byte

    def answers(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(b'"second"'))

    wire = Wire(peer.serve(one_answer_then_nothing, answers).url)

    assert wire.request("GET", "/a").json() == "first"
    assert wire.request("POST", "/b", json={"x": 1}).json() == "second"
    assert [first for first, _, _ in peer.requests] == ["GET /a HTTP/1.1", "POST /b HTTP/1.1", "POST /b HTTP/1.1"]
    assert peer.requests[1][2] == peer.requests[2][2] == b'{"x":1}'
    wire.close()


def test_a_new_connection_that_ends_without_an_answer_is_not_tried_again(peer):
    wire = Wire(peer.serve(lambda reader, _: peer.read(reader)).url)

    with pytest.raises(Unavailable, match="closed the connection without an answer"):
        wire.request("POST", "/once", json={})

    assert len(peer.requests) == 1


def test_an_answer_that_breaks_off_is_not_asked_for_again(peer):
    def half(reader, connection):
        peer.read(reader)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    wire = Wire(peer.serve(half).url)

    with pytest.raises(Unavailable):
        wire.request("GET", "/")

    assert len(peer.requests) == 1


def test_what_a_server_says_before_it_has_read_the_upload_still_counts(peer, reply):
    def refuses(reader, connection):
        while reader.readline().strip():
            pass
        connection.sendall(reply(b'{"error": "no", "fix": "stop"}', "403 Forbidden", "connection: close"))
        connection.shutdown(socket.SHUT_WR)
        reader.read(2**16)

    wire = Wire(peer.serve(refuses).url)

    with pytest.raises(Forbidden, match="no"):
        wire.request("PUT", "/", body=lambda: io.BytesIO(b"x" * 2**16), headers={"content-length": str(2**16)})


def test_nothing_that_listens_says_how_to_start_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unavailable, match="nothing listens at") as failure:
        Wire(f"http://127.0.0.1:{port}").request("GET", "/")

    assert f"127.0.0.1:{port}" in str(failure.value)
    assert failure.value.fix == "start it with `shipway up`"


def test_a_server_that_is_silent_for_too_long_is_unavailable(peer):
    stop = threading.Event()
    wire = Wire(peer.serve(lambda _reader, _connection: stop.wait(10)).url, timeout_s=0.05)

    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        wire.request("GET", "/")
    stop.set()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b'{"error": "e", "fix": "f"}', Forbidden),
        ("403 Forbidden", b'{"error": "e", "fix": "f"}', Forbidden),
        ("404 Not Found", b'{"error": "e", "fix": "f"}', Missing),
        ("409 Conflict", b'{"error": "e", "fix": "f"}', Conflict),
        ("409 Conflict", b'{"error": "e", "fix": "f", "kind": "Tampered"}', Tampered),
        ("422 Unprocessable", b'{"error": "e", "fix": "f"}', Rejected),
        ("400 Bad Request", b'{"error": "e", "fix": "f"}', Rejected),
        ("500 Oops", b'{"error": "e", "fix": "f"}', Broken),
        ("503 Later", b'{"error": "e", "fix": "f"}', Unavailable),
    ],
)
def test_a_failure_arrives_as_the_class_of_its_status_with_sentence_and_fix(peer, reply, status, body, kind):
    def fails(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(body, status))

    wire = Wire(peer.serve(fails).url)

    with pytest.raises(kind) as failure:
        wire.request("GET", "/")

    assert (str(failure.value), failure.value.fix) == ("e", "f")
    wire.close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 3}', b"\xff\xfe"])
def test_a_failure_without_our_form_still_has_a_sentence_and_a_fix(peer, reply, body):
    def fails(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(body, "502 Bad Gateway"))

    wire = Wire(peer.serve(fails).url)

    with pytest.raises(Unavailable) as failure:
        wire.request("GET", "/")

    assert str(failure.value)
    assert failure.value.fix
    wire.close()


def test_a_success_that_is_not_json_is_told_apart(peer, reply):
    def talks(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(b"<html>"))

    wire = Wire(peer.serve(talks).url)

    with pytest.raises(Broken, match="is not JSON"):
        wire.request("GET", "/").json()
    wire.close()


@pytest.mark.parametrize("url", ["", "localhost:8787", "ftp://host", "http://", "http://host:port", "file:///etc"])
def test_what_is_no_url_is_refused_before_anything_is_sent(url):
    with pytest.raises(Rejected):
        Wire(url)


def test_the_token_is_sent_and_names_are_quoted(peer, reply):
    def talks(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(b"{}"))

    with Client(peer.serve(talks).url, "sw_secret") as client:
        client.explain_signal("x y?")

    first, headers, _ = peer.requests[0]
    assert first == "GET /v1/signals/x%20y%3F/explain HTTP/1.1"
    assert headers["authorization"] == "Bearer sw_secret"


@pytest.mark.parametrize("called", ["../x", "", "a/b", "a b", "a" * 300, "a\0"])
def test_what_cannot_be_a_name_is_refused_before_anything_is_sent(peer, called):
    with Client(peer.serve(lambda *_: None).url, "sw_secret") as client, Predictor(peer.url) as predictor:
        for ask in (client.endpoint, client.versions, client.rollback, predictor.inputs):
            with pytest.raises(Rejected, match="cannot name"):
                ask(called)
        if not called or "/" in called:
            with pytest.raises(Missing, match="nothing here is called"):
                client.rollout(called)

    assert not peer.requests


def test_threads_share_one_client(peer, reply):
    def talks(reader, connection):
        while request := peer.read(reader):
            connection.sendall(reply(request[0].split("?i=")[1].split()[0].encode()))

    wire = Wire(peer.serve(talks).url)
    got = {}

    def ask(i):
        got[i] = [wire.request("GET", "/", query={"i": i}).json() for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == {i: [i] * 20 for i in range(8)}
    assert peer.connections <= 8
    wire.close()


@pytest.mark.parametrize("key", ["two\nlines", "注文-7"])
def test_a_key_that_no_header_can_hold_reaches_the_server_all_the_same(peer, reply, key):
    def talks(reader, connection):
        while peer.read(reader):
            connection.sendall(reply(b'{"event_id": "e", "model": "m", "version": 1, "rows": []}'))

    with Predictor(peer.serve(talks).url) as predictor:
        predictor.predict("churn", [{"age": 1}], key=key)

    assert json.loads(peer.requests[0][2])["key"] == key
