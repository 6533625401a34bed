"""One request of each sort that goes nowhere, so that the first real one is as fast as later ones.

The SDK imports its parts and builds its types with the first request that needs them: 0.45 s for a
transcription, a chat and a speech, all of it before the first sound of a process.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

_CHUNK = (
    b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,'
    b'"completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}}'
)
_ANSWERS = {
    "transcriptions": ("application/json", b'{"text":"a","usage":{"type":"duration","seconds":1}}'),
    "completions": ("text/event-stream", b"data: " + _CHUNK + b"\n\ndata: [DONE]\n\n"),
    "speech": ("audio/pcm", bytes(2)),
}

_AT_IT = threading.Lock()


def rehearse() -> None:
    """Make the requests, once in a process, on an event loop of their own."""
    with _AT_IT:
        _rehearsed()


@cache
def _rehearsed() -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(_requests())).result()


async def _requests() -> None:
    import anyio.lowlevel
    import httpx2
    import openai

    await anyio.lowlevel.checkpoint()  # connections stand on it, and nothing is connected here

    def answer(request: Any) -> Any:
        kind, content = _ANSWERS[request.url.path.rpartition("/")[2]]
        return httpx2.Response(200, headers={"content-type": kind}, content=content)

    transport = httpx2.MockTransport(answer)
    http = openai.DefaultAsyncHttpxClient(transport=transport)
    async with openai.AsyncOpenAI(
        base_url="http://rehearsal.invalid/v1", api_key="none", http_client=http
    ) as client:
        audio = client.audio
        await audio.transcriptions.create(file=("a.wav", bytes(2), "audio/wav"), model="m")
        messages: Any = [{"role": "user", "content": "a"}]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        async for _ in stream:
            pass
        speech = audio.speech.with_streaming_response
        async with speech.create(input="a", model="m", voice="v") as response:
            async for _ in response.iter_bytes():
                pass
