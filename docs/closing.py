"""Write the measured blocks of README from recorded runs: `docs/evidence/demo.json` and `bench.json`.

python docs/closing.py --record     # run the demo and the benchmarks and write the evidence, then README
python docs/closing.py [--check]    # write README from the evidence, or fail if it shows something else
"""

import datetime as dt
import json
import os
import platform
import re
import subprocess
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
    run = json.loads((HERE / "evidence" / "bench.json").read_text())
    serve, score, imports = run["serve"], run["score"], run["import"]
    one, many = serve["one_row_json"], serve["rows64_json"]
    packages = imports["packages"]
    beside = "{cpu_us:.0f} us of CPU; hand-written FastAPI {cpu_us_fastapi:.0f}"
    bare = f"{score['ratio_to_bare']:.2f} times, {score['rss_mb']:.0f} MB"
    rows = [
        ("one row, JSON, everything on", beside.format(**one), "serve"),
        ("64 rows, JSON", beside.format(**many), "serve"),
        ("beside a `hello` on the same transport", f"{serve['floor_ratio']:.1f} times", "serve"),
        ("memory of a server with one small model", f"{serve['rss_mb']:.0f} MB", "serve"),
        ("start to first answer", f"{serve['first_answer_s']:.1f} s", "serve"),
        ("batch scoring beside the bare runtime loop", bare, "score"),
        ("batch scoring beside pandas and the native model", f"{score['ratio_to_pandas']:.2f} times", "score"),
        (
            "`import shipway`, `shipway --help`",
            f"{imports['import_shipway_s']:.2f} s, {imports['help_s']:.2f} s",
            "import",
        ),
        ("packages: data plane, everything", f"{packages['serve']}, {packages['platform']}", "import"),
    ]
    lines = ["| figure | measured | command |", "|---|---|---|"]
    lines += [f"| {figure} | {measured} | `./do bench {name}` |" for figure, measured, name in rows]
    note = (
        f"On {run['date']}, {run['machine']}. Both sides of a comparison in one run; ratios outlast absolute figures."
    )
    return "\n".join([*lines, "", note])


def record() -> None:
    """Run the demo and the benchmarks, and write down what they said."""
    seen = {"date": dt.datetime.now(tz=dt.UTC).date().isoformat()}
    seen["machine"] = (
        f"{os.cpu_count()} shared cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    folder = HERE / "evidence"
    folder.mkdir(exist_ok=True)

    def told(*command: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, *command, "--json"], capture_output=True, text=True, check=True, cwd=HERE.parent
        )
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))

    demo = told("-m", "shipway", "demo") | seen
    bench = {name: told("bench/run.py", name) for name in ("import", "score", "serve")} | seen
    for name, run in (("demo", demo), ("bench", bench)):
        (folder / f"{name}.json").write_text(json.dumps(run, indent=1) + "\n")


def main() -> int:
    """Write README, or say that it is stale."""
    if "--record" in sys.argv:
        record()
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
