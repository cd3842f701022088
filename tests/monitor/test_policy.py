"""monitor.toml: what it says holds, and what it cannot say is refused by name."""

import math

import pytest

from shipway.errors import Rejected
from shipway.monitor import default_policy, parse_policy


def test_the_default_allows_one_false_alarm_a_year_of_hourly_windows():
    policy = default_policy()

    assert policy.windows_per_alarm == pytest.approx(8766)
    assert policy.bar == pytest.approx(math.log(8766 * 3))
    assert [a.kind for a in policy.alert] == ["log"]


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ('[monitor]\nwindow = "1d"\nfalse_alarms = "1 per month"', 365.25 / 12),
        ('[monitor]\nwindow = "2s"\nfalse_alarms = "1 per year"', 365.25 * 43200),
        ('[monitor]\nwindow = "1h"\nfalse_alarms = "2 per decade"', 8766 * 5),
    ],
)
def test_the_bar_is_windows_per_year_by_alarms_per_year(text, windows):
    assert parse_policy(text).windows_per_alarm == pytest.approx(windows)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "not TOML"),
        ('window = "1h"', "unknown key `window` outside the tables"),
        ('[monitor]\nwindows = "1h"', "windows"),
        ('[monitor]\nwindow = "soon"', "'soon' is not a duration"),
        ('[monitor]\nfalse_alarms = "rarely"', "'rarely' is not a rate"),
        ('[monitor]\nfalse_alarms = "1 per hour"', "at least 10"),
        ("[monitor]\nignore_changes_below = 5", "between 0 and 0.5"),
        ("[monitor]\nmin_rows = 0", "at least 1"),
        ("[monitor.quality]\nignore_changes_below = 0.1", "cannot hold"),
        ("[quality]\nmissing = 0.1", "missing"),
        ('[[alert]]\nkind = "webhook"', "needs a `url`"),
        ('[[alert]]\nkind = "webhook"\nurl = "file:///etc/passwd"', "needs a `url`"),
        ('[[alert]]\nkind = "log"\nurl = "http://x.example"', "takes no `url`"),
        ('[[alert]]\nkind = "pager"', "pager"),
        ("[performance]\nbaseline_rows = 1", "at least 20"),
        ('[silence]\nno_traffic_after = "x"', "not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, named):
    with pytest.raises(Rejected) as refused:
        parse_policy(text)

    assert named in str(refused.value)
    assert str(refused.value).startswith("monitor.toml")
    assert refused.value.fix


def test_captures_get_two_windows_to_arrive_but_a_minute_at_most():
    assert parse_policy('[monitor]\nwindow = "2s"').wait_s == 4
    assert default_policy().wait_s == 60
    assert parse_policy('[monitor]\nwait = "5m"').wait_s == 300
