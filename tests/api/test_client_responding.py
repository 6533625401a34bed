"""Replies are played once, in order, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.api.loopback import Answer, Request, loopback, problem, said
from turnlab.chunks import Samples
from turnlab.client import patience
from turnlab.client.api import Api
from turnlab.client.player import WavFolder
from turnlab.client.responding import Responding
from turnlab.client.saying import Said, Say
from turnlab.client.wav import WavReader
from turnlab.errors import InvalidTrackId, ProtocolViolation
from turnlab.tracks import new_track_id

RATE = 22_050


def endless_wav(count: int, value: int = 1000) -> bytes:
    """What a server sends while a reply is made: lengths are not known."""
    head = struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE")
    head += struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return head + struct.pack("<4sI", b"data", 0xFFFFFFFF) + struct.pack("<h", value) * count


class Heard:
    """A loudspeaker that remembers."""

    def __init__(self) -> None:
        self.whole: list[tuple[str, int, int]] = []
        self.broken: list[str] = []
        self._now: tuple[str, int] = ("", 0)
        self._count = 0

    async def begin(self, track_id: str, rate: int) -> None:
        self._now, self._count = (track_id, rate), 0

    async def play(self, samples: Samples) -> None:
        self._count += len(samples)

    async def end(self) -> None:
        self.whole.append((*self._now, self._count))

    async def abandon(self) -> None:
        self.broken.append(self._now[0])


class Service:
    """A server with replies that wait; `speech` answers for one of them."""

    def __init__(self, count: int, speech: Callable[[str, int], Answer]) -> None:
        self.tracks = [new_track_id("TALK") for _ in range(count)]
        self.played: list[str] = []
        self.marks: list[Answer] = []
        self._speech = speech
        self._asked = 0

    def __call__(self, request: Request) -> Answer:
        waiting = [track for track in self.tracks if track not in self.played]
        if request.path.startswith("/api/v1/replies/next"):
            return said(track_id=waiting[0], status="started") if waiting else Answer(204)
        track_id = request.path.split("/")[4]
        if request.path.endswith("/played"):
            if self.marks:
                return self.marks.pop()
            self.played.append(track_id)
            return said(track_id=track_id, first=True)
        if request.path.endswith("/speech"):
            self._asked += 1
            return self._speech(track_id, self._asked)
        if request.path.endswith("/events"):
            return Answer(200, b"event: end\ndata: {}\n\n", {"Content-Type": "text/event-stream"})
        spoken = {"kind": "ResSpeech", "text": "Hello!", "duration_s": 1.0}
        return said(track_id=track_id, status="completed", contents=[spoken])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 0.01)
    monkeypatch.setattr(patience, "MOST_S", 0.05)


async def respond(service: Service, player: object) -> tuple[int, list[Said]]:
    told: list[Said] = []
    with loopback(service) as server:
        async with Api(server.url, "token") as api:
            responding = Responding(api, player, Say(told.append))  # type: ignore[arg-type]
            await asyncio.wait_for(responding.run(asyncio.Event(), once=True), 10)
    return responding.failed, told


async def test_what_waits_is_played_once_in_order() -> None:
    service = Service(3, lambda track_id, n: Answer(200, endless_wav(RATE)))
    player = Heard()
    failed, _ = await respond(service, player)
    assert failed == 0
    assert player.whole == [(track_id, RATE, RATE) for track_id in service.tracks]
    assert service.played == service.tracks


async def test_a_reply_that_breaks_off_is_played_from_its_beginning_and_not_skipped() -> None:
    half, whole = endless_wav(RATE // 2), endless_wav(RATE)
    service = Service(2, lambda track_id, n: Answer(200, whole if n > 1 else half, {}, n == 1))
    player = Heard()
    _, told = await respond(service, player)
    assert [track_id for track_id, _, _ in player.whole] == service.tracks
    assert player.broken == service.tracks[:1]
    assert "interrupted" in [each.event for each in told]


async def test_a_reply_that_ends_early_because_its_server_stopped_is_played_again() -> None:
    half, whole = endless_wav(RATE // 2), endless_wav(RATE)
    service = Service(1, lambda track_id, n: Answer(200, whole if n > 1 else half))
    player = Heard()
    await respond(service, player)
    assert [count for _, _, count in player.whole] == [RATE // 2, RATE]
    assert service.played == service.tracks


async def test_a_reply_that_was_played_is_not_played_again_while_it_cannot_be_marked() -> None:
    service = Service(1, lambda track_id, n: Answer(200, endless_wav(RATE)))
    service.marks = [problem(503, "not_ready", Retry_After="0") for _ in range(3)]
    player = Heard()
    await respond(service, player)
    assert len(player.whole) == 1
    assert service.played == service.tracks


async def test_a_reply_that_cannot_be_played_is_told_and_does_not_hold_up_the_next() -> None:
    refused = problem(422, "cluster_not_runnable", "It makes no Speech.")
    service = Service(2, lambda track_id, n: refused if n == 1 else Answer(200, endless_wav(RATE)))
    player = Heard()
    failed, told = await respond(service, player)
    assert failed == 1
    assert [track_id for track_id, _, _ in player.whole] == service.tracks[1:]
    (failure,) = [each for each in told if each.event == "failed"]
    assert failure.facts["error"]["code"] == "cluster_not_runnable"


async def test_replies_become_wav_files(tmp_path: Path) -> None:
    service = Service(2, lambda track_id, n: Answer(200, endless_wav(RATE, 500 * n)))
    await respond(service, WavFolder(tmp_path))
    for number, track_id in enumerate(service.tracks, 1):
        samples, rate = soundfile.read(tmp_path / f"{track_id}.wav", dtype="int16")
        assert rate == RATE
        assert len(samples) == RATE
        assert abs(int(samples[0]) - 500 * number) <= 1
    assert len(os.listdir(tmp_path)) == 2


async def test_a_name_that_is_no_track_id_never_becomes_a_file(tmp_path: Path) -> None:
    service = Service(0, lambda track_id, n: Answer(200, endless_wav(1)))
    service.tracks = ["../../etc/passwd"]
    with pytest.raises(InvalidTrackId):
        await respond(service, WavFolder(tmp_path))


@pytest.mark.parametrize("size", [1, 3, 7, 44, 10_000])
def test_a_wav_file_is_read_from_pieces_of_any_size(size: int) -> None:
    reader, data = WavReader(), endless_wav(100, -16_384)
    pieces = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]
    samples = np.concatenate(pieces)
    assert reader.rate == RATE
    assert np.array_equal(samples, np.full(100, -0.5, dtype=np.float32))


@pytest.mark.parametrize(
    "data",
    [
        b"<html>not a sound</html>",
        b"RIFF\xff\xff\xff\xffWAVE" + b"junk\xff\xff\xff\x7f" + bytes(16),
        endless_wav(1).replace(struct.pack("<I", RATE), struct.pack("<I", 7), 1),
        endless_wav(1).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 3, 2), 1),
    ],
    ids=["html", "endless header", "rate", "format"],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        WavReader().feed(data)
