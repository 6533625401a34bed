"""openai_gpt_4o_text_only: a reply by GPT-4o to what was said, without pictures."""

from __future__ import annotations

from pydantic import Field

from turnlab.openai_chat import OpenAIChat, OpenAIChatParams


class OpenAIGPT4oTextOnly(OpenAIChat):
    """Reply to what was heard with GPT-4o, word by word; pictures are not sent.

    Instructions, examples and history are sent as `quantization_llm` sends them.
    """

    task_name = "openai_gpt_4o_text_only"

    class Params(OpenAIChatParams):
        model: str = Field(
            "gpt-4o",
            min_length=1,
            max_length=256,
            description="Name of the model. OpenAI announced the end of `gpt-4o` for 2027-01-14, "
            "and none of `gpt-5.4` and `gpt-5.5` (as the SDK, openai 3.54.0, tells).",
        )
