"""Deletes what somebody chooses: Tracks of a project, of a Conversation, of long ago, or all.

All of it uses the ORM: call it off the event loop.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from django.db.models import Exists, OuterRef, Q, QuerySet

from turnlab.conversations import check_conversation_id
from turnlab.errors import (
    InvalidRequest,
    UnknownConversation,
    UnknownProject,
    UnknownTrack,
)
from turnlab.server import models
from turnlab.server.audit import audit
from turnlab.server.deleting import (
    AT_ONCE,
    LONGEST_TRACK,
    batches,
    delete_tracks,
    ended,
    raw_delete,
    settle,
    with_reruns,
)
from turnlab.server.leftovers import drop_orphans, missing_files
from turnlab.server.retention import DEFAULT, apply_rules
from turnlab.server.roles import LOCAL, Principal
from turnlab.server.runs import drop_empty_runs
from turnlab.server.tally import Tally
from turnlab.tracks import parse_track_id


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which Tracks to purge. All that is given must hold."""

    project: str = ""
    older_than: timedelta | None = None
    conversation: str = ""
    track: str = ""
    everything: bool = False

    def __post_init__(self) -> None:
        narrowed = self.project or self.conversation or self.track or self.older_than is not None
        if self.everything == bool(narrowed):
            raise InvalidRequest(
                "Say what to purge: a project, a Conversation, a Track, what is older than some "
                "days, or else everything."
            )

    def __str__(self) -> str:
        """What it selects, as the audit tells it."""
        if self.everything:
            return "everything"
        named = {"project": self.project, "conversation": self.conversation, "track": self.track}
        told = [f"{key} {value}" for key, value in named.items() if value]
        if self.older_than is not None:
            told.append(f"older than {self.older_than / timedelta(days=1):g} days")
        return ", ".join(told)


def purge(
    selection: Selection,
    *,
    dry_run: bool = False,
    most: int | None = None,
    by: Principal = LOCAL,
    address: str = "",
) -> Tally:
    """Delete the Tracks of `selection` with their Tasks, contents and files.

    With the Tracks of a Conversation go those that run them again. It goes with its last Track.
    Those under way are left and counted. `most` Tracks at once; `more` then says whether there are
    others. Raises UnknownProject, UnknownConversation, UnknownTrack, InvalidTrackId.
    """
    now, tally = datetime.now(UTC), Tally()
    chosen = _selected(selection, now)
    tally.under_way = chosen.exclude(ended(now)).count()
    over = chosen.filter(ended(now))
    if dry_run:
        for ids in batches(over, most):
            delete_tracks(ids, tally, dry_run=True)
        return tally
    try:
        _delete(selection, over, now, tally, most)
    finally:  # also of what is cut off
        audit(by, "purge", str(selection), tally.as_json(), address)
    tally.more = most is not None and over.exists()
    settle()
    return tally


def _delete(
    selection: Selection,
    over: QuerySet[models.Track],
    now: datetime,
    tally: Tally,
    most: int | None,
) -> None:
    own = Q(conversation_id=selection.conversation)
    runs: set[str] = set()
    # Reruns are found by what they run again, so they go before it.
    for rows in (over.exclude(own), over.filter(own)) if selection.conversation else (over,):
        for ids in batches(rows, None if most is None else most - tally.tracks):
            going = over.filter(track_id__in=ids)
            talks = set(going.values_list("conversation_id", flat=True))
            runs |= set(going.exclude(run_id="").values_list("run_id", flat=True))
            delete_tracks(ids, tally)
            _drop_conversations(talks - {None}, tally)
    drop_empty_runs(runs, tally)
    if selection.everything:
        drop_empty_runs(_old_runs(now), tally)
    if selection.conversation:
        _drop_conversations([selection.conversation], tally)
    elif not selection.track:
        _drop_empty(selection, now, tally)


def clean_up(*, dry_run: bool = False, by: Principal = LOCAL) -> Tally:
    """Apply the rules, delete files that nothing names, and tell of rows whose files are gone."""
    now = datetime.now(UTC)
    tally = Tally() if dry_run else apply_rules(now)
    if not dry_run:
        drop_empty_runs(_old_runs(now), tally)
    drop_orphans(now, tally, dry_run=dry_run)
    for name in missing_files():
        tally.is_missing(name)
    if not (dry_run or tally.empty):
        settle()
        audit(by, "purge", "leftovers", tally.as_json())
    return tally


def _selected(selection: Selection, now: datetime) -> QuerySet[models.Track]:
    tracks = models.Track.objects.all()
    if selection.project:
        _require_project(selection.project)
        tracks = tracks.filter(project=selection.project)
    if selection.older_than is not None:
        tracks = tracks.filter(created_at__lt=now - selection.older_than)
    if selection.conversation:
        _require_conversation(selection.conversation)
        tracks = tracks.filter(_of_conversation(selection.conversation))
    if selection.track:
        parse_track_id(selection.track)
        tracks = tracks.filter(track_id=selection.track)
        if not tracks.exists():
            raise UnknownTrack()
    return tracks


def _of_conversation(conversation_id: str) -> Q:
    """The Tracks of a Conversation, and those that run one of them again."""
    # Of its own no list of ids: a long Conversation has more than SQLite takes in one statement.
    own = models.Track.objects.filter(conversation_id=conversation_id).values("track_id")
    reruns = with_reruns(models.Track.objects.filter(rerun_of__in=own))
    return Q(conversation_id=conversation_id) | Q(track_id__in=[*chain.from_iterable(reruns)])


def _require_project(name: str) -> None:
    known = name == DEFAULT.name or models.Project.objects.filter(name=name).exists()
    if not known and not models.Track.objects.filter(project=name).exists():
        raise UnknownProject()


def _require_conversation(conversation_id: str) -> None:
    if not models.Conversation.objects.filter(id=check_conversation_id(conversation_id)).exists():
        raise UnknownConversation()


def _drop_conversations(ids: Collection[str], tally: Tally) -> None:
    """Delete those of these Conversations that have no Track any more."""
    left = models.Track.objects.filter(conversation_id=OuterRef("id"))
    rows = models.Conversation.objects.filter(~Exists(left), id__in=ids)
    tally.conversations += raw_delete(rows)


def _old_runs(now: datetime) -> list[str]:
    """The Runs that may have lost their Tracks; of young ones the first may yet come."""
    rows = models.Run.objects.filter(created_at__lt=now - LONGEST_TRACK)
    return list(rows.values_list("id", flat=True))


def _drop_empty(selection: Selection, now: datetime, tally: Tally) -> None:
    """Delete selected Conversations that never came to a Track; young ones may yet."""
    rows = models.Conversation.objects.filter(tracks=None, created_at__lt=now - LONGEST_TRACK)
    if selection.project:
        rows = rows.filter(project=selection.project)
    if selection.older_than is not None:
        rows = rows.filter(created_at__lt=now - selection.older_than)
    while ids := list(rows.values_list("id", flat=True)[:AT_ONCE]):
        _drop_conversations(ids, tally)
