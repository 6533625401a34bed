"""Links to media that need no token and end: signed with the secret of the service."""

from __future__ import annotations

import json
import time
from urllib.parse import quote, urlencode

from django.core.signing import Signer
from django.utils.crypto import constant_time_compare

from turnlab.errors import Forbidden

LONGEST_S = 7 * 24 * 3600
"""The longest time that a link may be good for."""

_SALT = "turnlab.media"


def media_url(name: str, ttl_s: float = 3600, *, owner: str = "") -> str:
    """A path, with its query, that reads the file `name` of the media storage for `ttl_s`.

    `owner` is for whom it is made; it stands in the link, so that what is read by it can be told.
    Raises ValueError on a `ttl_s` beyond a week, Forbidden on a name that no stored file has.
    """
    if not 0 < ttl_s <= LONGEST_S:
        raise ValueError(f"A link is good for up to {LONGEST_S} s, not {ttl_s}.")
    expires = int(time.time() + ttl_s)
    query = {"expires": expires, "signature": _signature(_checked(name), expires, owner)}
    for_whom = {"owner": owner} if owner else {}
    return f"/media/{quote(name)}?{urlencode({**query, **for_whom})}"


def check_media_url(name: str, expires: int | str, signature: str, owner: str = "") -> None:
    """Raise Forbidden unless `media_url` made this link and its time has not passed.

    `expires` is in seconds since 1970. Compared in constant time; that a link has expired is told
    only of one that was right.
    """
    text = str(expires)
    right = text.isascii() and text.isdigit() and len(text) <= 12
    expected = _signature(_checked(name), int(text) if right else 0, owner)
    if not (constant_time_compare(signature, expected) and right):
        raise Forbidden("This link is not one that the server made.")
    if int(text) <= time.time():
        raise Forbidden("This link has expired; read the Track again for a new one.")


def _signature(name: str, expires: int, owner: str) -> str:
    # As JSON, so that no part can run into the next.
    return Signer(salt=_SALT).signature(json.dumps([name, expires, owner]))


def _checked(name: str) -> str:
    """The name, if it stays inside of the storage whatever its backend makes of it."""
    parts = name.split("/")
    if (
        len(name) > 255
        or "\\" in name
        or not name.isprintable()
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise Forbidden("This is no name of a stored file.")
    return name
