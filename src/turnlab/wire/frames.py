"""Frames: a JSON document and raw bytes in one binary message, read strictly."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from turnlab.errors import ProtocolViolation

MOST_BYTES = 4 * 2**20
"""Of one frame."""

MOST_HEADER = 64 * 2**10
"""Of a frame's header."""

INLINE = 2**20
"""A body of more bytes goes by media reference."""

_LENGTH = struct.Struct(">I")


def pack(document: dict[str, Any], raw: bytes = b"", *, most_document: int = 2**32 - 1) -> bytes:
    """The length of `document` as 4 bytes, big-endian, `document` as JSON in UTF-8, then `raw`.

    Raises ValueError or TypeError if `document` is too large or no JSON, such as with a NaN.
    """
    text = to_json(document)
    if len(text) > most_document:
        raise ValueError(f"{len(text)} bytes of JSON are more than {most_document}")
    return b"".join((_LENGTH.pack(len(text)), text, raw))


def unpack(data: bytes | memoryview, most_document: int) -> tuple[dict[str, Any], memoryview]:
    """The document and the raw bytes. Raises ProtocolViolation for whatever is no frame."""
    view = memoryview(data)
    if len(view) < _LENGTH.size:
        raise ProtocolViolation(f"A frame of {len(view)} bytes holds no length.")
    (length,) = _LENGTH.unpack_from(view)
    end = _LENGTH.size + length
    if length > most_document or end > len(view):
        raise ProtocolViolation(f"A frame of {len(view)} bytes tells of {length} bytes of header.")
    document = from_json(view[_LENGTH.size : end])
    if not isinstance(document, dict):
        raise ProtocolViolation("The header of a frame is no JSON object.")
    return document, view[end:]


def to_json(value: object, default: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON in UTF-8; half surrogates, which UTF-8 does not know, are escaped.

    Raises ValueError or TypeError if it is no JSON.
    """
    encoder = _ENCODER if default is None else _encoder(default)
    text = encoder.encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _encoder(default, ascii_only=True).encode(value).encode()


def from_json(data: bytes | memoryview) -> Any:
    """The JSON value in `data`. Raises ProtocolViolation if it is none."""
    try:
        return _DECODER.decode(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"What should be JSON in UTF-8 is none: {error!s:.200}") from error


def _encoder(
    default: Callable[[Any], Any] | None = None, *, ascii_only: bool = False
) -> json.JSONEncoder:
    return json.JSONEncoder(
        ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"), default=default
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


# Made once: to make them for each frame would take half of its time.
_ENCODER = _encoder()
_DECODER = json.JSONDecoder(parse_constant=_refuse)
