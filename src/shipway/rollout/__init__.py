"""Move traffic from champion to challenger one safe step at a time, and back.

    policy = rollout.parse_policy(text)                   # rollout.toml; default_policy() without a file
    decision = rollout.decide(policy, evidence, now)      # pure: counts in, action and reasons out
    rollout.step(database, lake, now)                     # one pass over all running rollouts
    rollout.verify(tx)                                    # recompute every recorded decision

A rollback is armed in every state of a rollout, also while it is paused or waits for a person, and wins
over everything else. A promotion needs every guardrail to pass; no data is never a pass. Evidence is
e-values of counts, so looking every second costs nothing in error, and whoever has the ledger can
recompute what was decided.

Not here: whether a version may be tried at all (`shipway.gate`), and how a server splits requests
(`shipway.endpoint`). `decide`, `policy` and `plan` import no database.
"""

from shipway.rollout.decide import Decision, Evidence, decide
from shipway.rollout.forecast import plan
from shipway.rollout.policy import DEFAULT_TOML, Policy, default_policy, parse_policy

_DATABASE = {
    "approve": "run",
    "deploy": "deployment",
    "explain": "texts",
    "pause": "run",
    "promote": "run",
    "record_counts": "counts",
    "resume": "run",
    "rollback": "run",
    "rollback_endpoint": "deployment",
    "start": "run",
    "status": "texts",
    "step": "run",
    "verify": "records",
}


def __getattr__(name: str) -> object:
    """Import what needs a database when it is first asked for."""
    if name not in _DATABASE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_DATABASE[name]}", fromlist=[name])
    return getattr(module, name)


__all__ = [
    "DEFAULT_TOML",
    "Decision",
    "Evidence",
    "Policy",
    "decide",
    "default_policy",
    "parse_policy",
    "plan",
]
