"""Which key of the environment may go to which server: its owner says so, no Cluster file.

A Cluster file of somebody else's names `base_url` and `key_variable` alike, so a pair of both from
it proves nothing. A variable goes to OpenAI and to what OPENAI_BASE_URL names, OPENAI_API_KEY to
this machine too, and any to a server for which TURNLAB_KEYS lists it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from turnlab.errors import InvalidParams

OPENAI_HOST = "api.openai.com"

URL_VARIABLE = "OPENAI_BASE_URL"
KEY_VARIABLE = "OPENAI_API_KEY"
KEYS_VARIABLE = "TURNLAB_KEYS"
"""Lists the further pairs that are allowed, separated by spaces: VARIABLE=ORIGIN."""

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=((?:https?|wss?)://[^/?#@\s]+)/?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_WEB = {"ws": "http", "wss": "https"}

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""


def may_send(variable: str, base_url: str) -> bool:
    """Whether the environment lets the key in `variable` go to `base_url`.

    Raises InvalidParams where TURNLAB_KEYS would have to say and cannot be read.
    """
    if is_named(base_url) or (variable == KEY_VARIABLE and is_here(base_url)):
        return True
    return (variable, origin_of(base_url)) in _allowed()


def is_named(base_url: str) -> bool:
    """Whether it is OpenAI's own, or lies where OPENAI_BASE_URL points."""
    if urlsplit(base_url).hostname == OPENAI_HOST:
        return True
    return (named := os.environ.get(URL_VARIABLE)) is not None and _same(base_url, named)


def is_here(base_url: str) -> bool:
    """Whether the server is on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def origin_of(url: str) -> Origin:
    """Where requests to `url` go. Raises ValueError where its port is none."""
    parts = urlsplit(url)
    scheme = _WEB.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname or "", parts.port or _PORTS.get(scheme)


def origin_text(url: str) -> str:
    """The origin as TURNLAB_KEYS takes it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _same(base_url: str, other: str) -> bool:
    try:
        return origin_of(base_url) == origin_of(other)
    except ValueError:
        return False


def _allowed() -> set[tuple[str, Origin]]:
    """The pairs of TURNLAB_KEYS. Raises InvalidParams; what it says quotes no value."""
    pairs = set()
    for number, entry in enumerate(os.environ.get(KEYS_VARIABLE, "").split(), 1):
        try:
            found = _PAIR.fullmatch(entry)
            pair = (found[1], origin_of(found[2])) if found else None
        except ValueError:
            pair = None
        if pair is None:
            raise InvalidParams(
                f"{KEYS_VARIABLE}: entry {number} is no VARIABLE=ORIGIN such as "
                "GPU_KEY=http://gpu.lan:8000."
            )
        pairs.add(pair)
    return pairs
