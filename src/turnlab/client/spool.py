"""Turns that were heard and not yet uploaded, in a folder, so that none of them is lost."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from turnlab.chunks import Image
from turnlab.client.segmenter import Heard
from turnlab.errors import OutputFailed, TurnlabError
from turnlab.home import make_folder
from turnlab.turns.voice_activity import RATE

_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A turn in the spool. Its key is also what the server knows a repeated upload by."""

    folder: Path
    request: Mapping[str, Any]
    """What is asked of the Track, without its Conversation."""
    session: str
    """The session that it was heard in; empty for a turn of no Conversation."""
    speech_s: float
    consent: str = ""
    """What was said about keeping the session: `granted`, `refused` or nothing."""

    @property
    def key(self) -> str:
        """Its Idempotency-Key."""
        return self.folder.name

    @property
    def audio(self) -> Path:
        """What was said, as WAV."""
        return self.folder / "audio.wav"

    @property
    def images(self) -> list[Path]:
        """What was seen meanwhile, in order."""
        return sorted(self.folder.glob("image-*"))


class Spool:
    """The folder; one process at a time. Turns come out in the order in which they were put in.

    `waiting/KEY/` holds a turn, `refused/KEY/` one that the server does not take, with its reason.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        try:
            for part in ("waiting", "refused", "sessions"):
                make_folder(folder / part)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutputFailed(f"{folder} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise OutputFailed(
                f"Another `turnlab listen` uses {folder}; give this one another --spool."
            ) from error
        for unfinished in (folder / "waiting").glob("*.part"):
            shutil.rmtree(unfinished)

    def close(self) -> None:
        """Let another process use it."""
        os.close(self._lock)

    def full(self) -> bool:
        """Whether what waits takes up all the room that was given."""
        files = (self.folder / "waiting").rglob("*")
        return sum(each.stat().st_size for each in files if each.is_file()) >= self._most_bytes

    def put(
        self,
        heard: Heard,
        images: Sequence[Image],
        *,
        request: Mapping[str, Any],
        session: str = "",
        consent: str = "",
    ) -> Waiting:
        """Keep a turn; it is on the disk when this returns. Raises OutputFailed."""
        key = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        part, folder = (self.folder / "waiting" / name for name in (f"{key}.part", key))
        turn = {
            "request": {**request, **_measured(heard)},
            "session": session,
            "consent": consent,
            "speech_s": heard.duration_s,
        }
        try:
            part.mkdir(mode=0o700)
            soundfile.write(part / "audio.wav", heard.samples, RATE, subtype="PCM_16")
            for number, image in enumerate(images):
                (part / f"image-{number:03d}.{_SUFFIXES[image.media_type]}").write_bytes(image.data)
            (part / "turn.json").write_text(json.dumps(turn))
            _sync(part)
            part.rename(folder)
        except (OSError, soundfile.LibsndfileError) as error:
            shutil.rmtree(part, ignore_errors=True)
            raise OutputFailed(f"{folder} cannot be written ({error}); make room there.") from error
        return self._read(folder)

    def waiting(self) -> list[Waiting]:
        """The turns that wait, oldest first."""
        folders = sorted(path for path in (self.folder / "waiting").iterdir() if path.is_dir())
        return [self._read(path) for path in folders if path.suffix != ".part"]

    def done(self, turn: Waiting) -> None:
        """Forget a turn that the server has."""
        shutil.rmtree(turn.folder)

    def refuse(self, turn: Waiting, error: TurnlabError) -> Path:
        """Put aside a turn that the server does not take, with the reason; where it lies now."""
        kept = self.folder / "refused" / turn.key
        reason = {"code": error.code, "message": error.message}
        (turn.folder / "reason.json").write_text(json.dumps(reason))
        turn.folder.rename(kept)
        return kept

    def conversation(self, session: str) -> str | None:
        """The Conversation of a session, once it has one."""
        path = self.folder / "sessions" / session
        return path.read_text() if path.exists() else None

    def remember(self, session: str, conversation_id: str) -> None:
        """Write down which Conversation is that of a session; sessions of no turn are forgotten."""
        sessions = self.folder / "sessions"
        kept = {session, *(turn.session for turn in self.waiting())}
        for old in sessions.iterdir():
            if old.name not in kept:
                old.unlink()
        part = sessions / f"{session}.part"
        part.write_text(conversation_id)
        part.rename(sessions / session)

    def _read(self, folder: Path) -> Waiting:
        try:
            turn = json.loads((folder / "turn.json").read_text())
            return Waiting(folder=folder, **turn)
        except (OSError, TypeError, ValueError) as error:
            raise OutputFailed(f"{folder} is damaged ({error}); move it elsewhere.") from error


def _sync(folder: Path) -> None:
    """Have the disk hold what was written, so that a machine that loses its power keeps it."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _measured(heard: Heard) -> dict[str, float]:
    """Where the user's last word ended, and how long the quiet was that told so.

    The latency counts from that word, so the quiet is part of it, however late the turn is sent.
    """
    last_s = heard.last_voiced_s - heard.start_s
    return {
        "last_voiced_s": round(last_s, 3),
        "waited_s": round(max(0.0, heard.duration_s - last_s), 3),
    }
