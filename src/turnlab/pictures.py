"""What a picture is, by its first bytes."""

from __future__ import annotations

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}

LIMIT_BYTES = 20 * 1024 * 1024
"""The largest picture that is taken."""


def picture_type(data: bytes) -> str | None:
    """The media type of PNG, JPEG, GIF or WebP; None for anything else."""
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic) and (magic != b"RIFF" or data[8:12] == b"WEBP"):
            return media_type
    return None
