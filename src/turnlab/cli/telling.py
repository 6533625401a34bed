"""What `turnlab listen` and `turnlab respond` share: how to reach a server, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from turnlab.client.saying import Said, Say
from turnlab.errors import MissingPackage
from turnlab.packaged import installed
from turnlab.reports.words import clean

ApiOption = Annotated[
    str,
    typer.Option("--api", envvar="TURNLAB_API", help="Address of the server. Also TURNLAB_API."),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="TURNLAB_TOKEN",
        show_envvar=False,
        help="What the server knows you by. Better in TURNLAB_TOKEN, where no other user sees it.",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Name or number of the sound device.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
]

LOCAL = "http://127.0.0.1:8000"


def require_client() -> None:
    """Raise MissingPackage where the extra [client] is not installed."""
    if not installed("httpx2"):
        raise MissingPackage("httpx2 is not installed: pip install 'turnlab[client]'.")


def warn_if_unencrypted(say: Say, url: str) -> None:
    """Tell whoever uses `http` beyond this machine what that means."""
    from turnlab.client.api import on_this_machine

    if url.startswith("http:") and not on_this_machine(url):
        say.warn("unencrypted", f"{url} is not https: others on the network can read all of it")


def teller(as_json: bool, *, to_stderr: bool = False) -> Say:
    """Shows what happens: objects on stdout, or lines, of which warnings go to stderr.

    With `to_stderr` all goes there, since sound goes to stdout.
    """
    if as_json:
        return Say(lambda said: typer.echo(json.dumps(_object(said)), err=to_stderr))
    plain = Console(highlight=False, stderr=to_stderr)
    warnings = Console(highlight=False, stderr=True)

    def show(said: Said) -> None:
        if said.warning:
            line = Text.assemble(("warning ", "yellow"), clean(said.words))
            warnings.print(line, soft_wrap=True)
            return
        plain.print(Text.assemble((f"{said.event:<7} ", "dim"), clean(said.words)), soft_wrap=True)
        for who in ("transcript", "reply"):
            if text := said.facts.get(who):
                plain.print(Text.assemble((f"  {who:<11}", "dim"), clean(text)), soft_wrap=True)
        if error := said.facts.get("error"):
            plain.print(_failure(error), soft_wrap=True)

    return Say(show)


def _failure(error: Mapping[str, Any]) -> Text:
    code, message = clean(str(error.get("code", ""))), clean(str(error.get("message", "")))
    return Text.assemble(("  error      ", "dim"), (code, "bold red"), f" {message}")


def _object(said: Said) -> dict[str, Any]:
    return {"event": said.event, **({"message": said.words} if said.warning else {}), **said.facts}
