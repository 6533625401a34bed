"""Five Modules that pass a text on and write down, each at its end, that they have run."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, Field

from turnlab.chunks import Reply, Transcript
from turnlab.modules.base import Context, Inputs, Module

_NOTES = os.environ.get("TURNLAB_RELAY_NOTES", os.devnull)
"""The file that executions are noted in, one line each."""


class Params(BaseModel):
    """How long it takes."""

    work_s: float = Field(default=0.0, ge=0, le=60)
    settle_s: float = Field(default=0.0, ge=0, le=60)
    """From the Chunk to the note, so that the one has left before the other is written."""


async def note(context: Context) -> None:
    """Add a line. O_APPEND writes of less than a page do not mix, whatever process they are of."""
    params: Any = context.params
    if params.settle_s:
        await asyncio.sleep(params.settle_s)
    line = f"{context.track_id} {context.component} {context.task_id} {os.getpid()}\n"
    file = os.open(_NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


async def passed_on(inputs: Inputs, context: Context) -> str:
    """What was heard, after as much work as was asked for."""
    heard = await inputs.whole(Transcript)
    params: Any = context.params
    if params.work_s:
        await asyncio.sleep(params.work_s)
    return heard.text if heard else ""


class _Relay(Module):
    consumes, produces = (Transcript,), Transcript
    concurrency = 256
    Params = Params

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Transcript]:
        yield Transcript(text=await passed_on(inputs, context), final=True)
        await note(context)


class RelayFirst(_Relay):
    """Pass the text on."""

    task_name = "relay_first"


class RelaySecond(_Relay):
    """Pass the text on."""

    task_name = "relay_second"


class RelayThird(_Relay):
    """Pass the text on."""

    task_name = "relay_third"


class RelayFourth(_Relay):
    """Pass the text on."""

    task_name = "relay_fourth"


class RelayLast(Module):
    """Make the text a reply."""

    task_name = "relay_last"
    consumes, produces = (Transcript,), Reply
    concurrency = 256
    Params = Params

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Reply]:
        yield Reply(text=await passed_on(inputs, context))
        await note(context)
