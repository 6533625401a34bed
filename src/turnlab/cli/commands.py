"""Which commands there are. Each is imported when it is used: `turnlab listen` needs no models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class _Command:
    place: str
    """Module and name of a function, or of a group of commands, within turnlab.cli."""
    help: str


COMMANDS = {
    "run": _Command("run:run", "Run recorded turns through a Cluster."),
    "demo": _Command("demo:demo", "Real recordings through the local models: table, report."),
    "serve": _Command("serve:serve", "Serve Clusters over HTTP: API, admin, workers."),
    "worker": _Command("worker:worker", "Run Modules for a server, on this machine."),
    "listen": _Command("listen:listen", "Send what the microphone hears to a server, by turns."),
    "respond": _Command("respond:respond", "Play the replies of a server."),
    "extract": _Command("extract:extract", "Cut a film into turns, and run them."),
    "bench": _Command("bench:bench", "Replay a dataset through Clusters: figures, verdicts."),
    "compare": _Command("compare:compare", "Two Clusters, or two Runs, turn by turn."),
    "report": _Command("report:report", "A Run as a page, or as Markdown."),
    "predict": _Command("predict:predict", "How fast a Cluster would be that has not run."),
    "judge": _Command("judge:judge", "Have a language model judge the replies of a Run."),
    "dataset": _Command("dataset:dataset", "Turns to replay: make, check, export, import."),
    "runs": _Command("runs:runs", "The Runs that were recorded."),
    "clusters": _Command("lists:clusters", "The Clusters that can be run."),
    "modules": _Command("lists:modules", "The Modules that Clusters are made of."),
    "tracks": _Command("tracks:tracks", "The records of past turns."),
    "conversations": _Command("conversations:conversations", "The records of Conversations."),
    "rag": _Command("rag:rag", "The indexes that the Module rag searches."),
    "tokens": _Command("tokens:tokens", "Who may use a server, and for what."),
    "projects": _Command("projects:projects", "What is kept of the Tracks of each project."),
    "purge": _Command("purge:purge", "Delete records and their media."),
}


class Commands(TyperGroup):
    """The group of all commands; those in COMMANDS are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, as help shows them."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, None if there is none."""
        known = COMMANDS.get(cmd_name)
        if known is None:
            return super().get_command(ctx, cmd_name)
        command = _loaded(known.place)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without importing any."""
        rows = [(name, command.help) for name, command in COMMANDS.items()]
        for name in super().list_commands(ctx):
            command: Any = super().get_command(ctx, name)
            rows.append((name, command.get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    found = getattr(import_module(f"turnlab.cli.{module}"), name)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command()(found)
    return typer.main.get_command(alone)
