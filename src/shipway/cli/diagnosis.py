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
from typing import Literal

from sqlalchemy import Connection

from shipway.errors import ShipwayError
from shipway.settings import Settings

State = Literal["ok", "warn", "fail"]

LOW_DISK_BYTES = 2 * 2**30
STALE_S = 30.0
"""A server that has not reported for this long is not running."""

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
    enough = free >= LOW_DISK_BYTES
    yield Check(
        "disk",
        "ok" if enough else "warn",
        f"{free / 2**30:.1f} GiB free",
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
        elif _is_ours(name, host, port):
            yield Check(f"{name} port", "ok", f"{where} is used by Shipway")
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


def _is_ours(name: str, host: str, port: int) -> bool:
    from shipway.client import Wire

    path = {"control": "/v1/health", "server": "/v2/health/live", "admin": "/healthz"}[name]
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    wire = Wire(f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}", timeout_s=2.0)
    try:
        return wire.request("GET", path).status == 200
    except ShipwayError:
        return False
    finally:
        wire.close()


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
    newest = tx.exec_driver_sql("select coalesce(max(epoch), 0) from route").scalar_one()
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
)  # fmt: skip
