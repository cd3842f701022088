"""Traffic on the pages is the sum of what servers counted, wherever the minutes fall."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from shipway.capture.counts import latency_bin
from shipway.console.traffic import quantile, traffic
from shipway.database import schema

NOW = 1_795_183_845.0


def put(platform, rows):
    with platform.database.transaction() as tx:
        tx.execute(
            insert(schema.endpoint_count),
            [{"project": "default", "endpoint": "churn", "latency_us": "[]"} | row for row in rows],
        )


def look(platform, now=NOW):
    with platform.database.read() as tx:
        return traffic(tx, "default", "churn", now)


def minute(ago):
    return int(NOW // 60) - ago


def test_endpoint_without_requests_has_no_traffic(platform):
    assert look(platform) is None


@pytest.mark.parametrize("ages", [[0], [0, 1], [3], [1439], [0, 700, 1439], [2000]])
def test_every_counted_request_of_the_day_is_in_exactly_one_bin(platform, ages):
    put(platform, [{"minute": minute(ago), "version": 1, "outcome": "ok", "n": 10 + ago} for ago in ages])

    seen = look(platform)

    assert seen.total == sum(10 + ago for ago in ages if ago <= 1440)
    assert len(seen.requests) <= 97
    assert seen.begins <= seen.ends


def test_versions_and_failures_are_told_apart(platform):
    put(platform, [
        {"minute": minute(1), "version": 1, "outcome": "ok", "n": 90},
        {"minute": minute(1), "version": 2, "outcome": "ok", "n": 8},
        {"minute": minute(1), "version": 2, "outcome": "timeout", "n": 2},
        {"minute": minute(1), "version": 2, "outcome": "collateral", "n": 1},
    ])  # fmt: skip

    seen = look(platform)

    assert (sum(seen.versions[1]), sum(seen.versions[2])) == (90, 11)
    assert seen.failures == {2: 2}


def test_rate_is_of_the_last_minutes_and_not_of_the_day(platform):
    put(
        platform,
        [{"minute": minute(ago), "version": 1, "outcome": "ok", "n": 600 if ago < 10 else 6} for ago in range(600)],
    )

    assert look(platform).per_second == pytest.approx(10.0, rel=0.2)


def test_first_request_of_a_new_endpoint_shows_at_once(platform):
    put(platform, [{"minute": minute(0), "version": 1, "outcome": "ok", "n": 5}])

    seen = look(platform)

    assert seen.total == 5
    assert seen.per_second > 0


@settings(max_examples=60)
@given(st.lists(st.floats(1.0, 1e7), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantile_lies_within_one_bin_of_the_true_one(latencies, q):
    bins = [0] * 128
    for value in latencies:
        bins[latency_bin(value)] += 1

    found = quantile(bins, q)

    true = sorted(latencies)[max(math.ceil(q * len(latencies)) - 1, 0)]
    assert true / 2**0.26 <= found <= true * 2**0.26


def test_first_minute_of_an_endpoint_is_no_longer_than_the_endpoint_is_old(platform):
    put(platform, [{"minute": minute(0), "version": 1, "outcome": "ok", "n": 300}])
    with platform.database.read() as tx:
        seen = traffic(tx, "default", "churn", NOW, opened=NOW - 30)

    assert seen.per_second == pytest.approx(10.0)
    assert [rate for _, rate in seen.rates() if rate is not None] == [pytest.approx(10.0)]
    assert seen.span_s == 30.0


@pytest.mark.parametrize(("ago", "quiet"), [(0, 0.0), (1, 0.0), (5, 285.0)])
def test_traffic_is_quiet_only_after_a_minute_without_a_request(platform, ago, quiet):
    put(platform, [{"minute": minute(ago), "version": 1, "outcome": "ok", "n": 1}])

    assert look(platform).quiet_s == quiet
