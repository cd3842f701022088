"""Say the figures of a decision in words; pure."""

from shipway.rollout.evidence import Check, Evidence


def spread(low: float, high: float, digits: int = 2) -> str:
    """Write the bounds of a difference in words.

    Each bound comes from an e-value of its own. Where the lower one lies above the upper one, no single
    difference fits all the counts: the difference has changed on the way, and that is what is said.

    >>> spread(0.536, 0.698, 1), spread(0.0559, 0.0075)
    ('+53.6 to +69.8 points', 'less than +0.75 points at times and more than +5.59 at others')
    """
    bounds = f"{100 * low:+.{digits}f}", f"{100 * high:+.{digits}f}"
    if low <= high:
        return f"{bounds[0]} to {bounds[1]} points"
    return f"less than {bounds[1]} points at times and more than {bounds[0]} at others"


def tally(check: Check) -> str:
    """Count what both arms did."""
    return (
        f"{check.challenger_bad} bad of {check.challenger} for the challenger, "
        f"{check.champion_bad} of {check.champion} for the champion"
    )


def passes(checks: tuple[Check, ...]) -> str:
    """Say what the guardrails that passed have shown."""
    return "; ".join(_pass(c) for c in checks if c.verdict == "passed") or "nothing was asked"


def _pass(check: Check) -> str:
    if check.high < 0:
        return f"{check.name} better by at least {-100 * check.high:.1f} points"
    return f"{check.name} at most {100 * check.high:.1f} points worse ({100 * check.margin:g} allowed)"


def lacking(missing: list[Check]) -> str:
    """Say what the guardrails that did not pass still need."""
    said = []
    for check in missing:
        if check.obstacle:
            said.append(check.obstacle)
        elif not check.challenger:
            said.append(f"{check.name} has no data")
        else:
            share = min(max(check.log_e_margin / check.bar_margin, 0.0), 1.0)
            said.append(f"{check.name} has {100 * share:.0f} % of the evidence asked for")
    return "; ".join(said) or "nothing is missing"


def arms(evidence: Evidence) -> str:
    """Say which share of requests, and of labels, the challenger got at each propensity."""
    said = [
        f"{a.challenger} of {a.challenger + a.champion} at {a.propensity / 100:g} %"
        for a in (*evidence.assigned, *evidence.labelled)
    ]
    return ", ".join(said)
