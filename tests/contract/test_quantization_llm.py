"""The contract, applied to quantization_llm with its default model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest

from turnlab.chunks import Transcript
from turnlab.clock import MonotonicClock
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
        # Each holds its prompt's beginning from warming up, whoever else is at it.
        profiles = [each.tasks[0].result_json["result_profile"] for each in results]
        assert all(2 * each["cached_tokens"] > each["prompt_tokens"] for each in profiles)


async def _at_once(slots: int) -> Sequence[TurnResult]:
    params = {"max_tokens": 24, "slots": slots}
    rig = Rig(
        QuantizationLLM,
        clock=MonotonicClock(),
        given={Transcript},
        overrides={"quantization_llm": params},
    )
    questions = (Transcript(text=text, final=True) for text in ASKED)
    try:
        await rig.executor.prepare(rig.plan)
        return await asyncio.gather(*map(rig.run, questions))
    finally:
        await rig.executor.close()


def _waited(result: TurnResult) -> bool:
    return "queue_slot" in result.tasks[0].result_json["latency_profile"]
