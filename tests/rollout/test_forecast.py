"""What a plan promises before a rollout starts."""

import pytest

from shipway import rollout
from shipway.rollout import default_policy, parse_policy, plan

ONE = '[[guardrail]]\nname = "errors"\noutcome = "failure"\nmargin = {margin}\n'
CANARY = '[[step]]\nkind = "canary"\nshare = {share}\nuntil = "pass"\n[[step]]\nkind = "promote"\n'
SHADOW = '[[step]]\nkind = "shadow"\nshare = 0.5\nuntil = "pass"\nmax_units = 100\n'


def steps(margin=0.01, share=0.5, before="", **rates):
    return plan(parse_policy(ONE.format(margin=margin) + before + CANARY.format(share=share)), **rates).steps


def test_a_smaller_share_and_a_smaller_margin_take_longer():
    assert steps(share=0.05)[0].requests > 5 * steps(share=0.5)[0].requests
    assert steps(margin=0.005)[0].requests > 1.5 * steps(margin=0.01)[0].requests


def test_failures_take_longer_to_see_through_than_none():
    assert steps(rate=0.05)[0].requests > 3 * steps(rate=0.0)[0].requests


def test_requests_become_time_at_a_known_rate():
    found = steps(per_second=10.0)[0]

    assert found.hours == pytest.approx(found.requests / 36_000)
    assert "minutes" in found.sentence


def test_a_shadow_that_samples_half_needs_twice_the_requests_and_no_more_than_its_cap_allows():
    assert steps(before=SHADOW)[0].requests == 200


def test_a_worse_challenger_is_found_sooner_than_a_good_one_passes():
    need = steps(margin=0.02, rate=0.01)[0].needs[0]

    assert need.to_roll_back < need.to_pass


def test_the_default_ends_within_ten_thousand_requests():
    found = plan(default_policy())

    assert found.requests < 10_000
    assert found.sentence.startswith("An equally good challenger takes about")


def test_the_front_door_knows_every_name_it_promises():
    names = [*rollout.__all__, "deploy", "start", "step", "approve", "promote", "rollback", "pause", "resume"]
    names += ["rollback_endpoint", "record_counts", "verify", "status", "explain"]

    assert all(getattr(rollout, name) for name in names)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        rollout.nothing_like_it  # noqa: B018
