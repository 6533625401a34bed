"""What a picture is, how large, and whether it is whole: told by its bytes, before decoding."""

from __future__ import annotations

from collections.abc import Callable

from turnlab.chunks import Image
from turnlab.errors import InvalidImage

LIMIT_BYTES = 20 * 1024 * 1024
"""The largest picture that is taken."""

MOST_PIXELS = 50_000_000
"""A small file can claim far more pixels than memory holds."""

Size = tuple[int, int]

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

_MOST_SEGMENTS = 10_000
"""Of a JPEG before its pixels; real ones have some tens, with a large colour profile hundreds."""


def picture_type(data: bytes) -> str | None:
    """The media type of PNG, JPEG, GIF or WebP; None for anything else."""
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic) and (magic != b"RIFF" or data[8:12] == b"WEBP"):
            return media_type
    return None


def check_picture(image: Image) -> Size:
    """Width and height in pixels of a picture that can be decoded safely.

    What follows the end of a picture does no harm: phones put films and depth maps there.
    Raises InvalidImage if it is none of PNG, JPEG, GIF and WebP, is not what its media type says,
    does not tell its size, is cut off, or is too large. That a GIF is cut off only its decoder
    can tell.
    """
    if len(image.data) > LIMIT_BYTES:
        raise InvalidImage(f"The picture is larger than {LIMIT_BYTES // 2**20} MiB; shrink it.")
    found = picture_type(image.data)
    if found is None:
        raise InvalidImage("The picture is neither PNG, JPEG, WebP nor GIF; convert it.")
    if found != image.media_type:
        raise InvalidImage(f"A picture that is called {image.media_type[:64]!r} is {found}.")
    try:
        (width, height), whole = _HEADERS[found](image.data)
    except (IndexError, ValueError) as error:
        raise InvalidImage("The picture does not tell its size; it is damaged.") from error
    if not whole:
        raise InvalidImage("The picture is cut off; send all of it.")
    check_pixels(width, height)
    return width, height


def check_pixels(width: int, height: int) -> None:
    """Raises InvalidImage for a size that no picture has, or that is too much to decode."""
    if not width or not height:
        raise InvalidImage("The picture has no pixels; it is damaged.")
    if width * height > MOST_PIXELS:
        most = MOST_PIXELS // 10**6
        raise InvalidImage(f"The picture has more than {most} megapixels; shrink it.")


Header = tuple[Size, bool]
"""The size, and whether the end is there."""


def _png(data: bytes) -> Header:
    return (_big(data, 16, 4), _big(data, 20, 4)), _PNG_END in data


def _gif(data: bytes) -> Header:
    return (_little(data, 6, 2), _little(data, 8, 2)), True


def _jpeg(data: bytes) -> Header:
    """The size from the first frame header; the end mark is sought behind the header of the pixels.

    Not before, where a small picture of the picture may lie, which has one too.
    """
    at, size = 2, None
    for _ in range(_MOST_SEGMENTS):
        if _big(data, at, 1) != 0xFF:
            break
        kind = _big(data, at + 1, 1)
        if kind == 0xFF:  # padding
            at += 1
            continue
        if kind == 0xDA and size:
            return size, data.find(b"\xff\xd9", at) >= 0
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            size = size or (_big(data, at + 7, 2), _big(data, at + 5, 2))
        at += 2 + max(2, _big(data, at + 2, 2))
    raise ValueError("no frame header and pixels after it")


def _webp(data: bytes) -> Header:
    whole = len(data) >= _little(data, 4, 4) + 8
    kind = data[12:16]
    if kind == b"VP8X":
        return (_little(data, 24, 3) + 1, _little(data, 27, 3) + 1), whole
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), whole
    if kind == b"VP8 ":
        return (_little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF), whole
    raise ValueError("no WebP")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_bytes(data, at, size), "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_bytes(data, at, size), "little")


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if len(data) < at + size:
        raise IndexError(at)
    return data[at : at + size]


_HEADERS: dict[str, Callable[[bytes], Header]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
