"""The rules of a rollout as its owner wrote them: `rollout.toml`.

`parse_policy` reads them, `default_policy` is what holds without a file. A key that this release does
not enforce is an error that names it: a guardrail that is silently ignored is worse than none.

Fractions are fractions of one; durations are text like `"90s"`, `"10m"`, `"24h"`.
"""

import re
import tomllib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from shipway.errors import Rejected
from shipway.terms import BASIS

DEFAULT_TOML = """\
[rollout]
alpha_rollback = 0.05
alpha_promote = 0.05
min_units = 200

[[guardrail]]
name = "errors"
outcome = "failure"
margin = 0.01

[[guardrail]]
name = "slow"
outcome = "slower_than"
quantile = 0.95
at_least = "10ms"
harm = 0.02
margin = 0.02

[[guardrail]]
name = "quality"
outcome = "loss"
margin = 0.02
unlabelled = "ignore"

[[step]]
kind = "shadow"
until = "pass"
max_units = 5000

[[step]]
kind = "canary"
share = 0.05
until = "hold"
hold_units = 500

[[step]]
kind = "canary"
share = 0.5
until = "pass"

[[step]]
kind = "promote"
"""
"""What holds without a file. `slow` tolerates two points, because a challenger on trial answers from a
process of its own, which costs it a fraction of a millisecond; below 10 ms nobody is called slow."""

_LATER = {
    "on_missing_key": "sticky keys",
    "warmup_requests": "warm-up",
    "clip": "clipped losses",
    "mature_after": "label maturity",
    "slices": "slices",
    "max_shadow_lag": "shadow lag",
    "holdback": "a holdback after promotion",
    "watch": "a watch after promotion",
    "keep_warm": "keeping the old version warm for a set time",
    "by": "approval steps",
    "timeout": "approval steps",
    "goal": "goals of A/B tests",
    "event": "events",
    "baseline": "choosing the baseline's length",
}
"""Keys of the planned format that this release would have to ignore, and what each belongs to."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """Read a duration.

    >>> seconds("90s"), seconds("1.5h"), seconds("25ms")
    (90.0, 5400.0, 0.025)
    """
    if (match := _DURATION.fullmatch(text)) is None:
        raise Rejected(f"{text!r} is not a duration", fix='write a number and ms, s, m, h or d, like "10m"')
    return float(match[1]) * _UNITS[match[2]]


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[rollout]`: what holds in every step."""

    unit: Literal["request"] = "request"
    """What is randomised and counted."""
    min_duration: str = "0s"
    """No promotion earlier than this after the start; a day sees a day's cycle."""
    max_duration: str = "7d"
    on_timeout: Literal["hold", "rollback", "approve"] = "hold"
    """What happens after `max_duration`, or when the last step has used its `max_units` undecided."""
    alpha_rollback: float = 0.05
    """Chance of rolling back a challenger that is not worse, over the whole rollout and all guardrails."""
    alpha_promote: float = 0.05
    """Chance of promoting a challenger that is worse by a margin."""
    min_units: int = 200
    """Requests that the challenger must have seen before a promotion."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for key, alpha in (("alpha_rollback", self.alpha_rollback), ("alpha_promote", self.alpha_promote)):
            if not 0.0 < alpha < 1.0:
                raise ValueError(f"`{key}` is {alpha} and must lie between 0 and 1")
        if self.min_units < 0:
            raise ValueError(f"`min_units` is {self.min_units} and must not be negative")
        seconds(self.min_duration)
        seconds(self.max_duration)


class Guardrail(Struct, frozen=True, forbid_unknown_fields=True):
    """One outcome that must not get worse."""

    name: str
    outcome: Literal["failure", "slower_than", "loss"]
    """`failure`: error, timeout, refused output or crash. `slower_than`: slower than the champion's frozen
    quantile. `loss`: a wrong label, or an error above the champion's frozen p90 for regression."""
    margin: float
    """The challenger passes once it is shown not worse than the champion by this fraction."""
    harm: float = 0.0
    """It is rolled back once it is shown worse by more than this fraction."""
    quantile: float | None = None
    """Only `slower_than`, where it is required."""
    at_least: str = "0s"
    """Only `slower_than`: answers faster than this are never slow."""
    label: Literal["label"] = "label"
    """Only `loss`: name of the labels that say what was right."""
    loss: Literal["auto"] = "auto"
    """Only `loss`: zero-one for classifiers, above the champion's p90 error for regression."""
    unlabelled: Literal["hold", "ignore"] = "hold"
    """Only `loss`: `ignore` asks for a pass only once there are labels; a rollback is armed in any case."""

    def __post_init__(self) -> None:
        """Check ranges, and that options stand where they mean something."""
        if not 0.0 < self.margin < 1.0:
            raise ValueError(f"`margin` of {self.name!r} is {self.margin} and must lie between 0 and 1")
        if not 0.0 <= self.harm <= self.margin:
            raise ValueError(f"`harm` of {self.name!r} is {self.harm} and must lie between 0 and its margin")
        slow = self.outcome == "slower_than"
        if slow and (self.quantile is None or not 0.0 < self.quantile < 1.0):
            raise ValueError(f"`quantile` of {self.name!r} must lie between 0 and 1, e.g. 0.95")
        if not slow and (self.quantile is not None or self.at_least != "0s"):
            raise ValueError(f"{self.name!r} does not measure time: `quantile` and `at_least` are for slower_than")
        if self.outcome != "loss" and self.unlabelled != "hold":
            raise ValueError(f"{self.name!r} needs no labels: `unlabelled` is for outcome loss")
        seconds(self.at_least)


class Checks(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[checks]`: when the counts themselves are not believed."""

    sample_ratio_alpha: float = 0.001
    """Chance of holding a sound rollout because its arms look out of proportion."""
    no_data_after: str = "10m"
    """A rollout without a new request for this long says so."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.0 < self.sample_ratio_alpha < 1.0:
            raise ValueError(f"`sample_ratio_alpha` is {self.sample_ratio_alpha} and must lie between 0 and 1")
        seconds(self.no_data_after)


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One stage."""

    kind: Literal["shadow", "canary", "promote"]
    share: float | None = None
    """shadow: fraction of captured requests scored again (1 if absent). canary: fraction of callers answered."""
    until: Literal["pass", "hold"] | None = None
    """`pass`: until the guardrails in `require` pass. `hold`: until `hold` and `hold_units` are over."""
    hold: str | None = None
    hold_units: int | None = None
    """Requests of this step, both arms; pairs in a shadow."""
    max_units: int | None = None
    """Only `pass`: after this many requests the next step begins undecided; the last step follows `on_timeout`."""
    require: tuple[str, ...] = ()
    """Only `pass`: names of guardrails; none means all that this step can measure."""

    def __post_init__(self) -> None:
        """Check that the options fit the kind."""
        if self.kind == "promote":
            self._check_promote()
        elif self.kind == "canary" and (self.share is None or not 1 / BASIS <= self.share < 1.0):
            raise ValueError("a canary needs a `share` from 0.0001 to below 1")
        elif self.kind == "shadow" and self.share is not None and not 1 / BASIS <= self.share <= 1.0:
            raise ValueError("`share` of a shadow must lie between 0.0001 and 1")
        elif self.until is None:
            raise ValueError(f'a {self.kind} step needs `until = "pass"` or `until = "hold"`')
        elif self.until == "hold":
            self._check_hold()
        elif self.hold is not None or self.hold_units is not None:
            raise ValueError('`hold` and `hold_units` are for `until = "hold"`')
        elif self.max_units is not None and self.max_units < 1:
            raise ValueError("`max_units` must be at least 1")

    def _check_promote(self) -> None:
        options = (self.share, self.until, self.hold, self.hold_units, self.max_units)
        if self.require or any(v is not None for v in options):
            raise ValueError("a promote step has no options: every guardrail must pass before it")

    def _check_hold(self) -> None:
        if self.hold is None and self.hold_units is None:
            raise ValueError('`until = "hold"` needs `hold`, `hold_units` or both')
        if self.max_units is not None or self.require:
            raise ValueError('`max_units` and `require` are for `until = "pass"`')
        if self.hold_units is not None and self.hold_units < 1:
            raise ValueError("`hold_units` must be at least 1")
        seconds(self.hold or "0s")

    @property
    def weight(self) -> int:
        """Share in basis points."""
        return round(BASIS * (1.0 if self.share is None else self.share))


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole `rollout.toml`."""

    guardrail: tuple[Guardrail, ...]
    step: tuple[Step, ...]
    rollout: Rules = Rules()
    checks: Checks = Checks()

    def required(self, step: int) -> tuple[str, ...]:
        """Names of the guardrails that must pass before `step` ends; all of them before a promotion."""
        stage = self.step[step]
        measurable = tuple(g.name for g in self.guardrail if stage.kind == "canary" or g.outcome != "slower_than")
        return stage.require or measurable

    def is_last(self, step: int) -> bool:
        """Whether a promotion follows `step`."""
        return self.step[step + 1].kind == "promote"


def parse_policy(text: str) -> Policy:
    r"""Read a rollout policy.

    Raises:
        Rejected: it is no TOML, a key is unknown or not enforced by this release, a value is out of range,
            or the steps do not end with a promotion that every guardrail must allow.

    >>> parse_policy("[rollout]\nalfa = 1")
    Traceback (most recent call last):
    ...
    shipway.errors.Rejected: rollout.toml: unknown key `alfa` in [rollout]
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Rejected(f"rollout.toml is not TOML: {exc}", fix="mend that line") from exc
    _refuse_unknown(raw)
    try:
        policy = msgspec.convert(raw, Policy)
    except msgspec.ValidationError as exc:
        raise Rejected(f"rollout.toml: {_place(str(exc))}", fix="correct that value and try again") from exc
    _check_whole(policy)
    return policy


def default_policy() -> Policy:
    """Return the policy that holds without a file.

    >>> [s.kind for s in default_policy().step]
    ['shadow', 'canary', 'canary', 'promote']
    """
    return parse_policy(DEFAULT_TOML)


def _place(message: str) -> str:
    said, _, where = message.partition(" - at `$")
    return f"{said} at {where.rstrip('`').lstrip('.')}" if where.strip("`") else said


def _refuse_unknown(raw: dict[str, Any]) -> None:
    tables = {"rollout": Rules, "guardrail": Guardrail, "checks": Checks, "step": Step}
    _refuse_keys(raw, set(tables), "rollout.toml")
    for key, struct in tables.items():
        found = raw.get(key, {})
        for i, table in enumerate(found if isinstance(found, list) else [found]):
            if isinstance(table, dict):
                where = f"[[{key}]] number {i + 1}" if isinstance(found, list) else f"[{key}]"
                _refuse_keys(table, set(struct.__struct_fields__), where)


def _refuse_keys(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key in known:
            continue
        if key in _LATER:
            raise Rejected(
                f"rollout.toml: `{key}` in {where} is not enforced by this release ({_LATER[key]})",
                fix=f"remove `{key}`; a rule that would be ignored is refused",
            )
        raise Rejected(f"rollout.toml: unknown key `{key}` in {where}", fix=f"it may hold {', '.join(sorted(known))}")


def _check_whole(policy: Policy) -> None:
    names = [g.name for g in policy.guardrail]
    if not names or len(set(names)) != len(names):
        raise Rejected("rollout.toml: guardrails need names, each used once, and there must be one", fix="name them")
    kinds = [s.kind for s in policy.step]
    if len(kinds) < 2 or kinds[-1] != "promote" or "promote" in kinds[:-1]:
        raise Rejected(
            f"rollout.toml: the steps are {', '.join(kinds) or 'none'}",
            fix="begin with a shadow or canary step and end with exactly one promote step",
        )
    if sorted(kinds[:-1], reverse=True) != kinds[:-1]:
        raise Rejected("rollout.toml: a shadow step follows a canary step", fix="put shadow steps first")
    slow = {g.name for g in policy.guardrail if g.outcome == "slower_than"}
    for i, stage in enumerate(policy.step):
        if unknown := sorted(set(stage.require) - set(names)):
            raise Rejected(f"rollout.toml: step {i + 1} requires {unknown[0]!r}, which is no guardrail", fix="name one")
        if stage.kind == "shadow" and (unseen := sorted(slow & set(stage.require))):
            raise Rejected(
                f"rollout.toml: step {i + 1} is a shadow and cannot measure {unseen[0]!r}",
                fix="require it in a canary step: a shadow's speed says nothing about answers under load",
            )
    last = policy.step[-2]
    if last.until != "pass" or set(policy.required(len(kinds) - 2)) != set(names):
        raise Rejected(
            f"rollout.toml: the {last.kind} step before promote does not ask every guardrail to pass",
            fix='give it `until = "pass"` and no `require`; `slower_than` needs it to be a canary',
        )
