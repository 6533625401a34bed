"""`turnlab purge`: deletes records and their media."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated, Any

import typer

from turnlab.errors import InvalidRequest
from turnlab.reports.words import so_many

_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_TOLD_FILES = 10


def purge(
    project: Annotated[str, typer.Option(help="Tracks of this project.")] = "",
    older_than: Annotated[str, typer.Option(help="Older than 12h, 30d or 8w.")] = "",
    conversation: Annotated[str, typer.Option(help="Tracks of this Conversation.")] = "",
    track: Annotated[str, typer.Option(help="This Track.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="All Tracks.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Delete Tracks with all that belongs to them: Tasks, texts, sounds, pictures.

    All options that are given must hold. Without any, the rules of the projects are applied, and
    files that no record names are deleted. Tracks under way are left alone.
    """
    from turnlab.server.setup import open_database

    age = _age(older_than) if older_than else None
    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import purging

    if everything or project or conversation or track or age is not None:
        selection = purging.Selection(
            project=project,
            older_than=age,
            conversation=conversation,
            track=track,
            everything=everything,
        )
        tally = purging.purge(selection, dry_run=dry_run)
    else:
        tally = purging.clean_up(dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({**tally.as_json(), "dry_run": dry_run}))
        return
    for line in _told(tally, dry_run):
        typer.echo(line)


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"--older-than {text!r} is no age; write it like 12h, 30d or 8w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _told(tally: Any, dry_run: bool) -> list[str]:
    verb = "would delete" if dry_run else "deleted"
    rows = ", ".join(f"{count} {table}" for table, count in sorted(tally.rows.items()))
    lines = [f"{verb} from {so_many(tally.tracks, 'Track')}{': ' + rows if rows else ''}"]
    lines.append(f"{verb} {so_many(tally.files, 'file')}, {_size(tally.bytes)}")
    if tally.conversations:
        lines.append(f"{verb} {so_many(tally.conversations, 'Conversation')} without a Track")
    if tally.under_way:
        lines.append(f"left {so_many(tally.under_way, 'Track')} under way; purge again later")
    if tally.missing_files:
        lines.append(f"{so_many(tally.missing_files, 'file')} that records name were not there:")
        lines += [f"  {name}" for name in tally.missing[:_TOLD_FILES]]
    return lines + [f"could not be deleted: {each}" for each in tally.failed]


def _size(size: int) -> str:
    for unit, bound in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= bound:
            return f"{size / bound:.1f} {unit}"
    return f"{size} bytes"
