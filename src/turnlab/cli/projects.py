"""`turnlab projects`: what is kept of the Tracks of each project."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

projects = typer.Typer(no_args_is_help=True, help="What is kept of the Tracks of each project.")


class Keep(StrEnum):
    """What is kept."""

    ALL = "all"
    TEXT = "text"
    DAYS = "days"


@projects.command("list")
def list_projects(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """List the projects."""
    for rule in _retention().list_projects():
        typer.echo(json.dumps(rule.as_json()) if as_json else _told(rule))


@projects.command("set")
def set_project(
    name: str,
    keep: Annotated[
        Keep,
        typer.Option(
            help="all; text: sounds and pictures go when a Track has ended; days: after so many "
            "days.",
        ),
    ],
    media_days: Annotated[int | None, typer.Option(help="With --keep days.")] = None,
) -> None:
    """Make a project, or change what is kept of it; a running server applies it within the hour."""
    retention = _retention()
    rule = retention.set_project(name, retention.Keep(str(keep)), media_days)
    typer.echo(_told(rule))


def _told(rule: Any) -> str:
    days = f" for {rule.media_days} days" if rule.media_days is not None else ""
    kept = {
        Keep.ALL: "everything",
        Keep.TEXT: "texts and figures",
        Keep.DAYS: f"texts and figures; sounds and pictures{days}",
    }
    return f"{rule.name}  keeps {kept[Keep(str(rule.keep))]}"


def _retention() -> Any:
    from turnlab.server.setup import open_database

    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import retention

    return retention
