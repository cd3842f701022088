"""Turn measured metrics into a verdict: pure.

A check passes when its whole interval is on the right side of its bound, fails when the whole interval is
on the wrong side, and is undecided in between. The gate passes when every check passes and fails when one
fails; anything else is undecided, which is not a pass.
"""

from collections.abc import Sequence

from msgspec import Struct

from shipway.gate.policy import Check, Policy
from shipway.stats.evalue import Floats
from shipway.stats.metrics import HIGHER_IS_BETTER, Measured, Metrics, interval
from shipway.terms import Task, Verdict

_COMPARED = {Task.BINARY: "accuracy", Task.MULTICLASS: "accuracy", Task.REGRESSION: "r2"}
_BASELINE = {Task.BINARY: "auc", Task.MULTICLASS: "balanced_accuracy", Task.REGRESSION: "r2"}

FEWEST_ROWS = 20
"""Below this no metric decides: the bootstrap of five right answers has no width at all."""


class Evaluation(Struct, frozen=True):
    """A model measured on rows: each metric with its bootstrap replicates, as `stats.metrics.replicate` gives them."""

    name: str
    task: Task
    classes: int
    """How many classes occur in the rows; 0 for regression."""
    rows: int
    metrics: Metrics


class CheckResult(Struct, frozen=True):
    """One check, decided."""

    kind: str
    metric: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    """What was compared: the metric, or its difference to the champion (positive is better)."""
    low: float | None = None
    high: float | None = None
    bound: float | None = None


class Judgement(Struct, frozen=True):
    """What the gate says about a version."""

    verdict: Verdict
    sentence: str
    checks: tuple[CheckResult, ...]
    rows: int
    metrics: dict[str, Measured]
    champion: dict[str, Measured] = {}
    """The champion's metrics on the same rows, if it could answer them."""


def judge(candidate: Evaluation, champion: Evaluation | None, policy: Policy, *, obstacle: str = "") -> Judgement:
    """Judge a version from what was measured.

    Args:
        candidate: the version.
        champion: who answers now, on the same rows with the same seed; None if there is none.
        policy: what it must show.
        obstacle: why an existing champion could not be measured on these rows, or "".
    """
    results = tuple(_check(c, candidate, champion, policy.gate.confidence, obstacle) for c in policy.check)
    verdict = _overall([r.verdict for r in results])
    decisive = [r.sentence for r in results if r.verdict is verdict]
    word = {Verdict.PASS: "passes", Verdict.FAIL: "fails", Verdict.UNDECIDED: "is undecided"}[verdict]
    return Judgement(
        verdict=verdict,
        sentence=f"{candidate.name} {word}: {'; '.join(decisive)}.",
        checks=results,
        rows=candidate.rows,
        metrics=_measured(candidate, policy.gate.confidence),
        champion=_measured(champion, policy.gate.confidence) if champion else {},
    )


def _measured(evaluation: Evaluation, confidence: float) -> dict[str, Measured]:
    return {k: interval(v, confidence=confidence) for k, v in evaluation.metrics.items()}


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.PASS


def _check(
    check: Check, candidate: Evaluation, champion: Evaluation | None, confidence: float, obstacle: str
) -> CheckResult:
    if check.kind != "rows" and candidate.rows < FEWEST_ROWS and not (check.kind == "champion" and champion is None):
        sentence = f"{candidate.rows} rows are too few to judge a metric (at least {FEWEST_ROWS})"
        return CheckResult(check.kind, "" if check.metric == "auto" else check.metric, Verdict.UNDECIDED, sentence)
    match check.kind:
        case "rows":
            return _rows(check, candidate)
        case "threshold":
            return _threshold(check, candidate, confidence)
        case "baseline":
            return _baseline(check, candidate, confidence)
        case "champion":
            return _champion(check, candidate, champion, confidence, obstacle)


def _rows(check: Check, candidate: Evaluation) -> CheckResult:
    asked = check.at_least or 0.0
    verdict = Verdict.PASS if candidate.rows >= asked else Verdict.UNDECIDED
    sentence = f"{candidate.rows} rows ({asked:.0f} asked)"
    return CheckResult("rows", "rows", verdict, sentence, float(candidate.rows), None, None, asked)


def _threshold(check: Check, candidate: Evaluation, confidence: float) -> CheckResult:
    if check.metric not in candidate.metrics:
        return _absent(check, check.metric, candidate)
    measured = interval(candidate.metrics[check.metric], confidence=confidence)
    if check.at_least is not None:
        return _against(check, check.metric, measured, check.at_least, at_least=True)
    return _against(check, check.metric, measured, check.at_most or 0.0, at_least=False)


def _baseline(check: Check, candidate: Evaluation, confidence: float) -> CheckResult:
    metric = _BASELINE.get(candidate.task, "") if check.metric == "auto" else check.metric
    if metric not in candidate.metrics or (metric == "balanced_accuracy" and candidate.classes < 2):
        return _absent(check, metric, candidate)
    # A model that always says one class finds that class alone: one of those that occur, not of those it knows.
    trivial = {"auc": 0.5, "balanced_accuracy": 1.0 / max(candidate.classes, 1), "r2": 0.0}[metric]
    return _against(check, metric, interval(candidate.metrics[metric], confidence=confidence), trivial, at_least=True)


def _champion(
    check: Check, candidate: Evaluation, champion: Evaluation | None, confidence: float, obstacle: str
) -> CheckResult:
    metric = _COMPARED.get(candidate.task, "") if check.metric == "auto" else check.metric
    if obstacle:
        return CheckResult("champion", metric, Verdict.UNDECIDED, obstacle)
    if champion is None:
        return CheckResult("champion", metric, Verdict.PASS, "there is no champion to compare with")
    if metric not in candidate.metrics or metric not in champion.metrics:
        return _absent(check, metric, candidate)
    gain: Floats = candidate.metrics[metric] - champion.metrics[metric]
    better = interval(gain if HIGHER_IS_BETTER[metric] else -gain, confidence=confidence)
    bound = -(check.margin or 0.0)
    verdict = _side(better, bound, at_least=True)
    sentence = (
        f"{metric} against {champion.name} differs by {better.value:+.4g} ({better.low:+.4g} to {better.high:+.4g}; "
        f"above zero is better, at least {bound:+.4g} asked)"
    )
    return CheckResult("champion", metric, verdict, sentence, better.value, better.low, better.high, bound)


def _absent(check: Check, metric: str, candidate: Evaluation) -> CheckResult:
    shown = metric or f"a metric for task {candidate.task.value}"
    return CheckResult(check.kind, metric, Verdict.UNDECIDED, f"these rows cannot show {shown}")


def _against(check: Check, metric: str, measured: Measured, bound: float, *, at_least: bool) -> CheckResult:
    verdict = _above(measured, bound) if check.kind == "baseline" else _side(measured, bound, at_least=at_least)
    asked = "at least" if at_least else "at most"
    what = "a trivial model reaches" if check.kind == "baseline" else f"{asked}"
    end = "" if check.kind == "baseline" else " asked"
    sentence = f"{metric} {measured.value:.4g} ({measured.low:.4g} to {measured.high:.4g}, {what} {bound:.4g}{end})"
    return CheckResult(check.kind, metric, verdict, sentence, measured.value, measured.low, measured.high, bound)


def _above(measured: Measured, bound: float) -> Verdict:
    """As `_side`, but to equal the bound is to miss it: a trivial model must not pass by being trivial."""
    if measured.low > bound:
        return Verdict.PASS
    return Verdict.FAIL if measured.high <= bound else Verdict.UNDECIDED


def _side(measured: Measured, bound: float, *, at_least: bool) -> Verdict:
    low, high = (measured.low, measured.high) if at_least else (-measured.high, -measured.low)
    limit = bound if at_least else -bound
    if low >= limit:
        return Verdict.PASS
    return Verdict.FAIL if high < limit else Verdict.UNDECIDED
