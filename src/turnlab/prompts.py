"""What a language model is sent: its instructions, the Conversation so far, the question."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, Field

from turnlab.chunks import Caption, Chunk, Emotion, Passages
from turnlab.modules.base import TEMPLATE_FIELDS, Exchange, Inputs

Message = dict[str, str]

SYSTEM_PROMPT = (
    "You are a friendly voice assistant. Answer in one or two short sentences, in plain words."
)

EXAMPLES = [
    Exchange(text="Why do cats purr?", reply="Mostly, cats purr because they feel calm and happy."),
    Exchange(text="How long is a marathon?", reply="It's long, about twenty six miles."),
]
"""For small models: with two short answers before its eyes SmolLM2 answers in 12 words instead of
16 to 42 (medians of twenty questions), the first clause after 6."""

_MARK = re.compile(r"<\||\|>|<(?:start|end)_of_turn>|</?s>|\[/?INST\]|<</?SYS>>")
"""What the chat templates of common model families are made of: ChatML and its kin, Gemma, Llama 2,
Mistral. A server of somebody else's sees to its own model's."""

_FIELD_OF: dict[type[Chunk], str] = {
    Caption: "caption",
    Emotion: "emotion",
    Passages: "passages",
}
"""The template's field that each kind fills."""


class ChatParams(BaseModel):
    """The parameters that every Module that writes a Reply has."""

    system_prompt: str = Field(SYSTEM_PROMPT, description="How the model should behave.")
    examples: list[Exchange] = Field(
        [], max_length=32, description="Exchanges that show what replies are like."
    )
    prompt_template: str = Field("{text}", description="What the model is asked.")
    history_tokens: int = Field(
        512, ge=0, le=1_048_576, description="Most tokens of earlier exchanges to send; 0: none."
    )


def estimate_tokens(text: str) -> int:
    """An upper estimate of the tokens of `text`, without a tokenizer: one for 3 bytes of UTF-8.

    Byte-pair encodings make about 4 bytes of English into one token and keep most characters
    of other scripts, which have 2 or 3 bytes, below two.
    """
    return math.ceil(len(text.encode()) / 3)


def recent(
    history: Sequence[Exchange], limit: int, count: Callable[[str], int] = estimate_tokens
) -> tuple[Exchange, ...]:
    """The newest exchanges that `limit` tokens hold.

    Once they are too many, those that fill half of the limit are kept, so that the beginning of
    the prompt, and whatever a cache holds of it, stays the same for many turns.
    """
    first, total = 0, 0
    sizes = [count(exchange.text) + count(exchange.reply) for exchange in history]
    for index, size in enumerate(sizes):
        total += size
        if total > limit:
            while first < index and total > limit / 2:
                total -= sizes[first]
                first += 1
            if total > limit:
                first, total = index + 1, 0
    return tuple(history[first:])


def chat(params: ChatParams, prompt: str, history: Sequence[Exchange]) -> list[Message]:
    """The messages of a chat: instructions, examples, the Conversation, the question.

    The Conversation is left out where the template itself names `{history}`.
    """
    known = () if "history" in fields(params.prompt_template) else history
    messages = [{"role": "system", "content": params.system_prompt}] if params.system_prompt else []
    for exchange in (*params.examples, *recent(known, params.history_tokens)):
        messages.append({"role": "user", "content": plain(exchange.text)})
        messages.append({"role": "assistant", "content": plain(exchange.reply)})
    return [*messages, {"role": "user", "content": prompt}]


def fields(template: str) -> list[str]:
    """The names of the template's fields, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def known_values(
    params: ChatParams, text: str, history: Sequence[Exchange], inputs: Inputs
) -> dict[str, str]:
    """The fields that are known before other Components have ended; those nobody makes are ''."""
    told = recent(history, params.history_tokens)
    awaited = {_FIELD_OF[kind] for kind in _FIELD_OF if inputs.has(kind)}
    values = {name: "" for name in TEMPLATE_FIELDS if name not in awaited}
    lines = [f"User: {e.text}\nAssistant: {e.reply}" for e in told]
    return values | {"text": text, "history": "\n".join(lines)}


async def other_values(inputs: Inputs) -> dict[str, str]:
    """The fields that other Components fill, once those have ended; '' if one made nothing."""
    values = {name: "" for kind, name in _FIELD_OF.items() if inputs.has(kind)}
    if caption := await inputs.whole(Caption):
        values["caption"] = caption.text
    if emotion := await inputs.whole(Emotion):
        values["emotion"] = emotion.words
    if passages := await inputs.whole(Passages):
        values["passages"] = passages.text
    return values


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with all of its fields filled, without the marks of chat templates in them."""
    return template.format_map({name: plain(value) for name, value in values.items()})


def plain(text: str) -> str:
    """`text` without marks such as `<|im_end|>` or `[INST]`, by which a document or a picture could
    speak in another's name. None is left that was made of what stood around another."""
    return _MARK.sub(" ", text)


def leading(template: str, values: Mapping[str, str]) -> str:
    """The template up to the first field that `values` lacks: what of the prompt is known."""
    parts = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is None:
            continue
        if name not in values:
            break
        parts.append(plain(values[name]))
    return "".join(parts)
