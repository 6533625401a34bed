"""Datasets from recorded Tracks, from other formats and to them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.datasets.where import parse_where
from turnlab.cli.dataset_telling import TOLD, AsJson, Folder, Out, all_told, summary_of, tell
from turnlab.errors import InvalidRequest
from turnlab.reports.words import clean


class Format(StrEnum):
    """What a dataset is written as."""

    TURNLAB = "turnlab"
    HUGGINGFACE = "huggingface"


class Target(StrEnum):
    """What a dataset is converted to."""

    HUGGINGFACE = "huggingface"


def export_dataset(
    out: Out,
    where: Annotated[
        str, typer.Option(help="Such as 'cluster=NAME status=completed since=7d run=R-...'.")
    ] = "",
    trust_transcripts: Annotated[
        bool,
        typer.Option("--trust-transcripts", help="Take what was heard as reference transcripts."),
    ] = False,
    written_as: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.TURNLAB,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of recorded Tracks whose users did not refuse."""
    from turnlab.server.setup import open_database

    chosen = parse_where(where)
    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server.dataset_export import LEFT_OUT, export_tracks

    if written_as is Format.TURNLAB:
        exported = export_tracks(chosen, out, trust_transcripts=trust_transcripts)
        found = Dataset.load(out)
    else:
        with _beside(out) as folder:
            exported = export_tracks(chosen, folder, trust_transcripts=trust_transcripts)
            found = _to_huggingface(folder, out)
    left_out = [dict(each) for each in exported.left_out]
    if as_json:
        typer.echo(json.dumps({**summary_of(found), "folder": str(out), "left_out": left_out}))
        return
    tell(found, False)
    if left_out:
        where_told = f", see {LEFT_OUT}" if written_as is Format.TURNLAB else ""
        typer.echo(f"left out {len(left_out):,} of the Tracks{where_told}:")
        for why, count in Counter(each["why"] for each in left_out).most_common(TOLD):
            typer.echo(f"  {count:,}: {clean(why)}")


def import_dataset(
    source: Annotated[Path, typer.Argument(help="Folder of the Hugging Face `datasets` library.")],
    out: Out,
    split: Annotated[str | None, typer.Option(help="Which split, where there are several.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="KEY=COLUMN, such as transcript=sentence; KEY= for none. Repeatable."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of a folder of the Hugging Face `datasets` library.

    Taken are what save_to_disk writes, Parquet files, and audiofolders with a metadata.csv or
    metadata.jsonl. A column that no key takes is kept in `extra`.
    """
    from turnlab.bench.datasets import importing as dataset_import

    with all_told():
        dataset_import.import_dataset(
            source, out, split=split, columns=_columns(column or ()), drop=drop or ()
        )
    tell(Dataset.load(out), as_json)


def convert_dataset(
    folder: Folder,
    out: Out,
    to: Annotated[Target, typer.Option(help="What to write.")] = Target.HUGGINGFACE,
    as_json: AsJson = False,
) -> None:
    """Write a dataset as the Hugging Face `datasets` library saves them, media included."""
    writers = {Target.HUGGINGFACE: _to_huggingface}
    tell(writers[to](folder, out), as_json)


def _to_huggingface(folder: Path, out: Path) -> Dataset:
    from turnlab.bench.datasets import huggingface as dataset_huggingface

    found = Dataset.load(folder)
    dataset_huggingface.export_dataset(found, out)
    return found


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder for what is only on the way, on the disk where the result goes."""
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".dataset-") as folder:
        yield Path(folder, "dataset")


def _columns(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        key, equals, name = text.partition("=")
        if not equals or key in found:
            raise InvalidRequest(
                f"--column {text[:80]!r} is not of the form KEY=COLUMN, once a key."
            )
        found[key] = name
    return found
