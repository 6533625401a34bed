"""A Module that hears at once: for tests of what lies around Modules."""

from collections.abc import AsyncIterator

from pydantic import BaseModel

from turnlab.chunks import Audio, Transcript
from turnlab.modules.base import Context, Inputs, Module


class FastHear(Module):
    """Tell how long the user spoke."""

    task_name = "fast_hear"
    consumes, produces = (Audio,), Transcript
    concurrency = 64

    class Params(BaseModel):
        """How it hears."""

        greeting: str = "hello"

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Transcript]:
        heard = await inputs.whole(Audio)
        seconds = heard.duration_s if heard else 0.0
        with context.latency.model("hear"):
            text = f"{context.params.greeting} for {seconds:.2f} seconds"
        yield Transcript(text=text, final=True)
