"""The first sentence of each page says how things are, in every state they can be in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.console import sentences
from shipway.console.traffic import Traffic
from shipway.console.views import Alarm, Endpoint, Rollout, Version
from shipway.endpoint import EndpointSettings
from shipway.terms import File, Manifest, RuntimeSpec, Signal, Signature, Task, Variant

MANIFEST = Manifest(
    1, "churn", Task.OTHER, Signature((), ()), RuntimeSpec("onnx", "m"), (File("m", "a", 1, "x"),), {}, {}, {}
)
SEEN = Traffic(0, 60, 60, (1,), {4: (1,)}, {}, ((None,) * 3,), (None,) * 3, {4: 1}, 60, lately=(1, 60.0))
CHAMPION = Variant("champion", "churn", 4, "sha256:4", weight=10_000)
SHADOW = Variant("challenger", "churn", 5, "sha256:5", weight=0, mode="shadow", shadow_share=10_000)
CANARY = Variant("challenger", "churn", 5, "sha256:5", weight=1000)
ROLLOUT = Rollout("churn-1", "churn", "churn", 4, 5, "running", 0, 0, 0.0, 0.0, None, "", "", None, [])
ENDPOINT = Endpoint(
    "churn", "churn", 4, None, (CHAMPION,), EndpointSettings(), MANIFEST, 0.0, None, (), SEEN, monitor={"windows": 3}
)
TRYING = "Churn is healthy. Version 4 answers 90 % of requests; version 5 is being tried on 10 %."


def alarm(kind, **changes):
    signal = Signal("1", "default", "churn", kind, 0.0, 1.0, f"{kind} changed", 9.5, 9.0)
    return replace(Alarm(signal, None, "", None, None), **changes)


def named(name, *kinds, **changes):
    return replace(ENDPOINT, name=name, alarms=tuple(alarm(kind) for kind in kinds), **changes)


def test_quiet_home_asks_nothing_of_the_reader():
    says = sentences.home([named("churn"), named("fraud")])

    assert says.title == "Churn and fraud are healthy."
    assert says.then == "No rollout is running. Nothing is asked of you."


def test_home_tells_apart_what_is_wrong_with_whom():
    states = [
        named("a", "drift"),
        named("b", "silence"),
        named("c", "performance", "drift"),
        named("d"),
        named("e", traffic=None),
    ]

    says = sentences.home(states)

    assert (
        says.title
        == "D is healthy. C has become worse. A has drifted. B has gone silent. E waits for its first request."
    )


def test_home_without_endpoints_says_what_to_do_first():
    assert "Nothing is deployed yet" in sentences.home([]).title


def test_running_rollout_is_named_with_its_version_and_share():
    trying = named("churn", variants=(CHAMPION, CANARY), rollout=ROLLOUT)

    assert sentences.home([trying]).then == "One rollout is running: churn, version 5 on 10 %. Nothing is asked of you."


def test_home_asks_only_where_something_waits():
    assert sentences.home([named("churn", "drift")], 1).then == "No rollout is running. 1 thing waits for you below."


def test_endpoint_that_was_never_compared_is_working_and_not_healthy():
    unseen = replace(ENDPOINT, monitor={"windows": 0})

    says = sentences.endpoint(unseen)

    assert sentences.state(unseen).word == "Working"
    assert says.title == "Churn is working. Version 4 answers everyone."
    assert says.then.startswith("Version 4 has not had enough requests yet to compare them with its reference.")


def test_endpoint_with_an_open_alarm_never_says_that_nothing_is_asked():
    says = sentences.endpoint(named("churn", "performance"), asks=1)

    assert says.then == "1 thing waits for you below."


def test_quiet_endpoint_says_for_how_long():
    quiet = replace(ENDPOINT, traffic=replace(SEEN, ends=360.0, lately=(0, 60.0), last_at=60.0))

    assert sentences.endpoint(quiet).then.startswith("No request has come for 5 min.")


@pytest.mark.parametrize(
    ("variants", "more", "expected"),
    [
        ((CHAMPION,), None, "Churn is healthy. Version 4 answers everyone."),
        (
            (CHAMPION, SHADOW),
            900,
            "Churn is healthy. Version 4 answers everyone; version 5 is tried on copies of their requests.",
        ),
        ((CHAMPION, CANARY), None, TRYING),
        (
            (CHAMPION, CANARY),
            1200,
            TRYING.replace("10 %.", "10 % and needs about 1,200 more requests."),
        ),
    ],
)
def test_endpoint_says_who_answers_and_what_the_trial_needs(variants, more, expected):
    assert sentences.endpoint(replace(ENDPOINT, variants=variants), more=more).title == expected


def test_closed_alarm_troubles_nobody():
    healed = replace(ENDPOINT, alarms=(alarm("drift", closed_at=5.0),))

    assert sentences.state(healed).word == "Healthy"


@given(st.sets(st.sampled_from(sorted(sentences.TROUBLE)), min_size=1))
def test_worst_open_alarm_decides_the_word_for_an_endpoint(kinds):
    state = sentences.state(named("churn", *sorted(kinds)))

    assert state in {sentences.TROUBLE[kind] for kind in kinds}
    assert state.lamp != "ok"


@pytest.mark.parametrize(
    ("alarms", "past", "expected"),
    [
        ([], 0, "No alarm is open."),
        ([alarm("drift")], 0, "1 alarm is open."),
        ([alarm("drift"), alarm("quality", acknowledged_at=1.0)], 0, "1 alarm is open; 1 is acknowledged or silent."),
        ([alarm("drift", muted_until=99.0)], 3, "No alarm waits for anybody; 1 is acknowledged or silent."),
    ],
)
def test_alerts_are_counted_by_whether_they_wait_for_somebody(alarms, past, expected):
    assert sentences.alerts(alarms, past, 50.0).title == expected


def test_mute_ends_by_itself():
    muted = alarm("drift", muted_until=99.0)

    assert (muted.rings(98.0), muted.rings(99.0)) == (False, True)


def test_ledger_says_intact_only_where_nothing_was_found():
    assert sentences.ledger(1284, "", None).title == "The chain is intact: 1,284 entries, none altered, none missing."
    assert sentences.ledger(9, "entry 3 was altered", 3).title.startswith("The chain is broken at entry 3")
    assert "intact" not in sentences.ledger(0, "", None).title


VERSION = Version("churn", 5, "sha256:5", MANIFEST, 0.0, "mia", "pass", 1.0, {}, (), ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Churn version 5 passed its gate and serves no endpoint."),
        ({"verdict": "fail"}, "Churn version 5 failed its gate and serves no endpoint."),
        ({"verdict": ""}, "Churn version 5 has not been through a gate and serves no endpoint."),
        (
            {"serves": (("eu", "champion", 9000), ("us", "challenger", 0))},
            "Churn version 5 passed its gate and answers eu and is being tried on us in shadow.",
        ),
    ],
)
def test_version_says_what_its_gate_said_and_where_it_serves(changes, expected):
    assert sentences.version(replace(VERSION, **changes), "").title == expected


def test_drift_is_claimed_only_of_columns_that_are_named():
    assert "has not been compared with its reference yet" in sentences.no_drift(ENDPOINT).title
    assert "capture is off" in sentences.no_drift(replace(ENDPOINT, settings=EndpointSettings(capture=False))).title
    assert "none of 18 columns has changed" in sentences.drift("churn", [], 18, 5000).title
    assert (
        sentences.drift("churn", ["fee", "plan"], 18, 5000).title == "Churn gets different data: fee and plan changed."
    )
