import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from shipway import batch
from shipway.batch.outputs import Output
from shipway.errors import Conflict, Rejected

SCORE = "import sys; from shipway import batch; print('on', flush=True); batch.score(*sys.argv[1:])"


def test_without_publish_nothing_is_left(tmp_path):
    with Output(tmp_path / "out.csv") as output:
        output.write(pa.record_batch({"a": [1]}))

    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_are_kept_apart(tmp_path):
    with Output(tmp_path / "out.csv") as first:
        with pytest.raises(Conflict, match=r"another process is writing out\.csv"), Output(tmp_path / "out.csv"):
            pass
        first.write(pa.record_batch({"a": [1]}))
        first.publish()
    with Output(tmp_path / "out.csv") as second:
        second.write(pa.record_batch({"a": [2]}))
        second.publish()

    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert pd.read_csv(tmp_path / "out.csv")["a"].tolist() == [2]


def test_what_a_killed_writer_left_is_not_in_the_next_file(tmp_path):
    (tmp_path / ".out.csv.part").write_text("half a row that is longer than all the rest,")

    with Output(tmp_path / "out.csv") as output:
        output.write(pa.record_batch({"a": [1]}))
        output.publish()

    assert pd.read_csv(tmp_path / "out.csv").to_dict("list") == {"a": [1]}


def test_a_csv_cannot_hold_lists_and_says_so(tmp_path):
    with Output(tmp_path / "out.csv") as output, pytest.raises(Rejected, match="'a' holds lists"):
        output.write(pa.record_batch({"a": [[1]]}))


def test_small_blocks_make_large_row_groups(tmp_path):
    with Output(tmp_path / "out.parquet") as output:
        for start in range(0, 200_000, 1_000):
            output.write(pa.record_batch({"a": list(range(start, start + 1_000))}))
        output.publish()

    assert parquet.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups == 4


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_kill_leaves_the_old_output_or_a_whole_new_one(folder, rows, tmp_path, kind):
    source, out = tmp_path / "rows.parquet", tmp_path / f"out.{kind}"
    rows(400_000).to_parquet(source)
    arguments = [sys.executable, "-c", SCORE, str(folder), str(source), str(out)]
    seen = set()

    for wait_s in (0.0, 0.1, 0.25, 0.4, 60):
        out.write_text("old\n")
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"on\n"
        if wait_s < 1:
            time.sleep(wait_s)
            os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        whole = out.read_bytes() != b"old\n"
        seen.add(whole)
        if whole:
            scored = pd.read_csv(out) if kind == "csv" else pd.read_parquet(out)
            assert len(scored) == 400_000
            assert scored["output.label"].notna().all()

    assert True in seen, "the last run was not killed"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["rows.parquet", out.name])


def test_scoring_again_gives_the_same_bytes(folder, rows, tmp_path):
    rows(30_000).to_parquet(tmp_path / "rows.parquet")

    for name in ("a.parquet", "b.parquet"):
        batch.score(folder, tmp_path / "rows.parquet", tmp_path / name)

    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
