"""Run the platform: the control plane, the collector, the server, or all three at once.

`up` starts everything on one machine; `run`, `collect` and `serve` are its parts, for installations
that start them one by one. None of them decides anything: deciding is the rooms' business, when and
in which process is this room's.
"""

from typing import Any

__all__ = ["Clockwork", "Processes", "collect", "detach", "down", "run", "serve", "up"]


def __getattr__(wanted: str) -> Any:  # noqa: ANN401 - PEP 562: a module attribute may be anything
    if wanted == "collect":
        from shipway.control.collector import collect

        return collect
    if wanted == "run":
        from shipway.control.web import run

        return run
    if wanted == "Clockwork":
        from shipway.control.clockwork import Clockwork

        return Clockwork
    if wanted in ("serve", "up", "down", "detach", "Processes"):
        from shipway.control import processes

        return getattr(processes, wanted)
    raise AttributeError(wanted)
