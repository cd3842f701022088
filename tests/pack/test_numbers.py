import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shipway.pack.numbers import goes_left, raw_thresholds, run

finite = st.floats(-1e12, 1e12)
positive = st.floats(1e-6, 1e6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("sub"), finite),
        st.tuples(st.just("div"), positive),
        st.tuples(st.just("mul"), positive),
        st.tuples(st.just("add"), finite),
        st.tuples(st.just("low"), finite),
        st.tuples(st.just("high"), finite),
    ),
    max_size=4,
)


@given(steps, finite, st.booleans())
def test_the_raw_threshold_is_the_last_double_that_goes_left(steps, threshold, float32):
    t = np.array([threshold])

    raw = raw_thresholds(steps, t, float32=float32)

    if np.isfinite(raw[0]):
        assert goes_left(run(steps, raw), t, float32=float32)[0]
    if abs(raw[0]) < 1e300:
        after = np.nextafter(raw, np.inf)
        assert not goes_left(run(steps, after), t, float32=float32)[0]


@given(steps, finite, finite, st.booleans())
def test_splitting_the_raw_number_is_splitting_the_scaled_one(steps, threshold, x, float32):
    t, values = np.array([threshold]), np.array([x])

    scaled = goes_left(run(steps, values), t, float32=float32)

    assert (values <= raw_thresholds(steps, t, float32=float32)).tolist() == scaled.tolist()


def test_many_thresholds_at_once_are_each_found():
    t = np.linspace(-3, 3, 1000)

    raw = raw_thresholds([("sub", 1e9), ("div", 3.7)], t, float32=True)

    np.testing.assert_allclose(raw, 1e9 + 3.7 * t)
    assert (np.diff(raw) >= 0).all()
