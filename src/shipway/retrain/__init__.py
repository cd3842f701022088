"""Make a challenger when signals or people ask: the owner's command, run on captured and labelled rows.

    retrain.step(database, lake, bundles, signals, now)     one pass: propose, start, take in
    retrain.request(tx, project=..., endpoint=..., ...)     a training by hand
    retrain.approve(tx, job_id, ...)                        let a proposed one run

A training is a process of its own that leaves a packed bundle; the bundle is kept, registered with the
champion as its parent and judged by the gate, and if it passes, the alias `challenger` moves to it. What
happens then is the rollout's business. Without `auto_retrain` on the endpoint a job is only proposed.

Not here: what is wrong with the champion (`shipway.monitor`), and whether the challenger is better live
(`shipway.rollout`).
"""

from typing import Any

from shipway.retrain.policy import DEFAULT_TOML, Policy, default_policy, parse_policy

_HOMES = {"Job": "jobs", "approve": "jobs", "request": "jobs", "step": "run"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import what needs SQL and pyarrow when it is first asked for (PEP 562): a training's process does without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = ["DEFAULT_TOML", "Policy", "default_policy", "parse_policy"]
