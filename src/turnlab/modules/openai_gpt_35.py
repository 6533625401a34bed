"""openai_gpt_35: a reply by a small model of OpenAI's, or of any server that speaks its API."""

from __future__ import annotations

from pydantic import Field

from turnlab.openai_chat import OpenAIChat, OpenAIChatParams


class OpenAIGPT35(OpenAIChat):
    """Reply to what was heard with a small, cheap model, word by word.

    Named after GPT-3.5, whose end OpenAI announced for 2026-10-23; the default is the model that
    OpenAI named as its successor. Instructions, examples and history are sent as
    `quantization_llm` sends them.
    """

    task_name = "openai_gpt_35"

    class Params(OpenAIChatParams):
        model: str = Field(
            "gpt-4o-mini",
            min_length=1,
            max_length=256,
            description="Name of the model. `gpt-3.5-turbo` where a server still has it; OpenAI "
            "announced the end of `gpt-4o-mini` for 2027-01-14, and none of `gpt-5.4-mini` "
            "(as the SDK, openai 3.54.0, tells).",
        )
