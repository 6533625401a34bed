"""Keeps the media that a third-party Worker fetches, as long as it has the Task."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import Any

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from turnlab.chunks import Image, Sound
from turnlab.errors import InvalidAudio, RecordingFailed
from turnlab.executors.http_handover import HandedSound
from turnlab.server.links import media_url
from turnlab.server.media import IN_MEMORY, SUFFIXES, spool_wav

FOLDER = "handover"

LINK_S = 24 * 3600
"""How long a link is good for; the file goes with its Task, which is far sooner."""


class StoredHandover:
    """Under names that nobody can guess, behind signed links."""

    async def sound(self, pieces: Iterable[Sound]) -> HandedSound:
        """Keep a sound as WAV. Raises InvalidAudio, RecordingFailed."""
        return await asyncio.to_thread(_keep_sound, pieces)

    async def picture(self, picture: Image) -> str:
        """Keep a picture as it is. Raises RecordingFailed."""
        suffix = SUFFIXES.get(picture.media_type, "picture")
        return await asyncio.to_thread(_keep, suffix, ContentFile(picture.data))

    def url(self, name: str) -> str:
        """A path with its query; the host is that which the Worker asked."""
        return media_url(name, LINK_S)

    async def drop(self, names: Iterable[str]) -> None:
        """Delete these; what cannot be deleted now is found by the rules of retention."""
        kept = list(names)
        if kept:
            await asyncio.to_thread(_drop, kept)


def _keep_sound(pieces: Iterable[Sound]) -> HandedSound:
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        frames, rate = spool_wav(spool, pieces)
        if not frames:
            raise InvalidAudio("The sound holds no samples; there is nothing to hand over.")
        spool.seek(0)
        name = _keep("wav", File(spool))
    return HandedSound(name=name, duration_s=frames / rate, sample_rate=rate)


def _keep(suffix: str, file: File[Any]) -> str:
    try:
        return default_storage.save(f"{FOLDER}/{secrets.token_hex(16)}.{suffix}", file)
    except OSError as error:
        raise RecordingFailed(
            f"The input of a Task cannot be kept for its worker ({error}); free disk space."
        ) from error


def _drop(names: list[str]) -> None:
    for name in names:
        with suppress(OSError):
            default_storage.delete(name)
