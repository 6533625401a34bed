"""The messages of a chat: what the model is told, what was said before, what is asked now."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from turnlab.chunks import Image
from turnlab.conversations import Exchange
from turnlab.errors import InvalidImage
from turnlab.pictures import LIMIT_BYTES, check_picture
from turnlab.server.openai_endpoints.failures import BadField

MOST_MESSAGES = 2_048
MOST_PARTS = 256
MOST_CHARACTERS = 1_000_000
"""Of all texts together."""
MOST_PICTURES = 8
LONGEST_URL = LIMIT_BYTES // 3 * 4 + 64

_DATA_URL = re.compile(r"data:(image/[a-z+.-]{1,32});base64,", re.ASCII)


class _Lenient(BaseModel):
    """SDKs send back the messages that they got, with fields of which most are null."""

    model_config = ConfigDict(extra="ignore")


class TextPart(_Lenient):
    """A text, or what a model refused with."""

    type: Literal["text"]
    text: str


class ImageURL(_Lenient):
    """Where a picture is: in the URL itself."""

    url: str = Field(max_length=LONGEST_URL)


class ImagePart(_Lenient):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageURL


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _as_parts(content: Any) -> Any:
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class Message(_Lenient):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], Field(max_length=MOST_PARTS), BeforeValidator(_as_parts)] = []
    tool_calls: None = None
    function_call: None = None

    @property
    def text(self) -> str:
        """Its texts, one a line."""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def urls(self) -> list[str]:
        """Where its pictures are."""
        return [part.image_url.url for part in self.content if isinstance(part, ImagePart)]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A chat as a turn has it."""

    system: str | None
    history: tuple[Exchange, ...]
    text: str
    images: tuple[Image, ...] = field(repr=False)


def read_messages(messages: Sequence[Message]) -> Prompt:
    """The parts of a chat whose last word is the user's.

    Messages of one side that follow each other become one. All pictures go with the question.
    Raises BadField, InvalidImage.
    """
    if sum(len(message.text) for message in messages) > MOST_CHARACTERS:
        raise BadField("messages", f"messages: hold more than {MOST_CHARACTERS:,} characters.")
    said = [message.text for message in messages if message.role in ("system", "developer")]
    *history, last = _exchanges(messages)
    if last.reply or not last.text.strip():
        raise BadField("messages", "messages: the last one must be the user's, and hold a text.")
    return Prompt(
        system="\n\n".join(said) if said else None,
        history=tuple(history),
        text=last.text,
        images=tuple(_pictures(messages)),
    )


def _exchanges(messages: Iterable[Message]) -> list[Exchange]:
    """What was asked and replied in turn; the last has no reply if the user has the last word."""
    asked: list[str] = []
    replied: list[str] = []
    exchanges: list[Exchange] = []
    for message in messages:
        if message.role == "assistant":
            replied.append(message.text)
        elif message.role == "user":
            if replied:
                exchanges.append(Exchange(text="\n".join(asked), reply="\n".join(replied)))
                asked, replied = [], []
            asked.append(message.text)
    return [*exchanges, Exchange(text="\n".join(asked), reply="\n".join(replied))]


def _pictures(messages: Sequence[Message]) -> Iterable[Image]:
    urls = [(index, url) for index, message in enumerate(messages) for url in message.urls]
    if len(urls) > MOST_PICTURES:
        raise BadField("messages", f"messages: hold more than {MOST_PICTURES} pictures.")
    for index, url in urls:
        yield _picture(url, f"messages.{index}.content")


def _picture(url: str, param: str) -> Image:
    """The picture of a data URL; no other is ever fetched. Raises BadField."""
    found = _DATA_URL.match(url)
    if found is None:
        raise BadField(
            param,
            f"{param}: a picture must be sent itself, as data:image/png;base64,...; this server "
            "fetches no URL.",
        )
    try:
        data = base64.b64decode(url[found.end() :], validate=True)
        image = Image(data=data, media_type=found[1])
        check_picture(image)
    except binascii.Error as error:
        raise BadField(param, f"{param}: the picture is not in base64.") from error
    except InvalidImage as error:
        raise BadField(param, f"{param}: {error.message}") from error
    return image
