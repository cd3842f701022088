"""What leaves the database leaves with its cause, at least once, and known by its id."""

# ruff: noqa: PT012 - the exception leaves a whole transaction, which is what is tested

import pytest

from shipway.database import outbox

NOW = 1000.0


def post(tx, **changed):
    message = {"project": "default", "kind": "webhook", "target": "http://127.0.0.1/hook", "body": {"n": 1}, "now": NOW}
    return outbox.post(tx, **(message | changed))


def test_a_message_is_due_at_once_and_gone_once_delivered(database):
    with database.transaction() as tx:
        key = post(tx)

        (message,) = outbox.due(tx, NOW)
        assert (message.id, message.target, message.body, message.attempts) == (
            key,
            "http://127.0.0.1/hook",
            {"n": 1},
            0,
        )

        outbox.delivered(tx, key, NOW + 1)
        assert outbox.due(tx, NOW + 9e9) == []
        assert outbox.waiting(tx) == 0


def test_a_decision_that_fails_leaves_no_message(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        post(tx)
        1 / 0  # noqa: B018

    with database.read() as tx:
        assert outbox.waiting(tx) == 0


def test_posting_the_same_again_sends_once(database):
    with database.transaction() as tx:
        assert post(tx) == post(tx)
        assert post(tx, id="mine", body={"n": 1}) == post(tx, id="mine", body={"n": 2}) == "mine"

        assert sorted(m.body["n"] for m in outbox.due(tx, NOW)) == [1, 1]
        assert post(tx, body={"n": 3}) != post(tx, body={"n": 4})


def test_each_failure_doubles_the_wait_up_to_an_hour(database):
    with database.transaction() as tx:
        key, now, waits = post(tx), NOW, []
        for _ in range(12):
            outbox.failed(tx, key, "connection refused", now)
            wait = next(w for w in range(1, 4000) if outbox.due(tx, now + w))
            waits.append(wait)
            now += wait

        assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
        (message,) = outbox.due(tx, now)
        assert (message.attempts, message.error) == (12, "connection refused")


def test_messages_come_in_the_order_in_which_they_were_due(database):
    with database.transaction() as tx:
        for n in (3, 1, 2):
            post(tx, body={"n": n}, now=NOW + n)

        assert [m.body["n"] for m in outbox.due(tx, NOW + 9)] == [1, 2, 3]
        assert [m.body["n"] for m in outbox.due(tx, NOW + 9, limit=2)] == [1, 2]
        assert [m.body["n"] for m in outbox.due(tx, NOW + 1)] == [1]


def test_marking_a_message_that_never_was_changes_nothing(database):
    with database.transaction() as tx:
        outbox.failed(tx, "ghost", "x", NOW)
        outbox.delivered(tx, "ghost", NOW)

        assert outbox.waiting(tx) == 0
