"""Which rules are read, and which are refused rather than ignored."""

import pytest

from shipway.errors import Rejected
from shipway.rollout import DEFAULT_TOML, default_policy, parse_policy
from shipway.rollout.policy import _LATER, seconds

GUARDRAIL = '[[guardrail]]\nname = "errors"\noutcome = "failure"\nmargin = 0.01\n'
STEP = '[[step]]\nkind = "canary"\nshare = 0.5\nuntil = "pass"\n'
SHADOW = '[[step]]\nkind = "shadow"\nuntil = "pass"\n'
PROMOTE = '[[step]]\nkind = "promote"\n'


def test_the_default_has_a_shadow_two_canaries_and_a_promotion():
    policy = default_policy()
    assert [(s.kind, s.weight) for s in policy.step[:-1]] == [("shadow", 10_000), ("canary", 500), ("canary", 5000)]
    assert policy.step[-1].kind == "promote"
    assert [g.name for g in policy.guardrail] == ["errors", "slow", "quality"]
    assert policy == parse_policy(DEFAULT_TOML)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[rollout]\nalfa = 1\n" + GUARDRAIL, "`alfa` in [rollout]"),
        (GUARDRAIL + "margn = 0.1\n", "`margn` in [[guardrail]] number 1"),
        (GUARDRAIL + STEP + "shares = 0.1\n", "`shares` in [[step]] number 1"),
        ("[checks]\nsrm = 1\n" + GUARDRAIL, "`srm` in [checks]"),
        ("[rolout]\n" + GUARDRAIL, "`rolout` in rollout.toml"),
    ],
)
def test_an_unknown_key_is_named_with_its_table(text, key):
    with pytest.raises(Rejected, match="unknown key") as caught:
        parse_policy(text)
    assert key in str(caught.value)


@pytest.mark.parametrize("key", sorted(_LATER))
@pytest.mark.parametrize("table", ["rollout", "guardrail", "step", "checks"])
def test_a_key_that_would_be_ignored_is_refused_by_name(key, table):
    text = {
        "rollout": f'[rollout]\n{key} = "1h"\n' + GUARDRAIL + STEP + PROMOTE,
        "guardrail": GUARDRAIL + f'{key} = "1h"\n' + STEP + PROMOTE,
        "step": GUARDRAIL + STEP + f'{key} = "1h"\n' + PROMOTE,
        "checks": f'[checks]\n{key} = "1h"\n' + GUARDRAIL + STEP + PROMOTE,
    }[table]
    with pytest.raises(Rejected, match=f"`{key}`.* is not enforced by this release"):
        parse_policy(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GUARDRAIL + STEP, "the steps are canary"),
        (GUARDRAIL + PROMOTE, "the steps are promote"),
        (GUARDRAIL + PROMOTE + STEP, "the steps are promote, canary"),
        (GUARDRAIL + STEP + PROMOTE + PROMOTE, "the steps are canary, promote, promote"),
        (GUARDRAIL + STEP + SHADOW + PROMOTE, "a shadow step follows a canary step"),
        (GUARDRAIL + STEP + GUARDRAIL.replace("errors", "other") + PROMOTE + 'require = ["errors"]\n', "promote step"),
        (
            GUARDRAIL + GUARDRAIL.replace("errors", "other") + STEP + 'require = ["errors"]\n' + PROMOTE,
            "does not ask every guardrail to pass",
        ),
        (
            GUARDRAIL + STEP.replace('until = "pass"', 'until = "hold"\nhold = "1m"') + PROMOTE,
            "does not ask every guardrail to pass",
        ),
        (GUARDRAIL + GUARDRAIL + STEP + PROMOTE, "each used once"),
        (GUARDRAIL + STEP + 'require = ["erors"]\n' + PROMOTE, "'erors', which is no guardrail"),
    ],
)
def test_steps_that_do_not_lead_to_a_promotion_with_every_guardrail_are_refused(text, said):
    with pytest.raises(Rejected, match=r"rollout\.toml") as caught:
        parse_policy(text)
    assert said in str(caught.value)


def test_a_shadow_cannot_be_asked_for_speed():
    slow = '[[guardrail]]\nname = "slow"\noutcome = "slower_than"\nquantile = 0.95\nmargin = 0.02\n'
    with pytest.raises(Rejected, match="shadow and cannot measure 'slow'"):
        parse_policy(GUARDRAIL + slow + SHADOW + 'require = ["slow"]\n' + STEP + PROMOTE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("margin = 0.01", "margin = 1", "margin"),
        ("margin = 0.01", "margin = 0.01\nharm = 0.02", "harm"),
        ("margin = 0.01", "margin = 0.01\nquantile = 0.9", "does not measure time"),
        ("margin = 0.01", 'margin = 0.01\nunlabelled = "ignore"', "needs no labels"),
        ('outcome = "failure"', 'outcome = "slower_than"', "quantile"),
        ("share = 0.5", "share = 1.5", "share"),
        ("share = 0.5", "share = 0.00001", "share"),
        ('until = "pass"', 'until = "hold"', "hold_units"),
        ('until = "pass"', 'until = "pass"\nhold = "1m"', '`until = "hold"`'),
        ('until = "pass"', 'until = "pass"\nmax_units = 0', "max_units"),
        ("share = 0.5", "share = 0.5\nunit = 3", "unknown key"),
    ],
)
def test_a_value_that_cannot_hold_is_refused(old, new, said):
    with pytest.raises(Rejected, match=said):
        parse_policy((GUARDRAIL + STEP + PROMOTE).replace(old, new))


@pytest.mark.parametrize("rule", ["alpha_rollback = 0", "alpha_promote = 1.0", "min_units = -1", 'max_duration = "7"'])
def test_a_rule_out_of_range_is_refused(rule):
    with pytest.raises(Rejected):
        parse_policy(f"[rollout]\n{rule}\n" + GUARDRAIL + STEP + PROMOTE)


def test_a_sticky_unit_is_refused_rather_than_counted_by_request():
    with pytest.raises(Rejected, match="unit"):
        parse_policy('[rollout]\nunit = "header:x-account"\n' + GUARDRAIL + STEP + PROMOTE)


def test_what_is_no_toml_is_refused():
    with pytest.raises(Rejected, match="is not TOML"):
        parse_policy("[rollout")


@pytest.mark.parametrize("text", ["10", "m", "-1s", "1 h", "1w", "infs"])
def test_a_duration_without_number_and_unit_is_refused(text):
    with pytest.raises(Rejected, match="is not a duration"):
        seconds(text)
