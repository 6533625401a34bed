"""How API processes of one database know each other: by the secret that they share."""

from __future__ import annotations

from django.core.signing import BadSignature, Signer

_BEARER = "Bearer node_"
_SALT = "turnlab.node"


def node_ticket(node_id: str) -> str:
    """The Authorization header of a process that dials another; good as long as its row lives."""
    return _BEARER + Signer(salt=_SALT).sign(node_id)


def node_of_ticket(header: str) -> str | None:
    """The process whose ticket an Authorization header holds; None if it is none, or forged."""
    if not header.startswith(_BEARER):
        return None
    try:
        return Signer(salt=_SALT).unsign(header.removeprefix(_BEARER))
    except BadSignature:
        return None
