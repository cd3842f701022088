import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from errno import ENOSPC

import pytest

from shipway.capture import Recorder, Spool, read_segment, recover
from shipway.capture.record import MAGIC
from shipway.errors import Rejected, Unavailable

WRITER = """
import os, sys, time
from pathlib import Path
import numpy as np
from shipway.capture import Context, Ids, Recorder, Spool, prepare
from shipway.terms import Column
ids = Ids(os.urandom, time.time_ns)
spool = Spool(Path(sys.argv[1]), f"w{os.getpid()}", segment_bytes=20_000)
recorder = Recorder(spool)
names = ("default", "churn", 1, "champion", "champion", "churn", 1, "sha256:" + "0" * 64)
prepared = prepare(Context(*names, (Column("age", "FP64"),)))
while True:
    tick = [ids.new() for _ in range(5)]
    for event in tick:
        recorder.add(prepared, event=event, at_ns=0, rows=1, inputs={"age": np.zeros(1)})
    if recorder.flush():
        os.write(1, "".join(event.hex() + chr(10) for event in tick).encode())
"""


def everything(folder):
    return [r.event_id for path in sorted(folder.glob("*.sealed")) for r in read_segment(path)]


class FullDisk:
    """Writes until the disk has `room` bytes no more: short first, then an error."""

    def __init__(self, room):
        self.room = room

    def __call__(self, fd, data):
        if self.room <= 0:
            raise OSError(ENOSPC, "No space left on device")
        done = os.write(fd, data[: self.room])
        self.room -= done
        return done


def test_kill_9_loses_nothing_that_a_write_returned_for(tmp_path):
    acknowledged = set()
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), tmp_path], stdout=subprocess.PIPE, text=True
        )
        acknowledged.update(writer.stdout.readline().strip() for _ in range(500))
        writer.send_signal(signal.SIGKILL)
        acknowledged.update(line.strip() for line in writer.stdout if len(line) == 33)
        writer.wait()
        writer.stdout.close()

    recover(tmp_path)
    found = everything(tmp_path)

    assert acknowledged <= set(found)
    assert len(found) == len(set(found))
    assert not list(tmp_path.glob("*.open"))


def test_a_tail_torn_at_any_byte_costs_only_the_records_behind_it(tmp_path, spool, add):
    recorder = Recorder(spool)
    ends, written = [], []
    for _ in range(3):
        written.append(add(recorder))
        recorder.flush()
        ends.append(spool.written + len(MAGIC))
    spool.seal()
    [path] = spool.folder.glob("*.sealed")
    whole = path.read_bytes()
    assert len(whole) == ends[-1]

    for cut in range(len(whole)):
        torn = tmp_path / "torn" / f"dead-{cut:06d}.open"
        torn.parent.mkdir(exist_ok=True)
        torn.write_bytes(whole[:cut])
        sealed = recover(torn.parent)

        expected = [event for event, end in zip(written, ends, strict=True) if end <= cut]
        assert [r.event_id for p in sealed for r in read_segment(p)] == expected
        assert not torn.exists()
        for left in torn.parent.iterdir():
            left.unlink()


def test_a_changed_byte_ends_the_reading_before_it_and_never_invents_a_record(spool, add):
    recorder = Recorder(spool)
    written = [add(recorder) for _ in range(3)]
    recorder.flush()
    spool.seal()
    [path] = spool.folder.glob("*.sealed")
    whole = path.read_bytes()

    for at in range(len(MAGIC), len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = [r.event_id for r in read_segment(path)]
        assert found == written[: len(found)]
        assert len(found) < 3


def test_a_segment_of_another_format_is_refused_and_set_aside(tmp_path):
    (tmp_path / "a-0.open").write_bytes(b"SHIPSPL\x09" + bytes(50))
    (tmp_path / "b-0.open").write_bytes(b"something else entirely")

    with pytest.raises(Rejected, match="format 9"):
        list(read_segment(tmp_path / "a-0.open"))
    assert recover(tmp_path) == []

    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-0.foreign", "b-0.foreign"]


def test_a_living_writer_keeps_its_segment_from_recovery(recorder, spool, add):
    add(recorder)
    recorder.flush()

    assert recover(spool.folder) == []
    assert len(list(spool.folder.glob("*.open"))) == 1


def test_an_open_segment_is_locked_by_its_writer(recorder, spool, add):
    add(recorder)
    recorder.flush()
    [path] = spool.folder.glob("*.open")

    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_segment_is_sealed_when_it_is_full(tmp_path, add):
    spool = Spool(tmp_path, "w1", segment_bytes=1000)
    recorder = Recorder(spool)

    while not list(tmp_path.glob("*.sealed")):
        add(recorder)
        recorder.flush()

    assert 1000 <= next(tmp_path.glob("*.sealed")).stat().st_size < 1400
    spool.close()


def test_a_segment_is_sealed_when_it_is_old_enough(tmp_path, add):
    spool = Spool(tmp_path, "w1", seal_after_s=5.0)
    recorder = Recorder(spool)
    add(recorder)
    recorder.flush()

    spool.tick(100.0)
    spool.tick(104.9)
    assert not list(tmp_path.glob("*.sealed"))
    spool.tick(105.0)

    assert len(list(tmp_path.glob("*.sealed"))) == 1
    assert not list(tmp_path.glob("*.open"))


def test_an_idle_spool_makes_no_files(tmp_path):
    spool = Spool(tmp_path, "w1")
    spool.tick(0.0)
    spool.tick(100.0)
    assert Recorder(spool).flush()
    spool.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", range(0, 1400, 37))
def test_a_full_disk_keeps_whole_records_counts_the_rest_by_arm_and_goes_on_when_there_is_room(
    tmp_path, room, add, context
):
    disk = FullDisk(room)
    spool = Spool(tmp_path, "w1", os_write=disk)
    recorder = Recorder(spool)
    written, lost = [], 0

    for _ in range(3):
        events = [add(recorder), add(recorder, context(variant="challenger"))]
        if recorder.flush():
            written += events
        else:
            lost += 2
    assert spool.dropped == lost == sum(recorder.dropped.values())
    disk.room = 1_000_000
    spool.tick(10.0)
    spool.tick(11.0)
    written.append(add(recorder))
    assert recorder.flush()
    spool.close()

    assert everything(tmp_path) == written
    if lost:
        assert set(recorder.dropped) == {"default/churn/champion", "default/churn/challenger"}


def test_a_full_disk_is_named(tmp_path):
    spool = Spool(tmp_path, "w1", os_write=FullDisk(0))

    assert not spool.write(b"block", 4)
    assert (spool.stopped, spool.dropped) == ("disk_full", 4)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="file/spool"):
        Spool(tmp_path / "file" / "spool", "w1")


def test_syncing_goes_on_across_segments(tmp_path, add):
    spool = Spool(tmp_path, "w1", segment_bytes=500)
    recorder = Recorder(spool)

    for _ in range(20):
        add(recorder)
        recorder.flush()
        spool.sync()
    spool.close()

    assert len(everything(tmp_path)) == 20
