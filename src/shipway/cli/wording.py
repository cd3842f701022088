"""Write what the platform answered for people: sentences first, then figures in aligned columns."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shipway.cli.frame import table


def rollout_text(value: Mapping[str, Any]) -> str:
    """Write where a rollout stands, and with `lines` why.

    >>> plain = {"id": "r", "endpoint": "e", "model": "m", "champion": 1, "challenger": 2, "state": "running"}
    >>> step = {"step": 0, "steps": 4, "kind": "shadow", "share": 0.0, "units": 9, "sentence": "Held.", "checks": []}
    >>> print(rollout_text(plain | step))
    r: m:2 against m:1 at e, running
    step 1 of 4, shadow; it answers 0 % of callers; 9 requests so far
    Held.
    """
    model = value["model"]
    who = f"{model}:{value['challenger']} against {model}:{value['champion']} at {value['endpoint']}"
    where = f"step {value['step'] + 1} of {value['steps']}, {value['kind']}"
    share = f"it answers {100 * value['share']:g} % of callers"
    parts = [
        f"{value['id']}: {who}, {value['state'].replace('_', ' ')}",
        f"{where}; {share}; {value['units']:,} requests so far",
        value["sentence"],
    ]
    if value.get("lines"):
        parts += ["", *value["lines"]]
    elif value["checks"]:
        head = ["guardrail", "verdict", "bad, challenger", "bad, champion", "difference", "harm", "pass"]
        parts += ["", table(head, [_check(check) for check in value["checks"]])]
    return "\n".join(parts)


def _check(check: Mapping[str, Any]) -> list[str]:
    known = check["challenger"] > 0
    return [
        check["name"],
        check["verdict"].replace("_", " "),
        f"{check['challenger_bad']} of {check['challenger']}",
        f"{check['champion_bad']} of {check['champion']}",
        _difference(100 * check["low"], 100 * check["high"]) if known else "-",
        _share(check["log_e_harm"], check["bar_harm"]),
        _share(check["log_e_margin"], check["bar_margin"]),
    ]


def _difference(low: float, high: float) -> str:
    if low > high:  # no single difference fits all the counts
        return f"at times below {high:+.2f}, at others above {low:+.2f} points"
    return f"{low:+.2f} to {high:+.2f} points"


def _share(log_e: float, bar: float) -> str:
    """Say how much of the evidence that a bar asks for is there."""
    return f"{100 * min(max(log_e / bar, 0.0), 1.0):.0f} %"


def plan_text(value: Mapping[str, Any]) -> str:
    """Write what a rollout would take."""
    rows = [
        [i, step["kind"], f"{100 * step['share']:g} %", _count(step["requests"]), _count(step["hours"], 1)]
        for i, step in enumerate(value["steps"], 1)
    ]
    rate = value["requests_per_second"]
    seen = f"{rate:.3g} requests a second" if rate else "no requests"
    about = f"{seen} in the last hour, of which {100 * value['failure_rate']:.2g} % failed."
    return f"{value['sentence']}\n{about}\n\n{table(['step', 'kind', 'share', 'requests', 'hours'], rows)}"


def _count(number: float | None, digits: int = 0) -> str:
    return "-" if number is None else f"{number:,.{digits}f}"


def facts_text(value: Mapping[str, Any]) -> str:
    """Write any answer: its own text or sentence, then its plain facts one a line and its lists as tables."""
    if isinstance(value.get("text"), str):
        return str(value["text"])
    lines = [str(value["sentence"])] if value.get("sentence") else []
    for key, said in value.items():
        if key == "sentence" or said in (None, "", [], {}):
            continue
        if isinstance(said, list) and isinstance(said[0], dict):
            heads = [head for head in said[0] if not isinstance(said[0][head], dict | list)]
            lines.append(f"\n{table(heads, [[fact(head, row.get(head)) for head in heads] for row in said])}\n")
        elif not isinstance(said, dict | list):
            lines.append(f"{key.replace('_', ' '):<16} {fact(key, said)}")
    return "\n".join(lines).strip()


def monitor_text(value: Mapping[str, Any], *, most: int = 10) -> str:
    """Write what a monitor knows: its sentence, what it compared, and the columns that changed most.

    >>> column = {"column": "age", "sentence": "age: median 40, was 39", "log_e": 1.0, "distance": 0.02}
    >>> known = {"sentence": "churn is as promised", "rows": 900, "windows": 2, "window": "1h", "bar": 2.0}
    >>> print(monitor_text({**known, "columns": [column]}))
    churn is as promised
    900 rows in windows of 1h, 2 so far
    <BLANKLINE>
    column  difference  evidence  now
    age     0.020       50 %      median 40, was 39
    """
    lines = [str(value["sentence"])]
    if value.get("windows"):
        lines.append(f"{value['rows']:,} rows in windows of {value['window']}, {value['windows']:,} so far")
    if value.get("false_alarms"):
        ignored = value["ignore_changes_below"]
        lines.append(f"at most {value['false_alarms']} false; changes below {ignored:g} of the rows are ignored")
    columns = value.get("columns", [])
    if columns:
        rows = [
            [
                seen["column"],
                f"{seen['distance']:.3f}",
                f"{100 * max(0.0, seen['log_e'] / value['bar']):.0f} %",
                seen["sentence"].removeprefix(f"{seen['column']}: "),
            ]
            for seen in columns[:most]
        ]
        lines += ["", table(["column", "difference", "evidence", "now"], rows)]
        if len(columns) > most:
            lines.append(f"and {len(columns) - most} more that changed less (--json has all)")
    return "\n".join(lines)


def fact(name: str, said: object) -> object:
    """Write one fact: times as times, numbers with four digits.

    >>> fact("raised_at", 0.0), fact("share", 0.123456)
    ('1970-01-01 00:00:00 UTC', '0.1235')
    """
    if isinstance(said, float):
        is_time = name.endswith("_at") or name in ("since", "until", "window")
        return f"{datetime.fromtimestamp(said, UTC):%Y-%m-%d %H:%M:%S} UTC" if is_time else f"{said:.4g}"
    return said
