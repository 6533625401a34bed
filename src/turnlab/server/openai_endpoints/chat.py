"""POST /v1/chat/completions: a Module that writes replies, or a Cluster up to its reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from ninja import Router
from pydantic import ConfigDict, Field

from turnlab.chunks import Image, Reply
from turnlab.server.config import config
from turnlab.server.node import current_node
from turnlab.server.openai_endpoints.bodies import Body, ModelName, read_body, refuse_unless_plain
from turnlab.server.openai_endpoints.failures import BadField
from turnlab.server.openai_endpoints.following import Following, answered, follow
from turnlab.server.openai_endpoints.messages import MOST_MESSAGES, Message, Prompt, read_messages
from turnlab.server.openai_endpoints.parameters import instructed, mapped
from turnlab.server.openai_endpoints.served import Model, Use, models_of
from turnlab.server.openai_endpoints.streaming import DONE, EVENTS, event, streamed
from turnlab.server.openai_endpoints.usage import finish_of, usage_of
from turnlab.server.requests import TrackRequest

router = Router()

_PLAIN: dict[str, Any] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "logit_bias": (None, {}),
}
"""Fields that change what an answer is, and the values of them that do not."""

_WITHOUT_EFFECT = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
)
"""Fields that are taken and change nothing."""

Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(Body):
    """What a stream tells besides."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatBody(Body):
    """The request; what has no effect is looked at nowhere else."""

    model_config = ConfigDict(extra="allow")

    model: str = ModelName
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None

    def parameters(self) -> dict[str, tuple[str, Any]]:
        """As a Module calls them, each with OpenAI's name and the value."""
        limit = "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        same = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
        return {
            **{name: (name, getattr(self, name)) for name in same},
            "stop": ("stop", stop),
            "max_tokens": (limit, getattr(self, limit)),
        }

    def without_effect(self) -> tuple[str, ...]:
        """The names of other fields that were given. Raises BadField for those that matter."""
        others = self.model_extra or {}
        refuse_unless_plain(others, _PLAIN)
        for name in others:
            if name not in _PLAIN and name not in _WITHOUT_EFFECT:
                raise BadField(name[:200], f"{name[:200]}: is no field that this endpoint knows.")
        return tuple(name for name in _WITHOUT_EFFECT if others.get(name) is not None)


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What was asked: of which model, with what."""

    body: ChatBody
    model: Model
    prompt: Prompt
    asked: TrackRequest
    ignored: tuple[str, ...]


@router.post("/chat/completions")
async def complete(request: HttpRequest) -> HttpResponseBase:
    """A reply to the last message, whole or as it is written."""
    chat = await _asked(request)
    turn = await follow(request, chat.asked, images=chat.prompt.images)
    if chat.body.stream:
        response = await streamed(request, _events(chat, turn), EVENTS)
        return answered(response, turn, chat.ignored)
    with turn:
        text = "".join([chunk.text async for chunk in turn.read(Reply)])
        result = await turn.result()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": finish_of(result, chat.model.step),
    }
    usage = usage_of(result, chat.model.step)
    whole = {**_head(chat, turn, "chat.completion"), "choices": [choice], "usage": usage}
    return answered(JsonResponse(whole), turn, chat.ignored)


async def _asked(request: HttpRequest) -> Chat:
    # Pictures lie in the messages.
    body = await read_body(request, ChatBody, config().max_upload_mib * 2**20)
    others = body.without_effect()
    prompt = await asyncio.to_thread(read_messages, body.messages)
    model = models_of(current_node()).find(body.model, Use.CHAT, pictures=bool(prompt.images))
    if prompt.images and not any(Image in step.reads for step in model.plan.steps):
        raise BadField("messages", f"messages: {body.model} looks at no pictures; send text alone.")
    told = instructed(model.step, prompt.system)
    set_ = mapped(model.step, body.parameters())
    asked = model.request({**told.params, **set_.params}, text=prompt.text, history=prompt.history)
    ignored = (*told.ignored, *set_.ignored, *others)
    return Chat(body=body, model=model, prompt=prompt, asked=asked, ignored=ignored)


async def _events(chat: Chat, turn: Following) -> AsyncGenerator[bytes]:
    """The reply as server-sent events."""
    options = chat.body.stream_options or StreamOptions()
    head = _head(chat, turn, "chat.completion.chunk")
    if options.include_usage:
        head["usage"] = None

    def part(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**head, "choices": [choice]})

    with turn:
        role = {"role": "assistant"}
        async for chunk in turn.read(Reply):
            yield part({**role, "content": chunk.text})
            role = {}
        result = await turn.result()
        yield part({}, finish_of(result, chat.model.step))
        if options.include_usage:
            usage = usage_of(result, chat.model.step)
            yield event({**head, "choices": [], "usage": usage})
        yield DONE


def _head(chat: Chat, turn: Following, what: str) -> dict[str, Any]:
    return {
        "id": turn.track_id,
        "object": what,
        "created": int(time.time()),
        "model": chat.body.model,
        "system_fingerprint": chat.model.plan.cluster.content_hash[:12],
    }
