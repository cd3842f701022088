"""What scoring a file costs, against the model alone on rows in memory and against pandas with the original model.

    python bench/score.py [--json]

Reading, checking, scoring and writing 400,000 rows of Parquet to Parquet, CPU per row, least of three rounds in turn.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

ROWS = 400_000
AT_ONCE = 16_384
ROUNDS = 3

# A process that scores and nothing else, so that its memory is what a user's would be. A short file comes first:
# what is loaded on first use is a cost of the start, which the rivals have behind them too.
CHILD = """
import json, sys, time
from shipway import batch
began = time.process_time()
batch.score(sys.argv[1], sys.argv[3], sys.argv[4])
start = time.process_time() - began
began = time.process_time()
batch.score(sys.argv[1], sys.argv[2], sys.argv[4])
used = time.process_time() - began
# Not ru_maxrss: that begins with what the parent had when it forked.
rss_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"cpu_s": used, "start_s": start, "rss_kb": rss_kb}))
"""


def main(*, json: bool) -> dict[str, float]:
    """Measure and print."""
    import pandas as pd  # noqa: PLC0415 - slow to import, and `run.py all` imports every benchmark
    import subject  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    from shipway import bundle as bundles  # noqa: PLC0415

    rss: list[float] = []
    start: list[float] = []
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        trained = subject.model()
        packed = subject.bundle(trained, folder / "bundle")
        source = folder / "rows.parquet"
        table = subject.rows(ROWS, seed=9)
        table.to_parquet(source, index=False)
        table[:10].to_parquet(folder / "short.parquet", index=False)
        runtime = bundles.open(bundles.audit(bundles.read(packed)), bundles.DEFAULT)
        columns = {c.name: table[c.name].to_numpy() for c in runtime.manifest.signature.inputs}
        columns = {n: v.astype(object) if v.dtype.kind not in "fiu" else v.astype(float) for n, v in columns.items()}

        def shipway() -> float:
            command = [sys.executable, "-c", CHILD, packed, source, folder / "short.parquet", folder / "scored.parquet"]
            told = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            rss.append(told["rss_kb"] / 1024)
            start.append(told["start_s"])
            return float(told["cpu_s"])

        def bare() -> float:
            began = time.process_time()
            for start in range(0, ROWS, AT_ONCE):
                runtime.predict({n: v[start : start + AT_ONCE] for n, v in columns.items()})
            return time.process_time() - began

        def pandas() -> float:
            began = time.process_time()
            frame = pd.read_parquet(source)
            chances = trained.predict_proba(frame)
            frame["label"] = trained.classes_[chances.argmax(axis=1)]
            for k, label in enumerate(trained.classes_):
                frame[f"probability.{label}"] = chances[:, k]
            frame.to_parquet(folder / "pandas.parquet", index=False)
            return time.process_time() - began

        took = subject.least(ROUNDS, {"shipway": shipway, "bare": bare, "pandas": pandas})
    per_row = {n: 1e6 * seconds / ROWS for n, seconds in took.items()}
    found = {
        "cpu_us_per_row": round(per_row["shipway"], 3),
        "ratio_to_bare": round(per_row["shipway"] / per_row["bare"], 2),
        "ratio_to_pandas": round(per_row["shipway"] / per_row["pandas"], 2),
        "rss_mb": round(max(rss), 1),
        "start_cpu_s": round(min(start), 3),
        "rows": ROWS,
        "bare_us_per_row": round(per_row["bare"], 3),
        "pandas_us_per_row": round(per_row["pandas"], 3),
    }
    print(orjson.dumps(found).decode() if json else _text(found))
    return found


def _text(found: dict[str, float]) -> str:
    return (
        f"score: {found['cpu_us_per_row']:.2f} us of CPU a row, file to file ({found['rows']:,} rows of 14 columns), "
        f"{found['rss_mb']:.0f} MB, and {found['start_cpu_s']} s to start\n"
        f"  {found['ratio_to_bare']:.2f} times the model alone on rows in memory ({found['bare_us_per_row']:.2f} us)\n"
        f"  {found['ratio_to_pandas']:.2f} times pandas and the original model ({found['pandas_us_per_row']:.2f} us)"
    )


if __name__ == "__main__":
    main(json="--json" in sys.argv[1:])
