"""What the commands of `turnlab dataset` print."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from turnlab.bench.datasets.dataset import Dataset, DatasetProblems
from turnlab.reports.words import clean, so_many

Folder = Annotated[Path, typer.Argument(help="Folder of the dataset.", metavar="DIR")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write; it must not be there yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

TOLD = 10
"""Tags, and reasons, that are told of."""


@contextmanager
def all_told() -> Iterator[None]:
    """List all that is wrong where the message of the error would show the first of it."""
    try:
        yield
    except DatasetProblems as error:
        if len(error.problems) <= DatasetProblems.SHOWN:
            raise
        list_problems(error, to_stderr=True)
        raise typer.Exit(1) from None


def list_problems(error: DatasetProblems, *, to_stderr: bool = False) -> None:
    """A line for each error, and on stderr how many there are."""
    for problem in error.problems:
        typer.echo(clean(problem), err=to_stderr)
    count = len(error.problems)
    typer.echo(f"error {error.code}: {so_many(count, 'error')}", err=True)


def summary_of(found: Dataset) -> dict[str, Any]:
    """What a dataset holds, in numbers."""
    turns = found.turns
    return {
        "name": found.name,
        "folder": str(found.folder),
        "hash": found.content_hash,
        "turns": len(turns),
        "conversations": len({turn.conversation for turn in turns} - {None}),
        "duration_s": found.duration_s,
        "transcripts": sum(turn.transcript is not None for turn in turns),
        "replies": sum(turn.reply is not None for turn in turns),
        "images": sum(len(turn.images) for turn in turns),
        "emotions": sum(turn.emotion is not None for turn in turns),
        "passages": sum(turn.passages is not None for turn in turns),
        "scored": sum(bool(turn.scores) for turn in turns),
        "tags": dict(Counter(tag for turn in turns for tag in turn.tags).most_common()),
    }


def tell(found: Dataset, as_json: bool) -> None:
    """Print the summary of a dataset."""
    told = summary_of(found)
    if as_json:
        typer.echo(json.dumps(told))
        return
    minutes, seconds = divmod(round(found.duration_s), 60)
    typer.echo(f"{found.name}: {so_many(len(found.turns), 'turn')}, {minutes} min {seconds} s")
    names = ("conversations", "transcripts", "replies", "images", "emotions", "passages", "scored")
    if counts := [f"{name} {told[name]:,}" for name in names if told[name]]:
        typer.echo("  " + ", ".join(counts))
    tags = list(told["tags"].items())
    if tags:
        typer.echo("  tags: " + ", ".join(f"{clean(tag)} {count:,}" for tag, count in tags[:TOLD]))
    typer.echo(f"  hash {found.content_hash[:12]}")
