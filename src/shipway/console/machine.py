"""Say how the platform itself does: which servers obey, what runs on this machine, what goes wrong. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shipway.console import figures
from shipway.console.figures import count, plural
from shipway.settings import Settings

Server = tuple[str, float, int, dict[str, Any]]
"""Name, when it was last heard of, number of its route table, its health."""

FRESH_S = 15.0
"""A server that was silent for longer is not counted as obeying."""


def obeyed(servers: Sequence[Server], epoch: int, now: float) -> tuple[str, str]:
    """Say which servers obey the newest route table: a lamp and a sentence."""
    alive = [s for s in servers if now - s[1] < FRESH_S]
    if not servers:
        return "off", "no server has reported yet"
    obeying = sum(s[2] >= epoch for s in alive)
    lamp = "ok" if obeying == len(servers) else "wait" if alive else "bad"
    silent = [s for s in servers if now - s[1] >= FRESH_S]
    if lamp == "ok":
        every = "the server obeys" if len(servers) == 1 else f"all {len(servers)} servers obey"
        return lamp, f"{every} route table {epoch}"
    said = [f"route table {epoch} is on its way"] if alive and obeying < len(alive) else []
    said += [f"{name} has been silent for {figures.duration(now - seen)}" for name, seen, _, _ in silent]
    return lamp, "; ".join(said)


def silent_s(servers: Sequence[Server], now: float) -> float:
    """For how many seconds no server has reported; 0 while one does, or before the first."""
    ago = min((now - seen for _, seen, _, _ in servers), default=0.0)
    return ago if ago >= FRESH_S else 0.0


def notes(failures: Mapping[str, str], servers: Sequence[Server], logs: Path, now: float) -> list[tuple[str, str, str]]:
    """Say what goes wrong on the platform itself: what, what it said, what to do."""
    out = [
        (f"the step {step!r} of the control plane fails:", f"{error}. The other steps go on.", f"see {logs}")
        for step, error in failures.items()
    ]
    for name, seen, _, health in servers:
        if now - seen >= FRESH_S:
            text = f"The newest figures are {figures.duration(now - seen)} old; it may still answer."
            out.append((f"server {name} has been silent.", text, f"look whether it runs: shipway up, or {logs}"))
            continue
        if stopped := health.get("capture_stopped"):
            out.append((f"server {name} captures nothing:", f"{stopped}.", "make room on its disk"))
        if lost := sum(n for n in dict(health.get("capture_dropped") or {}).values() if isinstance(n, int)):
            text = f"{count(lost)} captures were dropped; drift and quality miss them."
            out.append((f"server {name} could not keep up.", text, "give it a faster disk, or capture less"))
        out += [
            (f"server {name}:", f"{what}: {why}.", f"see {logs}")
            for key in ("problems", "fuses")
            for what, why in dict(health.get(key) or {}).items()
        ]
    return out


def parts(settings: Settings, servers: Sequence[Server], now: float) -> list[tuple[str, str, str]]:
    """Say what runs on this machine: lamp, name, sentence."""
    alive = [s for s in servers if now - s[1] < FRESH_S]
    serving = (
        f"{plural(len(alive), 'server')} on port {settings.server_port}, no endpoint yet"
        if alive
        else "no server has reported yet; shipway serve starts one"
    )
    return [
        ("ok", "Control plane", f"answers on port {settings.control_port}"),
        ("ok" if alive else "wait", "Serving", serving),
        ("ok", "Storage", f"SQLite and files under {settings.home}"),
    ]


def server_url(settings: Settings) -> str:
    """Where this machine's server answers."""
    host = settings.server_host if settings.server_host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - a comparison, not a bind
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server_port}"
