"""What goes wrong at a server, as Turnlab's own errors: the provider's reason, never the key."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from turnlab.errors import (
    MissingKey,
    PromptTooLong,
    ProviderFailed,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    TurnlabError,
    WrongKey,
)
from turnlab.openai_api.clients import Provider
from turnlab.openai_api.keys import KEYS_VARIABLE
from turnlab.openai_api.params import Server

REASON_CHARACTERS = 300
"""Most characters of a provider's reason that a message quotes."""

_TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
"""How OpenAI and llama.cpp call a prompt that is longer than the model's context."""

ERRORS = (
    MissingKey,
    WrongKey,
    RateLimited,
    ProviderRefused,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnreachable,
)
"""What a call may raise, for the `raises` of Modules."""


@contextmanager
def provider_errors(provider: Provider) -> Iterator[None]:
    """Have what the SDK raises come out as a TurnlabError that says what the provider said.

    Raises WrongKey (401, 403), MissingKey (401 where no key was sent), RateLimited (429),
    PromptTooLong, ProviderRefused (other 4xx), ProviderFailed (5xx, half or broken answers),
    ProviderTimeout, ProviderUnreachable.
    """
    import httpx2
    import openai

    # A body that is read as bytes raises the errors of the SDK's own HTTP library.
    beneath = (httpx2.RequestError, ssl.SSLError)
    try:
        yield
    except (openai.OpenAIError, *beneath, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _translated(error, provider.server) from error


def no_answer(provider: Provider, what: str) -> ProviderFailed:
    """The error for an answer that is none: `what` says how it looks."""
    return ProviderFailed(f"{provider.server.name} {what}; check that base_url speaks this API.")


def _translated(error: Exception, server: Server) -> TurnlabError:
    import httpx2
    import openai

    if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException)):
        return ProviderTimeout(
            f"{server.name} said nothing for {server.request_timeout_s:g} s; raise "
            "request_timeout_s or take a faster model."
        )
    if isinstance(error, openai.APIConnectionError):
        return _unconnected(error.__cause__, server)
    if isinstance(error, (httpx2.RequestError, ssl.SSLError)):
        return _unconnected(error, server)
    if isinstance(error, openai.APIStatusError):
        codes = [each for each in (error.code, error.type) if isinstance(each, str)]
        return refused(server, error.status_code, _reason(error, server), codes)
    if isinstance(error, openai.APIError):
        return ProviderFailed(f"{server.name} failed: {_reason(error, server)}")
    return ProviderFailed(
        f"{server.name} answered with something that is no answer ({type(error).__name__}); "
        "check that base_url speaks this API."
    )


def _unconnected(cause: BaseException | None, server: Server) -> TurnlabError:
    import httpx2

    if isinstance(cause, (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.ProxyError)):
        why = clean_reason(cause, server).removesuffix(".")
        return ProviderUnreachable(
            f"{server.name} cannot be reached ({why}); check base_url and the network."
        )
    return ProviderFailed(
        f"{server.name} closed the connection before its answer was complete; try again."
    )


def refused(
    server: Server, status: int, reason: str, codes: Collection[object] = ()
) -> TurnlabError:
    """What an HTTP status of `server` means; `reason` is a sentence, `codes` are its own words."""
    said = f"{server.name} answered {status}: {reason}"
    if 300 <= status < 400:
        return ProviderRefused(f"{said} It points to another address; set base_url to that of it.")
    if status in (401, 403):
        if server.key is None:
            return MissingKey(
                f"{said} Name the variable with the key for it in key_variable, and let it go "
                f"there in {KEYS_VARIABLE}."
            )
        return WrongKey(f"{said} Check the key in {server.key_variable} and what it may do.")
    if status == 429:
        return RateLimited(f"{said} Wait, or raise the limits of the account.")
    if status >= 500:
        return ProviderFailed(f"{said} Try again later.")
    if not _TOO_LONG.isdisjoint(codes):
        return PromptTooLong(f"{said} Lower history_tokens or take a model with more context.")
    if status == 404:
        return ProviderRefused(f"{said} Name another model, or check base_url.")
    return ProviderRefused(f"{said} Change the request as it says.")


def clean_reason(text: object, server: Server) -> str:
    """What a server said as one short sentence of printable characters, the key struck out."""
    said = str(text).replace(server.key, "***") if server.key else str(text)
    line = re.sub(r"[^\x20-\x7e\u00a0-\uffff]+", " ", said).strip()
    if not line:
        return "no reason given."
    if len(line) > REASON_CHARACTERS:
        return f"{line[:REASON_CHARACTERS]} ..."
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _reason(error: Any, server: Server) -> str:
    """What the provider says went wrong, as one sentence; a page of HTML says nothing."""
    said = error.body
    if isinstance(said, dict):
        said = said.get("message") or said.get("detail")
    is_page = not isinstance(said, str) or said.lstrip().startswith("<")
    return clean_reason("" if is_page else said, server)
