"""Silence: told only where something was heard before, once, and closed when it is heard again."""

import pytest

from shipway.monitor.decide import Opened
from shipway.monitor.policy import default_policy
from shipway.monitor.silence import Facts, silent

NOW = 1_000_000.0
HOUR = 3600.0
POLICY = default_policy()


def heard(**changes):
    usual = {
        "captured_first": NOW - 30 * HOUR, "captured_last": NOW - 60, "answered_first": NOW - 30 * HOUR,
        "answered_last": NOW - 60, "labelled_last": NOW - HOUR, "servers": {"s1": NOW - 1},
    }  # fmt: skip
    return Facts("churn", **usual | changes)


def test_where_all_is_heard_of_there_is_nothing_to_say():
    assert silent(heard(), POLICY, NOW, None) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"captured_last": NOW - 4 * HOUR, "answered_last": NOW - 4 * HOUR}, "no request since"),
        ({"captured_last": NOW - HOUR}, "no capture arrived since"),
        ({"captured_first": None, "captured_last": None}, "no capture arrived since"),
        ({"labelled_last": NOW - 8 * 24 * HOUR, "captured_first": NOW - 900 * HOUR}, "no label arrived since"),
        ({"servers": {"s1": NOW - 31}}, "server s1 does not report since"),
        ({"dropped": {"s1": 1200}}, "server s1 had to drop 1,200 captures"),
        ({"unknown_labels": 3}, "3 labels came for events that were never captured"),
    ],
)
def test_each_kind_of_silence_is_named(changes, said):
    finding = silent(heard(**changes), POLICY, NOW, None)

    assert finding.status == "raised"
    assert said in finding.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"captured_first": None, "captured_last": None, "answered_first": None, "answered_last": None},
        {"captured_first": NOW - 5 * HOUR, "answered_first": NOW - 5 * HOUR, "captured_last": NOW - 4 * HOUR,
         "answered_last": NOW - 4 * HOUR},
        {"captured_first": None, "captured_last": None, "is_captured": False},
        {"labelled_last": None},
        {"servers": {}},
    ],
)  # fmt: skip
def test_what_was_never_there_is_not_missed(changes):
    assert silent(heard(**changes), POLICY, NOW, None) is None


def test_a_silence_that_lasts_is_told_once_and_a_second_one_joins_it():
    first = silent(heard(servers={"s1": NOW - 40}), POLICY, NOW, None)
    opened = Opened(first.since, tuple(first.details["silent"]))

    assert silent(heard(servers={"s1": NOW - 50}), POLICY, NOW, opened).status == "lasting"
    assert silent(heard(servers={"s1": NOW - 50, "s2": NOW - 50}), POLICY, NOW, opened).status == "updated"
    assert silent(heard(), POLICY, NOW, opened).status == "closed"


RESTED = {"captured_last": NOW - 4 * HOUR, "answered_last": NOW - 4 * HOUR, "servers": {"s1": NOW - 4 * HOUR}}


def test_a_platform_that_rested_raises_no_alarm_before_anybody_could_be_heard():
    started = heard(**RESTED, listening_since=NOW - 5)
    later = heard(**RESTED, listening_since=NOW - 3.5 * HOUR)

    assert silent(started, POLICY, NOW, None) is None
    assert silent(later, POLICY, NOW, None).details["silent"] == ["traffic", "server s1"]


def test_a_restart_does_not_end_a_silence_that_was_told():
    again = silent(heard(**RESTED, listening_since=NOW - 5), POLICY, NOW, Opened(NOW - HOUR, ("traffic", "server s1")))

    assert again.status == "lasting"
