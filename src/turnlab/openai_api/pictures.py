"""Pictures as the API takes them: data URLs, checked by their bytes."""

from __future__ import annotations

import base64
from typing import Any, Literal

from turnlab.chunks import Image
from turnlab.errors import InvalidImage
from turnlab.pictures import LIMIT_BYTES, picture_type

Detail = Literal["auto", "low", "high"]


def data_url(image: Image) -> str:
    """The picture as a `data:` URL. Raises InvalidImage unless its bytes are what it says."""
    if len(image.data) > LIMIT_BYTES:
        raise InvalidImage(f"A picture is larger than {LIMIT_BYTES // 2**20} MiB; shrink it.")
    found = picture_type(image.data)
    if found is None:
        raise InvalidImage("A picture is neither PNG, JPEG, WebP nor GIF; convert it.")
    if found != image.media_type:
        raise InvalidImage(f"A picture that is called {image.media_type[:64]!r} is {found}.")
    return f"data:{found};base64,{base64.b64encode(image.data).decode('ascii')}"


def picture_part(image: Image, detail: Detail = "auto") -> dict[str, Any]:
    """The picture as a part of a chat message's content. Raises InvalidImage."""
    return {"type": "image_url", "image_url": {"url": data_url(image), "detail": detail}}
