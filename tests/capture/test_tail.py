import pytest

from shipway.capture import Recorder, Spool, Tail, recover
from shipway.capture.record import SHADOW
from shipway.capture.tail import drop_tails


@pytest.fixture
def followed(tmp_path):
    spool = Spool(tmp_path, "w1", segment_bytes=1200)
    yield spool, Recorder(spool)
    spool.close()


@pytest.fixture
def write(add):
    """Write records, one block each, and return their event ids."""

    def written(recorder, count=1, **more):
        events = []
        for _ in range(count):
            events.append(add(recorder, **more))
            recorder.flush()
        return events

    return written


def seen(tail, **more):
    return [record.event_id for record in tail.poll(**more)]


def test_records_are_read_while_their_segment_is_open(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)

    first = write(recorder)
    assert seen(tail) == first
    second = write(recorder)
    assert seen(tail) == second
    assert seen(tail) == []


def test_a_tail_begins_with_what_comes_after_it(followed, write):
    spool, recorder = followed
    write(recorder)
    tail = Tail(spool.folder)

    assert seen(tail) == []
    later = write(recorder)
    assert seen(tail) == later


def test_segments_that_the_collector_took_away_are_still_read_in_order(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)

    written = write(recorder, 20)
    for path in spool.folder.glob("*.sealed"):
        path.unlink()

    assert seen(tail) == written


def test_after_a_kill_reading_goes_on_behind_what_was_committed(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)
    done = write(recorder, 2)
    assert seen(tail) == done
    tail.commit()
    lost = write(recorder, 2)
    assert seen(tail) == lost
    tail.close()  # as a kill would: nothing committed

    again = Tail(spool.folder)

    assert seen(again) == lost


def test_a_limit_stops_within_a_segment_and_the_next_poll_goes_on(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)
    written = write(recorder, 30)

    found = seen(tail, limit=7)
    assert found == written[:7]
    assert tail.unread
    assert tail.lag_s(1_800_000_060.0) == 60.0
    while tail.unread:
        tail.commit()
        found += seen(tail, limit=7)

    assert found == written
    assert tail.lag_s(1_800_000_060.0) == 0.0


def test_segments_are_let_go_when_they_are_read_and_their_writer_is_done(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)
    write(recorder, 20)
    assert len(seen(tail)) == 20
    spool.seal()

    tail.commit()

    assert list((spool.folder / "tails" / "shadow").iterdir()) == []


def test_a_torn_record_of_a_dead_writer_is_never_read(tmp_path, write):
    spool = Spool(tmp_path, "w1")
    recorder = Recorder(spool)
    tail = Tail(tmp_path)
    written = write(recorder)
    spool.write(b"\x40\0\0\0torn")
    assert seen(tail) == written
    spool.close()
    [path] = tmp_path.glob("*.sealed")
    path.rename(path.with_suffix(".open"))

    recover(tmp_path)
    tail.commit()

    assert seen(tail) == []
    assert list((tmp_path / "tails" / "shadow").iterdir()) == []


def test_shadow_records_are_left_out(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)
    first, _, last = write(recorder) + write(recorder, flags=SHADOW) + write(recorder)

    assert seen(tail) == [first, last]


def test_nothing_is_kept_for_a_tail_that_left(followed, write):
    spool, recorder = followed
    tail = Tail(spool.folder)
    write(recorder, 3)
    tail.close(forget=True)
    write(recorder, 20)
    assert not (spool.folder / "tails" / "shadow").exists()

    Tail(spool.folder).close()
    drop_tails(spool.folder)

    assert not (spool.folder / "tails").exists()
