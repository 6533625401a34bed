"""Pictures as the API takes them: data URLs, checked by their bytes."""

from __future__ import annotations

import base64
from typing import Any, Literal

from turnlab.chunks import Image
from turnlab.pictures import check_picture

Detail = Literal["auto", "low", "high"]


def data_url(image: Image) -> str:
    """The picture as a `data:` URL. Raises InvalidImage, see `check_picture`."""
    check_picture(image)
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode('ascii')}"


def picture_part(image: Image, detail: Detail = "auto") -> dict[str, Any]:
    """The picture as a part of a chat message's content. Raises InvalidImage."""
    return {"type": "image_url", "image_url": {"url": data_url(image), "detail": detail}}
