"""Windows: every row once, in whatever order segments arrive."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.monitor import decide, parse_policy, windows
from shipway.stats import profile
from shipway.terms import Signature

POLICY = parse_policy('[monitor]\nwindow = "10s"\nwait = "0s"\nmin_rows = 5')
REFERENCE = profile.make_reference(Signature((), ()), {"x": np.arange(100.0)})
arrivals = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 59), st.integers(1, 9)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(arrivals)
def test_every_row_is_taken_in_once_however_late_it_comes(arriving):
    """Each arrival: in which look, into which second, how many rows. Late by up to six windows is still in time."""
    state = decide.begin("e", REFERENCE, POLICY, 0.0, None)
    held, taken, came = {}, profile.empty(REFERENCE), profile.empty(REFERENCE)

    for look in range(20):
        for when, second, rows in arriving:
            if when == look and second < 10 * look:
                counted = profile.count(REFERENCE, {"x": np.full(rows, float(second))})
                held[second] = profile.add(held[second], counted) if second in held else counted
                came = profile.add(came, counted)
        if look == 13:  # a last full window, so that nothing is left waiting for company
            last = profile.count(REFERENCE, {"x": np.arange(50.0)})
            held[125], came = last, profile.add(came, last)
        now = 10.0 * look
        buckets = [(float(s), held[s]) for s in sorted(held) if windows.since(state) <= s < windows.ended(now, POLICY)]
        ready, recent = windows.gather(state, buckets, REFERENCE, POLICY)
        for window in ready:
            taken = profile.add(taken, window.rows)
            state = msgspec.structs.replace(state, window=window.end)
        state = msgspec.structs.replace(state, recent=recent)

    assert taken == came


def test_windows_end_on_the_clock_not_on_the_first_row():
    assert windows.ended(1234.5, POLICY) == 1230.0


def test_time_without_rows_makes_no_window():
    state = decide.begin("e", REFERENCE, POLICY, 0.0, None)
    rows = profile.count(REFERENCE, {"x": np.arange(6.0)})

    ready, _ = windows.gather(state, [(3.0, rows), (203.0, rows)], REFERENCE, POLICY)

    assert [w.end for w in ready] == [10.0, 210.0]
