"""The command line: one file a group of commands."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
import time
from typing import Any, NoReturn, cast

import typer

from turnlab import __version__
from turnlab.cli import exit_codes
from turnlab.cli.commands import Commands
from turnlab.cli.failures import show_error
from turnlab.errors import OutputFailed, TurnlabError
from turnlab.threads import THREADS, share_cores

GRACE_S = 1.0
"""How long the threads of Modules have to end when everything else has."""

app = typer.Typer(
    name="turnlab",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def turnlab() -> None:
    """Run spoken turns through a pipeline, see where every millisecond went, get a verdict."""


@app.command()
def version() -> None:
    """Print the version of Turnlab."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line.

    Exit codes: 0 accepted, 1 failed, 2 over budget, 3 too few turns to tell, 130 cancelled.
    """
    share_cores()
    collect_seldom()
    try:
        code = app(standalone_mode=False, prog_name="turnlab")
        sys.stdout.flush()
    except typer.TyperException as error:
        # The code of a wrong command line would be 2, which here means over budget.
        cast(Any, error).show()
        code = exit_codes.FAILED
    except TurnlabError as error:
        show_error(error)
        code = exit_codes.FAILED
    except OSError as error:
        if not _is_of_stdout(error):
            raise
        _close_stdout(error)
        code = exit_codes.FAILED
    _leave(code if isinstance(code, int) else 0)


def collect_seldom() -> None:
    """Have the collector look seldom: most of what a command makes lives as long as it does, and to
    look at it again and again costs a report over 100,000 Tasks half a second."""
    gc.set_threshold(50_000, 20, 50)


def _is_of_stdout(error: OSError) -> bool:
    """Whether standard output takes nothing more: an error of writing names no file."""
    if error.errno not in (errno.ENOSPC, errno.EIO, errno.EPIPE):
        return False
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        return True
    return False


def _close_stdout(error: OSError) -> None:
    """Say that it cannot be written, unless whoever read it has gone; nothing more goes there."""
    if error.errno != errno.EPIPE:
        show_error(OutputFailed(f"Standard output cannot be written: {error.strerror}."))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _leave(code: int) -> NoReturn:
    """Exit, also while a Module's thread does what nobody can end; all records are durable."""
    workers = [each for each in threading.enumerate() if each.name.startswith(THREADS)]
    deadline_s = time.monotonic() + GRACE_S
    for worker in workers:
        worker.join(max(0.0, deadline_s - time.monotonic()))
    if any(worker.is_alive() for worker in workers):
        # Python would wait for it for ever.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
