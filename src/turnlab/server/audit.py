"""Who did what, to what, from where: entries that are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from turnlab.server.models import AuditEntry
from turnlab.server.roles import Principal

COMMAND_LINE = "command line"
"""The actor where somebody uses the command line of the server's machine."""


def audit(
    principal: Principal,
    action: str,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
    address: str = "",
) -> None:
    """Keep that `principal` did `action`, such as `token.create`, to `target`.

    `detail` is JSON without secrets, `address` the client's. Raises DatabaseError: what cannot be
    accounted for is not done, so call it in the transaction of the deed.
    """
    AuditEntry.objects.create(
        at=datetime.now(UTC),
        actor=_fitted(principal.owner or COMMAND_LINE, 128),
        token=principal.token_id,
        action=action,
        target=_fitted(target, 200),
        address=_fitted(address, 64),
        detail=dict(detail or {}),
    )


def _fitted(text: str, length: int) -> str:
    """Cut, and without NUL, so that PostgreSQL takes what a client sent."""
    return text.replace("\0", "")[:length]
