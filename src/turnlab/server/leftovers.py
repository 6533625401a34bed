"""Files of the media storage without a row, and rows whose files are gone.

A process that is killed between a file and its row leaves such files behind; so does a deletion
that is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from django.core.files.storage import default_storage

from turnlab.server import models
from turnlab.server.deleting import MEDIA, delete_files, uploads_of
from turnlab.server.handover import FOLDER as HANDED_OVER
from turnlab.server.incoming import FOLDER as UPLOADS
from turnlab.server.tally import Tally
from turnlab.tracks import TrackStatus

GRACE = timedelta(days=1)
"""A younger file may belong to a row that is yet to be written, or to a Task under way."""

KEPT: dict[str, tuple[type[Any], ...]] = {
    "audio": (models.DataAudio, models.ResSpeech),
    "images": (models.DataImage,),
}
"""The folders of what belongs to Tracks, and the tables that name what lies in them."""

_AT_ONCE = 500
_CONTENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def drop_orphans(
    now: datetime, tally: Tally, *, slot: int | None = None, dry_run: bool = False
) -> None:
    """Delete files that are older than a day and that nothing names.

    `slot`, 0 to 23, takes one of 24 parts of the folders, so that each is looked at once a day.
    """
    for area, tables in KEPT.items():
        for folder in _folders(area):
            if slot is None or _slot(folder) == slot:
                _drop_unnamed(_old(folder, now), tables, tally, dry_run)
    named = _uploads_under_way()
    uploads = (name for name in _old(UPLOADS, now) if name not in named)
    delete_files(uploads, tally, dry_run=dry_run)
    delete_files(_old(HANDED_OVER, now), tally, dry_run=dry_run)


def missing_files() -> Iterator[str]:
    """The files that rows name and that are not there."""
    for table in MEDIA:
        last = ""
        while rows := _page(table, last):
            last = rows[-1][0]
            yield from (name for _, name in rows if not default_storage.exists(name))


def _page(table: type[Any], after: str) -> list[tuple[str, str]]:
    rows = table._default_manager.filter(pk__gt=after).exclude(file="").order_by("pk")
    return list(rows.values_list("pk", "file")[:_AT_ONCE])


def _drop_unnamed(
    names: Iterator[str], tables: tuple[type[Any], ...], tally: Tally, dry_run: bool
) -> None:
    while batch := list(islice(names, _AT_ONCE)):
        named = _named(batch, tables)
        delete_files((name for name in batch if name not in named), tally, dry_run=dry_run)


def _named(names: list[str], tables: tuple[type[Any], ...]) -> set[str]:
    """Those of `names` that a row names."""
    # A file is called as its row, whose id has an index. Only names that stand for an id of
    # another form (see media) are looked up by themselves.
    ids = [stem for name in names if _CONTENT_ID.fullmatch(stem := PurePosixPath(name).stem)]
    others = [name for name in names if not _CONTENT_ID.fullmatch(PurePosixPath(name).stem)]
    found: set[str] = set()
    for table in tables:
        rows = table._default_manager
        found.update(rows.filter(pk__in=ids).values_list("file", flat=True))
        if others:
            found.update(rows.filter(file__in=others).values_list("file", flat=True))
    return found


def _uploads_under_way() -> set[str]:
    """The uploads of Tracks that have not ended."""
    under_way = [status.value for status in TrackStatus if not status.ended]
    requests = models.Track.objects.filter(status__in=under_way).values_list("request", flat=True)
    return {name for request in requests.iterator() for name in uploads_of(request)}


def _folders(area: str) -> list[str]:
    return [f"{area}/{name}" for name in sorted(_listed(area)[0])]


def _old(folder: str, now: datetime) -> Iterator[str]:
    """The files in the folder that are older than a day."""
    for file in sorted(_listed(folder)[1]):
        name = f"{folder}/{file}"
        try:
            if default_storage.get_modified_time(name) < now - GRACE:
                yield name
        except FileNotFoundError:
            continue  # deleted meanwhile


def _listed(folder: str) -> tuple[Iterable[str], Iterable[str]]:
    try:
        return default_storage.listdir(folder)
    except FileNotFoundError:
        return (), ()


def _slot(folder: str) -> int:
    """Which hour of the day the folder is looked at: by the two digits that it is called."""
    try:
        return int(PurePosixPath(folder).name, 16) % 24
    except ValueError:
        return 0
