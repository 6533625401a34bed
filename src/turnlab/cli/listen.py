"""`turnlab listen`: what a microphone hears becomes turns on a server."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnlab.audio import RATE, Pace
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
from turnlab.client.segmenter import Limits
from turnlab.errors import InvalidRequest
from turnlab.home import home_folder
from turnlab.tracks import new_track_id

if TYPE_CHECKING:
    from turnlab.client.api import Api
    from turnlab.client.camera import Camera
    from turnlab.client.microphone import Source
    from turnlab.client.spool import Spool

NEW, NONE = "new", "none"


class Consent(StrEnum):
    """Whether the user agrees that what is said is kept."""

    GRANTED = "granted"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `turnlab listen` was asked for."""

    api: str
    token: str
    cluster: str
    from_: str | None
    rate: int
    pace: Pace
    device: str | None
    limits: Limits
    camera: int | None
    camera_from: Path | None
    conversation: str
    consent: Consent | None
    quiet: bool
    wait_s: float
    spool: Path
    spool_mib: int


def listen(
    cluster: Annotated[
        str,
        typer.Option(
            "--track_cluster", "--track-cluster", "--cluster", help="The Cluster to talk to."
        ),
    ],
    api: ApiOption = LOCAL,
    token: TokenOption = "",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A recording instead of the microphone; - for raw PCM (16 bits, mono) on stdin.",
        ),
    ] = None,
    rate: Annotated[int, typer.Option(help="Of the raw PCM, in Hz.")] = RATE,
    pace: Annotated[
        Pace, typer.Option(help="Hear a recording as fast as it goes, or at the speed of speech.")
    ] = Pace.FAST,
    device: DeviceOption = None,
    end_of_turn_s: Annotated[float, typer.Option(help="The quiet that ends a turn.")] = 0.6,
    min_speech_s: Annotated[float, typer.Option(help="Less voice than this is no turn.")] = 0.2,
    max_turn_s: Annotated[float, typer.Option(help="Where a turn is cut, to go on as another.")] = (
        60.0
    ),
    camera: Annotated[
        bool, typer.Option("--camera", help="Send a frame a second with each turn.")
    ] = False,
    camera_device: Annotated[int, typer.Option(min=0, help="Number of the camera.")] = 0,
    camera_from: Annotated[
        Path | None, typer.Option(help="Pictures of this folder in place of a camera.")
    ] = None,
    conversation: Annotated[
        str,
        typer.Option(help="new: one for this session; none; or the id of one to go on with."),
    ] = NEW,
    consent: Annotated[
        Consent | None, typer.Option(help="Whether the user agrees that it is kept.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Do not follow the Tracks to their ends.")
    ] = False,
    wait_s: Annotated[
        float,
        typer.Option(min=0, help="How long uploads are tried after the end of a recording."),
    ] = 60.0,
    spool: Annotated[
        Path | None, typer.Option(help="Folder of the turns that are not uploaded yet.")
    ] = None,
    spool_mib: Annotated[int, typer.Option(min=1, help="Most that may wait there.")] = 512,
    json_: JsonOption = False,
) -> int:
    """Hear turns, and send each to a server while the next one is heard already.

    A turn is kept on the disk until the server has it, so a server that restarts loses none. The
    replies are played by `turnlab respond`. Ctrl-C ends it. Exit code 0: all turns completed; 1:
    some did not, or still wait; 130: ended by Ctrl-C.
    """
    require_client()
    new_track_id(cluster)  # raises InvalidTrackId for what cannot be the name of one
    asked = Asked(
        api=api,
        token=token,
        cluster=cluster,
        from_=from_,
        rate=rate,
        pace=pace,
        device=device,
        limits=Limits(
            end_of_turn_s=end_of_turn_s, min_speech_s=min_speech_s, max_turn_s=max_turn_s
        ),
        camera=camera_device if camera else None,
        camera_from=camera_from,
        conversation=_conversation(conversation, consent),
        consent=consent,
        quiet=quiet,
        wait_s=wait_s,
        spool=spool or _spool_of(api),
        spool_mib=spool_mib,
    )
    from turnlab.client.running import run_until_stopped

    return run_until_stopped(lambda stop: _listen(asked, teller(json_), stop))


def _conversation(given: str, consent: Consent | None) -> str:
    if given == NONE and consent:
        raise InvalidRequest("--consent belongs to a Conversation; leave --conversation none out.")
    return given


def _spool_of(api: str) -> Path:
    """A folder for each server, since a turn belongs to the one that it was said to."""
    return home_folder() / "spool" / hashlib.sha256(api.encode()).hexdigest()[:16]


async def _listen(asked: Asked, say: Say, stop: asyncio.Event) -> int:
    from turnlab.client.api import Api
    from turnlab.client.listening import Listening, Session
    from turnlab.client.segmenter import Segmenter
    from turnlab.turns.voice_activity import VoiceActivity

    async with Api(asked.api, asked.token) as api:
        with _opened(asked, say) as (spool, source, camera):
            warn_if_unencrypted(say, api.url)
            await _check(api, asked, say)
            request = {"cluster": asked.cluster, "deliver": True}
            session = Session(
                id="" if asked.conversation == NONE else uuid.uuid4().hex,
                request=request,
                consent=asked.consent or "",
                quiet=asked.quiet,
                grace_s=asked.wait_s,
            )
            if asked.conversation not in (NEW, NONE):
                spool.remember(session.id, asked.conversation)
            listening = Listening(api, spool, session, say, camera)
            if source.live:
                say("listen", f"listening for {asked.cluster}; Ctrl-C ends it")
            await listening.run(source, Segmenter(VoiceActivity(), asked.limits), stop)
    return 1 if listening.failed else 0


async def _check(api: Api, asked: Asked, say: Say) -> None:
    """Raise what is wrong with token, Cluster or Conversation, unless the server is away."""
    from turnlab.client.patience import Later

    try:
        await api.cluster(asked.cluster)
        if asked.consent and asked.conversation != NEW:
            await api.set_consent(asked.conversation, asked.consent)
    except Later as later:
        words = f"{later.error.message} Turns are kept until it can."
        say.warn("waiting", words, code=later.error.code)


@contextmanager
def _opened(asked: Asked, say: Say) -> Iterator[tuple[Spool, Source, Camera | None]]:
    """The spool, what is heard and what is seen. Raises NoAudioDevice and the like."""
    from turnlab.client.spool import Spool

    source = _source(asked, say)
    camera = _camera(asked)
    spool = Spool(asked.spool, asked.spool_mib * 2**20)
    try:
        yield spool, source, camera
    finally:
        spool.close()
        if camera:
            camera.close()


def _source(asked: Asked, say: Say) -> Source:
    from turnlab.client.microphone import Microphone, RawInput, Recorded

    if asked.from_ is None:
        return Microphone(asked.device, say)
    if asked.from_ == "-":
        return RawInput(asked.rate)
    return Recorded(Path(asked.from_), asked.pace)


def _camera(asked: Asked) -> Camera | None:
    from turnlab.client.camera import DeviceCamera, FolderCamera

    if asked.camera_from is not None:
        return FolderCamera(asked.camera_from)
    return None if asked.camera is None else DeviceCamera(asked.camera)
