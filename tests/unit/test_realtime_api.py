"""What voice2voice does against a Realtime server that works, and against ones that do not."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from websockets.sync.server import serve

from turnlab import errors
from turnlab.chunks import Audio, Caption, Speech
from turnlab.clock import MonotonicClock
from turnlab.conversations import Conversation, Exchange
from turnlab.modules.voice2voice import Voice2Voice
from turnlab.realtime_api import RealtimeParams, SpokenReply, realtime_server
from turnlab.realtime_api.reply import Words
from turnlab.testing import Hang, Pause, Rig
from turnlab.testing.realtime_server import Answer, Fault, RealtimeServer
from turnlab.tracks import Mode, TrackStatus
from turnlab.turn_result import TurnResult

KEY = "sk-a-secret-that-nobody-may-see"
SAID = (np.sin(np.arange(24_000) * 0.2) * 0.3).astype(np.float32)
PIECES = tuple(Audio(samples=piece, sample_rate=16_000) for piece in np.split(SAID, 10))
CAPTION = Caption(text="A red umbrella.")


def rig_of(server: RealtimeServer | str, given: Any = (Audio, Caption), **params: Any) -> Rig:
    """A rig around voice2voice that asks `server`."""
    url = server if isinstance(server, str) else server.url
    overrides: Mapping[str, Any] = {"voice2voice": {"base_url": url, **params}}
    return Rig(Voice2Voice, clock=MonotonicClock(), given=given, overrides=overrides)


async def run(server: RealtimeServer | str, *script: Any, **params: Any) -> TurnResult:
    """A turn of a second and a half, against `server`."""
    rig = rig_of(server, given=(Audio,), **params)
    return await rig.run(*(script or PIECES))


def talk() -> Conversation:
    """A Conversation of one turn."""
    return Conversation(exchanges=[Exchange(text="Hello.", reply="Hello to you.")])


def profile(result: TurnResult) -> dict[str, Any]:
    return dict(result.tasks[0].result_json["result_profile"])


async def test_the_reply_is_what_the_server_said() -> None:
    answer = Answer(text="Take an umbrella, it may rain.", heard="Will it rain?")
    with RealtimeServer(answer) as server:
        result = await run(server)
    assert result.error is None
    assert isinstance(result.speech, Speech)
    assert result.speech.text == "Take an umbrella, it may rain."
    assert result.speech.sample_rate == 24_000
    said = np.frombuffer(answer.pcm, dtype="<i2").astype(np.float32) / 32768
    assert np.array_equal(result.speech.samples, said)
    assert profile(result)["transcript"] == "Will it rain?"
    assert profile(result)["response_id"].startswith("resp_")
    assert profile(result)["finish_reason"] == "stop"
    assert profile(result)["usage"] == {
        **{"input_tokens": 30, "cached_input_tokens": 12, "audio_input_tokens": 20},
        **{"cached_audio_input_tokens": 8, "output_tokens": 40, "audio_output_tokens": 32},
    }
    assert profile(result)["cost_usd"] is None  # nobody has said what this server costs


async def test_the_server_hears_what_was_said_at_24_khz() -> None:
    with RealtimeServer() as server:
        await run(server)
        heard = server.heard / 32767
    said = soxr.resample(SAID, 16_000, 24_000)
    assert len(heard) == pytest.approx(len(said), abs=2)
    assert np.corrcoef(heard[100:35_000], said[100:35_000])[0, 1] > 0.999


async def test_it_sends_what_the_protocol_allows_in_its_order() -> None:
    with RealtimeServer() as server:
        rig = rig_of(server, voice="marin", instructions="Be brief.")
        result = await rig.run(*PIECES, CAPTION, conversation=talk())
    assert result.error is None
    assert server.complaints == []
    kinds = [event["type"] for event in server.received]
    assert kinds[:3] == ["session.update", "conversation.item.create", "conversation.item.create"]
    assert kinds[-3:] == [
        "conversation.item.create",
        "input_audio_buffer.commit",
        "response.create",
    ]
    session = server.received[0]["session"]
    assert session["instructions"] == "Be brief."
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["audio"]["input"]["turn_detection"] is None
    items = [event["item"] for event in server.events("conversation.item.create")]
    assert [item["role"] for item in items] == ["user", "assistant", "system"]
    assert items[0]["content"] == [{"type": "input_text", "text": "Hello."}]
    assert items[1]["content"] == [{"type": "output_text", "text": "Hello to you."}]
    assert items[2]["content"][0]["text"].endswith("A red umbrella.")


async def test_the_official_types_accept_every_event_of_both_sides() -> None:
    from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
    from pydantic import TypeAdapter

    with RealtimeServer() as server:
        await rig_of(server).run(*PIECES, CAPTION, conversation=talk())
    for event in server.received:
        TypeAdapter(RealtimeClientEvent).validate_python(event)
    for event in server.sent:
        found = TypeAdapter(RealtimeServerEvent).validate_python(event)
        assert found.type == event["type"]


async def test_the_official_client_holds_a_conversation_with_the_test_server() -> None:
    from openai import AsyncOpenAI

    with RealtimeServer(key=KEY) as server:
        client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with client.realtime.connect(model="any") as connection:
            audio: Any = {"input": {"turn_detection": None, "transcription": {"model": "any"}}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            silence = base64.b64encode(bytes(9600)).decode()
            await connection.input_audio_buffer.append(audio=silence)
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            seen: list[Any] = []
            async for event in connection:
                seen.append(event)
                if event.type == "response.done":
                    break
    kinds = [event.type for event in seen]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert seen[-1].response.status == "completed"
    sound = b"".join(
        base64.b64decode(event.delta)
        for event in seen
        if event.type == "response.output_audio.delta"
    )
    assert sound == server.answer.pcm
    assert server.complaints == []


async def test_sound_is_sent_while_the_user_still_speaks() -> None:
    with RealtimeServer() as server:
        rig = rig_of(server, given=(Audio,))
        turn = asyncio.ensure_future(rig.run(*PIECES, Hang()))
        await asyncio.to_thread(
            server.until, lambda: len(server.events("input_audio_buffer.append")) >= len(PIECES)
        )
        assert server.events("input_audio_buffer.commit") == []
        turn.cancel()
        await asyncio.wait([turn])
        await asyncio.to_thread(server.closed.wait, 5)
    assert rig.recorder.tracks[-1].status is TrackStatus.CANCELLED


async def test_cancelling_tells_the_server_and_leaves() -> None:
    with RealtimeServer(fault=Fault.HANG) as server:
        rig = rig_of(server, given=(Audio,))
        turn = asyncio.ensure_future(rig.run(*PIECES))
        await asyncio.to_thread(
            server.until,
            lambda: any(e["type"] == "response.output_audio.delta" for e in server.sent),
        )
        turn.cancel()
        await asyncio.wait([turn])
        assert await asyncio.to_thread(server.closed.wait, 5)
    assert server.received[-1]["type"] == "response.cancel"
    assert server.complaints == []


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_spans_of_the_turn_add_up(mode: Mode) -> None:
    with RealtimeServer() as server:
        rig = rig_of(server, given=(Audio,))
        result = await rig.run(*PIECES[:5], Pause(0.05), *PIECES[5:], mode=mode, last_voiced_s=0.05)
    assert result.error is None
    assert all(a.end_s == b.start_s for a, b in pairwise(result.spans))
    total = sum(span.duration_s for span in result.spans)
    assert total == pytest.approx(result.track.voice_to_voice_s, abs=1e-3)
    latency = result.tasks[0].result_json["latency_profile"]
    assert {"transfer_connect", "model_first_audio", "model_stream"} <= set(latency)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault.MUTE, errors.ProviderTimeout, "said nothing"),
        (Fault.REFUSE_SESSION, errors.ProviderRefused, "The voice is not known."),
        (Fault.OTHER_FORMAT, errors.ProviderRefused, "audio/pcmu"),
        (Fault.ERROR, errors.ProviderFailed, "The model is out of order."),
        (Fault.HANG, errors.ProviderTimeout, "said nothing"),
        (Fault.HALF, errors.ProviderFailed, "closed the connection"),
        (Fault.GARBAGE, errors.ProviderFailed, "no JSON"),
        (Fault.BROKEN_SOUND, errors.ProviderFailed, "no base64"),
        (Fault.FAILED, errors.ProviderFailed, "The model stumbled."),
        (Fault.INCOMPLETE, errors.ProviderRefused, "content_filter"),
        (Fault.TEXT_ONLY, errors.EmptyReply, "It is sunny today"),
    ],
)
async def test_what_goes_wrong_at_the_server_has_a_name(
    fault: Fault, error: type[errors.TurnlabError], words: str
) -> None:
    with RealtimeServer(fault=fault) as server:
        result = await run(server, request_timeout_s=0.3)
    assert type(result.error) is error
    assert words in str(result.error)
    assert result.track.status is TrackStatus.FAILED


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.INCOMPLETE, Fault.TEXT_ONLY])
async def test_what_a_reply_that_failed_used_is_known(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = 'date = 2026-11-01\nsource = "mine"\ninput = 1000\noutput = 1000\n'
    (tmp_path / "prices.toml").write_text(f'[models."mine"]\n{own}')
    monkeypatch.setenv("TURNLAB_PRICES", str(tmp_path / "prices.toml"))
    with RealtimeServer(fault=fault) as server:
        result = await run(server, model="mine")
    assert result.error is not None
    told = profile(result)
    assert told["usage"]["output_tokens"] == 40
    assert told["cost_usd"] == pytest.approx(0.07)
    assert told["transcript"] == server.answer.heard
    assert told["response_id"].startswith("resp_")
    assert told["finish_reason"] == ""


async def test_a_reply_that_the_limit_of_tokens_ended_counts() -> None:
    with RealtimeServer(fault=Fault.CUT) as server:
        result = await run(server)
    assert result.error is None
    assert result.speech is not None
    assert result.speech.duration_s == pytest.approx(0.5)
    assert profile(result)["finish_reason"] == "length"
    assert profile(result)["usage"]["output_tokens"] == 40


async def test_a_transcript_that_is_null_is_none() -> None:
    with RealtimeServer(fault=Fault.NULL_TRANSCRIPT) as server:
        result = await run(server)
    assert result.error is None
    assert profile(result)["transcript"] == ""
    assert "sent no text" in profile(result)["transcript_missing"]


def test_texts_that_are_none_are_not_taken_for_words() -> None:
    reply = SpokenReply(realtime_server(RealtimeParams(base_url="ws://127.0.0.1:9/v1")), 10)
    heard = "conversation.item.input_audio_transcription.completed"
    reply.take({"type": heard, "transcript": "x" * 1_000_001})
    assert reply.transcript is None
    assert "1,000,000 characters" in reply.unheard
    for kind in ("output_audio_transcript.delta", "output_audio_transcript.done"):
        reply.take({"type": f"response.{kind}", "delta": None, "transcript": None})
    assert reply.rest() is None


async def test_news_of_an_unknown_type_is_no_failure() -> None:
    with RealtimeServer(fault=Fault.NEWS) as server:
        result = await run(server)
    assert result.error is None


async def test_a_reply_counts_although_the_user_was_not_understood() -> None:
    with RealtimeServer(fault=Fault.UNHEARD) as server:
        result = await run(server)
    assert result.error is None
    assert profile(result)["transcript"] == ""
    assert profile(result)["transcript_missing"] == "The audio was not understood."


async def test_nothing_is_written_down_where_that_is_switched_off() -> None:
    with RealtimeServer() as server:
        result = await run(server, transcription="")
    assert result.error is None
    assert profile(result)["transcript"] == ""
    assert "transcript_missing" not in profile(result)
    assert "transcription" not in server.received[0]["session"]["audio"]["input"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (307, errors.ProviderRefused),
        (401, errors.WrongKey),
        (403, errors.WrongKey),
        (404, errors.ProviderRefused),
        (429, errors.RateLimited),
        (503, errors.ProviderFailed),
    ],
)
async def test_a_refused_handshake_says_why_and_not_with_which_key(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[errors.TurnlabError]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusal = json.dumps({"error": {"message": f"No, not with {KEY}"}})
    with RealtimeServer(refuse=status, refusal=refusal) as server:
        result = await run(server)
    assert type(result.error) is error
    assert "No, not with ***" in str(result.error)
    assert KEY not in str(result.error)


async def test_the_key_reaches_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", KEY)
    with RealtimeServer(key=KEY) as server:
        monkeypatch.setenv("TURNLAB_KEYS", f"MY_KEY={server.url.removesuffix('/v1')}")
        by_variable = await run(server, key_variable="MY_KEY")
        by_value = await run(server, api_key=KEY)
    assert by_variable.error is None
    assert by_value.error is None
    records = json.dumps([task.result_json for r in (by_variable, by_value) for task in r.tasks])
    parameters = json.dumps([dict(task.parameters) for task in by_value.tasks])
    told_by_us = [r.getMessage() for r in caplog.records if r.name != "websockets.server"]
    assert not any(KEY in text for text in (records, parameters, repr(by_value), *told_by_us))


async def test_no_file_sends_a_variable_where_the_environment_does_not_let_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET", KEY)
    with RealtimeServer() as server:
        result = await run(server, key_variable="AWS_SECRET")
        assert server.requests == []
    assert isinstance(result.error, errors.MissingKey)
    assert "TURNLAB_KEYS" in str(result.error)


async def test_a_server_on_this_machine_is_asked_past_any_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with RealtimeServer() as server:
            result = await run(server.url.replace("127.0.0.1", "localhost"))
    assert result.error is None


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/v1"
        result = await run(url)
    assert isinstance(result.error, errors.ProviderUnreachable)


async def test_a_server_that_is_no_websocket_server_has_failed() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    other = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with other:
        result = await run(f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/v1")
    assert isinstance(result.error, errors.ProviderFailed)


async def test_a_server_that_does_not_shake_hands_has_timed_out() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}/v1"
        result = await run(url, connect_timeout_s=0.2)
    assert isinstance(result.error, errors.ProviderTimeout)


async def test_an_event_of_any_size_does_not_fill_the_memory() -> None:
    def talk(connection: Any) -> None:
        connection.send(json.dumps({"type": "flood", "text": "x" * 17 * 2**20}))
        connection.recv()

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = await run(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1")
        server.shutdown()
    assert isinstance(result.error, errors.ProviderFailed)
    assert "larger than 16 MiB" in str(result.error)


async def test_a_reply_without_end_is_too_much() -> None:
    with RealtimeServer(Answer(pcm=bytes(24_000 * 2 * 3), deltas=30)) as server:
        result = await run(server, max_speech_s=2)
    assert isinstance(result.error, errors.TooMuchOutput)
    assert server.closed.wait(5)


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert "OPENAI_API_KEY" in " ".join(Voice2Voice.missing(Voice2Voice.check_params({})))
    own = Voice2Voice.check_params({"base_url": "ws://127.0.0.1:9/v1"})
    assert Voice2Voice.missing(own) == []


@pytest.mark.parametrize("url", ["ftp://host/v1", "127.0.0.1:8000", "ws://", "ws://me:pw@host/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.InvalidParams, match="base_url"):
        Voice2Voice.check_params({"base_url": url})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "text", ["Hello there, it is 3.14 today.", " One\nand  two ", "好的。", ""]
)
def test_words_leave_whole_however_they_came(text: str, size: int) -> None:
    words, pieces = Words(), []
    for start in range(0, len(text), size):
        words.add(text[start : start + size])
        pieces.append(words.ready())
    words.end(text)
    pieces.append(words.ready())
    assert " ".join(piece for piece in pieces if piece) == " ".join(text.split())


def test_the_modules_of_the_protocol_need_no_library(tmp_path: Path) -> None:
    code = "import sys, turnlab.realtime_api; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0
