"""The contract, applied to quantization_llm with its default model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest

from turnlab.chunks import Transcript
from turnlab.clock import MonotonicClock
from turnlab.clusters.plan import make_plan
from turnlab.modules.base import Exchange
from turnlab.modules.quantization_llm import QuantizationLLM
from turnlab.testing import Rig
from turnlab.testing.contract import ModuleContract
from turnlab.turn_result import TurnResult

ASKED = ("What is the capital of France?", "Which planet is the largest one?", "Is ice cold?")


@pytest.mark.slow
class TestQuantizationLLM(ModuleContract):
    module = QuantizationLLM
    params: ClassVar = {"max_tokens": 24}
    inputs: ClassVar = (
        Transcript(text="What is the"),
        Transcript(text="What is the capital of France?", final=True),
    )
    history: ClassVar = (Exchange(text="Hello.", reply="Hello! How can I help?"),)


@pytest.mark.slow
async def test_replies_at_once_do_not_disturb_each_other_and_wait_only_where_no_slot_is_free() -> (
    None
):
    roomy, narrow = await _at_once(slots=3), await _at_once(slots=1)
    assert not any(map(_waited, roomy))
    assert sum(map(_waited, narrow)) == 2
    for results in (roomy, narrow):
        assert [result.error for result in results] == [None] * 3
        assert "Paris" in results[0].reply
        assert all(map(_found_its_prompt, results))


@pytest.mark.slow
async def test_prompts_that_are_warmed_at_once_are_each_found_later() -> None:
    rig = _rig(slots=2)
    pirate = {"quantization_llm": {"max_tokens": 8, "slots": 2, "system_prompt": "Be a pirate."}}
    plans = (rig.plan, make_plan(rig.plan.cluster, rig.registry, pirate, {Transcript}))
    try:
        await asyncio.gather(*map(rig.executor.prepare, plans))
        for plan in plans:
            turn = rig.turn(Transcript(text=ASKED[0], final=True))
            assert _found_its_prompt(await rig.runner.run(plan, turn))
    finally:
        await rig.executor.close()


def _rig(slots: int) -> Rig:
    params = {"max_tokens": 24, "slots": slots}
    return Rig(
        QuantizationLLM,
        clock=MonotonicClock(),
        given={Transcript},
        overrides={"quantization_llm": params},
    )


async def _at_once(slots: int) -> Sequence[TurnResult]:
    rig = _rig(slots)
    questions = (Transcript(text=text, final=True) for text in ASKED)
    try:
        await rig.executor.prepare(rig.plan)
        return await asyncio.gather(*map(rig.run, questions))
    finally:
        await rig.executor.close()


def _found_its_prompt(result: TurnResult) -> bool:
    """Whether most of it, which is its beginning, lay in the slot."""
    profile = result.tasks[0].result_json["result_profile"]
    return bool(2 * profile["cached_tokens"] > profile["prompt_tokens"])


def _waited(result: TurnResult) -> bool:
    return "queue_slot" in result.tasks[0].result_json["latency_profile"]
