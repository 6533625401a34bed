"""What the Modules that have OpenAI's chat write a reply share: prompt, stream, usage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import BaseModel, Field, JsonValue

from turnlab.chunks import Caption, Chunk, Emotion, Passages, Reply, Transcript
from turnlab.errors import EmptyReply, PromptTooLong, TurnlabError
from turnlab.modules.base import Context, Inputs, Module
from turnlab.openai_api import (
    ERRORS,
    ChatAnswer,
    Clients,
    ProviderParams,
    Stopwatch,
    missing_provider,
    pinned_provider,
    stream_chat,
)
from turnlab.prompts import ChatParams, chat, fill, known_values, other_values

COST = (
    "What the provider charges for tokens: `cost_usd`, from [the prices](../prices.md); null where "
    "the price is unknown, as it is for a server of your own."
)

Content = str | list[dict[str, Any]]
"""A message's text, or its parts."""


class OpenAIChatParams(ProviderParams, ChatParams):
    """The parameters of all of them."""

    model: str = Field(min_length=1, max_length=256)
    max_tokens: int = Field(150, ge=1, le=1_048_576, description="Most tokens of a reply.")
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="0: the likeliest word; None: the model's own, which some ask.",
    )
    extra: dict[str, JsonValue] = Field(
        {},
        description="Further fields of the request, such as seed or reasoning_effort.",
    )


class OpenAIChat(Module):
    """Replies as a chat model writes them, word by word. A subclass names task and model."""

    consumes = (Transcript,)
    uses: ClassVar[tuple[type[Chunk], ...]] = (Caption, Emotion, Passages)
    produces = Reply
    version = "1"
    concurrency: ClassVar[int] = 64
    results: ClassVar = {
        "model": "the model that the server says it used",
        "finish_reason": "`stop`, or `length` where max_tokens ended it",
        "usage": "`input_tokens`, `cached_input_tokens` among them, `output_tokens`, as the "
        "server counts them",
        "cost_usd": "what they cost in US dollars; null where the price is unknown",
    }
    measures: ClassVar = {
        "model_first_token": "from the request to the first word, network and retries included",
        "model_stream": "from the first word to the last, without the time that words wait for "
        "their reader",
    }
    raises: ClassVar[tuple[type[TurnlabError], ...]] = (*ERRORS, PromptTooLong, EmptyReply)
    cost: ClassVar[str] = COST

    Params: type[BaseModel] = OpenAIChatParams

    @classmethod
    def missing(cls, params: Any) -> list[str]:
        return missing_provider(params)

    @classmethod
    def pinned(cls, params: Any) -> Mapping[str, str]:
        return pinned_provider(params)

    def load(self) -> None:
        self._clients = Clients(self.params)

    def warm(self, params: Any) -> None:
        self._clients.warm(params)

    def close(self) -> None:
        self._clients.close()

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        provider = self._clients.of(params)
        async with provider.opened_ahead(params.connect_ahead):
            heard = await inputs.whole(Transcript)
            text = heard.text if heard else ""
            values = known_values(params, text, context.history, inputs)
            prompt = fill(params.prompt_template, values | await other_values(inputs))
            content = await self.content(prompt, inputs, context)
        messages: list[dict[str, Any]] = [*chat(params, prompt, context.history)]
        messages[-1] = {**messages[-1], "content": content}
        answer = ChatAnswer()
        stream = stream_chat(
            provider,
            answer,
            model=params.model,
            messages=messages,
            max_tokens=params.max_tokens,
            temperature=params.temperature,
            extra=params.extra,
        )
        watch = Stopwatch(context.latency, context.machine.clock, "first_token")
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    with watch.handing_on():
                        yield Reply(text=piece)
        finally:
            watch.end()
            context.result.update(model=answer.model, finish_reason=answer.finish_reason)
            context.result.update(provider.bill(params.model, answer.usage))

    async def content(self, prompt: str, inputs: Inputs, context: Context) -> Content:
        """What the model is asked: the prompt, and whatever a subclass adds to it."""
        return prompt
