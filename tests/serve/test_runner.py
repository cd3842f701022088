"""Models in child processes: who is told what when one of them dies or hangs."""

import asyncio
import contextlib
import os
import signal
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from serve_models import SIGNATURE

from shipway.bundle import BundleStore, read
from shipway.errors import Broken, Unavailable
from shipway.serve.engine import wire
from shipway.serve.engine.runner import RunnerEngine

COMMAND = (sys.executable, "-m", "shipway.wiring.server")


def columns(x):
    return {"x": np.array([x]), "y": np.array([0.0])}


def engine(home, manner, **options):
    digest = home.bundle(manner, inline=False)
    folder = BundleStore(home.folder / "bundles").path(digest)
    return RunnerEngine(COMMAND, read(folder).manifest, digest, folder=folder, **options)


async def ask(runner, x, seconds=5.0):
    told = asyncio.get_running_loop().create_future()
    runner.submit(columns(x), asyncio.get_running_loop().time() + seconds, lambda *said: told.set_result(said))
    return await told


async def end(runner):
    runner.close()
    await asyncio.sleep(0.3)  # the killed children are reaped by the loop


async def warm(runner, count=2):
    async with asyncio.timeout(20):
        while len(runner.pids) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_hang_ends_with_its_deadline_and_neighbours_are_collateral(home):
    async def scene():
        runner = engine(home, "hangs")
        await runner.start()
        await warm(runner)
        first = runner.pids[0]
        answers = await asyncio.gather(ask(runner, 1e15, 0.3), ask(runner, 1.0, 5.0), ask(runner, 2.0, 5.0))
        after = await ask(runner, 3.0)
        gone = first not in runner.pids
        await end(runner)
        return [a[0] for a in answers], after, gone

    outcomes, after, gone = asyncio.run(scene())

    assert outcomes == ["timeout", "collateral", "collateral"]
    assert after[0] == "ok"
    assert set(after[1]) == {c.name for c in SIGNATURE.outputs}
    assert gone


def test_exception_in_the_model_is_an_error_and_its_process_lives_on(home):
    async def scene():
        runner = engine(home, "raises", spare=False)
        await runner.start()
        before = runner.pids
        answers = [await ask(runner, x) for x in (500.0, 1.0)]
        after = runner.pids
        await end(runner)
        return answers, before == after

    answers, same = asyncio.run(scene())

    assert [a[0] for a in answers] == ["error", "ok"]
    assert "indices element out of data bounds" in answers[0][2]
    assert same


def test_three_losses_in_a_minute_are_a_crash_loop(home):
    async def scene():
        loops = []
        runner = engine(home, "good", on_crash_loop=loops.append)
        await runner.start()
        for _ in range(3):
            await warm(runner)
            os.kill(runner.pids[0], signal.SIGKILL)
            await asyncio.sleep(0.1)
        await end(runner)
        return loops

    assert asyncio.run(scene()) == ["3 runners were lost within 60 s"]


def test_call_without_a_free_runner_is_answered_at_once(home):
    async def scene():
        runner = engine(home, "hangs", spare=False)
        await runner.start()
        hanging = [asyncio.create_task(ask(runner, 1e15, 1.0)) for _ in range(64)]
        await asyncio.sleep(0)
        extra = await ask(runner, 1.0)
        await asyncio.gather(*hanging)
        await end(runner)
        return extra[0]

    assert asyncio.run(scene()) == "collateral"


def test_bundle_that_cannot_be_opened_says_why(home):
    async def scene():
        runner = engine(home, "raises")
        runner._command[-1] = "sha256:" + "0" * 64
        with pytest.raises(Unavailable) as failed:
            await runner.start()
        await end(runner)
        return str(failed.value)

    assert "digest" in asyncio.run(scene())


@given(
    st.dictionaries(
        st.text(max_size=5),
        arrays.arrays(st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.bool_]), (3,))
        | st.lists(st.text(max_size=5) | st.none(), min_size=3, max_size=3).map(lambda v: np.array(v, object)),
        max_size=4,
    ),
    st.integers(1, 30),
)
def test_columns_survive_the_wire_whole_whatever_the_pieces(sent, size):
    stream = wire.frame(7, wire.COLUMNS, wire.pack(sent)) + wire.frame(8, wire.SENTENCE, b"no")
    frames = wire.Frames()

    found = [frame for i in range(0, len(stream), size) for frame in frames.feed(stream[i : i + size])]

    assert [number for number, _, _ in found] == [7, 8]
    received = wire.unpack(found[0][2])
    assert received.keys() == sent.keys()
    for name, values in sent.items():
        assert received[name].dtype == values.dtype
        np.testing.assert_array_equal(received[name], values)


@given(st.binary(max_size=60))
def test_payload_of_another_origin_is_refused_or_read_and_raises_nothing_else(payload):
    with contextlib.suppress(Broken):
        wire.unpack(payload)
