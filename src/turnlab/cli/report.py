"""`turnlab report`: Runs as a page, or as Markdown for a pull request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from turnlab.bench.verdicts.outputs import results
from turnlab.cli.reporting import (
    STDOUT,
    AudioPlace,
    check_place,
    find,
    make_report,
    put_text,
    write_page,
)
from turnlab.errors import InvalidRequest, NothingMeasured
from turnlab.reports.run_markdown import markdown as markdown_of


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Ids or names, or `last`; others are held against the first."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page; by default RUN.html.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write Markdown for a pull request; - prints it."),
    ] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write all figures as JSON; - prints them.")
    ] = None,
    audio: Annotated[
        AudioPlace,
        typer.Option(help="Put the sound into the page, into a folder beside it, or nowhere."),
    ] = AudioPlace.LINK,
    audio_limit: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="MIB", help="Most MiB of sound; by default 24 embedded, 512 linked."
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Such as 'voice_to_voice.p95 <= 1.0', instead of the Run's own limits."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="The dataset, if it is no longer where it was; for its references."),
    ] = None,
) -> int:
    """Write the report on one Run or several: one HTML file that needs nothing else to be read.

    It has verdicts, distributions, waterfalls, a comparison, and every turn with its texts; of
    more than 1,000 Tracks the most telling are shown one by one. Where only --markdown or --json
    is given, no page is written.
    """
    if STDOUT == markdown == json_:
        raise InvalidRequest("--markdown - and --json - cannot both be printed; name a file.")
    found = find(runs, dataset, tuple(budget or ()))
    if not any(map(len, found.measured)):
        raise NothingMeasured(f"No turn of {' or '.join(runs)} has begun; there is no report.")
    page = out if out or markdown or json_ else Path(f"{found.runs[0].id}.html")
    for place in (page, markdown, json_):
        if place is not None and place != STDOUT:
            check_place(place)
    made = make_report(found, page, audio, audio_limit)
    if page is not None:
        write_page(made, page)
        typer.echo(f"The report: {page}", err=True)
    if markdown is not None:
        put_text(markdown, markdown_of(made))
    if json_ is not None:
        told = results(found.runs, found.measured, found.judgements, found.comparisons)
        put_text(json_, json.dumps(told) + "\n")
    return 0
