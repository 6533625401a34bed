"""A Module that answers word by word."""

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel

from turnlab.chunks import Reply, Transcript
from turnlab.errors import ModuleFailed
from turnlab.modules.base import Context, Inputs, Module


class FastAnswer(Module):
    """Say what was heard; `word_s` is the pause before each word."""

    task_name = "fast_answer"
    consumes, produces = (Transcript,), Reply
    concurrency = 64

    class Params(BaseModel):
        """How it answers."""

        word_s: float = 0.0
        words: int = 8
        fail_after: int = -1
        prompt_template: str = "{text}"

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Reply]:
        heard = await inputs.whole(Transcript)
        said = (heard.text if heard else "").split()[: context.params.words]
        for index, word in enumerate(["You", "said", *said, "today."]):
            if index == context.params.fail_after:
                raise ModuleFailed("It was told to fail.")
            if context.params.word_s:
                await asyncio.sleep(context.params.word_s)
            yield Reply(text=word if index == 0 else f" {word}")
