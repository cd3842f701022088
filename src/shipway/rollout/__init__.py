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

from typing import Any

_HOMES = {
    "Policy": "policy",
    "parse_policy": "policy",
    "default_policy": "policy",
    "DEFAULT_TOML": "policy",
    "Evidence": "decide",
    "Decision": "decide",
    "decide": "decide",
    "plan": "plan",
    "deploy": "run",
    "rollback_endpoint": "run",
    "start": "run",
    "step": "run",
    "approve": "run",
    "promote": "run",
    "rollback": "run",
    "pause": "run",
    "resume": "run",
    "record_counts": "counts",
    "verify": "verify",
    "status": "explain",
    "explain": "explain",
}

__all__ = [  # noqa: PLE0604  -- resolved below
    *_HOMES
]
