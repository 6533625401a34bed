"""`turnlab conversations`: the sessions that turns belong to."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from turnlab.cli.session import open_queries
from turnlab.reports.words import clean

conversations = typer.Typer(no_args_is_help=True, help="The sessions that turns belong to.")


@conversations.command("list")
def list_conversations(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """List the newest Conversations; `turnlab run --continue ID` goes on with one."""
    for conversation, tracks in open_queries().list_conversations(limit):
        row = {"id": conversation.id, "created_at": conversation.created_at.isoformat()}
        when = conversation.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        text = f"{conversation.id}  {when}  {tracks} turn{'' if tracks == 1 else 's'}"
        typer.echo(json.dumps({**row, "tracks": tracks}) if as_json else text)


@conversations.command("show")
def show_conversation(
    conversation_id: str,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what was said and replied in a Conversation, in the turns that completed."""
    found: Any = open_queries().get_conversation(conversation_id)
    if as_json:
        said = [{"text": each.text, "reply": each.reply} for each in found.exchanges]
        typer.echo(json.dumps({"id": found.id, "exchanges": said}))
        return
    console = Console(highlight=False)
    for exchange in found.exchanges:
        for who, text in (("You    ", exchange.text), ("Reply  ", exchange.reply)):
            console.print(Text.assemble((who, "dim"), clean(text)))
