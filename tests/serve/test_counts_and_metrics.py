"""What a server says about itself: totals that never go back, and a page that Prometheus can read."""

import re

from hypothesis import given
from hypothesis import strategies as st

from shipway.capture.counts import CountsFile
from shipway.serve.metrics import fold, text
from shipway.serve.route.fuse import CONSECUTIVE, Fuse
from shipway.serve.tally import Tally
from shipway.terms import Cell

LINE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)*\})? [0-9.e+-]+')


def cell(outcome="ok", n=0, endpoint="toy", bins=()):
    return Cell("default", endpoint, "r1", 0, 500, "champion", 1, outcome, n, bins)


def test_counts_of_a_dead_worker_stay_in_the_total_after_they_were_handed_over(tmp_path):
    dead, alive = CountsFile(tmp_path, "dead"), CountsFile(tmp_path, "alive")
    for _ in range(3):
        dead.add(dead.cell(cell()), 100)
    alive.add(alive.cell(cell()), 100)
    dead.close()
    tally = Tally(tmp_path)

    tally.read()
    finished, before = tally.finished(), tally.total()
    tally.acknowledge(finished)
    tally.read()

    assert finished == ("dead",)
    assert [c.n for c in before] == [c.n for c in tally.total()] == [4]
    assert list(tally.incarnations()) == ["alive"]
    assert not (tmp_path / "dead.counts").exists()
    alive.close()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.text(max_size=8))
def test_every_line_of_the_page_is_prometheus_text(bins, endpoint):
    page = text([cell(n=sum(bins), endpoint=endpoint, bins=tuple(bins)), cell("error", 2)], {"shipway_epoch": 3.0})

    lines = [line for line in page.decode().split("\n") if line and not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines)
    assert any(line.endswith(f'le="+Inf"}} {sum(bins)}') for line in lines)


@given(
    st.lists(st.tuples(st.sampled_from(["ok", "error"]), st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4)))
)
def test_folding_adds_counts_and_bins(parts):
    sums = {}
    fold(sums, [cell(outcome, n, bins=tuple(bins)) for outcome, n, bins in parts])

    assert sum(c.n for c in sums.values()) == sum(n for _, n, _ in parts)
    assert sum(sum(c.latency_us) for c in sums.values()) == sum(sum(bins) for _, _, bins in parts)


@given(st.lists(st.booleans(), max_size=40))
def test_fuse_is_open_if_and_only_if_five_failures_came_in_a_row(outcomes):
    fuse = Fuse()
    for good in outcomes:
        if good:
            fuse.answered()
        else:
            fuse.failed("it raised")

    longest = max((len(run) for run in "".join("+" if good else "-" for good in outcomes).split("+")), default=0)
    assert bool(fuse.why) == (longest >= CONSECUTIVE)
