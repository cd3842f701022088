"""HTTP/1.1 whatever the client does, on uvloop and on plain asyncio."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from itertools import pairwise

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway.serve.transport.http import HttpServer, Limits
from shipway.serve.transport.loop import run

LIMITS = Limits(
    head_bytes=4096, headers=20, body_bytes=10_000, pipeline=8, read_timeout_s=0.5, idle_timeout_s=0.8,
    write_timeout_s=0.6, connections=100,
)  # fmt: skip


class Echo:
    """A server in a thread that answers each request with what it understood; paths choose manners."""

    def __init__(self, factory, limits=LIMITS):
        self.loop = factory()
        self.held = []
        self._ready = threading.Event()
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(limits,))
        self._thread.start()
        self._ready.wait(5)

    def _run(self, limits):
        asyncio.set_event_loop(self.loop)

        async def begin():
            self.server = HttpServer(self.answer, lambda: 0.0, limits)
            await self.server.listen(self._sock)

        self.loop.run_until_complete(begin())
        self._ready.set()
        self.loop.run_forever()
        self.server.close()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    def answer(self, exchange):
        if exchange.path == b"/raise":
            raise RuntimeError
        if exchange.path == b"/large":
            exchange.answer(200, b"x" * 4_000_000)
            return
        body = json.dumps([exchange.method.decode(), exchange.path.decode(), exchange.body.decode("latin-1")]).encode()
        if exchange.path.startswith(b"/later"):  # in another order than they came
            self.loop.call_later(0.02 if b"slow" in exchange.path else 0.0, exchange.answer, 200, body)
        else:
            exchange.answer(200, body)

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self._sock.close()


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def echo(request):
    server = Echo(request.param)
    yield server
    server.close()


def connect(echo):
    sock = socket.create_connection(("127.0.0.1", echo.port), timeout=8)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_answers(sock, count=None):
    """Read whole answers, as (status, headers, body), until `count` came or the other side closed."""
    data, found = b"", []
    while count is None or len(found) < count:
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            lines = data[:end].decode().split("\r\n")
            status = int(lines[0].split()[1])
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            stop = end + 4 + int(headers.get("content-length", 0))
            if status == 100:
                found.append((100, headers, b""))
                data = data[end + 4 :]
                continue
            if len(data) >= stop:
                found.append((status, headers, data[end + 4 : stop]))
                data = data[stop:]
                continue
        with contextlib.suppress(ConnectionResetError):
            if piece := sock.recv(65536):
                data += piece
                continue
        break
    return found


def said(answer):
    return json.loads(answer[2])


requests = st.lists(
    st.tuples(
        st.sampled_from(["/a", "/b?c=d", "/later", "/later/slow"]),
        st.binary(max_size=60),
        st.sampled_from(["length", "chunked"]),
    ),
    min_size=1,
    max_size=6,
)


def written(path, body, form):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
    if form == "length":
        return head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    chunks = [body[i : i + 7] for i in range(0, len(body), 7)]
    coded = b"".join(b"%x;note=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=requests, cuts=st.lists(st.integers(0, 600), max_size=12))
def test_answers_do_not_depend_on_how_the_bytes_were_split_and_keep_their_order(echo, asked, cuts):
    stream = b"".join(written(*request) for request in asked)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    with connect(echo) as sock:
        for begin, end in pairwise(edges):
            sock.sendall(stream[begin:end])
            time.sleep(0.0005)
        answers = read_answers(sock, len(asked))

    assert [said(a) for a in answers] == [["POST", path, body.decode("latin-1")] for path, body, _ in asked]


def test_one_byte_at_a_time_is_one_request(echo):
    with connect(echo) as sock:
        for byte in written("/slowly", b"abc", "chunked"):
            sock.sendall(bytes([byte]))
        answers = read_answers(sock, 1)

    assert said(answers[0]) == ["POST", "/slowly", "abc"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + b"a" * 4096 + b"\r\n1000\r\n"
         + b"a" * 4096 + b"\r\n1000\r\n" + b"a" * 4096, 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1 + b"".join(b"X%d: y\r\n" % i for i in range(30)), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000, 431),
        (b"GET /" + b"y" * 9000, 431),
        (b"GET /" + b"y" * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_sentence_and_the_connection_closed(echo, sent, status):
    with connect(echo) as sock:
        sock.sendall(sent)
        answers = read_answers(sock)

    assert [a[0] for a in answers] == [status]
    assert set(said(answers[0])) == {"error", "fix"}
    assert answers[0][1]["connection"] == "close"


def test_refusal_comes_behind_the_answers_that_are_due(echo):
    with connect(echo) as sock:
        sock.sendall(written("/later/slow", b"a", "length") + b"nonsense\r\n\r\n")
        answers = read_answers(sock)

    assert [a[0] for a in answers] == [200, 400]


def test_expect_continue_is_answered_before_the_body(echo):
    with connect(echo) as sock:
        sock.sendall(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        first = read_answers(sock, 1)
        sock.sendall(b"abc")
        second = read_answers(sock, 1)

    assert first[0][0] == 100
    assert said(second[0]) == ["POST", "/e", "abc"]


def test_head_has_no_body_and_http_1_0_closes(echo):
    with connect(echo) as sock:
        sock.sendall(b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        data = sock.recv(65536)
    with connect(echo) as sock:
        sock.sendall(b"GET /old HTTP/1.0\r\n\r\n")
        answers = read_answers(sock)

    assert data.endswith(b"\r\n\r\n")
    assert answers[0][1]["connection"] == "close"


def test_upgrade_is_answered_as_plain_http_and_what_follows_is_not_read(echo):
    with connect(echo) as sock:
        sock.sendall(b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
        answers = read_answers(sock)

    assert [said(a) for a in answers] == [["GET", "/u", ""]]


def test_application_that_raises_is_one_500_and_the_connection_lives_on(echo):
    with connect(echo) as sock:
        sock.sendall(b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\nGET /on HTTP/1.1\r\nHost: a\r\n\r\n")
        answers = read_answers(sock, 2)

    assert [a[0] for a in answers] == [500, 200]


def test_half_closed_client_gets_its_answer(echo):
    with connect(echo) as sock:
        sock.sendall(written("/later/slow", b"a", "length"))
        sock.shutdown(socket.SHUT_WR)
        answers = read_answers(sock)

    assert [a[0] for a in answers] == [200]


def test_slow_request_is_ended_with_408_and_idle_connection_in_silence(echo):
    with connect(echo) as slow, connect(echo) as idle:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Le")
        answers = read_answers(slow)
        silence = idle.recv(100)

    assert [a[0] for a in answers] == [408]
    assert silence == b""


def test_client_that_reads_nothing_is_cut_off_and_holds_back_only_itself(echo):
    with connect(echo) as greedy:
        greedy.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        with connect(echo) as other:
            other.sendall(b"GET /o HTTP/1.1\r\nHost: a\r\n\r\n")
            assert [a[0] for a in read_answers(other, 1)] == [200]
        time.sleep(1.6)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := greedy.recv(1 << 20):
                received += len(piece)

    assert received < 80_000_000


def test_drain_takes_in_who_waits_in_the_queue_and_closes_every_connection():
    echo = Echo(uvloop.new_event_loop)
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    waiting = [socket.create_connection(listening.getsockname(), timeout=5) for _ in range(60)]
    for sock in waiting:
        sock.sendall(b"GET /w HTTP/1.1\r\nHost: a\r\n\r\n")
    kept = connect(echo)
    kept.sendall(b"GET /k HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [a[0] for a in read_answers(kept, 1)] == [200]

    async def leave():
        await echo.server.retire([listening])
        return await echo.server.drain(idle_s=0.2, at_most_s=3.0)

    whole = asyncio.run_coroutine_threadsafe(leave(), echo.loop)
    kept.sendall(b"GET /k HTTP/1.1\r\nHost: a\r\n\r\n")
    last = read_answers(kept)
    answers = [read_answers(sock) for sock in waiting]
    assert whole.result(10)
    echo.close()
    for sock in (*waiting, kept):
        sock.close()

    assert [a[0] for a in last] == [200]
    assert [[a[0] for a in each] for each in answers] == [[200]] * 60
    assert all(each[0][1]["connection"] == "close" for each in answers)


def test_too_many_connections_are_refused_with_a_sentence():
    echo = Echo(uvloop.new_event_loop, Limits(connections=2))
    held = [connect(echo) for _ in range(2)]
    for sock in held:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        read_answers(sock, 1)
    with connect(echo) as third:
        answers = read_answers(third)
    echo.close()
    for sock in held:
        sock.close()

    assert [a[0] for a in answers] == [503]


def test_process_runs_on_uvloop_where_it_is_installed():
    async def name():
        return int(type(asyncio.get_running_loop()).__module__.startswith("uvloop"))

    assert run(name()) == 1
