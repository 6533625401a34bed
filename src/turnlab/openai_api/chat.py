"""A chat's reply, piece by piece, with what it used."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnlab.errors import EmptyReply, ProviderFailed, ProviderRefused
from turnlab.openai_api.clients import Provider
from turnlab.openai_api.failures import no_answer, provider_errors
from turnlab.prices import Usage


@dataclass(kw_only=True)
class ChatAnswer:
    """What is known of a reply; complete once `stream_chat` has ended."""

    text: str = ""
    model: str = ""
    """The model that the server says it used."""
    finish_reason: str = ""
    """`stop`, or `length` where the limit of tokens ended it."""
    usage: Usage = field(default_factory=Usage)


async def stream_chat(
    provider: Provider,
    answer: ChatAnswer,
    *,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int | None = None,
    temperature: float | None = None,
    extra: Mapping[str, Any] | None = None,
) -> AsyncGenerator[str]:
    """The reply's text as it arrives; `answer` gathers it and what it used.

    `extra` are further fields of the request as JSON. Closing the iteration early closes the
    connection, upon which the server stops. Raises what `provider_errors` raises, EmptyReply
    where there is no word in the reply, and ProviderFailed where it ends without saying why.
    """
    request = _request(provider, max_tokens, temperature)
    provider.used()
    with provider_errors(provider):
        stream: Any = await provider.client.chat.completions.create(
            model=model,
            messages=list(messages),
            stream=True,
            stream_options={"include_usage": True},
            extra_body=dict(extra) if extra else None,
            **request,
        )
        async with stream:
            async for chunk in stream:
                try:
                    piece = _taken(answer, chunk)
                except (AttributeError, IndexError, TypeError) as error:
                    raise no_answer(provider, "sent an event that is no part of a chat") from error
                if piece:
                    yield piece
    provider.used()
    _check(provider, answer)


def _request(
    provider: Provider, max_tokens: int | None, temperature: float | None
) -> dict[str, Any]:
    """The fields that are sent only where they are given."""
    request: dict[str, Any] = {}
    if max_tokens is not None:
        # OpenAI's newer models refuse the old name; other servers may not know the new one.
        limit = "max_completion_tokens" if provider.server.is_openai else "max_tokens"
        request[limit] = max_tokens
    if temperature is not None:
        request["temperature"] = temperature
    return request


def _taken(answer: ChatAnswer, chunk: Any) -> str:
    """Take one event of the stream; the text that it adds. The SDK does not check its form."""
    answer.model = chunk.model or answer.model
    if chunk.usage is not None:
        answer.usage = _usage(chunk.usage)
    if not chunk.choices:
        return ""
    choice = chunk.choices[0]
    answer.finish_reason = choice.finish_reason or answer.finish_reason
    piece: str = choice.delta.content or ""
    answer.text += piece
    return piece


def _usage(used: Any) -> Usage:
    details = getattr(used, "prompt_tokens_details", None)
    return Usage(
        input_tokens=count(getattr(used, "prompt_tokens", None)),
        cached_input_tokens=count(getattr(details, "cached_tokens", None)),
        output_tokens=count(getattr(used, "completion_tokens", None)),
    )


def count(value: object) -> int | None:
    """A number of tokens as a server tells it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None


def _check(provider: Provider, answer: ChatAnswer) -> None:
    """Refuse a reply that is none, or not the whole."""
    if not answer.finish_reason:
        if not answer.text:
            raise no_answer(provider, "sent no reply")
        raise ProviderFailed(f"{provider.server.name} ended its reply in the middle; try again.")
    if answer.finish_reason == "content_filter":
        raise ProviderRefused(
            f"{provider.server.name} withheld the reply (content_filter); ask for something else."
        )
    if not answer.text.strip():
        raise EmptyReply(
            f"The model ended ({answer.finish_reason}) without a word; raise max_tokens or change "
            "the prompt."
        )
