"""Connections to servers: one client of the SDK for each server and event loop, kept open."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from turnlab.openai_api.params import ProviderParams, Server, server_of
from turnlab.openai_api.rehearsal import rehearse
from turnlab.prices import Prices, Usage, read_prices

KEEP_S = 120.0
"""How long a connection that nobody uses is kept; the SDK's own 5 s are less than the pause
between two turns, and a new one costs a TLS handshake before the first word."""

FRESH_S = 4.0
"""A connection that was used within so many seconds needs no opening ahead: uvicorn, which many
servers stand on, closes it after 5 s."""

CLOSE_S = 5.0
"""How long to wait for a client's connections to close."""

_NO_PROXY: dict[str, Any] = {f"{scheme}://": None for scheme in ("http", "https", "all")}
"""Has connections go straight there, whatever proxy the environment names: it would be told the
key. The environment's certificates still count."""


@dataclass(slots=True, eq=False)
class Provider:
    """A server as one event loop talks to it."""

    server: Server
    client: Any = field(repr=False)
    """The SDK's AsyncOpenAI."""
    prices: Prices = field(repr=False)
    used_s: float | None = None
    """When a request was last begun or over, on the event loop's clock."""

    def used(self) -> None:
        """Note that a request begins or is over."""
        self.used_s = asyncio.get_running_loop().time()

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """What `usage` of `model` costs here in US dollars; None where the price is unknown."""
        return self.prices.cost_usd(model, usage, listed=self.server.is_openai)

    def bill(self, model: str, usage: Usage) -> dict[str, Any]:
        """Usage and cost as `result_profile` keeps them."""
        return {"usage": usage.as_json(), "cost_usd": self.cost_usd(model, usage)}

    @asynccontextmanager
    async def opened_ahead(self, wanted: bool = True) -> AsyncIterator[asyncio.Task[None] | None]:
        """Meanwhile open a connection, unless `wanted` is False or one was used just now.

        Yields what opens it. A server that cannot be reached is told by the request that matters.
        """
        now_s = asyncio.get_running_loop().time()
        if not wanted or (self.used_s is not None and now_s - self.used_s < FRESH_S):
            yield None
            return
        self.used()
        opening = asyncio.create_task(self._open())
        try:
            yield opening
        finally:
            opening.cancel()
            await asyncio.wait([opening])

    async def _open(self) -> None:
        import openai

        with suppress(openai.OpenAIError, ValueError):
            client = self.client.with_options(max_retries=0)
            await client.models.with_raw_response.list()


class Clients:
    """The clients of one loaded Module. Make it in `load`, in a thread: it imports the SDK.

    Connections belong to the event loop that opened them, hence a client for each loop. Raises
    InvalidPrices.
    """

    def __init__(self, params: ProviderParams) -> None:
        rehearse()
        self._prices = read_prices()
        self._lock = threading.Lock()
        self._loops: dict[asyncio.AbstractEventLoop, dict[Server, Provider]] = {}
        server = server_of(params)
        # Made in a thread, since it takes 0.1 s; it belongs to no loop before its first use.
        self._spare: dict[Server, Provider] = {server: self._made(server)}

    def warm(self, params: ProviderParams) -> None:
        """Have a client for the server of `params` ready, so that `of` need not make it.

        Call it in a thread. Raises InvalidParams, MissingKey.
        """
        server = server_of(params)
        with self._lock:
            known = (self._spare, *self._loops.values())
        if not any(server in providers for providers in known):
            made = self._made(server)
            with self._lock:
                self._spare.setdefault(server, made)

    def of(self, params: ProviderParams) -> Provider:
        """The server of `params` on the running event loop. Raises InvalidParams, MissingKey."""
        server = server_of(params)
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [each for each in self._loops if each.is_closed()]:
                del self._loops[closed]
            providers = self._loops.setdefault(loop, {})
            if server not in providers:
                spare = self._spare.pop(server) if server in self._spare else None
                providers[server] = spare or self._made(server)
            return providers[server]

    def close(self) -> None:
        """Close all connections; call it from another thread than the event loop's."""
        with self._lock:
            loops, self._loops = self._loops, {}
        for loop, providers in loops.items():
            if loop.is_running():
                for provider in providers.values():
                    closing = asyncio.run_coroutine_threadsafe(provider.client.close(), loop)
                    with suppress(TimeoutError):
                        closing.result(CLOSE_S)

    def _made(self, server: Server) -> Provider:
        client = _client(server)
        # The SDK imports its parts when they are first asked for.
        _ = client.chat.completions, client.audio.transcriptions, client.audio.speech, client.models
        return Provider(server=server, client=client, prices=self._prices)


def _client(server: Server) -> Any:
    import httpx2
    import openai

    key = server.key or "none"  # the SDK wants one; servers that ask for none ignore it
    limits = httpx2.Limits(max_connections=64, keepalive_expiry=KEEP_S)
    timeout = httpx2.Timeout(server.request_timeout_s, connect=min(5.0, server.request_timeout_s))
    return openai.AsyncOpenAI(
        base_url=server.base_url,
        api_key=key,
        timeout=timeout,
        max_retries=server.max_retries,
        default_headers=None if server.is_named else _without_others(key),
        http_client=openai.DefaultAsyncHttpxClient(
            limits=limits,
            timeout=timeout,
            mounts=_NO_PROXY if server.is_here else None,
            follow_redirects=False,  # what is said goes to the server that was named, to no other
        ),
    )


def _without_others(key: str) -> dict[str, Any]:
    """Headers that keep the SDK from sending a stranger what the environment says for OpenAI."""
    import openai

    told = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = [name.strip() for name, colon, _ in (line.partition(":") for line in told) if colon]
    omitted = ["OpenAI-Organization", "OpenAI-Project", *names]
    kept = {name: openai.Omit() for name in omitted if name.lower() != "authorization"}
    return {**kept, "Authorization": f"Bearer {key}"}
