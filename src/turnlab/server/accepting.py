"""What is checked and kept of a request before it is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from turnlab.chunks import Image
from turnlab.clusters.plan import Plan
from turnlab.conversations import Conversation
from turnlab.errors import InvalidRequest
from turnlab.server import incoming, queries
from turnlab.server.database import Database
from turnlab.server.preparing import Preparing
from turnlab.server.requests import TrackRequest
from turnlab.tracks import Track, TrackStatus, new_track_id
from turnlab.typed import TypedTurn, UploadedTurn

NEW = "new"
"""In place of a conversation_id: begin one."""

Source = UploadedTurn | TypedTurn


class Accepting:
    """Turns what came with a request into a source and names in the storage."""

    def __init__(self, preparing: Preparing, database: Database, longest_s: float) -> None:
        self._preparing = preparing
        self._database = database
        self._longest_s = longest_s

    async def source(
        self,
        request: TrackRequest,
        audio: Path | None,
        images: Sequence[Image],
        received_s: float,
    ) -> tuple[TrackRequest, Source]:
        """The user's part, checked, and the request with the names under which it is kept.

        Raises as open_recording does, RecordingFailed, UnreadableFile.
        """
        pictures = tuple(images)
        recording = None
        if audio is not None:
            recording = await self._preparing.recording(audio, self._longest_s)
        elif request.audio:
            # It may be longer than what is taken from clients by now.
            with incoming.local_file(request.audio) as path:
                recording = await self._preparing.recording(path)
        if audio is not None or pictures:
            request = await asyncio.to_thread(_kept, request, audio, pictures)
        elif request.images:
            pictures = await asyncio.to_thread(_loaded, request.images)
        return request, self._preparing.source(request, recording, pictures, received_s)

    async def conversation(self, request: TrackRequest) -> tuple[Conversation | None, bool]:
        """The Conversation that the turn belongs to, and whether it begins with it.

        Raises UnknownConversation, InvalidRequest.
        """
        if request.conversation_id == NEW:
            return Conversation(exchanges=list(request.history)), True
        if request.conversation_id is None:
            return None, False
        if request.history:
            raise InvalidRequest("Send a history or a conversation, not both.")
        found = await self._database.call(queries.get_conversation, request.conversation_id)
        return found, False

    async def drop(self, request: TrackRequest) -> None:
        """Delete what was kept for the request alone."""
        names = [name for name in (request.audio, *request.images) if name]
        if names:
            await asyncio.to_thread(incoming.drop, names)


def accepted_track(plan: Plan, request: TrackRequest, source: Source, *, now: bool) -> Track:
    """The Track of a request that is accepted now, and begins now or waits."""
    return Track(
        track_id=new_track_id(plan.cluster.name),
        cluster=plan.cluster.name,
        cluster_hash=plan.cluster.content_hash,
        mode=request.mode,
        created_at=datetime.now(UTC),
        status=TrackStatus.STARTED if now else TrackStatus.PENDING,
        conversation_id=request.conversation_id,
        speech_s=source.speech_s,
        last_voiced_s=source.last_voiced_s,
    )


def _kept(request: TrackRequest, audio: Path | None, pictures: tuple[Image, ...]) -> TrackRequest:
    """The request with the names of what was kept; all of it or nothing."""
    names: list[str] = []
    try:
        if audio is not None:
            names.append(incoming.keep_sound(audio))
        sounds = len(names)
        for picture in pictures:
            names.append(incoming.keep_picture(picture))
    except BaseException:
        incoming.drop(names)
        raise
    if audio is not None:
        request = replace(request, audio=names[0])
    return replace(request, images=tuple(names[sounds:])) if pictures else request


def _loaded(names: Sequence[str]) -> tuple[Image, ...]:
    return tuple(incoming.load_picture(name) for name in names)
