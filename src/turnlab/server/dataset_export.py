"""Datasets made of recorded Tracks, as far as those who spoke agree.

What the user said, heard and replied by a Cluster is no reference: it is kept aside, in `extra`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import QuerySet

from turnlab.bench.datasets.files import Wrong
from turnlab.bench.datasets.where import Where
from turnlab.bench.datasets.writer import DatasetWriter, Medium, new_dataset
from turnlab.errors import InvalidDataset
from turnlab.server import models
from turnlab.server.retention import refused
from turnlab.tracks import TrackStatus

LEFT_OUT = "left_out.jsonl"
"""The Tracks that were asked for and are not there, and why; no more is told of them."""

_BATCH = 200
_ENDED = [status for status in TrackStatus if status.ended]


@dataclass(frozen=True)
class Exported:
    """What came of an export."""

    turns: int
    left_out: tuple[Mapping[str, str], ...]


def export_tracks(where: Where, out: Path, *, trust_transcripts: bool = False) -> Exported:
    """Write the Tracks' recordings as a dataset to `out`, oldest first.

    Tracks of Runs replay recordings that are there already, so they are left out unless `where`
    names a Run or the Track itself; of a Run each turn is taken once, warm-ups never unless
    `repeat` asks for them. What was heard is the reference transcript only with
    `trust_transcripts`. Tracks whose user
    refused, and those without a recording, are named in `left_out.jsonl`.

    Raises InvalidDataset if nothing can be exported, or `out` is there already.
    """
    left_out: list[Mapping[str, str]] = []
    with new_dataset(out) as writer:
        for rows in _batches(_chosen(where)):
            left_out += _write(writer, rows, trust_transcripts)
        if not len(writer):
            raise _nothing(left_out)
        if left_out:
            writer.put_file(LEFT_OUT, "".join(json.dumps(each) + "\n" for each in left_out))
    return Exported(turns=len(writer), left_out=tuple(left_out))


def _nothing(left_out: list[Mapping[str, str]]) -> InvalidDataset:
    if not left_out:
        return InvalidDataset(
            "No Track that has ended is one of those; see `turnlab tracks list`. Turns of a Run "
            "are taken only where `run=R-...` names it."
        )
    (why, _), *_ = Counter(each["why"] for each in left_out).most_common(1)
    return InvalidDataset(
        f"None of the {len(left_out):,} Tracks can be exported; most often since {why}."
    )


def _selected(where: Where) -> QuerySet[models.Track]:
    asked = {
        "cluster": where.cluster,
        "status": where.status,
        "mode": where.mode,
        "run_id": where.run,
        "conversation_id": where.conversation,
        "project": where.project,
        "track_id": where.track,
    }
    rows = models.Track.objects.filter(**{name: value for name, value in asked.items() if value})
    if not (where.run or where.track):
        rows = rows.filter(run_id="")
    elif where.run and where.repeat is None:
        rows = rows.filter(repeat__gt=0)
    if where.repeat is not None:
        rows = rows.filter(repeat=where.repeat)
    if where.since is not None:
        rows = rows.filter(created_at__gte=where.since)
    if where.until is not None:
        rows = rows.filter(created_at__lt=where.until)
    return rows.filter(status__in=_ENDED).order_by("created_at", "track_id")


def _chosen(where: Where) -> Iterator[str]:
    """The ids of the Tracks, of a Run the first of each turn: its others hold the same recording.

    Which they are is settled at once, since a dataset is written meanwhile.
    """
    found: dict[str, str] = {}
    for track_id, turn_id in _selected(where).values_list("track_id", "turn_id").iterator():
        found.setdefault(turn_id if where.run and turn_id else track_id, track_id)
    return iter(list(found.values()))


def _batches(ids: Iterator[str]) -> Iterator[list[models.Track]]:
    """The Tracks in lots."""
    while batch := list(islice(ids, _BATCH)):
        found = models.Track.objects.defer("request", "resources", "spans").in_bulk(batch)
        yield [found[each] for each in batch if each in found]


def _write(
    writer: DatasetWriter, rows: list[models.Track], trust: bool
) -> Iterator[dict[str, str]]:
    """Write those that may be exported, and yield the others."""
    ids = [row.track_id for row in rows]
    gone = refused(ids)
    told = _Told(rows, [each for each in ids if each not in gone])
    for row in rows:
        if row.track_id in gone:
            yield {"track_id": row.track_id, "why": "consent was refused"}
            continue
        try:
            audio, images = told.media(row.track_id)
            writer.add(told.values(row, trust), audio, images)
        except Wrong as error:
            yield {"track_id": row.track_id, "why": str(error)}


class _Told:
    """What is kept of some Tracks, fetched together."""

    def __init__(self, rows: list[models.Track], ids: list[str]) -> None:
        self._sounds = _by_track(models.DataAudio.objects.filter(track_id__in=ids))
        self._pictures = _by_track(models.DataImage.objects.filter(track_id__in=ids))
        self._heard = _by_track(models.DataText.objects.filter(track_id__in=ids))
        self._replied = _by_track(models.ResText.objects.filter(track_id__in=ids))
        self._places = _places({row.conversation_id for row in rows if row.conversation_id})

    def values(self, row: models.Track, trust: bool) -> dict[str, Any]:
        """The line of the manifest, all but the files."""
        heard, replied = (
            kept[row.track_id][-1].text if row.track_id in kept else ""
            for kept in (self._heard, self._replied)
        )
        told = {
            "cluster": row.cluster,
            "mode": row.mode,
            "status": row.status,
            "recorded_at": row.created_at.isoformat(),
            "heard": heard,
            "replied": replied,
            "run_id": row.run_id,
            "turn_id": row.turn_id,
        }
        values: dict[str, Any] = {"id": row.track_id}
        if trust and heard:
            values["transcript"] = heard
        if row.conversation_id:
            values["conversation"] = row.conversation_id
            values["index"] = self._places[row.track_id]
        return values | {name: value for name, value in told.items() if value}

    def media(self, track_id: str) -> tuple[Medium, list[Medium]]:
        """The recording and the pictures. Raises Wrong."""
        sounds = self._sounds.get(track_id)
        if not sounds:
            raise Wrong("it has no recording")
        pictures = self._pictures.get(track_id, [])
        audio = Medium(f"audio/{track_id}.wav", _read(sounds[0].file.name))
        return audio, [
            Medium(
                f"images/{track_id}-{place}{PurePosixPath(each.file.name).suffix}",
                _read(each.file.name),
            )
            for place, each in enumerate(pictures, 1)
        ]


def _by_track(rows: Iterable[Any]) -> dict[str, list[Any]]:
    """Contents by Track, oldest first."""
    found: dict[str, list[Any]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.created_at, row.id)):
        found[row.track_id].append(row)
    return dict(found)


def _places(conversations: set[str]) -> dict[str, int]:
    """By Track how many of its Conversation came before it."""
    rows = models.Track.objects.filter(conversation_id__in=conversations)
    ordered = rows.order_by("conversation_id", "created_at", "track_id")
    places: dict[str, int] = {}
    last, place = None, 0
    for track_id, conversation in ordered.values_list("track_id", "conversation_id").iterator():
        place = place + 1 if conversation == last else 0
        places[track_id], last = place, conversation
    return places


def _read(name: str) -> bytes:
    if not name:
        raise Wrong("its sound or its pictures were deleted")
    try:
        with default_storage.open(name) as file:
            data: bytes = file.read()
            return data
    except FileNotFoundError:
        raise Wrong("its sound or its pictures were deleted") from None
