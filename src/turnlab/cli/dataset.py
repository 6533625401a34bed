"""`turnlab dataset`: makes, checks and converts what `turnlab bench` replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.bench.datasets.dataset import Dataset, DatasetProblems
from turnlab.bench.datasets.keys import MOST_TURNS
from turnlab.bench.datasets.starter_texts import TURNS
from turnlab.cli.dataset_exchange import convert_dataset, export_dataset, import_dataset
from turnlab.cli.dataset_telling import (
    AsJson,
    Folder,
    Out,
    all_told,
    list_problems,
    summary_of,
    tell,
)
from turnlab.reports.words import clean

dataset = typer.Typer(no_args_is_help=True, help="Turns to replay: make, check, export, import.")
dataset.command("export")(export_dataset)
dataset.command("import")(import_dataset)
dataset.command("convert")(convert_dataset)


@dataset.command("make")
def make(
    folder: Annotated[Path, typer.Argument(help="Recordings, with texts and pictures beside.")],
    out: Out,
    conversations: Annotated[
        bool, typer.Option("--conversations", help="Each sub-folder is one Conversation.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of a folder of recordings.

    NAME.txt is the transcript of NAME.wav, NAME.reply.txt a reply that would be right, NAME.png
    (or .jpg, .webp, .gif) a picture.
    """
    from turnlab.bench.datasets.make import make_dataset

    with all_told():
        make_dataset(folder, out, conversations=conversations)
    tell(Dataset.load(out), as_json)


@dataset.command("check")
def check(
    folder: Folder,
    speech: Annotated[
        bool, typer.Option("--speech", help="Decode each recording; one without a voice is wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a dataset and list all that is wrong with it, with exit code 1."""
    try:
        found = Dataset.load(folder, speech=speech)
    except DatasetProblems as error:
        if as_json:
            typer.echo(json.dumps({"problems": list(error.problems)}))
        else:
            list_problems(error)
        raise typer.Exit(1) from None
    tell(found, as_json)


@dataset.command("show")
def show(
    folder: Folder,
    limit: Annotated[int, typer.Option(min=0, max=MOST_TURNS, help="At most so many turns.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset holds, and its first turns."""
    found = Dataset.load(folder)
    turns = found.turns[:limit]
    if as_json:
        rows = [{"id": t.id, "duration_s": t.duration_s, "transcript": t.transcript} for t in turns]
        typer.echo(json.dumps({**summary_of(found), "turns_shown": rows}))
        return
    tell(found, False)
    table = Table(box=None, pad_edge=False)
    for heading in ("Turn", "Length", "Transcript"):
        table.add_column(heading, overflow="fold")
    for turn in turns:
        cells = (turn.id, f"{turn.duration_s:.2f} s", turn.transcript or "-")
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console = Console(highlight=False)
    console.print(table)
    if left := len(found.turns) - len(turns):
        console.print(f"and {left:,} more; --limit shows them")


@dataset.command("starter")
def starter(
    out: Out,
    turns: Annotated[int, typer.Option(min=1, max=10_000, help="How many turns.")] = TURNS,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of all that varies.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make the starter dataset: questions that the local voice speaks, and recordings of people."""
    from turnlab.bench.datasets.starter import make_starter

    make_starter(out, turns=turns, seed=seed)
    tell(Dataset.load(out), as_json)
