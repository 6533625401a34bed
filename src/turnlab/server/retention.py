"""What is kept, and for how long: the rules of projects, the consent of users.

All functions but `sweep_retention` use the ORM: call them off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from turnlab.errors import InvalidRequest
from turnlab.server import models
from turnlab.server.audit import audit
from turnlab.server.database import Database
from turnlab.server.deleting import (
    FORGOTTEN,
    batches,
    drop_contents,
    drop_media,
    ended,
    with_reruns,
)
from turnlab.server.leftovers import drop_orphans
from turnlab.server.roles import LOCAL, Principal
from turnlab.server.tally import Tally

logger = logging.getLogger(__name__)

REFUSED = "refused"
"""What the consent of a Conversation reads whose user wants nothing kept."""

SWEEP_S = 3600.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_DAYS = 36_500
_RULES = Principal(owner="rules of retention", role="", scopes=frozenset())


class Keep(StrEnum):
    """What is kept of the Tracks of a project."""

    ALL = "all"
    TEXT = "text"
    """Sounds and pictures go when a Track has ended."""
    DAYS = "days"
    """Sounds and pictures go after so many days."""


@dataclass(frozen=True, kw_only=True)
class ProjectRule:
    """A project and what is kept of its Tracks."""

    name: str
    keep: Keep
    media_days: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The rule as JSON."""
        return {"name": self.name, "keep": str(self.keep), "media_days": self.media_days}


DEFAULT = ProjectRule(name="default", keep=Keep.ALL)


def list_projects() -> list[ProjectRule]:
    """All projects by name; `default` is always there."""
    rules = {row.name: _rule(row) for row in models.Project.objects.order_by("name")}
    return sorted({DEFAULT.name: DEFAULT, **rules}.values(), key=lambda rule: rule.name)


def set_project(
    name: str,
    keep: Keep,
    media_days: int | None = None,
    *,
    by: Principal = LOCAL,
    address: str = "",
) -> ProjectRule:
    """Make a project, or change its rule, which the next sweep applies to what there is.

    Raises InvalidRequest.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:80]!r} cannot name a project: use 1 to 64 of A-Z a-z 0-9 _ . -, beginning "
            "with a letter or a digit."
        )
    if (keep is Keep.DAYS) != (media_days is not None):
        raise InvalidRequest("Give the number of days with `days`, and only with it.")
    if media_days is not None and not 0 < media_days <= _MOST_DAYS:
        raise InvalidRequest(f"Media are kept for 1 to {_MOST_DAYS:,} days, not {media_days}.")
    rule = ProjectRule(name=name, keep=keep, media_days=media_days)
    with transaction.atomic():
        values = {"keep": str(keep), "media_days": media_days}
        models.Project.objects.update_or_create(name=name, defaults=values)
        audit(by, "project.set", name, values, address)
    return rule


def may_export(row: models.Track | models.Conversation | None) -> bool:
    """Whether the Track, or those of the Conversation, may leave the server.

    They may not where the user refused. Nothing is known of a Track without a Conversation.
    """
    if isinstance(row, models.Track):
        return not refused([row.track_id])
    return row is None or row.consent != REFUSED


def refused(ids: Iterable[str]) -> set[str]:
    """Those of these Tracks whose user wants nothing kept.

    Of a Track that runs another one again that is the user of the other.
    """
    found: set[str] = set()
    origins = {track_id: track_id for track_id in ids}
    while origins:
        rows = models.Track.objects.filter(track_id__in=set(origins.values()))
        known = {
            track_id: (consent, rerun_of)
            for track_id, consent, rerun_of in rows.values_list(
                "track_id", "conversation__consent", "rerun_of"
            )
        }
        told = {track_id: known.get(origin, (None, "")) for track_id, origin in origins.items()}
        found |= {track_id for track_id, (consent, _) in told.items() if consent == REFUSED}
        origins = {
            track_id: rerun_of
            for track_id, (_, rerun_of) in told.items()
            if rerun_of and track_id not in found
        }
    return found


def after_track(track_id: str, now: datetime | None = None) -> Tally:
    """Apply the rules to one Track that has ended and whose records are durable."""
    now, tally = now or datetime.now(UTC), Tally()
    row = models.Track.objects.filter(ended(now), track_id=track_id)
    found = row.values("project").first()
    if found is None:
        return tally
    if refused([track_id]):
        drop_contents([track_id], now, tally)
    elif models.Project.objects.filter(name=found["project"], keep=Keep.TEXT).exists():
        drop_media([track_id], now, tally)
    return tally


def consent_changed(conversation_id: str) -> Tally:
    """Apply what the user of a Conversation has just said to its Tracks that have ended.

    Those that run one of them again are among them.
    """
    now, tally = datetime.now(UTC), Tally()
    own = models.Track.objects.filter(
        conversation_id=conversation_id, conversation__consent=REFUSED
    )
    for ids in with_reruns(own):
        over = models.Track.objects.filter(ended(now), track_id__in=ids)
        if gone := list(over.values_list("track_id", flat=True)):
            drop_contents(gone, now, tally)
    return tally


def apply_rules(now: datetime | None = None) -> Tally:
    """Apply the rules of all projects and Conversations, and delete files that nothing names.

    What is under way is left alone. It works in batches, so that other writers get their turn.
    """
    now, tally = now or datetime.now(UTC), Tally()
    for ids in batches(_perhaps_refused(now)):
        if gone := refused(ids):
            drop_contents(sorted(gone), now, tally)
    for row in models.Project.objects.exclude(keep=Keep.ALL):
        for ids in batches(_with_media(_rule(row), now)):
            drop_media(ids, now, tally)
    drop_orphans(now, tally, slot=now.hour)
    if not tally.empty:
        audit(_RULES, "retention.sweep", detail=tally.as_json())
    return tally


async def sweep_retention(
    database: Database, every_s: float = SWEEP_S, apply: Callable[[], object] = apply_rules
) -> None:
    """Apply the rules now and every hour, until cancelled."""
    while True:
        try:
            await database.call(apply)
        except Exception:  # a database that is gone for a while comes back
            logger.exception("The rules of retention cannot be applied now")
        await asyncio.sleep(every_s)


def _rule(row: models.Project) -> ProjectRule:
    return ProjectRule(name=row.name, keep=Keep(row.keep), media_days=row.media_days)


def _with_media(rule: ProjectRule, now: datetime) -> QuerySet[models.Track]:
    """The Tracks whose media are due."""
    due = models.Track.objects.filter(ended(now), project=rule.name, media_deleted_at=None)
    if rule.keep is Keep.DAYS:
        return due.filter(created_at__lt=now - timedelta(days=rule.media_days or _MOST_DAYS))
    return due


def _perhaps_refused(now: datetime) -> QuerySet[models.Track]:
    """The Tracks of users who want nothing kept, and all reruns, of which something may be."""
    perhaps = Q(conversation__consent=REFUSED) | ~Q(rerun_of="")
    rows = models.Track.objects.filter(ended(now), perhaps)
    return rows.exclude(request__has_key=FORGOTTEN)
