"""The embedded executor: loads once, queues beyond a Module's places, names what fails."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from turnlab.chunks import Audio, Transcript
from turnlab.clusters import make_plan
from turnlab.errors import MissingModel, ModuleFailed
from turnlab.executors import embedded
from turnlab.modules.base import NoParams, loaded
from turnlab.modules.registry import Registry
from turnlab.testing import Pause, Rig, cluster_of, scripted
from turnlab.testing.scripted import Scripted

VOICE = Audio(samples=np.zeros(10, dtype=np.float32), sample_rate=16_000)
WORD = Transcript(text="a", final=True)


def module(*script, **declared) -> type[Scripted]:
    return scripted("speech2text", [Audio], Transcript, *(script or (WORD,)), **declared)


async def together(rig: Rig, count: int) -> list:
    async def all_of_them():
        return await asyncio.gather(
            *(rig.runner.run(rig.plan, rig.turn(VOICE)) for _ in range(count))
        )

    return await rig.drive(all_of_them())


async def test_a_module_is_loaded_once_for_turns_side_by_side():
    once = module()
    results = await together(Rig(once), 5)
    assert [result.error for result in results] == [None] * 5
    assert (once.loads, once.runs) == (1, 5)


async def test_preparing_loads_and_warms_once():
    warmed = []
    once = module(warm=lambda self, params: warmed.append(params))
    rig = Rig(once)
    await rig.executor.prepare(rig.plan)
    await rig.executor.prepare(rig.plan)
    await rig.run(VOICE)
    assert once.loads == len(warmed) == 1


async def test_only_parameters_that_load_reads_make_another_instance():
    class Params(NoParams):
        model: str = loaded("a")
        speed: float = 1.0

    several = module(Params=Params)
    rig = Rig(several)
    for params in ({}, {"speed": 2.0}, {"model": "b"}, {"model": "b", "speed": 3.0}):
        plan = make_plan(cluster_of(several), rig.registry, {"speech2text": params})
        await rig.executor.prepare(plan)
    assert several.loads == 2


async def test_two_modules_for_one_task_do_not_share_an_instance():
    one, other = module(WORD), module(Transcript(text="b", final=True))
    rig = Rig(one)
    await rig.run(VOICE)
    rig.plan = make_plan(cluster_of(other), Registry([other]))
    assert (await rig.run(VOICE)).transcript == "b"


async def test_beyond_its_places_tasks_queue():
    one_by_one = module(Pause(1.0), WORD, concurrency=1)
    rig = Rig(one_by_one)
    results = await together(rig, 3)
    ends = sorted(r.tasks[0].result_json["latency_profile"]["ts_end"] for r in results)
    assert ends == pytest.approx([1, 2, 3])
    claimed = sorted(r.tasks[0].result_json["latency_profile"]["ts_claimed"] for r in results)
    assert claimed == pytest.approx([0, 1, 2])


def failing(error: BaseException):
    def fail(self, *_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("stage", "says"),
    [("load", "could not be loaded"), ("warm", "could not be warmed"), ("__init__", "be loaded")],
)
async def test_what_fails_before_the_first_turn_names_the_component(stage, says):
    rig = Rig(module(**{stage: failing(ValueError("no memory"))}))
    with pytest.raises(ModuleFailed, match=f"speech2text {says}|{says}.*no memory") as caught:
        await rig.executor.prepare(rig.plan)
    assert caught.value.component == "speech2text"


async def test_a_failed_load_fails_the_turn_and_is_tried_again():
    errors = [MissingModel("install it"), None]

    def load(self):
        if error := errors.pop(0):
            raise error

    rig = Rig(module(load=load))
    assert (await rig.run(VOICE)).error.code == "missing_model"
    assert (await rig.run(VOICE)).error is None


@pytest.mark.parametrize(
    "error", [ValueError("x"), TimeoutError("x"), KeyError("x"), asyncio.CancelledError()]
)
async def test_whatever_a_module_raises_becomes_module_failed(error):
    class Raising(module()):
        """Raises in the middle of its work."""

        async def run(self, inputs, context):
            yield Transcript(text="a")
            raise error

    rig = Rig(Raising)
    result = await rig.run(VOICE)
    assert (result.error.code, result.error.component) == ("module_failed", "speech2text")
    assert result.tasks[0].status == "failed"


async def test_closing_frees_each_module():
    closed = []
    rig = Rig(module(close=lambda self: closed.append(self)))
    await rig.executor.prepare(rig.plan)
    await rig.executor.close()
    assert len(closed) == 1


class Hanging:
    """What a Module hangs in, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.ended, self.closed = (threading.Event() for _ in range(4))

    def hang(self, *_) -> None:
        self.begun.set()
        self.let_go.wait(60)
        self.ended.set()

    def close(self, *_) -> None:
        assert self.let_go.is_set(), "closed while it was still at work"
        self.closed.set()

    async def given_up(self, rig: Rig) -> None:
        """Prepare, and be cancelled in the midst of it."""
        preparing = asyncio.ensure_future(rig.executor.prepare(rig.plan))
        assert await asyncio.to_thread(self.begun.wait, 60)
        preparing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await preparing


@pytest.mark.parametrize("stage", ["load", "warm"])
async def test_what_hangs_is_not_waited_for_and_closed_when_it_has_ended(stage):
    hanging = Hanging()
    rig = Rig(module(**{stage: lambda self, *_: hanging.hang(), "close": hanging.close}))
    await hanging.given_up(rig)
    await rig.executor.keep_only(make_plan(cluster_of(new := module()), Registry([new])))
    assert not hanging.closed.is_set()
    hanging.let_go.set()
    assert await asyncio.to_thread(hanging.closed.wait, 60)


@pytest.mark.parametrize("stage", ["load", "warm"])
async def test_closing_waits_for_what_ends_soon(stage):
    hanging = Hanging()
    rig = Rig(module(**{stage: lambda self, *_: hanging.hang(), "close": hanging.close}))
    await hanging.given_up(rig)
    closing = asyncio.ensure_future(rig.executor.close())
    hanging.let_go.set()
    await closing
    assert hanging.closed.is_set()


async def test_closing_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(embedded, "GRACE_S", 0.01)
    hanging = Hanging()
    rig = Rig(module(load=lambda self: hanging.hang()))
    await hanging.given_up(rig)
    await rig.executor.close()
    assert not hanging.ended.is_set()
    hanging.let_go.set()


async def test_a_close_that_hangs_is_named(monkeypatch):
    monkeypatch.setattr(embedded, "GRACE_S", 0.01)
    hanging = Hanging()
    rig = Rig(module(close=lambda self: hanging.hang()))
    await rig.executor.prepare(rig.plan)
    with pytest.raises(ModuleFailed, match="speech2text could not be closed within"):
        await rig.executor.close()
    hanging.let_go.set()


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("x"), asyncio.CancelledError()])
async def test_whatever_load_raises_fails_the_turn_and_nothing_else(error):
    result = await Rig(module(load=failing(error))).run(VOICE)
    assert (result.error.code, result.error.component) == ("module_failed", "speech2text")
    assert type(error).__name__ in result.error.message
