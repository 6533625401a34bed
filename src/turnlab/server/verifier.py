"""Knows a token again: by the hash of its secret, and for a moment by memory alone."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Q

from turnlab.errors import DatabaseUnavailable, InvalidToken
from turnlab.server import models
from turnlab.server.roles import ROLES, Principal, Role

logger = logging.getLogger(__name__)

REMEMBERED_S = 2.0
"""How long a token counts without a look at the database, hence how late a revocation may be."""

MOST_REMEMBERED = 4_096

_USED_EVERY = timedelta(minutes=1)
_TOKEN = re.compile(r"tl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH = "0" * 64


def hash_of(text: str) -> str:
    """The SHA-256 of `text` in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Verifier:
    """Tells whose token it is, and remembers it by its hash for a moment. Thread-safe.

    `clock` tells seconds that only go on, `now` the moment that tokens expire by.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = Lock()
        self._seen: OrderedDict[str, tuple[float, datetime | None, Principal]] = OrderedDict()

    def remembered(self, token: str) -> Principal | None:
        """Whose the token is, if that was found out a moment ago."""
        with self._lock:
            seen = self._seen.get(hash_of(token))
        if seen is None or self._clock() - seen[0] >= REMEMBERED_S:
            return None
        _, expires_at, principal = seen
        return principal if expires_at is None or self._now() < expires_at else None

    def authenticate(self, token: str) -> Principal:
        """Whose the token is. Raises InvalidToken, DatabaseUnavailable."""
        if (principal := self.remembered(token)) is not None:
            return principal
        seen_s = self._clock()  # before the row is read, which may be revoked just after that
        now = self._now()
        row = _row_of(token, now)
        principal = _principal(row)
        _note_use(row, now)
        with self._lock:
            self._seen[hash_of(token)] = (seen_s, row.expires_at, principal)
            self._seen.move_to_end(hash_of(token))
            if len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)
        return principal

    def forget(self, token_id: str) -> None:
        """Look at the database again when this token comes."""
        with self._lock:
            for key in [k for k, (*_, who) in self._seen.items() if who.token_id == token_id]:
                del self._seen[key]


def _row_of(token: str, now: datetime) -> models.Token:
    """The row of a token whose secret is right. Raises InvalidToken, the same for all others."""
    match = _TOKEN.fullmatch(token)
    token_id, secret = match.groups() if match else ("", "")
    row = _read(token_id) if match else None
    # Compared also where there is no row, so that the time tells nothing.
    right = hmac.compare_digest(row.secret_hash if row else _NO_HASH, hash_of(secret))
    if row is None or not right:
        raise InvalidToken("The token is wrong; `turnlab tokens create` makes another.")
    if row.revoked_at is not None:
        raise InvalidToken("The token was revoked; `turnlab tokens create` makes another.")
    if row.expires_at is not None and row.expires_at <= now:
        raise InvalidToken("The token has expired; `turnlab tokens create` makes another.")
    return row


def _read(token_id: str) -> models.Token | None:
    try:
        return models.Token.objects.filter(id=token_id).first()
    except (OperationalError, InterfaceError):
        connection.close()  # it may be the connection alone: a server that was started anew
    try:
        return models.Token.objects.filter(id=token_id).first()
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable() from error


def _note_use(row: models.Token, now: datetime) -> None:
    """Keep that the token was used, at most once a minute whatever the number of processes."""
    since = now - _USED_EVERY
    if row.last_used_at is not None and row.last_used_at >= since:
        return
    old = Q(last_used_at=None) | Q(last_used_at__lt=since)
    try:
        models.Token.objects.filter(old, id=row.id).update(last_used_at=now)
    except DatabaseError as error:  # the token is good all the same
        logger.warning("The use of token %s could not be noted: %s", row.id, error)


def _principal(row: models.Token) -> Principal:
    # A role of another version may do nothing here.
    granted = ROLES[Role(row.role)] if row.role in set(Role) else frozenset[str]()
    return Principal(
        owner=row.owner,
        project=row.project,
        role=row.role,
        scopes=granted & set(row.scopes) if row.scopes else granted,
        token_id=row.id,
    )
