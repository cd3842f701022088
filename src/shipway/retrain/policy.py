"""When a model is trained again, and by which command of its owner's: `retrain.toml`.

`parse_policy` reads it. Without a file nothing is retrained, because nobody has said how. An unknown key is
an error that names it.
"""

import re
import tomllib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from shipway.errors import Rejected

DEFAULT_TOML = """\
[retrain]
when = []
"""
"""What holds without a file: no retraining."""

PLACEHOLDERS = ("data", "target", "out", "champion", "model", "task", "python")

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_ENTRY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def seconds(text: str) -> float:
    """Read a duration.

    >>> seconds("10m"), seconds("1d")
    (600.0, 86400.0)
    """
    if (match := _DURATION.fullmatch(text)) is None:
        raise ValueError(f'{text!r} is not a duration; write a number and s, m, h, d or w, like "10m"')
    return float(match[1]) * _UNITS[match[2]]


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[retrain]`."""

    when: tuple[Literal["drift", "quality", "performance"], ...] = ("drift", "performance")
    """Kinds of signals that ask for a new version."""
    command: tuple[str, ...] = ()
    """Program and arguments. `{data}`, `{target}`, `{out}`, `{champion}`, `{model}`, `{task}` and `{python}` are
    filled in; the same is in the environment as SHIPWAY_DATA, SHIPWAY_TARGET and so on."""
    entry: str = ""
    """Instead of `command`: `module:function`, called with those names as keyword arguments."""
    target: str = ""
    """Name that the column of outcomes gets in the data; "" for the one the champion was trained on."""
    min_labelled_rows: int = 200
    """Rows with known outcomes that must be there before training starts."""
    rows: Literal["changed", "all"] = "changed"
    """`changed`: rows since the change began; `all`: every labelled row. By hand it is always all."""
    cooldown: str = "1d"
    """Time between two automatic jobs of one endpoint."""
    max_per_day: int = 3
    """Automatic jobs of one endpoint in any 24 hours."""
    timeout: str = "6h"
    """A job that runs longer is ended."""
    attempts: int = 2
    """How often a job is started again if its process vanished."""

    def __post_init__(self) -> None:
        """Check ranges, and that there is one way to train."""
        if self.command and self.entry:
            raise ValueError("`command` and `entry` are two ways to say the same; keep one")
        if self.when and not self.command and not self.entry:
            raise ValueError("there is neither a `command` nor an `entry`, so nothing can be trained")
        if self.entry and not _ENTRY.fullmatch(self.entry):
            raise ValueError(f'`entry` is {self.entry!r} and must look like "package.module:function"')
        if self.min_labelled_rows < 1 or self.max_per_day < 1 or self.attempts < 1:
            raise ValueError("`min_labelled_rows`, `max_per_day` and `attempts` must be at least 1")
        seconds(self.cooldown)
        seconds(self.timeout)
        for argument in self.command:
            for name in re.findall(r"\{(\w+)\}", argument):
                if name not in PLACEHOLDERS:
                    raise ValueError(f"{{{name}}} in `command` is none of {', '.join(PLACEHOLDERS)}")

    @property
    def can_train(self) -> bool:
        """Whether it says how."""
        return bool(self.command or self.entry)


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    retrain: Policy = Policy(when=())


def parse_policy(text: str) -> Policy:
    r"""Read a retraining policy.

    Raises:
        Rejected: it is no TOML, a key is unknown, or a value is out of range.

    >>> parse_policy('[retrain]\nentry = "train:main"').min_labelled_rows
    200
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Rejected(f"retrain.toml is not TOML: {exc}", fix="mend that line") from exc
    try:
        return msgspec.convert(raw, _File).retrain
    except msgspec.ValidationError as exc:
        said, _, where = str(exc).partition(" - at `$")
        said = said.replace("Object contains unknown field", "unknown key")
        place = f" in {where.strip('.`')}" if where.strip("`") else ""
        raise Rejected(f"retrain.toml: {said}{place}", fix="correct or remove it and try again") from exc


def default_policy() -> Policy:
    """Return the policy that holds without a file.

    >>> default_policy().can_train
    False
    """
    return parse_policy(DEFAULT_TOML)
