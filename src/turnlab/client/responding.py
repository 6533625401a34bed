"""`turnlab respond`: plays what is waiting, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np

from turnlab.chunks import Samples
from turnlab.client.answers import JSON, error_of
from turnlab.client.api import Api
from turnlab.client.following import follow, newest
from turnlab.client.patience import Later, Patience, first_of
from turnlab.client.player import Player
from turnlab.client.saying import Say
from turnlab.client.wav import WavReader
from turnlab.errors import (
    Forbidden,
    InvalidToken,
    NoAudioDevice,
    OutputFailed,
    ServerLost,
    TurnlabError,
)
from turnlab.tracks import TrackStatus, parse_track_id

WAIT_S = 20
"""How long one request waits for a reply."""

TOLERANCE_S = 0.1
"""Between what was played and what the records say, before a reply counts as broken off."""

MOST_PIECES = 512
"""Pieces of a reply that are read ahead of what is played."""

_OURS = (InvalidToken, Forbidden, NoAudioDevice, OutputFailed)
"""Failures that no reply is to blame for."""


class Responding:
    """Asks for replies and plays each to its end before it marks it as played.

    A reply that breaks off is asked for again and played from its beginning. One that was played
    is never played again by this process, even if the server can only be told later.
    """

    def __init__(self, api: Api, player: Player, say: Say) -> None:
        self._api = api
        self._player = player
        self._say = say
        self._patience = Patience(say)
        self._broken = 0
        self.failed = 0
        """Replies that cannot be played."""

    async def run(self, stop: asyncio.Event, once: bool = False) -> None:
        """Play until `stop` is set; with `once` until nothing waits. Raises NoAudioDevice,
        OutputFailed, InvalidToken and Forbidden.
        """
        while not stop.is_set():
            playing = asyncio.ensure_future(self._play_next(0 if once else WAIT_S))
            if await first_of(playing, stop) is False and once:
                return

    async def _play_next(self, wait_s: int) -> bool:
        """Play the next reply; False if none came."""
        found = await self._patience.persist(lambda: self._api.next_reply(wait_s))
        if found is None:
            return False
        track_id = str(found["track_id"])
        parse_track_id(track_id)  # it names a file
        try:
            seconds = await self._play(track_id)
        except Later as later:
            await self._broke_off(track_id, later)
            return True
        except _OURS:
            raise
        except TurnlabError as error:
            self._cannot_be_played(track_id, error)
            seconds = 0.0
        await self._mark(track_id, seconds)
        return True

    async def _broke_off(self, track_id: str, later: Later) -> None:
        """It is offered again, unless its Track has failed meanwhile."""
        self._broken += 1
        words = f"{track_id} broke off; it is played again from its beginning"
        self._say.warn("interrupted", words, track_id=track_id)
        await self._patience.pause(later, self._broken)
        track = await self._patience.persist(lambda: self._api.track(track_id))
        if (error := _failure(track)) is not None:
            self._cannot_be_played(track_id, error)

    async def _play(self, track_id: str) -> float:
        """The seconds that were played. Raises Later if the reply broke off."""
        reader, played_s = WavReader(), 0.0
        try:
            async with aclosing(_ahead(self._api, track_id, reader)) as pieces:
                async for samples in pieces:
                    if not played_s:
                        await self._player.begin(track_id, reader.rate)
                    await self._player.play(samples)
                    played_s += len(samples) / reader.rate
        except BaseException:
            await self._player.abandon()
            raise
        if played_s:
            await self._player.end()
        await self._require_whole(track_id, played_s)
        return played_s

    async def _require_whole(self, track_id: str, played_s: float) -> None:
        """Raise Later if the records tell of more: a stream may end because its server did."""
        track = await follow(self._api, self._patience, track_id)
        spoken = newest(track, "ResSpeech") or {}
        if track["status"] == TrackStatus.COMPLETED:
            if (spoken.get("duration_s") or 0.0) > played_s + TOLERANCE_S:
                raise Later(ServerLost(f"{track_id} is longer than what came of it."))
        elif not played_s and (error := _failure(track)) is not None:
            raise error

    def _cannot_be_played(self, track_id: str, error: TurnlabError) -> None:
        """Tell of it. Where it is still offered it is marked all the same: others wait behind."""
        self.failed += 1
        words = f"{track_id} cannot be played: {error.message}"
        told = {"code": error.code, "message": error.message}
        self._say.warn("failed", words, track_id=track_id, error=told)

    async def _mark(self, track_id: str, seconds: float) -> None:
        marked = await self._patience.persist(lambda: self._api.played(track_id))
        self._broken = 0
        words = f"{track_id} {seconds:.1f} s" if seconds else f"{track_id} has no sound"
        facts = {"duration_s": round(seconds, 3), "first": bool(marked.get("first", True))}
        self._say("played", words, track_id=track_id, **facts)


def _failure(track: JSON) -> TurnlabError | None:
    """What a Track failed with that has ended without completing."""
    status = TrackStatus(str(track.get("status")))
    if not status.ended or status is TrackStatus.COMPLETED:
        return None
    return error_of(track.get("error") or {}, f"The Track was {status}.")


async def _ahead(api: Api, track_id: str, reader: WavReader) -> AsyncGenerator[Samples, None]:
    """The reply's samples, read ahead of whoever plays them."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_PIECES)

    async def read() -> None:
        async for data in api.speech(track_id):
            await queue.put(data)
        await queue.put(None)

    reading = asyncio.ensure_future(read())
    try:
        while (data := await _next_piece(queue, reading)) is not None:
            samples = reader.feed(data)
            if np.size(samples):
                yield samples
    finally:
        reading.cancel()


async def _next_piece(
    queue: asyncio.Queue[bytes | None], reading: asyncio.Future[None]
) -> bytes | None:
    """The next piece; what reading failed with is raised at once, not when its turn comes."""
    getting = asyncio.ensure_future(queue.get())
    try:
        either: set[asyncio.Future[Any]] = {getting, reading}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        return await getting
    finally:
        getting.cancel()
