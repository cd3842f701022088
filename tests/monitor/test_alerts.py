"""Alerts: a real receiver gets them, a dead one is asked again later, and a message says what a colleague would."""

import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from shipway import monitor
from shipway.database import outbox
from shipway.monitor import alerts, parse_policy
from shipway.terms import Signal

SIGNAL = Signal(
    "s1", "default", "churn", "drift", 1_800_000_000.0, 1_800_003_600.0, "churn gets different rows", 12.0, 10.2,
    columns=("age",), effect={"sentence": "14 % of 900 labelled answers are wrong"},
    actions=("shipway retrain run churn",),
    details={"changes": [{"sentence": "age: median 45, was 40", "distance": 0.19}]},
)  # fmt: skip


@pytest.fixture
def receiver():
    got, answers = [], []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({k.lower(): v for k, v in self.headers.items()}, msgspec.json.decode(body)))
            self.send_response(answers.pop(0) if answers else 204)
            self.send_header("content-length", "0")
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.got, server.answers, server.url = got, answers, f"http://127.0.0.1:{server.server_port}/hook"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def post(house, url, *, now=0.0, text=""):
    policy = parse_policy(text or f'[[alert]]\nkind = "webhook"\nurl = "{url}"')
    with house.database.transaction() as tx:
        alerts.post_alerts(tx, policy, (), SIGNAL, "raised", now)


def waiting(house):
    with house.database.read() as tx:
        return outbox.waiting(tx)


def test_a_receiver_gets_the_signal_with_a_key_that_makes_repeats_harmless(house, receiver):
    post(house, receiver.url)
    post(house, receiver.url)

    (arrived,) = monitor.deliver(house.database, 1.0)

    ((headers, body),) = receiver.got
    assert headers["idempotency-key"] == arrived
    assert body["event"] == "signal.raised"
    assert (body["endpoint"], body["kind"], body["columns"]) == ("churn", "drift", ["age"])
    assert waiting(house) == 0


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_tried_again_after_five_seconds(house, receiver, status):
    receiver.answers.append(status)
    post(house, receiver.url)

    assert monitor.deliver(house.database, 1.0) == []
    assert monitor.deliver(house.database, 5.0) == []
    assert len(monitor.deliver(house.database, 6.5)) == 1
    assert len(receiver.got) == 2


def test_a_dead_receiver_is_asked_once_a_call_and_the_message_stays(house):
    asked = []

    def nobody(url, _body, _headers):
        asked.append(url)
        raise ConnectionRefusedError("connection refused")

    for now in (0.0, 1.0):
        with house.database.transaction() as tx:
            outbox.post(tx, project="default", kind="webhook", target="http://dead.example", body={}, now=now)

    assert monitor.deliver(house.database, 2.0, nobody) == []
    assert asked == ["http://dead.example"]
    assert waiting(house) == 2


def test_a_receiver_hears_only_of_what_it_wants(house):
    post(house, "", text='[[alert]]\nkind = "webhook"\nurl = "http://x.example"\nsignals = ["silence"]')

    assert waiting(house) == 0


def test_the_log_channel_writes_one_line(house, caplog):
    post(house, "", text='[[alert]]\nkind = "log"')

    with caplog.at_level(logging.WARNING, "shipway.alert"):
        monitor.deliver(house.database, 1.0)

    (record,) = caplog.records
    assert "churn gets different rows" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_webhooks_of_the_endpoint_are_told_beside_those_of_the_policy(house):
    policy = parse_policy('[[alert]]\nkind = "webhook"\nurl = "http://a.example"')
    with house.database.transaction() as tx:
        alerts.post_alerts(tx, policy, ("http://a.example", "http://b.example"), SIGNAL, "raised", 0.0)

    with house.database.read() as tx:
        assert {m.target for m in outbox.due(tx, 1.0)} == {"http://a.example", "http://b.example"}


def test_a_test_alert_reports_how_each_channel_fared(receiver):
    text = f'[[alert]]\nkind = "webhook"\nurl = "{receiver.url}"\n[[alert]]\nkind = "log"'
    receiver.answers.append(503)

    channels = monitor.try_alerts(parse_policy(text), (), SIGNAL)

    assert [(c.ok, c.error) for c in channels] == [(False, "answered 503"), (True, "")]


def test_only_web_addresses_are_posted_to():
    with pytest.raises(OSError, match="not an http or https URL"):
        alerts.http_post("file:///etc/hostname", b"", {})


def test_an_explanation_says_what_since_when_how_sure_how_bad_and_what_to_do():
    told = monitor.explain(SIGNAL)

    for part in ("Drift on churn", "2027-01-15", "evidence 162,755 against a bar of 26,903", "median 45",
                 "19 % of rows", "14 % of 900", "`shipway retrain run churn`"):  # fmt: skip
        assert part in told
