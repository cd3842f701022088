"""What a version must show before it may ship: `gate.toml`.

`parse_policy` reads it, `default_policy` is what holds without a file. An unknown key is an error that
names it. Metrics are those of `shipway.stats.metrics`; `auto` chooses by task.
"""

import tomllib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from shipway.errors import Rejected
from shipway.stats.metrics import HIGHER_IS_BETTER

DEFAULT_TOML = """\
[gate]
confidence = 0.9
replicates = 500

[[check]]
kind = "rows"
at_least = 50

[[check]]
kind = "baseline"

[[check]]
kind = "champion"
margin = 0.03
"""
"""What holds without a file: enough rows, better than a model that always says the same, and not worse
than the champion by three points of accuracy (R2 for regression)."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[gate]`."""

    confidence: float = 0.9
    """Of the intervals: 0.9 lets each side err once in twenty."""
    replicates: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"`confidence` is {self.confidence} and must lie between 0.5 and 1")
        if not 100 <= self.replicates <= 10_000:
            raise ValueError(f"`replicates` is {self.replicates} and must lie between 100 and 10,000")
        if self.seed < 0:
            raise ValueError(f"`seed` is {self.seed} and must be 0 or more")


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """One table `[[check]]`."""

    kind: Literal["rows", "threshold", "baseline", "champion"]
    """`rows`: enough of them. `threshold`: a metric against a number. `baseline`: against a model that always
    answers the same. `champion`: against the champion on the same rows."""
    metric: str = "auto"
    at_least: float | None = None
    at_most: float | None = None
    margin: float | None = None
    """Only `champion`, where it is required: how much worse is still good enough, in units of the metric."""

    def __post_init__(self) -> None:
        """Check that the options fit the kind."""
        if self.metric != "auto" and self.metric not in HIGHER_IS_BETTER:
            raise ValueError(f"`metric` is {self.metric!r} and must be one of {', '.join(sorted(HIGHER_IS_BETTER))}")
        bounds = (self.at_least is not None) + (self.at_most is not None)
        asks_margin = self.margin is not None and self.margin >= 0.0
        fits = {
            "rows": self.at_least is not None and bounds == 1 and self.margin is None and self.metric == "auto",
            "threshold": bounds == 1 and self.margin is None and self.metric != "auto",
            "baseline": bounds == 0 and self.margin is None and self.metric in _TRIVIAL,
            "champion": bounds == 0 and asks_margin,
        }[self.kind]
        if not fits:
            raise ValueError(f"a check of kind {self.kind!r} needs {_NEEDS[self.kind]} and nothing else")


_TRIVIAL = ("auto", "auc", "balanced_accuracy", "r2")
"""Metrics whose value for a model that always answers the same is known beforehand."""

_NEEDS = {
    "rows": "`at_least`",
    "threshold": "a `metric` and one of `at_least` and `at_most`",
    "baseline": "at most a `metric`, one of auc, balanced_accuracy and r2,",
    "champion": "a `margin` from 0 up, at most a `metric`,",
}


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole `gate.toml`."""

    check: tuple[Check, ...]
    gate: Options = Options()


def parse_policy(text: str) -> Policy:
    r"""Read a gate policy.

    Raises:
        Rejected: it is no TOML, a key is unknown, or a value is out of range.

    >>> parse_policy('[[check]]\nkind = "threshold"\nmetric = "accuracy"\nat_least = 0.8').check[0].at_least
    0.8
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Rejected(f"gate.toml is not TOML: {exc}", fix="mend that line") from exc
    try:
        policy = msgspec.convert(raw, Policy)
    except msgspec.ValidationError as exc:
        said, _, where = str(exc).partition(" - at `$")
        said = said.replace("Object contains unknown field", "unknown key")
        place = f" in {where.strip('.`')}" if where.strip("`") else ""
        raise Rejected(f"gate.toml: {said}{place}", fix="correct or remove it and try again") from exc
    if not policy.check:
        raise Rejected("gate.toml: there is no [[check]]", fix="add one; a gate without checks would pass everything")
    return policy


def default_policy() -> Policy:
    """Return the policy that holds without a file.

    >>> [c.kind for c in default_policy().check]
    ['rows', 'baseline', 'champion']
    """
    return parse_policy(DEFAULT_TOML)
