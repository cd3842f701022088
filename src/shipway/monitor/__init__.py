"""Compare what an endpoint gets and answers with what its version was made for, and say so when it differs.

Without a server:

    monitor.compare("last_month.parquet", "today.parquet").sentence
    monitor.profile("today.parquet")

On the platform `step` does so for every endpoint, window by window: it reads the profiles that collectors
counted, weighs them with e-detectors that share one dial (`false_alarms = "1 per year"`), judges labelled
answers, notices silence, and raises a `terms.Signal` once for each change. `deliver` sends what its alerts
put into the outbox, `status` and `explain` tell people, `try_alerts` sends a test. `decide.update` is the
deciding part alone, pure.

Not here: the statistics (`shipway.stats`), and what follows from a signal (`shipway.retrain`, `shipway.rollout`).
"""

from typing import Any

from shipway.monitor.policy import DEFAULT_TOML, Policy, default_policy, parse_policy

_HOMES = {
    "Comparison": "comparison",
    "TableProfile": "comparison",
    "compare": "comparison",
    "deliver": "alerts",
    "explain": "alerts",
    "profile": "comparison",
    "status": "run",
    "step": "run",
    "try_alerts": "alerts",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import what needs SQL or pyarrow when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    return getattr(module, "describe" if name == "profile" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = ["DEFAULT_TOML", "Policy", "default_policy", "parse_policy"]
