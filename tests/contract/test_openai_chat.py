"""The contract, applied to the Modules that have OpenAI's chat write the reply."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from turnlab.chunks import (
    Caption,
    Chunk,
    Emotion,
    Image,
    Passage,
    Passages,
    Reply,
    Speech,
    Transcript,
)
from turnlab.clock import MonotonicClock
from turnlab.conversations import Conversation, Exchange
from turnlab.modules.base import Context, Inputs, Module
from turnlab.modules.openai_gpt_4o_text_and_image import OpenAIGPT4oTextAndImage
from turnlab.modules.openai_gpt_4o_text_only import OpenAIGPT4oTextOnly
from turnlab.modules.openai_gpt_35 import OpenAIGPT35
from turnlab.openai_chat import OpenAIChat
from turnlab.testing import Rig
from turnlab.testing.contract import ModuleContract
from turnlab.testing.openai_server import Half, OpenAIServer, Refuse
from turnlab.tracks import Mode, TrackStatus
from turnlab.turn import TurnResult

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE = Image(data=PIXEL, media_type="image/png")


class ChatContract(ModuleContract):
    """Against a server on loopback that takes a moment for each word."""

    inputs: ClassVar = (
        Transcript(text="What is the"),
        Transcript(text="What is the weather like?", final=True),
    )
    history: ClassVar = (Exchange(text="Hello.", reply="Hello! How can I help?"),)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls) -> Iterator[OpenAIServer]:
        with pytest.MonkeyPatch.context() as patch, OpenAIServer(piece_s=0.01) as server:
            patch.setenv("OPENAI_BASE_URL", server.base_url)
            yield server


class TestOpenAIGPT35(ChatContract):
    module = OpenAIGPT35


class TestOpenAIGPT4oTextOnly(ChatContract):
    module = OpenAIGPT4oTextOnly
    params: ClassVar = {"prompt_template": "{text} {caption} {emotion}"}
    inputs: ClassVar = (
        *ChatContract.inputs,
        Caption(text="A dog."),
        Emotion(values={"M": 1.0}, labels={"M": "joy"}),
    )


class TestOpenAIGPT4oTextAndImage(ChatContract):
    module = OpenAIGPT4oTextAndImage
    params: ClassVar = {"sample_ratio": 2, "detail": "low"}
    inputs: ClassVar = (PICTURE, PICTURE, PICTURE, *ChatContract.inputs)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """A server that answers at once; the environment names no other."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer() as serving:
        yield serving


QUESTION = Transcript(text="What is the weather like?", final=True)


async def turn(
    module: type[OpenAIChat],
    server: OpenAIServer,
    *inputs: Chunk,
    history: tuple[Exchange, ...] = (),
    **params: Any,
) -> TurnResult:
    """A turn through one Module."""
    given = {"base_url": server.base_url, "max_retries": 0, "connect_ahead": False, **params}
    overrides = {module.task_name: given}
    kinds = {type(chunk) for chunk in inputs}
    rig = Rig(module, clock=MonotonicClock(), given=kinds, overrides=overrides)
    try:
        return await rig.run(*inputs, conversation=Conversation(exchanges=list(history)))
    finally:
        await rig.executor.close()


def sent(server: OpenAIServer) -> list[dict[str, Any]]:
    """The messages of the only request."""
    (request,) = server.requests("chat")
    return list(request.fields["messages"])


async def test_instructions_history_and_all_that_is_known_are_sent(server: OpenAIServer) -> None:
    await turn(
        OpenAIGPT35,
        server,
        QUESTION,
        Caption(text="A dog."),
        Emotion(values={"M": 1.0}, labels={"M": "joy"}),
        Passages(items=(Passage(text="Rain at noon.", source="a", score=1.0),)),
        history=(Exchange(text="Hello.", reply="Hi."),),
        system_prompt="Be brief.",
        prompt_template="{text}|{caption}|{emotion}|{passages}",
    )
    assert sent(server) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": f"{QUESTION.text}|A dog.|joy|Rain at noon."},
    ]
    assert server.asked[0].fields["model"] == "gpt-4o-mini"


async def test_usage_is_recorded_and_its_cost_only_where_a_price_is_known(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = (await turn(OpenAIGPT35, server, QUESTION)).tasks[0].result_json["result_profile"]
    assert profile["usage"]["output_tokens"] == 10
    assert profile["cost_usd"] is None
    own = 'date = 2026-11-01\nsource = "mine"\ninput = 1000\noutput = 1000\n'
    (tmp_path / "prices.toml").write_text(f'[models."gpt-4o-mini"]\n{own}')
    monkeypatch.setenv("TURNLAB_PRICES", str(tmp_path / "prices.toml"))
    profile = (await turn(OpenAIGPT35, server, QUESTION)).tasks[0].result_json["result_profile"]
    total = profile["usage"]["input_tokens"] + profile["usage"]["output_tokens"]
    assert profile["cost_usd"] == pytest.approx(total / 1000)


async def test_a_server_that_does_not_count_costs_nobody_knows_what(server: OpenAIServer) -> None:
    server.counts = False
    profile = (await turn(OpenAIGPT35, server, QUESTION)).tasks[0].result_json["result_profile"]
    assert profile["usage"] == {}
    assert profile["cost_usd"] is None


async def test_half_a_reply_fails_and_keeps_what_was_said(server: OpenAIServer) -> None:
    server.misbehave("chat", Half(4))
    result = await turn(OpenAIGPT35, server, QUESTION)
    assert result.track.status is TrackStatus.FAILED
    assert result.error is not None
    assert result.error.code == "provider_failed"
    assert result.tasks[0].result_json["result_profile"]["text"] == "It is sunny today."


async def test_a_key_in_the_parameters_is_sent_and_not_recorded(server: OpenAIServer) -> None:
    server.key = "sk-secret"
    result = await turn(OpenAIGPT4oTextOnly, server, QUESTION, api_key="sk-secret")
    assert result.error is None
    assert result.tasks[0].parameters["api_key"] == "**********"
    assert "sk-secret" not in str(result)


def picture(number: int) -> Image:
    return replace(PICTURE, data=PICTURE.data + bytes([number]))


def shown(server: OpenAIServer) -> list[int]:
    """The numbers of the pictures that were sent, in order."""
    text, *parts = sent(server)[-1]["content"]
    assert text == {"type": "text", "text": QUESTION.text}
    urls = [part["image_url"]["url"].partition(",")[2] for part in parts]
    return [base64.b64decode(url)[-1] for url in urls]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"sample_ratio": 1, "most_pictures": 100}, list(range(25))),
        ({"sample_ratio": 10}, [4, 14, 24]),
        ({"sample_ratio": 10, "most_pictures": 2}, [14, 24]),
        ({"sample_ratio": 1000}, [24]),
        ({}, list(range(17, 25))),
    ],
)
async def test_pictures_are_sampled_back_from_the_newest(
    server: OpenAIServer, params: dict[str, int], expected: list[int]
) -> None:
    pictures = [picture(number) for number in range(25)]
    result = await turn(OpenAIGPT4oTextAndImage, server, *pictures, QUESTION, **params)
    assert shown(server) == expected
    profile = result.tasks[0].result_json["result_profile"]
    assert profile["pictures"] == len(expected)
    assert "transfer_encode" in result.tasks[0].result_json["latency_profile"]


async def test_without_pictures_the_text_alone_is_sent(server: OpenAIServer) -> None:
    result = await turn(OpenAIGPT4oTextAndImage, server, QUESTION)
    assert sent(server)[-1]["content"] == QUESTION.text
    assert result.tasks[0].result_json["result_profile"]["pictures"] == 0


async def test_text_only_sends_no_picture(server: OpenAIServer) -> None:
    await turn(OpenAIGPT4oTextOnly, server, PICTURE, QUESTION)
    assert sent(server)[-1]["content"] == QUESTION.text


async def test_what_is_no_picture_is_refused_and_nothing_sent(server: OpenAIServer) -> None:
    fake = Image(data=b"MZ" + bytes(64), media_type="image/png")
    result = await turn(OpenAIGPT4oTextAndImage, server, fake, QUESTION)
    assert result.error is not None
    assert result.error.code == "invalid_image"
    assert not server.requests("chat")


async def test_a_model_that_is_unknown_is_named_with_its_component(server: OpenAIServer) -> None:
    server.misbehave("chat", Refuse(404, "The model `gpt-9` does not exist"))
    result = await turn(OpenAIGPT4oTextOnly, server, QUESTION, model="gpt-9")
    assert result.error is not None
    assert result.error.code == "provider_refused"
    assert result.error.component == "openai_gpt_4o_text_only"
    assert "gpt-9" in result.error.message


async def test_the_reply_is_handed_on_word_by_word(server: OpenAIServer) -> None:
    result = await turn(OpenAIGPT35, server, QUESTION)
    latency = result.tasks[0].result_json["latency_profile"]
    assert result.reply == server.reply
    assert {"model_first_token", "model_stream"} <= set(latency)
    assert OpenAIGPT35.produces is Reply


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_time_that_words_wait_for_their_reader_is_not_the_models(
    server: OpenAIServer, mode: Mode
) -> None:
    class Slow(Module):
        task_name = "slow"
        consumes = (Reply,)
        produces = Speech

        async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
            async for reply in inputs.stream(Reply):
                await asyncio.sleep(0.02)
                yield Speech(samples=np.ones(9, np.float32), sample_rate=16_000, text=reply.text)

    server.reply = "word " * 100
    clock = MonotonicClock()
    overrides = {"openai_gpt_35": {"base_url": server.base_url}}
    rig = Rig(OpenAIGPT35, Slow, clock=clock, given={Transcript}, overrides=overrides)
    await rig.executor.prepare(rig.plan)
    began_s = clock.now()
    result = await rig.run(QUESTION, mode=mode)
    took_s = clock.now() - began_s
    await rig.executor.close()
    assert result.error is None
    assert took_s > 2
    latency = result.tasks[0].result_json["latency_profile"]
    assert latency["model_first_token"] + latency["model_stream"] < took_s / 2
