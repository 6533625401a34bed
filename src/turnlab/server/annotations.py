"""What people and language models think of recorded replies: what to judge, and the scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from turnlab.bench.judging.scores import JudgeScores, RecordedReply
from turnlab.conversations import Exchange
from turnlab.server import models
from turnlab.server.retention import refused
from turnlab.server.runs import of_run
from turnlab.tracks import TrackStatus

AT_ONCE = 500
"""Ids in one statement; SQLite takes no more than 32,766 values in one."""

HISTORY = 20
"""Most exchanges of a Conversation that a judge is shown."""

Scores = dict[str, dict[str, dict[str, float]]]
"""By criterion, Track and person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One score; the fields are those of models.Annotation."""

    track_id: str
    author: str
    is_model: bool
    criterion: str
    score: float
    comment: str = ""
    rubric_hash: str = ""


def replies(run_id: str, clusters: Collection[str] | None = None) -> list[RecordedReply]:
    """The replies of a Run's completed turns in the order of time, warm-ups left out."""
    tracks = _judgeable(run_id)
    if clusters is not None:
        tracks = tracks.filter(cluster__in=clusters)
    rows = tracks.order_by("created_at", "track_id").values(*_OF_TRACK, "conversation_id")
    heard, written, spoken = (_texts(table, run_id) for table in _TEXTS)
    context = _contexts(run_id)
    talks: defaultdict[str, list[Exchange]] = defaultdict(list)
    found = []
    for row in rows.iterator():
        track_id = row["track_id"]
        talk = talks[row["conversation_id"] or track_id]
        said = Exchange(
            text=heard.get(track_id, ""), reply=written.get(track_id) or spoken.get(track_id, "")
        )
        found.append(
            RecordedReply(
                **{name: row[name] for name in _OF_TRACK},
                question=said.text,
                reply=said.reply,
                context=context.get(track_id, ""),
                history=tuple(talk[-HISTORY:]),
            )
        )
        talk.append(said)
    return found


def refusals(track_ids: Iterable[str]) -> set[str]:
    """Those of these Tracks whose user wants nothing to leave."""
    found: set[str] = set()
    ids = list(track_ids)
    for begin in range(0, len(ids), AT_ONCE):
        found |= refused(ids[begin : begin + AT_ONCE])
    return found


def judged_by(run_id: str, author: str, rubric_hash: str, criteria: Collection[str]) -> set[str]:
    """The Tracks of a Run that this judge has scored by all of the criteria."""
    rows = _scores(run_id, True).filter(author=author, rubric_hash=rubric_hash)
    by_track: defaultdict[str, set[str]] = defaultdict(set)
    for track_id, criterion in rows.values_list("track_id", "criterion"):
        by_track[track_id].add(criterion)
    return {track_id for track_id, found in by_track.items() if found >= set(criteria)}


def keep(annotations: Sequence[Annotation]) -> None:
    """Write scores down; a later one of the same author, criterion and rubric replaces another."""
    now = datetime.now(UTC)
    # PostgreSQL lets no statement write a row twice.
    newest = {
        (each.track_id, each.author, each.criterion, each.rubric_hash): each for each in annotations
    }
    rows = [models.Annotation(**asdict(each), created_at=now) for each in newest.values()]
    models.Annotation.objects.bulk_create(
        rows,
        batch_size=AT_ONCE,
        update_conflicts=True,
        unique_fields=["track", "author", "criterion", "rubric_hash"],
        update_fields=["score", "comment", "is_model", "created_at"],
    )


def judge_scores(
    run_ids: Sequence[str], author: str | None = None, rubric_hash: str | None = None
) -> JudgeScores:
    """What one judge gave the turns of these Runs: the one named, else who scored last in them."""
    rows = models.Annotation.objects.filter(
        track__run_id__in=run_ids, track__repeat__gte=1, is_model=True
    )
    if author is None or rubric_hash is None:
        newest = rows.order_by("-created_at", "-id").values("author", "rubric_hash").first()
        if newest is None:
            return JudgeScores()
        author, rubric_hash = newest["author"], newest["rubric_hash"]
    own = rows.filter(author=author, rubric_hash=rubric_hash)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for criterion, track_id, score in _values(own, "criterion", "track_id", "score"):
        found[criterion][track_id] = score
    return JudgeScores(judge=author, rubric_hash=rubric_hash, by_criterion=dict(found))


def human_scores(run_id: str) -> Scores:
    """What people gave the turns of a Run."""
    found: Scores = {}
    rows = _scores(run_id, False)
    for criterion, track_id, author, score in _values(
        rows, "criterion", "track_id", "author", "score"
    ):
        found.setdefault(criterion, {}).setdefault(track_id, {})[author] = score
    return found


_OF_TRACK = ("track_id", "cluster", "mode", "turn_id", "repeat")
_TEXTS = (models.DataText, models.ResText, models.ResSpeech)


def _judgeable(run_id: str) -> QuerySet[models.Track]:
    return models.Track.objects.filter(of_run(run_id), status=TrackStatus.COMPLETED, repeat__gte=1)


def _scores(run_id: str, is_model: bool) -> QuerySet[models.Annotation]:
    return models.Annotation.objects.filter(
        of_run(run_id, "track__"), track__repeat__gte=1, is_model=is_model
    )


def _texts(table: type[Any], run_id: str) -> dict[str, str]:
    """The newest text that the table has of each Track of a Run."""
    rows = table._default_manager.filter(of_run(run_id, "track__")).order_by("created_at", "id")
    return dict(rows.values_list("track_id", "text").iterator())


def _contexts(run_id: str) -> dict[str, str]:
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for track_id, profile in _profiles(models.ContextRAG, run_id):
        parts[track_id] += [str(each.get("text", "")) for each in profile.get("passages", ())]
    for track_id, profile in _profiles(models.ContextEmotion, run_id):
        if words := profile.get("words"):
            parts[track_id].append(f"The user seems to feel: {words}")
    return {track_id: "\n\n".join(each) for track_id, each in parts.items()}


def _profiles(table: type[Any], run_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = table._default_manager.filter(of_run(run_id, "track__")).order_by("created_at", "id")
    found: Iterator[tuple[str, Mapping[str, Any]]] = rows.values_list(
        "track_id", "profile"
    ).iterator()
    return found


def _values(rows: QuerySet[models.Annotation], *names: str) -> Iterator[tuple[Any, ...]]:
    found: Iterator[tuple[Any, ...]] = rows.values_list(*names).iterator()
    return found
