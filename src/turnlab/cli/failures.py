"""How a failure is told on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from turnlab.errors import TurnlabError


def show_error(error: TurnlabError) -> None:
    """Tell of a failure on stderr: its code, and what to do next."""
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble(("error ", "bold red"), error.code))
    console.print(error.message, markup=False, soft_wrap=True)
