"""Look at this machine and this installation, and say what is wrong with evidence and a fix.

Every check looks and changes nothing: a database is opened for reading only where it is there already.
"""

import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from shipway.errors import ShipwayError
from shipway.settings import Settings

State = Literal["ok", "warn", "fail"]

LOW_DISK_BYTES = 2 * 2**30
FULL_DISK_BYTES = 16 * 2**20
"""Less than a worker's counts, a segment and a commit need."""
STALE_S = 30.0
"""A server that has not reported for this long is not running."""

ON_ITS_WAY_S = 5.0
"""A route table younger than this need not have reached every server, nor their answer us."""

_PACKAGES = (
    "numpy",
    "onnxruntime",
    "msgspec",
    "orjson",
    "httptools",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "pyarrow",
    "pyiceberg",
    "duckdb",
    "onnx",
    "rfc8785",
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    evidence: str
    fix: str = ""


def diagnose(settings: Settings) -> list[Check]:
    """Run every check; one that fails itself is a finding, not a crash."""
    found: list[Check] = []
    for name, check in _CHECKS:
        try:
            found.extend(check(settings))
        except ShipwayError as exc:
            found.append(Check(name, "fail", str(exc), exc.fix))
        except Exception as exc:  # noqa: BLE001 - a doctor must not faint
            found.append(Check(name, "fail", f"{type(exc).__name__}: {exc}", "report this with the line above"))
    return found


def _python(_settings: Settings) -> Iterator[Check]:
    machine = f"{platform.system()} {platform.machine()}"
    said = f"{platform.python_implementation()} {platform.python_version()} on {machine}, {sys.executable}"
    good = sys.version_info >= (3, 11)
    yield Check("python", "ok" if good else "fail", said, "" if good else "use Python 3.11 or newer")


def _packages(_settings: Settings) -> Iterator[Check]:
    versions, absent = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        yield Check("packages", "fail", f"not installed: {', '.join(absent)}", "pip install 'shipway[platform]'")
    else:
        yield Check("packages", "ok", f"{len(versions)} of {len(versions)} are here, e.g. {', '.join(versions[:2])}")


def _home(settings: Settings) -> Iterator[Check]:
    there = settings.home
    while not there.exists():
        there = there.parent
    writable = _may_write(there)
    said = f"{settings.home}" if settings.home.exists() else f"{settings.home} is not there yet; {there} is"
    yield Check(
        "home",
        "ok" if writable else "fail",
        f"{said}, {'writable' if writable else 'not writable'}",
        "" if writable else "choose another with --home or SHIPWAY_HOME",
    )
    free = shutil.disk_usage(there).free
    if free < FULL_DISK_BYTES:
        yield Check(
            "disk", "fail", f"the disk of {there} is full: {free / 2**20:.1f} MiB free",
            "free space: servers answer, but captures, labels and decisions cannot be written",
        )  # fmt: skip
        return
    enough = free >= LOW_DISK_BYTES
    yield Check(
        "disk",
        "ok" if enough else "warn",
        f"{free / 2**30:.1f} GiB free" if free >= 2**30 else f"{free / 2**20:.0f} MiB free",
        "" if enough else "free space: captures stop when the disk is full",
    )


def _may_write(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK | os.X_OK)


def _ports(settings: Settings) -> Iterator[Check]:
    wanted = (
        ("control", settings.control_host, settings.control_port, "SHIPWAY_CONTROL_PORT"),
        ("server", settings.server_host, settings.server_port, "SHIPWAY_SERVER_PORT"),
        ("admin", "127.0.0.1", settings.admin_port, "SHIPWAY_ADMIN_PORT"),
    )
    for name, host, port, variable in wanted:
        where = f"port {port} on {host}"
        if port == 0 or _is_free(host, port):
            yield Check(f"{name} port", "ok", f"{where} is free")
        elif _asked(host, port, _PATHS[name]) is not None:
            if _is_of_this_home(settings, name, port):
                yield Check(f"{name} port", "ok", f"{where} is used by Shipway")
            else:
                yield Check(
                    f"{name} port",
                    "fail",
                    f"{where} is used by a Shipway with another home than {settings.home}",
                    f"set SHIPWAY_HOME to that home to use it, or {variable} to another port",
                )
        else:
            yield Check(
                f"{name} port", "fail", f"{where} is used by something else", f"stop what uses it, or set {variable}"
            )


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_PATHS = {"control": "/v1/health", "server": "/v2/health/live", "admin": "/healthz"}
"""Where each listener says that it is there."""


def _asked(host: str, port: int, path: str, token: str = "") -> Any:  # noqa: ANN401 - whatever the route answers
    """Return what a listener answers, or None where it is none of Shipway's or refuses."""
    from shipway.client import Wire

    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    url = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    wire = Wire(url, token=token, timeout_s=2.0)
    try:
        return wire.request("GET", path).json()
    except ShipwayError:
        return None
    finally:
        wire.close()


def _is_of_this_home(settings: Settings, name: str, port: int) -> bool:
    """Tell ours from that of another installation: by the token of this home, or by where its servers listen."""
    if name == "control":
        from shipway.client import context

        token = context(settings).token
        return bool(token) and _asked(settings.control_host, port, "/v1/models", token) is not None
    key = {"server": "port", "admin": "admin_port"}[name]
    return any(address.get(key) == port for address in _addresses(settings))


def _addresses(settings: Settings) -> list[dict[str, Any]]:
    """Return where the servers of this home said that they listen."""
    found = []
    for path in sorted(settings.servers.glob("*/address.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
        except (OSError, msgspec.MsgspecError):
            continue
    return found


def _clockwork(settings: Settings) -> Iterator[Check]:
    said = _asked(settings.control_host, settings.control_port, _PATHS["control"])
    if said is None or not _is_of_this_home(settings, "control", settings.control_port):
        return
    failing = ", ".join(said.get("failing", []))
    if failing:
        fix = f"see {settings.logs}/control.log; the console's home page shows the reason"
        yield Check("clockwork", "fail", f"steps of the control plane that fail now: {failing}", fix)
    else:
        yield Check("clockwork", "ok", "every step of the control plane succeeds")


def _serving(settings: Settings) -> Iterator[Check]:
    """Ask the servers of this home how they are, past the control plane, which may be down."""
    for address in _addresses(settings):
        said = _asked("127.0.0.1", int(address.get("admin_port", 0)), "/counts")
        if said is None:
            continue
        name, health = f"server {said['server']}", said["health"]
        if health["workers"] < health["wanted"]:
            said = f"{health['workers']} of {health['wanted']} workers answer"
            yield Check(name, "fail" if not health["workers"] else "warn", said, f"see {settings.logs}/serve.log")
        if health["capture_stopped"]:
            said = f"captures nothing now: {health['capture_stopped']}; answers go on"
            yield Check(name, "fail", said, "free space on its disk: capture goes on by itself")
        yield from (
            Check(name, "fail", f"{what}: {why}", "push or deploy that bundle again, or roll back")
            for what, why in {**health["problems"], **health["shadow"].get("problems", {})}.items()
        )


def _bundles(settings: Settings) -> Iterator[Check]:
    from shipway.bundle import BundleStore

    store = BundleStore(settings.bundles)
    digests = store.digests()
    sound = 0
    for digest in digests:
        try:
            store.audited(digest)
            sound += 1
        except ShipwayError as exc:
            yield Check("bundle", "fail", str(exc), exc.fix)
    if digests and sound == len(digests):
        yield Check("bundles", "ok", f"{sound} of {sound} are what was packed, byte for byte")


def _database(settings: Settings) -> Iterator[Check]:
    if not settings.database_url and not (settings.home / "shipway.db").exists():
        yield Check("database", "ok", "none yet; `shipway up` makes one")
        return
    from shipway.database import Database

    database = Database.open(settings.metadata_url)
    try:
        with database.read() as tx:
            yield from _inside(tx, settings)
    finally:
        database.close()


def _inside(tx: Connection, settings: Settings) -> Iterator[Check]:
    from shipway import ledger
    from shipway.database.migration import HEAD, current

    at = current(tx)
    if at != HEAD:
        yield Check(
            "database",
            "fail",
            f"{settings.metadata_url} is at revision {at}, and this release wants {HEAD}",
            "start `shipway control` once: it migrates",
        )
        return
    yield Check("database", "ok", f"{settings.metadata_url}, revision {at}")
    chain = ledger.verify(tx)
    fix = "" if chain.ok else "find out who edits the database; restore it from a backup"
    yield Check("ledger", "ok" if chain.ok else "fail", chain.sentence, fix)
    yield from _heartbeats(tx)


def _heartbeats(tx: Connection) -> Iterator[Check]:
    from shipway.wiring.platform import clock

    now = clock()
    # A table that was made a moment ago may be on its way to the server, and the server's word of it on its way back.
    newest = tx.exec_driver_sql(
        "select coalesce(max(epoch), 0) from route where issued_at < ?", (now - ON_ITS_WAY_S,)
    ).scalar_one()
    rows = tx.exec_driver_sql("select name, seen_at, epoch from server order by name").all()
    if not rows:
        yield Check("servers", "ok", "none has reported yet; `shipway up` starts one")
    for name, seen_at, epoch in rows:
        ago = now - seen_at
        if ago > STALE_S:
            yield Check(
                f"server {name}",
                "warn",
                f"last heard of {_ago(ago)} ago",
                "start it with `shipway up` or `shipway serve`",
            )
        elif epoch < newest:
            yield Check(
                f"server {name}",
                "warn",
                f"obeys route table {epoch}; the newest is {newest}",
                "wait a second; if it stays, see the server's log",
            )
        else:
            yield Check(f"server {name}", "ok", f"reported {ago:.1f} s ago, obeys route table {epoch}")


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


_CHECKS: tuple[tuple[str, Callable[[Settings], Iterator[Check]]], ...] = (
    ("python", _python), ("packages", _packages), ("home", _home), ("ports", _ports), ("database", _database),
    ("clockwork", _clockwork), ("serving", _serving), ("bundles", _bundles),
)  # fmt: skip
