import resource
import signal
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.capture import CountsFile, read_counts
from shipway.capture.counts import BINS, EDGES_US, latency_bin
from shipway.errors import Missing, Rejected, Unavailable

COUNTER = """
import os, sys
from pathlib import Path
from shipway.capture import CountsFile
from shipway.terms import Cell
counts = CountsFile(Path(sys.argv[1]), f"w{os.getpid()}")
ok, error = (
    counts.cell(Cell("default", "churn", "r", 0, 500, "champion", 1, outcome, 0)) for outcome in ("ok", "error")
)
n = 0
while True:
    counts.add(ok, 100)
    counts.add(error)
    n += 1
    os.write(1, b"%d\\n" % n)
"""


def test_counts_of_killed_writers_are_exact_and_final(tmp_path):
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", COUNTER, tmp_path], stdout=subprocess.PIPE, text=True)
        lines = [writer.stdout.readline() for _ in range(200)]
        [path] = tmp_path.glob("*.counts")
        assert read_counts(path)[1] is False
        writer.send_signal(signal.SIGKILL)
        lines += [line for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
        told = int(lines[-1])

        cells, finished = read_counts(path)
        assert finished
        # The kill may come after the counting and before the telling, or between two cells.
        assert {c.outcome: c.n - told for c in cells}["ok"] in (0, 1)
        assert {c.outcome: c.n - told for c in cells}["error"] in (0, 1)
        path.unlink()


def test_cells_are_read_while_they_are_counted(tmp_path, cell):
    with CountsFile(tmp_path, "w1") as counts:
        ok, timeout = counts.cell(cell()), counts.cell(cell("timeout"))
        counts.add(ok, 1)
        counts.add(ok, 5)
        counts.add(timeout)
        cells, finished = read_counts(tmp_path / "w1.counts")

    assert not finished
    assert [(c.outcome, c.n) for c in cells] == [("ok", 2), ("timeout", 1)]
    assert {k: n for k, n in enumerate(cells[0].latency_us) if n} == {0: 1, latency_bin(5): 1}
    assert cells[1].latency_us == ()


def test_counts_outlive_their_writer_and_are_final_then(tmp_path, cell):
    with CountsFile(tmp_path, "w1") as counts:
        counts.add(counts.cell(cell()), 10)

    cells, finished = read_counts(tmp_path / "w1.counts")

    assert finished
    assert sum(c.n for c in cells) == 1


def test_one_key_is_one_cell_and_an_uncounted_cell_is_not_reported(tmp_path, cell):
    with CountsFile(tmp_path, "w1") as counts:
        assert counts.cell(cell()) == counts.cell(msgspec.structs.replace(cell(), n=9))
        assert counts.cell(cell()) != counts.cell(cell(version=4))

        assert read_counts(tmp_path / "w1.counts")[0] == ()


@given(st.integers(0, 1 << 40))
def test_a_latency_falls_into_the_bin_that_holds_it(latency_us):
    k = latency_bin(latency_us)

    assert 0 <= k < BINS
    assert EDGES_US[k] <= max(1, latency_us)
    assert k == BINS - 1 or latency_us < EDGES_US[k + 1]


@given(latencies=st.lists(st.integers(0, 1 << 30), max_size=50))
def test_latency_bins_add_up_to_the_count(tmp_path_factory, latencies, cell):
    with CountsFile(tmp_path_factory.mktemp("counts"), "w1") as counts:
        index = counts.cell(cell())
        for latency_us in latencies:
            counts.add(index, latency_us)
        cells, _ = read_counts(counts.path)

    assert sum(sum(c.latency_us) for c in cells) == sum(c.n for c in cells) == len(latencies)


def test_a_worker_out_of_cells_says_so(tmp_path, cell):
    with CountsFile(tmp_path, "w1", slots=2) as counts:
        counts.cell(cell("ok"))
        counts.cell(cell("error"))
        with pytest.raises(Unavailable, match="all 2 count cells"):
            counts.cell(cell("timeout"))


def test_what_is_no_counts_file_is_refused(tmp_path):
    (tmp_path / "x.counts").write_bytes(bytes(4096))

    with pytest.raises(Rejected, match=r"x\.counts is not a counts file"):
        read_counts(tmp_path / "x.counts")
    with pytest.raises(Missing):
        read_counts(tmp_path / "gone.counts")


def test_without_room_on_the_disk_a_worker_that_may_counts_in_memory(tmp_path, cell):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Unavailable, match="need"):
            CountsFile(tmp_path, "w1")
        counts = CountsFile(tmp_path, "w1", or_memory=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with counts:
        counts.add(counts.cell(cell("ok")), 100)

    assert not counts.is_kept
    assert list(tmp_path.iterdir()) == []
