"""How API processes of one database know each other: by the secret that they share."""

from __future__ import annotations

from django.core.signing import BadSignature, TimestampSigner

SCHEME = "Node "
_SALT = "turnlab.node"
_GOOD_FOR_S = 60
"""A ticket is for one handshake, which follows at once."""


def node_ticket(node_id: str) -> str:
    """The Authorization header of a process that dials another one."""
    return SCHEME + TimestampSigner(salt=_SALT).sign(node_id)


def node_of_ticket(header: str) -> str | None:
    """The process that made the header; None if it is none, forged, or too old."""
    if not header.startswith(SCHEME):
        return None
    try:
        return TimestampSigner(salt=_SALT).unsign(header.removeprefix(SCHEME), max_age=_GOOD_FOR_S)
    except BadSignature:
        return None
