"""`turnlab tokens`: what clients, workers and people show to the server."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from turnlab.errors import InvalidRequest

tokens = typer.Typer(no_args_is_help=True, help="What clients and workers show to the server.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@tokens.command("create")
def create_token(
    role: Annotated[
        str,
        typer.Option(help="administrator, researcher, annotator, worker or client."),
    ],
    name: Annotated[str, typer.Option(help="What it is for, to know it by.")] = "",
    owner: Annotated[
        str,
        typer.Option(help="Whose Tracks it starts and reads; left out: its name, else its id."),
    ] = "",
    project: Annotated[str, typer.Option(help="The project of what it starts.")] = "default",
    expires: Annotated[
        str, typer.Option(help="After how long it ends, such as 12h or 30d; left out: never.")
    ] = "",
    scopes: Annotated[
        str, typer.Option(help="Fewer scopes than the role has, separated by commas.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it: this once, since only its hash is kept."""
    facts, text = _open().create_token(
        role,
        name=name,
        owner=owner,
        project=project,
        expires_in=duration(expires) if expires else None,
        scopes=[each.strip() for each in scopes.split(",") if each.strip()],
    )
    if as_json:
        typer.echo(json.dumps({**facts.as_json(), "token": text}))
        return
    ends = f"until {_moment(facts.expires_at)}" if facts.expires_at else "without an end"
    typer.echo(
        f"{facts.role} {facts.name}, owner {facts.owner}, {ends}; not shown again:", err=True
    )
    typer.echo(text)


@tokens.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List all tokens, the newest first: what they may, not what they are."""
    found = _open().list_tokens()
    if as_json:
        for facts in found:
            typer.echo(json.dumps(facts.as_json()))
        return
    heads = ("ID", "STATE", "ROLE", "NAME", "OWNER", "PROJECT", "EXPIRES", "LAST USED")
    rows = [heads, *map(_row, found)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows if found else ():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@tokens.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as in the list.")],
    as_json: AsJson = False,
) -> None:
    """Make a token count no more, in every API process within two seconds."""
    facts = _open().revoke_token(token_id)
    told = f"revoked {facts.id} ({facts.role} {facts.name})"
    typer.echo(json.dumps(facts.as_json()) if as_json else told)


def duration(text: str) -> timedelta:
    """`90m`, `12h`, `30d` or `2w` as a length of time. Raises InvalidRequest."""
    match = re.fullmatch(r"([0-9]{1,6})([mhdw])", text.strip())
    if match is None:
        raise InvalidRequest(f"--expires {text[:32]!r} is none of 90m, 12h, 30d or 2w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _open() -> Any:
    from turnlab.server.setup import open_database

    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import tokens

    return tokens


def _row(facts: Any) -> tuple[str, ...]:
    return (
        facts.id,
        facts.state,
        facts.role + (f" ({','.join(facts.scopes)})" if facts.scopes else ""),
        facts.name,
        facts.owner,
        facts.project,
        _moment(facts.expires_at) if facts.expires_at else "never",
        _moment(facts.last_used_at) if facts.last_used_at else "never",
    )


def _moment(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
