"""Profiles: counting halves and adding is counting the whole, and every odd value has its cell."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.stats import profile as p
from shipway.terms import Column, Signature

SIGNATURE = Signature((Column("x", "FP64"), Column("c", "BYTES"), Column("b", "BOOL")), (), ())
numbers = st.lists(st.floats(allow_nan=True, width=32), max_size=60)


def table(xs, levels, *, seed=0):
    rng = np.random.default_rng(seed)
    n = len(xs)
    return {
        "x": np.array(xs, np.float64),
        "c": np.array([levels[i] for i in rng.integers(0, len(levels), n)], object).reshape(n),
        "b": rng.random(n) < 0.5,
    }


def reference(n=1000, seed=1):
    rng = np.random.default_rng(seed)
    return p.make_reference(SIGNATURE, table(rng.normal(size=n), ["a", "b", None], seed=seed))


@settings(max_examples=60)
@given(numbers, numbers)
def test_counting_two_halves_and_adding_is_counting_the_whole(one, two):
    made = reference()
    a, b = table(one, ["a", "z", None], seed=2), table(two, ["b", "y", None], seed=3)
    whole = {name: np.concatenate([a[name], b[name]]) for name in a}

    assert p.add(p.count(made, a), p.count(made, b)) == p.count(made, whole)


@settings(max_examples=60)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=200), numbers)
def test_every_row_falls_into_exactly_one_cell_of_a_column(seen, rows):
    made = p.make_reference(Signature((), ()), {"x": np.array(seen)})

    assert sum(made.columns[0].counts) == len(seen)
    assert p.count(made, {"x": np.array(rows)}).cells.sum() == len(rows)
    assert len(made.columns[0].edges) < p.BINS


@given(numbers)
def test_a_profile_survives_its_encoding(rows):
    made = reference()
    counted = p.count(made, table(rows, ["a", "q"]))

    assert p.decode(p.encode(counted)) == counted


def test_a_reference_survives_json_with_exact_edges():
    made = reference()

    again = msgspec.json.decode(msgspec.json.encode(made), type=p.Reference)

    assert again == made


@pytest.mark.parametrize("n", [3_000, 50_000])
def test_sorting_and_looking_up_count_the_same(n):
    rng = np.random.default_rng(5)
    made = p.make_reference(Signature((), ()), {"x": rng.normal(size=5000)})
    rows = rng.normal(size=n) * 2
    rows[::7] = np.nan
    rows[::11] = rng.choice(made.columns[0].edges, rows[::11].size)
    at_once = p.count(made, {"x": rows})
    pieces = [p.count(made, {"x": part}) for part in np.array_split(rows, 30)]
    total = pieces[0]
    for piece in pieces[1:]:
        total = p.add(total, piece)

    assert at_once == total


def test_the_smallest_and_the_largest_value_seen_are_inside_the_range():
    made = p.make_reference(Signature((), ()), {"x": np.arange(100.0)})

    cells = p.count(made, {"x": np.array([0.0, 99.0, -0.5, 99.5, -np.inf, np.inf, np.nan])}).cells

    assert (cells[p.MISSING], cells[p.BELOW], cells[-1]) == (1, 2, 2)
    assert (cells[2], cells[-2]) == (1, 1)


def test_a_range_known_from_training_widens_the_one_of_the_reference():
    signature = Signature((Column("x", "FP64", low=-10.0, high=200.0),), ())

    made = p.make_reference(signature, {"x": np.arange(100.0)})

    cells = p.count(made, {"x": np.array([-5.0, 150.0, 201.0])}).cells
    assert (cells[p.BELOW], cells[-1]) == (0, 1)


def test_a_value_that_fills_a_third_of_the_rows_has_a_bin_to_itself():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(500), rng.normal(size=1000)])

    column = p.make_reference(Signature((), ()), {"x": values}).columns[0]

    at = column.edges.index(0.0)
    assert column.edges[at - 1] < 0.0
    assert column.counts[2 + at] == 500


def test_few_distinct_numbers_get_one_bin_each():
    values = np.repeat([1.0, 2.0, 5.0], [10, 20, 30])

    column = p.make_reference(Signature((), ()), {"x": values}).columns[0]

    assert column.edges == (1.0, 2.0)
    assert column.counts == (0, 0, 10, 20, 30, 0)


def test_a_constant_column_notices_any_other_value():
    made = p.make_reference(Signature((), ()), {"x": np.full(50, 3.0)})

    assert p.count(made, {"x": np.array([3.0, 2.0, 4.0, 4.0])}).cells.tolist() == [0, 1, 1, 2]


def test_levels_split_into_frequent_rare_new_and_missing():
    levels = [f"l{i:02}" for i in range(30) for _ in range(40 - i)]
    made = p.make_reference(Signature((), ()), {"c": np.array(levels, object)})

    cells = p.count(made, {"c": np.array(["l00", "l29", "other", None, np.nan], object)}).cells

    assert cells[:4].tolist() == [2, 1, 1, 1]
    assert len(made.columns[0].levels) == 20


def test_a_level_known_from_training_is_not_new():
    signature = Signature((Column("c", "BYTES", levels=("a", "b")),), ())

    made = p.make_reference(signature, {"c": np.array(["a", "a"], object)})

    assert p.count(made, {"c": np.array(["b", "c"], object)}).cells.tolist() == [0, 1, 1, 0]


def test_yes_and_no_are_levels():
    made = p.make_reference(Signature((), ()), {"b": np.array([True, False, True])})

    assert made.columns[0].levels == ("true", "false")
    assert p.count(made, {"b": np.array([True, True])}).cells.tolist() == [0, 0, 0, 2, 0]


def test_free_text_is_profiled_by_its_length_and_never_stored():
    texts = np.array([f"dear sir number {i}" + "x" * (i % 40) for i in range(1500)], object)

    made = p.make_reference(Signature((), ()), {"t": texts})

    assert made.columns[0].kind == "length"
    assert b"dear sir" not in msgspec.json.encode(made)
    assert p.count(made, {"t": np.array(["x" * 5000, None], object)}).cells[[0, -1]].tolist() == [1, 1]


def test_numbers_that_arrive_as_objects_are_counted_as_numbers():
    made = p.make_reference(Signature((), ()), {"x": np.array([1, 2, 3])})

    assert p.count(made, {"x": np.array([2, None], object)}).cells.tolist() == [1, 0, 0, 1, 0, 0]


def test_outputs_are_named_and_a_binary_score_is_that_of_the_second_class():
    signature = Signature((), (), ("no", "yes"))
    outputs = {"label": np.array(["no"], object), "probability": np.array([[0.9, 0.1]])}

    flat = p.flatten(signature, {"v": np.array([[1.0, 2.0]])}, outputs)

    assert sorted(flat) == ["output.label", "output.score", "v[0]", "v[1]"]
    assert flat["output.score"].tolist() == [0.1]


def test_the_score_of_three_classes_is_the_largest():
    flat = p.flatten(Signature((), (), ("a", "b", "c")), {}, {"probability": np.array([[0.2, 0.5, 0.3]])})

    assert flat["output.score"].tolist() == [0.5]


def test_profiles_of_different_references_do_not_add_up():
    with pytest.raises(Rejected, match="different edges"):
        p.add(p.empty(reference(seed=1)), p.empty(reference(seed=2)))


def test_columns_of_different_length_are_refused():
    with pytest.raises(Rejected, match="different length"):
        p.make_reference(Signature((), ()), {"a": np.zeros(2), "b": np.zeros(3)})


NEWER = msgspec.msgpack.encode((9, "x", 0, "<u2", b""))
TORN = p.encode(p.empty(reference()))[:-1]


@pytest.mark.parametrize("data", [b"", b"nonsense", NEWER, TORN])
def test_bytes_that_are_no_profile_are_refused(data):
    with pytest.raises(Rejected):
        p.decode(data)


def test_a_column_that_is_absent_counts_nothing_and_an_unknown_one_is_ignored():
    made = reference()

    counted = p.count(made, {"x": np.zeros(4), "unheard of": np.zeros(4)})

    assert counted.rows == 4
    assert counted.cells.sum() == 4


def test_the_own_profile_of_a_reference_counts_its_rows():
    made = reference(300)

    assert p.own(made).rows == 300
    assert p.own(made).cells.sum() == 900
