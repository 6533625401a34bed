"""What was heard reaches the server once, whatever the server does meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from tests.api.loopback import Answer, Loopback, Request, loopback, problem, said
from turnlab.audio import RATE
from turnlab.chunks import Samples
from turnlab.client import patience
from turnlab.client.answers import retry_after_s
from turnlab.client.api import Api, check_url, on_this_machine
from turnlab.client.camera import FolderCamera, thinned
from turnlab.client.listening import Listening, Session
from turnlab.client.patience import Later, pause_s
from turnlab.client.saying import Said, Say
from turnlab.client.segmenter import Segmenter
from turnlab.client.spool import Spool
from turnlab.errors import InvalidRequest, InvalidToken, OutputFailed, Saturated
from turnlab.tracks import new_track_id

TOKEN = "tl_secret"
CONVERSATION = "C-" + "0" * 32


class Loud:
    """Takes what is loud for a voice."""

    def hear(self, frame: Samples) -> float:
        return float(np.abs(frame).max() > 0.1)


class Sounds:
    """A stream of turns, each a second loud and a second quiet."""

    def __init__(self, turns: int, live: bool = False) -> None:
        self.live = live
        self._turns = turns

    async def blocks(self) -> AsyncIterator[Samples]:
        for number in range(self._turns):
            yield np.full(RATE, 0.2 + 0.1 * number, dtype=np.float32)
            yield np.zeros(RATE, dtype=np.float32)


class Service:
    """Answers as a Turnlab server does; `more` is asked first."""

    def __init__(self, more: Callable[[Request], Answer | None] = lambda request: None) -> None:
        self._more = more
        self.by_key: dict[str, str] = {}

    def __call__(self, request: Request) -> Answer:
        if (other := self._more(request)) is not None:
            return other
        if request.path == "/api/v1/conversations":
            return said(201, id=CONVERSATION)
        if request.path == "/api/v1/tracks":
            key = request.headers["idempotency-key"]
            track_id = self.by_key.setdefault(key, new_track_id("TALK"))
            return said(202, track_id=track_id, status="started", conversation_id=CONVERSATION)
        if request.path.endswith("/events"):
            return Answer(200, b"event: end\ndata: {}\n\n", {"Content-Type": "text/event-stream"})
        track_id = request.path.rpartition("/")[2]
        contents = [{"kind": "DataText", "text": "Hello?"}, {"kind": "ResText", "text": "Hello!"}]
        told = {"status": "completed", "voice_to_voice_s": 0.5, "contents": contents}
        return said(track_id=track_id, cluster="TALK", error=None, **told)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 0.01)
    monkeypatch.setattr(patience, "MOST_S", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


class Client:
    """`turnlab listen` without its command line."""

    def __init__(self, folder: Path, url: str, **session: object) -> None:
        self.folder = folder
        self.url = url
        self.told: list[Said] = []
        values = {"id": "a" * 32, "request": {"cluster": "TALK", "deliver": True}, **session}
        self.session = Session(**values)  # type: ignore[arg-type]

    async def listen(
        self, source: Sounds, *, stopped: bool = False, most_bytes: int = 2**20
    ) -> int:
        """How many turns failed."""
        stop = asyncio.Event()
        if stopped:
            stop.set()
        spool = Spool(self.folder, most_bytes)
        try:
            async with Api(self.url, TOKEN) as api:
                listening = Listening(api, spool, self.session, Say(self.told.append))
                await asyncio.wait_for(listening.run(source, Segmenter(Loud()), stop), 10)
                return listening.failed
        finally:
            spool.close()

    def events(self, name: str) -> list[Said]:
        return [each for each in self.told if each.event == name]

    def waiting(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "waiting").iterdir())


def tracks(server: Loopback) -> list[Request]:
    return server.asked("POST", "/tracks")


async def test_each_turn_becomes_a_track_of_one_conversation_and_is_followed(folder: Path) -> None:
    with loopback(Service()) as server:
        client = Client(folder, server.url, consent="granted")
        assert await client.listen(Sounds(3)) == 0
    assert [each.json["conversation"] for each in tracks(server)] == [CONVERSATION] * 3
    assert [each.json["deliver"] for each in tracks(server)] == [True] * 3
    (begun,) = server.asked("POST", "/conversations")
    assert begun.json == {"consent": "granted"}
    assert tracks(server)[0].parts["audio"].startswith(b"RIFF")
    assert [each.facts["reply"] for each in client.events("end")] == ["Hello!"] * 3
    assert client.waiting() == []
    assert all(each.headers["authorization"] == f"Bearer {TOKEN}" for each in server.requests)


async def test_a_busy_server_gets_the_turn_when_it_wants_and_only_once(folder: Path) -> None:
    busy = iter([problem(503, "saturated", Retry_After="0"), problem(429, "too_many_requests")])

    def answer(request: Request) -> Answer | None:
        return next(busy, None) if request.path == "/api/v1/tracks" else None

    service = Service(answer)
    with loopback(service) as server:
        client = Client(folder, server.url)
        assert await client.listen(Sounds(1)) == 0
    assert len(tracks(server)) == 3
    assert len({each.headers["idempotency-key"] for each in tracks(server)}) == 1
    assert len({each.parts["audio"] for each in tracks(server)}) == 1
    assert len(service.by_key) == 1


async def test_an_answer_that_is_lost_makes_no_second_track(folder: Path) -> None:
    accepted = said(202, track_id="x", status="started")
    lost = iter([Answer(202, accepted.body[:5], breaks_off=True)])
    service = Service(lambda r: next(lost, None) if r.path == "/api/v1/tracks" else None)
    with loopback(service) as server:
        assert await Client(folder, server.url).listen(Sounds(1)) == 0
    assert len({each.headers["idempotency-key"] for each in tracks(server)}) == 1
    assert len(service.by_key) == 1


async def test_what_the_server_does_not_take_is_kept_and_the_rest_goes_on(folder: Path) -> None:
    refusal = iter([problem(422, "no_speech", "No voice was found.")])
    service = Service(lambda r: next(refusal, None) if r.path == "/api/v1/tracks" else None)
    with loopback(service) as server:
        client = Client(folder, server.url)
        assert await client.listen(Sounds(2)) == 1
    (kept,) = (folder / "refused").iterdir()
    assert (kept / "audio.wav").stat().st_size > RATE
    reason = json.loads((kept / "reason.json").read_text())
    assert reason == {"code": "no_speech", "message": "No voice was found."}
    (told,) = client.events("refused")
    assert told.facts["kept"] == str(kept)
    assert len(service.by_key) == 1


async def test_a_request_that_the_server_always_fails_on_does_not_hold_up_the_others(
    folder: Path,
) -> None:
    first: list[str] = []

    def answer(request: Request) -> Answer | None:
        if request.path != "/api/v1/tracks":
            return None
        first[:] = first or [request.headers["idempotency-key"]]
        return problem(500, "x") if request.headers["idempotency-key"] == first[0] else None

    service = Service(answer)
    with loopback(service) as server:
        assert await Client(folder, server.url).listen(Sounds(2)) == 1
    assert len(list((folder / "refused").iterdir())) == 1
    assert len(service.by_key) == 1


async def test_a_wrong_token_ends_listening_and_keeps_the_turns(folder: Path) -> None:
    with loopback(lambda request: problem(401, "invalid_token", "It has expired.")) as server:
        client = Client(folder, server.url)
        with pytest.raises(InvalidToken, match="expired"):
            await client.listen(Sounds(2, live=True))
    assert client.waiting()
    assert list((folder / "refused").iterdir()) == []


async def test_turns_heard_while_the_server_is_away_are_sent_by_the_next_listen(
    folder: Path,
) -> None:
    with loopback(Service()) as server:
        url, port = server.url, int(server.url.rpartition(":")[2])
    client = Client(folder, url, grace_s=0.1)
    assert await client.listen(Sounds(2)) == 2
    (unsent,) = client.events("unsent")
    assert unsent.facts["turns"] == 2
    keys = client.waiting()
    service = Service()
    with loopback(service, port) as server:
        assert await Client(folder, url, id="b" * 32).listen(Sounds(1)) == 0
    sent = [each.headers["idempotency-key"] for each in tracks(server)]
    assert sent[:2] == keys
    assert len(service.by_key) == 3
    # Those of the earlier session have a Conversation of their own.
    assert len(server.asked("POST", "/conversations")) == 2


async def test_a_server_that_restarts_while_a_track_is_followed_is_asked_again(
    folder: Path,
) -> None:
    broken = itertools.count()

    def answer(request: Request) -> Answer | None:
        if request.path.endswith("/events") and next(broken) < 2:
            return Answer(200, b": x\n\n", {"Content-Type": "text/event-stream"}, breaks_off=True)
        if request.method == "GET" and next(broken) < 4:
            return problem(503, "not_ready", Retry_After="0")
        return None

    with loopback(Service(answer)) as server:
        client = Client(folder, server.url)
        assert await client.listen(Sounds(1)) == 0
    assert [each.facts["status"] for each in client.events("end")] == ["completed"]


async def test_a_full_spool_makes_a_recording_wait_and_a_microphone_tell_what_is_lost(
    folder: Path,
) -> None:
    with loopback(Service()) as server:
        client = Client(folder, server.url)
        assert await client.listen(Sounds(4), most_bytes=1) == 0
        assert len(tracks(server)) == 4
        live = Client(folder, "http://127.0.0.1:1", grace_s=0.0)
        assert await live.listen(Sounds(3, live=True), most_bytes=1) == 3
    assert len(live.events("lost")) == 2
    assert len(live.waiting()) == 1


async def test_what_is_being_said_when_it_is_stopped_is_a_turn(folder: Path) -> None:
    class Talking:
        live = True

        async def blocks(self) -> AsyncIterator[Samples]:
            yield np.full(RATE, 0.5, dtype=np.float32)
            stop.set()
            await asyncio.Event().wait()

    stop = asyncio.Event()
    told: list[Said] = []
    spool = Spool(folder, 2**20)
    with loopback(Service()) as server:
        async with Api(server.url, TOKEN) as api:
            session = Session(id="", request={"cluster": "TALK"})
            listening = Listening(api, spool, session, Say(told.append))
            await asyncio.wait_for(listening.run(Talking(), Segmenter(Loud()), stop), 10)
    spool.close()
    assert len(tracks(server)) == 1
    assert "conversation" not in tracks(server)[0].json


async def test_pictures_go_with_the_turn_that_they_were_seen_in(
    folder: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    png = (Path(__file__).parents[2] / "docs/images/meadow.png").read_bytes()
    for name in ("a.png", "b.png"):
        (pictures / name).write_bytes(png)
    spool = Spool(folder, 2**30)
    with loopback(Service()) as server:
        async with Api(server.url, TOKEN) as api:
            session = Session(id="", request={"cluster": "TALK"}, quiet=True)
            camera = FolderCamera(pictures)
            listening = Listening(api, spool, session, Say(lambda said: None), camera)
            await listening.run(Sounds(2), Segmenter(Loud()), asyncio.Event())
    spool.close()
    # One for each second that began within the turn: 0 to 1.6 s, and 1.7 to 3.6 s.
    assert [each.body.count(b'name="images"') for each in tracks(server)] == [2, 3]
    assert all(each.parts["images"] == png for each in tracks(server))
    assert server.asked("GET", "/events") == []


def test_only_one_process_uses_a_spool(folder: Path) -> None:
    spool = Spool(folder, 1)
    with pytest.raises(OutputFailed, match="--spool"):
        Spool(folder, 1)
    spool.close()
    Spool(folder, 1).close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://a:b@host"])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        check_url(url)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ä"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InvalidToken) as told:
        Api("http://127.0.0.1:1", token)
    assert token.strip() == "" or token not in told.value.message


def test_a_server_on_this_machine_is_asked_past_any_proxy() -> None:
    assert on_this_machine("http://localhost:8000")
    assert on_this_machine("http://[::1]:8000/x")
    assert not on_this_machine("https://turnlab.example")


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("7") == 7
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None


def test_pauses_grow_up_to_a_limit_and_are_no_shorter_than_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    pauses = [pause_s(Later(Saturated()), tries) for tries in range(1, 40)]
    assert pauses[0] <= 0.5
    assert 20 < max(pauses) <= 30
    assert 7 <= pause_s(Later(Saturated(), 7.0), 1) < 8
    assert pause_s(Later(Saturated(), 1e9), 1) < 301


def test_of_many_frames_a_few_are_taken_evenly_with_the_last() -> None:
    assert thinned(range(3), 8) == [0, 1, 2]
    assert thinned(range(60), 4) == [0, 20, 39, 59]
