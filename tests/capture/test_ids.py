import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.capture import Ids, id_time
from shipway.capture.ids import normal_id
from shipway.errors import Rejected


@given(st.integers(0, (1 << 48) * 1_000_000 - 1))
def test_an_id_is_a_uuid_of_version_7_that_tells_its_time(at_ns):
    made = Ids(os.urandom, lambda: at_ns).new()

    assert uuid.UUID(bytes=made).version == 7
    assert uuid.UUID(bytes=made).variant == uuid.RFC_4122
    assert id_time(str(uuid.UUID(bytes=made))) == at_ns // 1_000_000 / 1000


def test_ids_of_one_incarnation_differ_and_grow_within_one_instant():
    ids = Ids(lambda n: b"\xff" * n, lambda: 1_800_000_000_000_000_000)

    made = [ids.new() for _ in range(1000)]

    assert sorted(set(made)) == made


def test_ids_sort_by_time_below_a_millisecond():
    ids = Ids(os.urandom, lambda: 0)

    assert ids.at(1_800_000_000_000_000_000) < ids.at(1_800_000_000_000_000_500) < ids.at(1_800_000_000_000_900_000)


@pytest.mark.parametrize("wrong", ["", "abc", "x" * 32, str(uuid.uuid4()), "018bcfe5687b78000000000000000001"])
def test_what_is_no_event_id_is_refused_with_a_fix(wrong):
    with pytest.raises(Rejected, match="is not an event id") as refused:
        normal_id(wrong)

    assert "shipway-event-id" in refused.value.fix
