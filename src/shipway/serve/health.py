"""What a server says about itself: to the control plane with its counts, and on its metrics page."""

from collections.abc import Mapping, Sequence
from typing import Any

from shipway.serve.children import Child


def summary(workers: Sequence[Child | None], shadow: Child | None, *, restarts: int) -> dict[str, Any]:
    """Put together what the processes of a server last said.

    Args:
        workers: one place per worker; None where none lives.
        shadow: the shadow process, if one runs.
        restarts: workers that had to be started again.
    """
    each = [child.health for child in workers if child is not None and child.serving]
    dropped: dict[str, int] = {}
    fuses: dict[str, str] = {}
    problems: dict[str, str] = {}
    for health in each:
        fuses |= health.get("fuses", {})
        problems |= health.get("problems", {})
        for arm, n in health.get("capture_dropped", {}).items():
            dropped[arm] = dropped.get(arm, 0) + n
    return {
        "workers": len(each),
        "wanted": len(workers),
        "restarts": restarts,
        "connections": sum(health.get("connections", 0) for health in each),
        "ineligible": sum(health.get("ineligible", 0) for health in each),
        "capture_dropped": dropped,
        "capture_stopped": next((h["capture_stopped"] for h in each if h.get("capture_stopped")), ""),
        "fuses": fuses,
        "problems": problems,
        "shadow": shadow.health if shadow is not None else {},
        "pids": [child.process.pid for child in workers if child is not None],
        "rss_mb": [health["rss_mb"] for health in each if "rss_mb" in health],
    }


def gauges(health: Mapping[str, Any], epoch: int, *, lost: bool) -> dict[str, float]:
    """Turn a summary into numbers for the metrics page."""
    return {
        "shipway_epoch": float(epoch),
        "shipway_workers_serving": float(health["workers"]),
        "shipway_worker_restarts": float(health["restarts"]),
        "shipway_fuses_open": float(len(health["fuses"])),
        "shipway_capture_dropped": float(sum(health["capture_dropped"].values())),
        "shipway_capture_stopped": float(bool(health["capture_stopped"])),
        "shipway_shadow_lag_seconds": float(health["shadow"].get("lag_s", 0.0)),
        "shipway_connections": float(health["connections"]),
        "shipway_control_lost": float(lost),
    }
