"""openai_gpt_4o_text_and_image: a reply by GPT-4o to what was said and shown."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from turnlab.chunks import Caption, Emotion, Image, Passages
from turnlab.errors import InvalidImage
from turnlab.modules.base import Context, Inputs
from turnlab.openai_api import Detail, picture_part
from turnlab.openai_chat import Content, OpenAIChat, OpenAIChatParams


class OpenAIGPT4oTextAndImage(OpenAIChat):
    """Reply to what was heard and shown with GPT-4o, word by word.

    Of the turn's pictures the newest is always sent, and counted back from it every
    `sample_ratio`-th, up to `most_pictures`; they follow the question, oldest first. More pictures
    take longer and cost more. Earlier turns are sent as text only.
    """

    task_name = "openai_gpt_4o_text_and_image"
    uses = (Image, Caption, Emotion, Passages)
    results: ClassVar = {
        **OpenAIChat.results,
        "pictures": "how many pictures were sent",
    }
    measures: ClassVar = {
        **OpenAIChat.measures,
        "transfer_encode": "making the pictures into data URLs",
    }
    raises: ClassVar = (*OpenAIChat.raises, InvalidImage)

    class Params(OpenAIChatParams):
        model: str = Field(
            "gpt-4o",
            min_length=1,
            max_length=256,
            description="Name of the model, which must take pictures. OpenAI announced the end of "
            "`gpt-4o` for 2027-01-14, and none of `gpt-5.4` and `gpt-5.5` (as the SDK, openai "
            "3.54.0, tells).",
        )
        sample_ratio: int = Field(
            1, ge=1, le=10_000, description="Of so many pictures one is sent; 10 for video."
        )
        most_pictures: int = Field(8, ge=1, le=100, description="Most pictures to send.")
        detail: Detail = Field(
            "auto", description="How closely the model looks: `low` is faster and costs less."
        )

    async def content(self, prompt: str, inputs: Inputs, context: Context) -> Content:
        params: Any = context.params
        pictures = await sampled(inputs.stream(Image), params.sample_ratio, params.most_pictures)
        context.result.update(pictures=len(pictures))
        if not pictures:
            return prompt
        with context.latency.transfer("encode"):
            parts = await context.blocking(_parts, pictures, params.detail)
        return [{"type": "text", "text": prompt}, *parts]


async def sampled(pictures: AsyncIterator[Image], ratio: int, most: int) -> list[Image]:
    """The newest and, counted back from it, every `ratio`-th; at most `most`, oldest first.

    No more are held meanwhile than the newest of which one may still be the oldest of these.
    """
    newest: deque[Image] = deque(maxlen=(most - 1) * ratio + 1)
    async for picture in pictures:
        newest.append(picture)
    return list(newest)[::-ratio][::-1]


def _parts(pictures: Sequence[Image], detail: Detail) -> list[dict[str, Any]]:
    return [picture_part(picture, detail) for picture in pictures]
