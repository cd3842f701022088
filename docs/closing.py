"""Write the measured blocks of README from recorded runs: `docs/evidence/demo.json` and `bench.json`.

    shipway demo --json > docs/evidence/demo.json && python docs/closing.py [--check]

`--check` fails if README does not show what the recorded runs say.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"


def demo_block() -> str:
    """The demo's closing table, as its last recorded run printed it."""
    run = json.loads((HERE / "evidence" / "demo.json").read_text())
    steps = "\n".join(f"{'ok' if step['ok'] else 'NO'}  {step['name']:<17} {step['detail']}" for step in run["steps"])
    ledger = run["ledger"]
    return (
        f"```text\n{steps}\n"
        f"requests {run['requests']:,} | failed {run['failed']} | "
        f"worse version answered {run['callers_answered_by_worse']} callers | "
        f"ledger {ledger['entries']} entries, {'verified' if ledger['verified'] else 'NOT VERIFIED'} | "
        f"{run['seconds']} s\n```\n"
        f"(`shipway demo --json` on {run['date']}, {run['machine']})"
    )


def measured_block() -> str:
    """The table of measured figures."""
    bench = json.loads((HERE / "evidence" / "bench.json").read_text())
    lines = ["| figure | measured | command |", "|---|---|---|"]
    lines += [f"| {row['figure']} | {row['measured']} | `{row['command']}` |" for row in bench["rows"]]
    return "\n".join(
        [*lines, "", f"On {bench['date']}, {bench['machine']}. Ratios are worth more than absolute figures."]
    )


def main() -> int:
    """Write README, or say that it is stale."""
    before = text = README.read_text()
    for name, block in (("closing", demo_block()), ("measured", measured_block())):
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    if text == before:
        return 0
    if "--check" in sys.argv:
        print("README does not show the recorded runs\n  fix: python docs/closing.py")
        return 1
    README.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
