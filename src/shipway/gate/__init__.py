"""Judge from evidence whether a version may ship: pass, fail or undecided, and why in one sentence.

    judgement, statement = gate.run(bundle_folder, champion_folder, None, now=now)

`run` opens the bundle, lets it and the champion answer the same rows with known outcomes, and judges what
it measured; `judge` is that last part alone, pure. Every figure has a bootstrap interval, and a check is
decided only when the whole interval lies on one side of its bound: too few rows make `undecided`, never
a soft pass. The statement is in-toto: attach it to the bundle's digest.

Not here: how a version does on live traffic (`shipway.rollout`).
"""

from shipway.gate.decide import CheckResult, Evaluation, Judgement, judge
from shipway.gate.evaluation import run
from shipway.gate.policy import DEFAULT_TOML, Policy, default_policy, parse_policy
from shipway.stats.metrics import measure

__all__ = [
    "DEFAULT_TOML",
    "CheckResult",
    "Evaluation",
    "Judgement",
    "Policy",
    "default_policy",
    "judge",
    "measure",
    "parse_policy",
    "run",
]
