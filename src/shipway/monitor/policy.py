"""What is watched, how often, and how many false alarms are welcome: `monitor.toml`.

`parse_policy` reads it, `default_policy` is what holds without a file. An unknown key is an error that
names it. Durations are text like `"90s"`, `"10m"`, `"1h"`; shares are fractions of one.
"""

import re
import tomllib
from math import log
from typing import Any, Literal

import msgspec
from msgspec import Struct

from shipway.errors import Rejected

DEFAULT_TOML = """\
[monitor]
window = "1h"
min_rows = 50
false_alarms = "1 per year"
ignore_changes_below = 0.01

[quality]
ignore_changes_below = 0.002

[performance]
ignore_changes_below = 0.01
labels_within = "7d"

[silence]
no_traffic_after = "3h"
no_captures_after = "10m"
no_labels_after = "7d"
no_heartbeat_after = "30s"

[[alert]]
kind = "log"
"""
"""What holds without a file."""

YEAR_S = 365.25 * 86400
FAMILIES = 3
"""Drift, quality and performance share one dial: their average is the detector that keeps the promise."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)")
_PERIODS = {
    "hour": 3600.0,
    "day": 86400.0,
    "week": 604800.0,
    "month": YEAR_S / 12,
    "year": YEAR_S,
    "decade": 10 * YEAR_S,
}
_RATE = re.compile(r"(\d+(?:\.\d+)?) per (hour|day|week|month|year|decade)")

_TABLES = ("quality", "performance", "silence", "alert")

Kind = Literal["drift", "quality", "performance", "silence"]


def seconds(text: str) -> float:
    """Read a duration.

    >>> seconds("90s"), seconds("1.5h")
    (90.0, 5400.0)
    """
    if (match := _DURATION.fullmatch(text)) is None:
        raise ValueError(f'{text!r} is not a duration; write a number and ms, s, m, h, d or w, like "10m"')
    return float(match[1]) * _UNITS[match[2]]


def per_year(text: str) -> float:
    """Read how often something may happen.

    >>> per_year("1 per year"), round(per_year("2 per month"))
    (1.0, 24)
    """
    if (match := _RATE.fullmatch(text)) is None or not float(match[1]):
        raise ValueError(f'{text!r} is not a rate; write it like "1 per year" or "2 per month"')
    return float(match[1]) * YEAR_S / _PERIODS[match[2]]


def _share(key: str, value: float) -> None:
    if not 0.0 <= value < 0.5:
        raise ValueError(f"`{key}` is {value} and must lie between 0 and 0.5")


class Quality(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[quality]`: missing, new and out-of-range cells."""

    ignore_changes_below: float = 0.002
    """A share may move this far and nobody is told."""

    def __post_init__(self) -> None:
        """Check the range."""
        _share("quality.ignore_changes_below", self.ignore_changes_below)


class Performance(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[performance]`: how often the model turns out to be wrong."""

    ignore_changes_below: float = 0.01
    """The share of wrong answers may grow this far (for a regressor: of errors above the reference's own bars)."""
    labels_within: str = "7d"
    """Labels that arrive later than this after their event are not weighed."""
    baseline_rows: int = 200
    """Labelled rows that make the baseline where the bundle brings none."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _share("performance.ignore_changes_below", self.ignore_changes_below)
        seconds(self.labels_within)
        if self.baseline_rows < 20:
            raise ValueError(f"`performance.baseline_rows` is {self.baseline_rows} and must be at least 20")


class Silence(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[silence]`: how long nothing may be heard of something that was heard of before."""

    no_traffic_after: str = "3h"
    no_captures_after: str = "10m"
    """Answers are counted, but no captures arrive."""
    no_labels_after: str = "7d"
    no_heartbeat_after: str = "30s"

    def __post_init__(self) -> None:
        """Check durations."""
        for text in (self.no_traffic_after, self.no_captures_after, self.no_labels_after, self.no_heartbeat_after):
            seconds(text)


class Alert(Struct, frozen=True, forbid_unknown_fields=True):
    """One table `[[alert]]`: who is told."""

    kind: Literal["webhook", "log"]
    url: str = ""
    """Only `webhook`, where it is required."""
    signals: tuple[Kind, ...] = ("drift", "quality", "performance", "silence")
    """What this receiver wants to hear of."""

    def __post_init__(self) -> None:
        """Check that the options fit the kind."""
        if self.kind == "webhook" and not re.match(r"https?://[^/\s]+", self.url):
            raise ValueError('an alert of kind "webhook" needs a `url` that begins with http:// or https://')
        if self.kind == "log" and self.url:
            raise ValueError('an alert of kind "log" takes no `url`')


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole `monitor.toml`: the table `[monitor]`, and the others by name."""

    window: str = "1h"
    """Captured rows are compared with the reference one such stretch at a time."""
    wait: str | None = None
    """Time for captures to arrive after a window ends, before it is weighed; None for two windows, at most a
    minute. What comes later still is counted with the next window."""
    min_rows: int = 50
    """A window with fewer rows is joined to the next one."""
    false_alarms: str = "1 per year"
    """Expected number for one endpoint while nothing changes, at most."""
    ignore_changes_below: float = 0.01
    """A share of rows (below some value, or of some level) may move this far and nobody is told."""
    ignore_columns: tuple[str, ...] = ()
    """Columns that are not watched."""
    quality: Quality = Quality()
    performance: Performance = Performance()
    silence: Silence = Silence()
    alert: tuple[Alert, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges, and that the dial can be met."""
        _share("ignore_changes_below", self.ignore_changes_below)
        if seconds(self.window) <= 0:
            raise ValueError("`window` must be longer than nothing")
        if self.wait is not None:
            seconds(self.wait)
        if self.min_rows < 1:
            raise ValueError(f"`min_rows` is {self.min_rows} and must be at least 1")
        if self.windows_per_alarm < 10:
            raise ValueError(
                f"`false_alarms` of {self.false_alarms} and a `window` of {self.window} leave "
                f"{self.windows_per_alarm:.3g} windows between false alarms, and at least 10 are needed"
            )

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return seconds(self.window)

    @property
    def wait_s(self) -> float:
        """Time to wait after a window, in seconds."""
        return min(60.0, 2 * self.window_s) if self.wait is None else seconds(self.wait)

    @property
    def windows_per_alarm(self) -> float:
        """Windows that pass on average before a false alarm, at least."""
        return YEAR_S / self.window_s / per_year(self.false_alarms)

    @property
    def bar(self) -> float:
        """Log capital at which one of the families speaks up."""
        return log(self.windows_per_alarm) + log(FAMILIES)


def parse_policy(text: str) -> Policy:
    r"""Read a monitoring policy.

    Raises:
        Rejected: it is no TOML, a key is unknown, or a value is out of range.

    >>> parse_policy('[monitor]\nwindow = "1d"\nfalse_alarms = "2 per year"').windows_per_alarm
    182.625
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Rejected(f"monitor.toml is not TOML: {exc}", fix="mend that line") from exc
    rules = raw.pop("monitor", {})
    if astray := sorted(set(raw) - set(_TABLES)):
        raise Rejected(
            f"monitor.toml: unknown key `{astray[0]}` outside the tables",
            fix="put it under [monitor]" if astray[0] in Policy.__struct_fields__ else "remove it",
        )
    if not isinstance(rules, dict) or (astray := sorted(set(rules) & set(_TABLES))):
        raise Rejected(f"monitor.toml: [monitor] cannot hold {astray or 'a value'}", fix="write tables of their own")
    try:
        return msgspec.convert(rules | raw, Policy)
    except msgspec.ValidationError as exc:
        said, _, where = str(exc).partition(" - at `$")
        said = said.replace("Object contains unknown field", "unknown key")
        place = f" in {where.strip('.`')}" if where.strip("`") else ""
        raise Rejected(f"monitor.toml: {said}{place}", fix="correct or remove it and try again") from exc


def default_policy() -> Policy:
    """Return the policy that holds without a file.

    >>> default_policy().window, round(default_policy().windows_per_alarm)
    ('1h', 8766)
    """
    return parse_policy(DEFAULT_TOML)
