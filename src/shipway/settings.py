"""Where every setting comes from: the only reader of the environment and of `shipway.toml`.

`load` merges, weakest first: defaults, the file, `SHIPWAY_<NAME>` in the environment, the command line.
The result remembers where each value came from (`origins`), so that `shipway config show` can say it.
A wrong value stops the start with its name, its value and what would be accepted.

Light on purpose (tomllib and msgspec): servers read settings too.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from shipway.errors import Rejected

Port = Annotated[int, Meta(ge=0, le=65535)]
YEAR_S = 31_536_000  # no duration here is longer; keeps infinity out
Seconds = Annotated[float, Meta(gt=0, le=YEAR_S)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=YEAR_S)]
Count = Annotated[int, Meta(ge=1)]

PREFIX = "SHIPWAY_"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of every process. Paths are absolute; durations are seconds."""

    home: Path
    """Folder of the database, bundles, lake and route tables."""
    control_host: str = "127.0.0.1"
    """Address on which API and console listen."""
    control_port: Port = 8787
    """Port of API and console; 0 takes any free one."""
    server_host: str = "127.0.0.1"
    """Address on which models answer."""
    server_port: Port = 8786
    """Port on which models answer; 0 takes any free one."""
    admin_port: Port = 8788
    """Port of a server's metrics, counts and drain, on loopback; 0 takes any free one."""
    workers: Count = 1
    """Processes that answer, per server."""
    database_url: str = ""
    """Metadata database; "" is `shipway.db` in `home`."""
    lake_url: str = ""
    """Catalog of the lake; "" is `lake.db` in `home`."""
    segment_bytes: Annotated[int, Meta(ge=4096)] = 8 * 1024 * 1024
    """A spool segment is sealed when it is this large."""
    seal_after_s: Seconds = 5.0
    """A spool segment with records is sealed when it is this old."""
    durability: Literal["none", "interval", "request"] = "interval"
    """What a power cut may take of the captures: `none` syncs nothing, `interval` every 200 ms, `request` each one."""
    collect_every_s: Seconds = 2.0
    """How often sealed segments leave the spool."""
    commit_every_s: Seconds = 10.0
    """How often collected captures become an Iceberg commit."""
    tick_s: Seconds = 1.0
    """How often the clockwork runs."""
    profile_bucket_s: Count = 60
    """Length of the stretches in which profiles are kept; monitors add them to windows."""
    counts_every_s: Seconds = 0.25
    """How often servers push their counts."""
    challenger_grace_s: SecondsOrZero = 30.0
    """Without contact to the control plane for this long, servers stop asking challengers."""
    keep_spool_s: SecondsOrZero = 0.0
    """How long collected segments stay in the spool."""
    url: str = ""
    """Control plane that commands talk to; "" is the one in the context file."""
    token: str = ""
    """Token that commands show; "" is the one in the context file."""
    origins: dict[str, str] = {}
    """Name of each setting -> where its value came from."""

    @property
    def metadata_url(self) -> str:
        """URL of the metadata database."""
        return self.database_url or f"sqlite:///{self.home / 'shipway.db'}"

    @property
    def catalog_url(self) -> str:
        """URL of the lake's catalog."""
        return self.lake_url or f"sqlite:///{self.home / 'lake.db'}"

    @property
    def bundles(self) -> Path:
        """Folder of bundles by digest."""
        return self.home / "bundles"

    @property
    def lake(self) -> Path:
        """Folder of the lake's files."""
        return self.home / "lake"

    @property
    def incoming(self) -> Path:
        """Folder of collected files that are not committed yet."""
        return self.home / "incoming"

    @property
    def routes(self) -> Path:
        """Folder of the published route table."""
        return self.home / "routes"

    @property
    def logs(self) -> Path:
        """Folder of log files."""
        return self.home / "logs"

    @property
    def servers(self) -> Path:
        """Folder with one folder per server on this machine."""
        return self.home / "servers"

    @property
    def context_file(self) -> Path:
        """File with the URL and the token that commands use, readable by its owner alone."""
        return self.home / "context.json"

    def shown(self) -> list["Shown"]:
        """List every setting with its value and origin, for people; the token is masked."""
        return [
            Shown(name, "(set)" if name == "token" and self.token else str(getattr(self, name)), self.origins[name])
            for name in FIELDS
        ]


class Shown(NamedTuple):
    """One line of `shipway config show`."""

    name: str
    value: str
    origin: str


FIELDS = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "origins"}
"""Name of each setting -> its type."""


def environment() -> dict[str, str]:
    """Copy the environment of this process; no other function reads it."""
    return dict(os.environ)  # noqa: TID251 - the one place that may


def discover(env: Mapping[str, str], folder: Path) -> Path | None:
    """Find the settings file: the one `SHIPWAY_CONFIG` names, else `shipway.toml` in `folder`, else none."""
    if named := env.get(PREFIX + "CONFIG"):
        return Path(named)
    here = folder / "shipway.toml"
    return here if here.is_file() else None


def load(env: Mapping[str, str], toml: Path | None, **overrides: object) -> Settings:
    """Merge defaults, file, environment and command line to settings that remember their origin.

    Args:
        env: the environment, or what should stand for it.
        toml: the settings file, or None.
        overrides: from the command line; None means "not given".

    Raises:
        Rejected: a value is wrong, a name in the file is unknown, or the file cannot be read.

    >>> load({"HOME": "/home/ann", "SHIPWAY_WORKERS": "2"}, None).workers
    2
    """
    values: dict[str, object] = {"home": _default_home(env)}
    origins = dict.fromkeys(FIELDS, "default")
    given = {name: value for name, value in overrides.items() if value is not None}
    layers = [(name, value, str(toml)) for name, value in _from_file(toml).items()]
    layers += [(name, env[key], f"environment {key}") for name in FIELDS if env.get(key := PREFIX + name.upper())]
    layers += [(name, value, f"option --{name.replace('_', '-')}") for name, value in given.items()]
    for name, value, origin in layers:
        values[name] = _checked(name, value, origin)
        origins[name] = origin
    return msgspec.convert({**values, "origins": origins}, Settings, dec_hook=_path)


def _default_home(env: Mapping[str, str]) -> Path:
    data = env.get("XDG_DATA_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    folder = Path(data) if Path(data).is_absolute() else Path(env.get("HOME") or Path.home()) / ".local" / "share"
    return folder / "shipway"


def _from_file(toml: Path | None) -> dict[str, object]:
    if toml is None:
        return {}
    try:
        return tomllib.loads(toml.read_text("utf-8"))
    except OSError as exc:
        raise Rejected(
            f"cannot read the settings file {toml}: {exc.strerror}",
            fix="name another one in SHIPWAY_CONFIG, or unset it to run without",
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Rejected(f"{toml} is not TOML: {exc}", fix="correct the file at that place") from exc


def _checked(name: str, value: object, where: str) -> object:
    """Return `value` as the type of setting `name`."""
    if name not in FIELDS:
        close = difflib.get_close_matches(name, FIELDS, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise Rejected(
            f"{name!r} from {where} is not a setting",
            fix=f"{meant}`shipway config show` lists them all",
        )
    try:
        # Text comes from the environment, so "8787" is a number there; a file has numbers of its own.
        converted: object = msgspec.convert(value, FIELDS[name], strict=not isinstance(value, str), dec_hook=_path)
    except msgspec.ValidationError as exc:
        shown = "(hidden)" if name == "token" else repr(value)
        raise Rejected(f"setting {name} is {shown}, from {where}", fix=f"it must be {_wanted(str(exc))}") from exc
    return converted


def _path(wanted: type, value: object) -> Path:
    """Let msgspec read paths, made absolute so that a later change of folder cannot move them."""
    if wanted is Path and isinstance(value, (str, Path)):
        return Path(value).expanduser().absolute()
    raise msgspec.ValidationError("Expected a path")


def _wanted(complaint: str) -> str:
    """Turn msgspec's complaint into what would be accepted.

    >>> _wanted("Expected `int` <= 65535")
    'a whole number, at most 65535'
    """
    if "Invalid enum value" in complaint:
        return "one of none, interval, request"
    words = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
    kind = re.search(r"Expected `(\w+)`", complaint)
    bound = re.search(r"(<=|>=|<|>) ([\d.]+)", complaint)
    bounds = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
    wanted = words.get(kind[1], kind[1]) if kind else "a path"
    return f"{wanted}, {bounds[bound[1]]} {bound[2]}" if bound else wanted
