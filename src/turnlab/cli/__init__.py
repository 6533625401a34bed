"""The command line: one file a group of commands."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer
from rich.console import Console

from turnlab import __version__
from turnlab.cli.conversations import conversations
from turnlab.cli.demo import demo
from turnlab.cli.lists import clusters, modules
from turnlab.cli.run import run
from turnlab.cli.tracks import tracks
from turnlab.errors import TurnlabError
from turnlab.machine import share_cores

EXIT_FAILED = 1

app = typer.Typer(
    name="turnlab",
    help="Run spoken turns through a pipeline, see where every millisecond went, get a verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command()(demo)
app.add_typer(clusters, name="clusters")
app.add_typer(modules, name="modules")
app.add_typer(tracks, name="tracks")
app.add_typer(conversations, name="conversations")


@app.command()
def version() -> None:
    """Print the version of Turnlab."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line. Exit codes: 0 accepted, 1 failed, 2 over budget, 130 cancelled."""
    share_cores()
    try:
        code = app(standalone_mode=False, prog_name="turnlab")
    except typer.TyperException as error:
        # The code of a wrong command line would be 2, which here means over budget.
        cast(Any, error).show()
        code = EXIT_FAILED
    except TurnlabError as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error[/] {error.code}", markup=True)
        Console(stderr=True, highlight=False).print(error.message, markup=False, soft_wrap=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)
