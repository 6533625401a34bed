"""Pictures from outside, decoded safely, upright, and no larger than what is looked at."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.chunks import Image
from turnlab.errors import InvalidImage
from turnlab.pictures import check_picture, check_pixels

LONGEST = 1600
"""Pixels of the longer side of a decoded picture; larger ones are shrunk."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")

_GRID = 16
"""Two pictures are compared in so many fields each way."""

Pixels = NDArray[np.uint8]


def decoded(image: Image) -> Any:
    """The picture as Pillow's RGB image: upright as its EXIF says, on white where transparent.

    Of an animation the first frame. Raises InvalidImage if it is none that Turnlab takes, is not
    what its media type says, cannot be decoded as a whole, or is too large.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    check_picture(image)
    try:
        with Pillow.open(io.BytesIO(image.data), formats=_FORMATS) as picture:
            check_pixels(*picture.size)  # the first frame of a GIF may be larger than its screen
            picture.draft("RGB", (LONGEST, LONGEST))  # JPEG can decode to a fraction at once
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            rgb = _on_white(upright)
    except InvalidImage:
        raise
    except Pillow.DecompressionBombError as error:
        raise InvalidImage(f"The picture is too large to decode: {error}") from error
    except UnidentifiedImageError as error:
        raise InvalidImage("The picture cannot be decoded, it is damaged.") from error
    except Exception as error:  # what decoders raise for damaged data is open
        raise InvalidImage(f"The picture cannot be decoded, it is damaged: {error}.") from error
    rgb.thumbnail((LONGEST, LONGEST))
    return rgb


def encoded(picture: Any) -> Image:
    """A decoded picture as a JPEG without any metadata, such as where it was taken."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=90)
    return Image(data=data.getvalue(), media_type="image/jpeg")


def difference(one: Any, other: Any) -> float:
    """How much two pictures differ where they differ most: 0 (nowhere) .. 1 (black and white).

    They are compared as the mean colours of 16 x 16 fields, so that noise does not count.
    """
    gap = np.abs(_fields(one).astype(np.int16) - _fields(other))
    return float(gap.max()) / 255


def _fields(picture: Any) -> Pixels:
    from PIL import Image as Pillow

    return np.asarray(picture.resize((_GRID, _GRID), Pillow.Resampling.BOX))


def _on_white(picture: Any) -> Any:
    from PIL import Image as Pillow

    if picture.mode.startswith("I"):  # 16 bits a pixel, which convert() would cut off at 255
        return Pillow.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    white = Pillow.new("RGBA", layers.size, "white")
    return Pillow.alpha_composite(white, layers).convert("RGB")
