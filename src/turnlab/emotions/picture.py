"""Pictures from outside: what they are, how large, and whether they are whole, before decoding."""

from __future__ import annotations

from collections.abc import Callable

from turnlab.errors import InvalidImage
from turnlab.pictures import LIMIT_BYTES

MOST_PIXELS = 50_000_000
"""A decoded picture takes a byte a pixel: a small file can claim far more than memory holds."""

_TAIL = 1024
"""Bytes at the end among which a file's end mark is: some programs add a little after it."""

Size = tuple[int, int]


def check_picture(data: bytes) -> Size:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP that can be decoded safely.

    Raises InvalidImage if it is of another type, cut off, or too large.
    """
    if len(data) > LIMIT_BYTES:
        raise InvalidImage(f"The picture is larger than {LIMIT_BYTES // 2**20} MiB.")
    known = next((known for magic, known in _TYPES.items() if data.startswith(magic)), None)
    if known is None:
        raise InvalidImage("The picture is neither PNG, JPEG, WebP nor GIF.")
    size, is_whole = known
    try:
        width, height = size(data)
    except (IndexError, ValueError) as error:
        raise InvalidImage("The picture does not tell its size; it is damaged.") from error
    if not is_whole(data):
        raise InvalidImage("The picture is cut off; send all of it.")
    if width * height > MOST_PIXELS:
        raise InvalidImage(f"The picture has more than {MOST_PIXELS // 10**6} megapixels.")
    return width, height


def _png(data: bytes) -> Size:
    return _big(data, 16, 4), _big(data, 20, 4)


def _gif(data: bytes) -> Size:
    return _little(data, 6, 2), _little(data, 8, 2)


def _jpeg(data: bytes) -> Size:
    """From the first frame header, found by going from segment to segment."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no segment")
        kind = data[at + 1]
        if kind == 0xFF:  # padding
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return _big(data, at + 7, 2), _big(data, at + 5, 2)
        else:
            at += 2 + max(2, _big(data, at + 2, 2))


def _webp(data: bytes) -> Size:
    kind = data[12:16]
    if data[8:12] == b"WEBP" and kind == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if data[8:12] == b"WEBP" and kind == b"VP8L":
        bits = _little(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[8:12] == b"WEBP" and kind == b"VP8 ":
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    raise ValueError("no WebP")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_bytes(data, at, size), "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_bytes(data, at, size), "little")


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if len(data) < at + size:
        raise IndexError(at)
    return data[at : at + size]


_TYPES: dict[bytes, tuple[Callable[[bytes], Size], Callable[[bytes], bool]]] = {
    b"\x89PNG\r\n\x1a\n": (_png, lambda data: b"IEND" in data[-_TAIL:]),
    b"\xff\xd8\xff": (_jpeg, lambda data: b"\xff\xd9" in data[-_TAIL:]),
    b"GIF8": (_gif, lambda data: b";" in data[-_TAIL:]),
    b"RIFF": (_webp, lambda data: len(data) >= _little(data, 4, 4) + 8),
}
