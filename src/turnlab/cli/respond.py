"""`turnlab respond`: plays the replies of a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnlab.cli.telling import (
    LOCAL,
    ApiOption,
    DeviceOption,
    JsonOption,
    TokenOption,
    require_client,
    teller,
    warn_if_unencrypted,
)
from turnlab.client.saying import Say

if TYPE_CHECKING:
    from turnlab.client.player import Player

RATE = 16_000


def respond(
    api: ApiOption = LOCAL,
    token: TokenOption = "",
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Write WAV files instead; - for raw PCM (16 bits, mono) on stdout.",
        ),
    ] = None,
    rate: Annotated[int, typer.Option(help="Of the raw PCM, in Hz.")] = RATE,
    device: DeviceOption = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing waits.")] = False,
    json_: JsonOption = False,
) -> int:
    """Play the replies to what `turnlab listen` sent, each once, in order, while they are made.

    A reply that breaks off because the server restarts is played again from its beginning. Ctrl-C
    ends it; what was not played to its end then is played next time. Exit code 0: nothing waits
    any more; 1: a reply could not be played; 130: ended by Ctrl-C.
    """
    require_client()
    from turnlab.client.running import run_until_stopped

    say = teller(json_, to_stderr=to == "-")
    return run_until_stopped(
        lambda stop: _respond(api, token, _player(to, rate, device), say, once, stop)
    )


async def _respond(
    url: str, token: str, player: Player, say: Say, once: bool, stop: asyncio.Event
) -> int:
    from turnlab.client.api import Api
    from turnlab.client.responding import Responding

    async with Api(url, token) as api:
        warn_if_unencrypted(say, api.url)
        responding = Responding(api, player, say)
        await responding.run(stop, once)
    return 1 if responding.failed else 0


def _player(to: str | None, rate: int, device: str | None) -> Player:
    from turnlab.client.player import Loudspeaker, RawOutput, WavFolder

    if to is None:
        return Loudspeaker(device)
    return RawOutput(rate) if to == "-" else WavFolder(Path(to))
