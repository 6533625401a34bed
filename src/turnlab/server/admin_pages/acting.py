"""Who is at the admin, what they may do, and that it was done: by scopes, as for tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from turnlab.server.audit import audit
from turnlab.server.roles import Principal

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

_CACHED = "_turnlab_principal"


def acting(request: HttpRequest) -> Principal:
    """The person at the admin, asked of the database once a request. Raises InvalidToken."""
    found = getattr(request, _CACHED, None)
    if found is None:
        user = cast("AbstractUser | AnonymousUser", request.user)
        found = Principal.from_user(user)
        setattr(request, _CACHED, found)
    return found


def may(request: HttpRequest, scope: str) -> bool:
    """Whether the person is signed in and has the scope."""
    return bool(request.user.is_active) and scope in acting(request).scopes


def check(request: HttpRequest, scope: str) -> None:
    """Raise PermissionDenied unless the person has the scope."""
    if not may(request, scope):
        raise PermissionDenied(f"It takes the scope {scope}; see docs/reference/tokens.md.")


def note(request: HttpRequest, action: str, target: str, **detail: Any) -> None:
    """Write to the audit log what the person at the admin did."""
    audit(acting(request), action, target, detail, request.META.get("REMOTE_ADDR", ""))
