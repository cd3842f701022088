import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from shipway.capture.record import FORCED
from shipway.errors import Rejected, Unavailable
from shipway.lake import InboxRow
from shipway.lake.inbox import decode_deltas
from shipway.stats import profile
from shipway.terms import Column


def deltas(rows):
    return [(*place, profile.decode(counts)) for row in rows for *place, counts in decode_deltas(row.profiles)]


def test_a_segment_becomes_a_file_named_by_it_and_leaves_the_spool(house):
    house.write(rows=3, count=2)
    sent = []

    report = house.collect(send=sent.append)

    [row] = sent
    assert (report.segments, report.rows) == (1, 6)
    assert (row.segment, row.project, row.endpoint, row.rows) == ("w0-000000/default/income", "default", "income", 6)
    assert row.path.endswith("incoming/default/income/w0-000000.parquet")
    assert pq.ParquetFile(row.path).metadata.num_rows == 6
    assert pq.ParquetFile(row.path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert list(house.spool.iterdir()) == []


def test_a_segment_stays_until_its_row_was_acknowledged(house):
    house.write()

    def unreachable(_):
        raise Unavailable("no control plane", fix="start it")

    with pytest.raises(Unavailable):
        house.collect(send=unreachable)
    assert len(list(house.spool.glob("*.sealed"))) == 1

    sent = []
    house.collect(send=sent.append)
    assert len(sent) == 1


def test_segments_of_several_endpoints_and_contexts_are_told_apart(house):
    house.write(context=house.context(endpoint="other", project="p2"))
    house.write(context=house.context(epoch=9))
    sent = []

    house.collect(send=sent.append)

    assert {(row.project, row.endpoint) for row in sent} == {("p2", "other"), ("default", "income")}


def test_an_open_segment_is_left_to_its_writer(house):
    house.write()
    [path] = house.spool.iterdir()
    path.rename(path.with_suffix(".open"))

    assert house.collect().segments == 0


def test_primary_answers_are_profiled_by_version_arm_and_bucket(house):
    house.write(rows=3, count=2)
    house.now += 61
    house.write(rows=1)
    sent = []

    house.collect(send=sent.append)

    found = [(digest, variant, bucket, p.rows) for digest, variant, bucket, p in deltas(sent)]
    assert found == [
        (house.digest, "champion", 1_800_000_000, 6),
        (house.digest, "champion", 1_800_000_060, 1),
    ]


def test_a_profile_counts_what_counting_the_rows_would(house, row):
    asked, said = row
    reference = msgspec.json.decode(
        (house.bundles.path(house.digest) / "reference/profile.json").read_bytes(), type=profile.Reference
    )
    house.write(rows=3)
    sent = []

    house.collect(send=sent.append)

    [(_, _, _, found)] = deltas(sent)
    flat = {**asked(3), "output.score": said(3)["probability"][:, 1]}
    assert found == profile.count(reference, flat)


def test_shadows_and_forced_versions_are_in_no_profile(house):
    [event] = house.write()
    house.collect()
    house.shadow(event)
    house.write(flags=FORCED)
    sent = []

    house.collect(send=sent.append)

    assert sum(row.rows for row in sent) == 6
    assert deltas(sent) == []


def test_a_request_without_answer_is_profiled_by_its_inputs_alone(house):
    reference = msgspec.json.decode(
        (house.bundles.path(house.digest) / "reference/profile.json").read_bytes(), type=profile.Reference
    )
    house.write(rows=2, outputs={}, status=500)
    sent = []

    house.collect(send=sent.append)

    [(_, _, _, found)] = deltas(sent)
    spans = profile.spans(reference)
    assert found.cells[spans["hours-per-week"]].sum() == 2
    assert found.cells[spans["output.score"]].sum() == 0


def test_a_bundle_that_is_not_here_costs_only_the_profile(house):
    gone = "sha256:" + "1" * 64
    house.write(context=house.context(digest=gone))

    report = house.collect()

    assert (report.rows, report.without_reference) == (3, (gone,))


def test_what_can_be_read_of_a_damaged_segment_is_taken_and_the_rest_set_aside(house):
    house.write(count=3)
    [path] = house.spool.iterdir()
    path.write_bytes(path.read_bytes()[:-1])

    report = house.collect()

    assert (report.rows, report.damaged) == (6, ("w0-000000.sealed",))
    assert [p.name for p in house.spool.iterdir()] == ["w0-000000.damaged"]


def test_a_foreign_file_does_not_stop_the_others(house):
    house.spool.mkdir()
    (house.spool / "a.sealed").write_bytes(b"not a segment at all")
    house.write()

    report = house.collect()

    assert report.segments == 1
    assert [p.name for p in house.spool.iterdir()] == ["a.foreign"]


def test_one_name_with_two_types_in_one_segment_keeps_both(house):
    house.write(rows=1)
    house.write(
        rows=1,
        context=house.context(inputs=(Column("Age", "BYTES"),)),
        inputs={"Age": np.array(["old"], object)},
    )

    house.carry()

    found = house.lake.events("default", "income", columns=["in_Age"])
    assert sorted(found["in_Age"].to_pylist()) == ["0", "old"]


def test_the_inbox_takes_only_rows_that_a_collector_could_have_made(house):
    bad = InboxRow("s", "default", "income", "/x", 1, 0.0, 1.0, b"\x81garbage")
    with pytest.raises(Rejected, match="not profile deltas"):
        house.send(bad)
    with pytest.raises(Rejected, match="cannot name a project"):
        house.send(msgspec.structs.replace(bad, project="../x", profiles=b""))
