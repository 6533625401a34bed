"""The contract, applied to a small Module such as a plugin author would write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from pydantic import BaseModel

from turnlab.chunks import Chunk, Reply
from turnlab.modules.base import Context, Inputs, Module
from turnlab.testing.contract import ModuleContract


class Shout(Module):
    """Say the reply in capital letters."""

    task_name = "shout"
    consumes = (Reply,)
    produces = Reply

    class Params(BaseModel):
        mark: str = "!"

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for piece in inputs.stream(Reply):
            with context.latency.model("shout"):
                louder = await context.blocking(piece.text.upper)
            yield Reply(text=louder)
        yield Reply(text=context.params.mark)


class TestShout(ModuleContract):
    module = Shout
    params: ClassVar = {"mark": "?"}
    inputs = (Reply(text="Hello "), Reply(text="there"))
