"""retrain.toml: what it says holds, and what it cannot say is refused by name."""

import pytest

from shipway.errors import Rejected
from shipway.retrain import default_policy, parse_policy


def test_without_a_file_nothing_is_retrained():
    assert not default_policy().can_train
    assert default_policy().when == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "not TOML"),
        ('command = ["x"]', "unknown key `command`"),
        ("[retrain]\nwhen = ['drift']", "neither a `command` nor an `entry`"),
        ("[retrain]\ncommand = ['a']\nentry = 'a:b'", "keep one"),
        ("[retrain]\nentry = 'a b; import os'", "package.module:function"),
        ("[retrain]\ncommand = ['a', '{dta}']", "{dta} in `command` is none of"),
        ("[retrain]\ncommand = ['a']\nwhen = ['rain']", "rain"),
        ("[retrain]\ncommand = ['a']\ncooldown = 'later'", "not a duration"),
        ("[retrain]\ncommand = ['a']\nmax_per_day = 0", "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, named):
    with pytest.raises(Rejected) as refused:
        parse_policy(text)

    assert named in str(refused.value)
    assert str(refused.value).startswith("retrain.toml")
