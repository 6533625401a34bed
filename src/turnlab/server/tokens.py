"""Tokens: made, listed, revoked, and known again when a request brings one.

A token reads `tl_{12 hex digits}_{43 url-safe characters}`: a public id and 256 random bits, of
which only the SHA-256 is kept. No slow hash is needed, since nobody guesses 256 bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from turnlab.errors import InvalidRequest, InvalidToken, UnknownProject, UnknownToken
from turnlab.server import models
from turnlab.server.audit import COMMAND_LINE, audit
from turnlab.server.roles import LOCAL, ROLES, Principal, Role, may_read, require
from turnlab.server.verifier import REMEMBERED_S, Verifier, hash_of

LONGEST = timedelta(days=3650)
"""The longest time that a token with an end may be good for."""

_verifier = Verifier()


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """What is known of a token; its secret is not."""

    id: str
    name: str
    owner: str
    project: str
    role: str
    scopes: tuple[str, ...]
    """Narrower than the role's where not empty."""
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        expired = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return "expired" if expired else "active"

    def as_json(self) -> dict[str, Any]:
        """The same as JSON, moments in ISO 8601."""
        values = {**asdict(self), "state": self.state}
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()}


def create_token(
    role: str,
    *,
    name: str = "",
    owner: str = "",
    project: str = "default",
    expires_in: timedelta | None = None,
    scopes: Collection[str] = (),
    by: Principal = LOCAL,
    address: str = "",
) -> tuple[TokenFacts, str]:
    """Make a token: what is known of it, and its text, which nothing can show again.

    What it starts belongs to `owner` (left out: its name, else its own id); `scopes` narrow the
    role. Raises InvalidRequest, UnknownProject.
    """
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    made = models.Token(
        id=token_id,
        name=_named("name", name or role),
        owner=_named("owner", owner or name or token_id),
        project=_known_project(project),
        role=_known_role(role),
        scopes=sorted(_within_role(scopes, role)),
        secret_hash=hash_of(secret),
        created_by=by.owner or COMMAND_LINE,
        created_at=datetime.now(UTC),
        expires_at=_expiry(expires_in),
    )
    with transaction.atomic():
        made.save(force_insert=True)
        detail = {"name": made.name, "owner": made.owner, "role": made.role}
        audit(by, "token.create", token_id, detail, address)
    return _facts(made), f"tl_{token_id}_{secret}"


def list_tokens() -> list[TokenFacts]:
    """All tokens, the newest first."""
    return [_facts(row) for row in models.Token.objects.order_by("-created_at", "id")]


def revoke_token(token_id: str, *, by: Principal = LOCAL, address: str = "") -> TokenFacts:
    """Make a token count no more: here at once, in other processes within two seconds.

    One that is revoked stays so, from when it was. Raises UnknownToken.
    """
    with transaction.atomic():
        rows = models.Token.objects.filter(id=token_id)
        if rows.filter(revoked_at=None).update(revoked_at=datetime.now(UTC)):
            audit(by, "token.revoke", token_id, {}, address)
        row = rows.first()
    if row is None:
        raise UnknownToken(
            f"There is no token {token_id[:32]!r}; `turnlab tokens list` shows those there are."
        )
    _verifier.forget(token_id)
    return _facts(row)


def authenticate(header: str | None) -> Principal:
    """Who sends `Authorization: Bearer TOKEN`, given the header's value.

    Reads the database where the token was not seen within two seconds: call it off the event
    loop, or ask `remembered` first. Raises InvalidToken, DatabaseUnavailable.
    """
    return _verifier.authenticate(_bearer(header))


def remembered(header: str | None) -> Principal | None:
    """The same from memory alone, quick enough for the event loop; None: ask the database.

    Raises InvalidToken where the header holds no token at all.
    """
    return _verifier.remembered(_bearer(header))


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken(
            "Send a token: `Authorization: Bearer TOKEN`; `turnlab tokens create` makes one."
        )
    return token.strip()


def _facts(row: models.Token) -> TokenFacts:
    values = {f.name: getattr(row, f.name) for f in fields(TokenFacts)}
    return TokenFacts(**values | {"scopes": tuple(row.scopes)})


def _named(what: str, text: str) -> str:
    if not (0 < len(text) <= 128 and text.isprintable() and text == text.strip()):
        raise InvalidRequest(f"The {what} of a token has 1 to 128 printable characters.")
    return text


def _known_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InvalidRequest(
            f"There is no role {role[:32]!r}; there are {', '.join(Role)}."
        ) from None


def _within_role(scopes: Collection[str], role: str) -> set[str]:
    if beyond := sorted(set(scopes) - ROLES[_known_role(role)]):
        raise InvalidRequest(
            f"The role {role} does not have {', '.join(beyond)[:200]}; scopes can only narrow it: "
            f"{', '.join(sorted(ROLES[_known_role(role)]))}."
        )
    return set(scopes)


def _known_project(name: str) -> str:
    # The default one is made at the first start, which may come later.
    if name != "default" and not models.Project.objects.filter(name=name).exists():
        raise UnknownProject(
            f"There is no project {name[:64]!r}; `turnlab projects list` shows those there are."
        )
    return name


def _expiry(expires_in: timedelta | None) -> datetime | None:
    if expires_in is None:
        return None
    if not timedelta(0) < expires_in <= LONGEST:
        raise InvalidRequest("A token expires after up to ten years; leave it out for never.")
    return datetime.now(UTC) + expires_in


__all__ = [
    "REMEMBERED_S",
    "Principal",
    "TokenFacts",
    "authenticate",
    "create_token",
    "list_tokens",
    "may_read",
    "remembered",
    "require",
    "revoke_token",
]
