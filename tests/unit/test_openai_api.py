from __future__ import annotations

import asyncio
import base64
import logging
import struct
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from turnlab.chunks import Image
from turnlab.errors import (
    EmptyReply,
    InvalidImage,
    InvalidParams,
    MissingKey,
    PromptTooLong,
    ProviderFailed,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    TurnlabError,
    WrongKey,
)
from turnlab.openai_api import (
    ChatAnswer,
    Clients,
    Provider,
    ProviderParams,
    Stopwatch,
    data_url,
    missing_provider,
    picture_part,
    stream_chat,
)
from turnlab.openai_api.params import server_of
from turnlab.openai_api.sound import Sounds
from turnlab.prices import Usage
from turnlab.profiles import LatencyProfile
from turnlab.testing.openai_server import Half, Hang, OpenAIServer, Redirect, Refuse, Send

KEY = "sk-a-secret-key-1234567890"
QUESTION = [{"role": "user", "content": "What is the weather like?"}]
EVENTS = "text/event-stream"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_KEYS", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as serving:
        yield serving


def params_for(server: OpenAIServer, **given: Any) -> ProviderParams:
    return ProviderParams(**{"base_url": server.base_url, "max_retries": 0, **given})


async def asked(params: ProviderParams, clients: Clients | None = None, **request: Any) -> str:
    """The reply to the question."""
    answer = ChatAnswer()
    provider = (clients or Clients(params)).of(params)
    chat = stream_chat(provider, answer, model="gpt-4o", messages=QUESTION, **request)
    async with aclosing(chat) as pieces:
        said = "".join([piece async for piece in pieces])
    assert said == answer.text
    return said


async def test_a_reply_comes_in_pieces_with_what_it_used(server: OpenAIServer) -> None:
    params, answer = params_for(server), ChatAnswer()
    provider = Clients(params).of(params)
    chat = stream_chat(provider, answer, model="m", messages=QUESTION, max_tokens=9)
    pieces = [piece async for piece in chat]
    assert "".join(pieces) == server.reply
    assert len(pieces) > 5
    assert answer.usage == Usage(input_tokens=5, cached_input_tokens=2, output_tokens=len(pieces))
    assert answer.finish_reason == "stop"
    sent = server.requests("chat")[0].fields
    assert sent["messages"] == QUESTION
    assert sent["max_tokens"] == 9
    assert "temperature" not in sent, "some models refuse it"


async def test_further_fields_are_sent_as_they_are(server: OpenAIServer) -> None:
    await asked(params_for(server), extra={"seed": 7, "reasoning_effort": "none"}, temperature=0.5)
    sent = server.requests("chat")[0].fields
    assert (sent["seed"], sent["reasoning_effort"], sent["temperature"]) == (7, "none", 0.5)


async def test_only_openai_gets_the_new_name_of_the_limit_and_its_list_prices(
    server: OpenAIServer,
) -> None:
    params = params_for(server)
    local = Clients(params).of(params)
    openai = Provider(
        server=server_of(ProviderParams(api_key=KEY)), client=local.client, prices=local.prices
    )
    answer = ChatAnswer()
    async for _ in stream_chat(openai, answer, model="gpt-4o", messages=QUESTION, max_tokens=9):
        pass
    assert server.requests("chat")[0].fields["max_completion_tokens"] == 9
    assert openai.bill("gpt-4o", answer.usage)["cost_usd"] > 0
    assert local.bill("gpt-4o", answer.usage)["cost_usd"] is None


MISDEEDS = {
    "401": (Refuse(401, "Bad key"), MissingKey, "key_variable"),
    "403": (Refuse(403), MissingKey, "403"),
    "404": (Refuse(404, "The model `x` does not exist"), ProviderRefused, "model `x` does not"),
    "400": (Refuse(400, "No such field"), ProviderRefused, "No such field"),
    "413": (Refuse(413, "Too large"), ProviderRefused, "Too large"),
    "429": (Refuse(429, "Slow down"), RateLimited, "Slow down"),
    "500": (Refuse(500, "Oh dear"), ProviderFailed, "Oh dear"),
    "502 page": (Send(b"<html>Bad gateway</html>", status=502), ProviderFailed, "no reason given"),
    "too long": (Refuse(400, "Too long", "context_length_exceeded"), PromptTooLong, "Too long"),
    "hangs": (Hang(), ProviderTimeout, "said nothing for 0.2 s"),
    "hangs midway": (Hang(2), ProviderTimeout, "said nothing for 0.2 s"),
    "half, nothing": (Half(0), ProviderFailed, "closed the connection"),
    "half": (Half(3), ProviderFailed, "closed the connection"),
    "half, unframed": (Half(3, framed=False), ProviderFailed, "in the middle"),
    "a page": (Send(b"<html>Welcome</html>"), ProviderFailed, "check that base_url"),
    "JSON": (Send(b'{"choices": []}', "application/json"), ProviderFailed, "sent no reply"),
    "bad JSON": (Send(b"data: {oh\n\n", EVENTS), ProviderFailed, "no answer"),
    "no UTF-8": (Send(b"data: \xff\xfe\n\n", EVENTS), ProviderFailed, "no answer"),
    "a number": (Send(b"data: 5\n\n", EVENTS), ProviderFailed, "no part of a chat"),
    "odd choices": (Send(b'data: {"choices": [5]}\n\n', EVENTS), ProviderFailed, "no part of"),
    "error event": (
        Send(b'data: {"error": {"message": "full"}}\n\n', EVENTS),
        ProviderFailed,
        "full",
    ),
}


@pytest.mark.parametrize("name", MISDEEDS)
async def test_what_goes_wrong_has_a_code_and_the_providers_reason(
    server: OpenAIServer, name: str
) -> None:
    misdeed, error, says = MISDEEDS[name]
    server.misbehave("chat", misdeed)
    with pytest.raises(error, match=says) as caught:
        await asked(params_for(server, request_timeout_s=0.2 if isinstance(misdeed, Hang) else 30))
    assert type(caught.value) is error


async def test_a_reply_without_a_word_is_an_error(server: OpenAIServer) -> None:
    server.reply = ""
    with pytest.raises(EmptyReply):
        await asked(params_for(server))


async def test_a_reply_that_was_withheld_is_an_error(server: OpenAIServer) -> None:
    server.finish_reason = "content_filter"
    with pytest.raises(ProviderRefused, match="withheld"):
        await asked(params_for(server))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"])
async def test_a_server_that_is_not_there(url: str) -> None:
    with pytest.raises(ProviderUnreachable, match="cannot be reached"):
        await asked(ProviderParams(base_url=url, max_retries=0))


async def test_what_fails_for_now_is_sent_again(server: OpenAIServer) -> None:
    params = params_for(server, max_retries=2)
    server.misbehave("chat", Refuse(503), Refuse(429), Send(b"data: [DONE]\n\n", EVENTS))
    with pytest.raises(ProviderFailed, match="sent no reply"):
        await asked(params)
    assert len(server.requests("chat")) == 3


async def test_connections_are_kept_from_request_to_request(server: OpenAIServer) -> None:
    params = params_for(server)
    clients = Clients(params)
    for _ in range(3):
        await asked(params, clients)
    assert len({each.connection for each in server.asked}) == 1


async def test_a_connection_is_opened_ahead_once(server: OpenAIServer) -> None:
    params = params_for(server)
    clients = Clients(params)
    provider = clients.of(params)
    async with provider.opened_ahead() as opening:
        assert opening
        await opening
    await asked(params, clients)
    async with provider.opened_ahead() as opening:
        assert opening is None
    assert len(server.requests("models")) == 1, "it was used just now"
    assert len({each.connection for each in server.asked}) == 1


async def test_no_connection_is_opened_ahead_where_that_is_not_wanted(server: OpenAIServer) -> None:
    params = params_for(server)
    async with Clients(params).of(params).opened_ahead(False) as opening:
        assert opening is None
    assert not server.asked


async def test_a_server_that_refuses_its_list_of_models_still_replies(server: OpenAIServer) -> None:
    server.misbehave("models", Refuse(404))
    params = params_for(server)
    async with Clients(params).of(params).opened_ahead() as opening:
        assert opening
        await opening
        assert await asked(params) == server.reply


def test_one_loaded_module_serves_one_event_loop_after_the_other(server: OpenAIServer) -> None:
    params = params_for(server)
    clients = Clients(params)
    for _ in range(2):
        assert asyncio.run(asked(params, clients)) == server.reply
    clients.close()


async def test_closing_frees_the_connections(server: OpenAIServer) -> None:
    params = params_for(server)
    clients = Clients(params)
    await asked(params, clients)
    client = clients.of(params).client
    await asyncio.to_thread(clients.close)
    assert client.is_closed()


async def test_leaving_a_reply_closes_its_connection(server: OpenAIServer) -> None:
    server.piece_s = 0.01
    server.reply = "word " * 1000
    params = params_for(server)
    chat = stream_chat(Clients(params).of(params), ChatAnswer(), model="m", messages=QUESTION)
    async with aclosing(chat) as pieces:
        async for _ in pieces:
            break
    assert await asyncio.to_thread(server.left.wait, 10)


async def test_a_server_that_hangs_can_be_left_at_once(server: OpenAIServer) -> None:
    server.misbehave("chat", Hang())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asked(params_for(server, request_timeout_s=300))


def test_openai_without_a_key_is_missing_one() -> None:
    assert any("OPENAI_API_KEY is not set" in what for what in missing_provider(ProviderParams()))
    with pytest.raises(MissingKey):
        server_of(ProviderParams())


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert missing_provider(ProviderParams(base_url="http://gpu.example:8000/v1")) == []


def test_a_variable_that_is_named_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLAB_KEYS", "MY_KEY=http://gpu.example")
    params = ProviderParams(base_url="http://gpu.example/v1", key_variable="MY_KEY")
    assert any("MY_KEY is not set" in what for what in missing_provider(params))


FOREIGN = "https://somebody.example/v1"
OWN = {"OPENAI_BASE_URL": "https://proxy.example/v1", "MINE": "mine"}


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        ({}, {}, KEY),
        ({"key_variable": "MINE"}, {"MINE": "mine"}, "mine"),
        ({"base_url": "https://api.openai.com/v1", "key_variable": "MINE"}, OWN, "mine"),
        ({}, OWN, KEY),
        ({"base_url": "https://proxy.example:443/v1/"}, OWN, KEY),
        ({"base_url": "https://proxy.example/v2", "key_variable": "MINE"}, OWN, "mine"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, {}, KEY),
        ({"base_url": "http://localhost:8000/v1"}, {}, KEY),
        ({"base_url": "http://[::1]:8000/v1", "key_variable": "OPENAI_API_KEY"}, {}, KEY),
        ({"base_url": FOREIGN}, {}, None),
        ({"base_url": "http://proxy.example/v1"}, OWN, None),
        ({"base_url": "https://proxy.example:8443/v1"}, OWN, None),
        ({"base_url": "https://api.openai.com.somebody.example/v1"}, {}, None),
        ({"base_url": FOREIGN, "api_key": "given"}, {}, "given"),
        ({"base_url": FOREIGN}, {"TURNLAB_KEYS": "OPENAI_API_KEY=https://somebody.example"}, KEY),
        (
            {"base_url": FOREIGN, "key_variable": "MINE"},
            {"TURNLAB_KEYS": "A=http://a  MINE=wss://somebody.example:443/", "MINE": "mine"},
            "mine",
        ),
        (
            {"base_url": "http://localhost:8000/v1", "key_variable": "MINE"},
            {"TURNLAB_KEYS": "MINE=http://localhost:8000", "MINE": "mine"},
            "mine",
        ),
    ],
)
def test_a_key_goes_where_the_environment_lets_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], environment: dict[str, str], sent: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert server_of(ProviderParams(**given)).key == sent


@pytest.mark.parametrize(
    ("url", "variable", "allowed"),
    [
        (FOREIGN, "OPENAI_API_KEY", ""),
        (FOREIGN, "AWS_SECRET", ""),
        (FOREIGN, "NOT_SET_AT_ALL", ""),
        (FOREIGN, "AWS_SECRET", "OTHER=https://somebody.example"),
        (FOREIGN, "AWS_SECRET", "AWS_SECRET=http://somebody.example"),
        (FOREIGN, "AWS_SECRET", "AWS_SECRET=https://somebody.example:8443"),
        ("http://127.0.0.1:8000/v1", "AWS_SECRET", "AWS_SECRET=http://127.0.0.1:8001"),
    ],
)
def test_no_file_sends_a_variable_where_the_environment_does_not_let_it(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, allowed: str
) -> None:
    for name, value in (("OPENAI_API_KEY", KEY), ("AWS_SECRET", "s3cr3t")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TURNLAB_KEYS", allowed)
    params = ProviderParams(base_url=url, key_variable=variable)
    origin = url.removesuffix("/v1")
    with pytest.raises(MissingKey, match=f"add {variable}={origin} to TURNLAB_KEYS"):
        server_of(params)
    assert any("TURNLAB_KEYS" in what for what in missing_provider(params))


@pytest.mark.parametrize(
    "listed", [KEY, f"GPU_KEY={KEY}", "GPU_KEY=http://gpu.example/v1", "A=http://a:99999"]
)
def test_a_list_of_keys_that_is_wrong_is_told_without_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    monkeypatch.setenv("TURNLAB_KEYS", f"FINE=http://fine.example {listed}")
    with pytest.raises(InvalidParams, match="TURNLAB_KEYS: entry 2") as caught:
        server_of(ProviderParams(base_url=FOREIGN, key_variable="GPU_KEY"))
    assert KEY not in caught.value.message


@pytest.mark.parametrize("named", [False, True])
async def test_what_the_environment_says_for_openai_goes_to_no_other_server(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Secret: {KEY}\nAuthorization: Bearer {KEY}")
    if named:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    await asked(params_for(server, api_key="given"))
    headers = server.requests("chat")[0].headers
    assert (headers.get("x-secret") == KEY) is named
    assert (headers.get("openai-organization") == "org-mine") is named
    assert (headers.get("openai-project") == "project-mine") is named
    if not named:
        assert headers["authorization"] == "Bearer given"
        assert not [value for value in headers.values() if KEY in value]


async def test_a_server_on_this_machine_is_asked_past_any_proxy(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer() as proxy:
        address = proxy.base_url.removesuffix("/v1")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, address)
        assert await asked(params_for(server)) == server.reply
        assert not proxy.asked
    assert len(server.requests("chat")) == 1


async def test_no_server_sends_what_is_said_to_another(server: OpenAIServer) -> None:
    with OpenAIServer() as other:
        server.misbehave("chat", Redirect(f"{other.base_url}/chat/completions"))
        with pytest.raises(ProviderRefused, match=r"307.*base_url"):
            await asked(params_for(server, api_key=KEY))
        assert not other.asked


async def test_a_second_server_is_made_ready_in_a_thread(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = params_for(server), params_for(server, api_key="another")
    clients = await asyncio.to_thread(Clients, first)
    await asyncio.to_thread(clients.warm, first)
    await asyncio.to_thread(clients.warm, second)

    def make(self: Clients, server: Any) -> None:
        raise AssertionError("made on the event loop")

    monkeypatch.setattr(Clients, "_made", make)
    for params in (first, second):
        assert await asked(params, clients) == server.reply
        await asyncio.to_thread(clients.warm, params)


class Ticks:
    """A clock that stands still until it is moved."""

    now_s = 0.0

    def now(self) -> float:
        return self.now_s

    async def sleep_until(self, moment_s: float) -> None:
        raise AssertionError


def test_the_time_that_a_piece_waits_for_its_reader_is_not_the_models() -> None:
    clock = Ticks()
    latency = LatencyProfile(clock)
    watch = Stopwatch(latency, clock, "first_token")
    for _ in range(3):
        clock.now_s += 1
        with watch.handing_on():
            clock.now_s += 100
    clock.now_s += 1
    watch.end()
    assert latency.as_json(0) == {"model_first_token": 1, "model_stream": 3}


def test_pieces_that_are_handed_on_at_once_are_one_interval() -> None:
    clock = Ticks()
    latency = LatencyProfile(clock)
    watch = Stopwatch(latency, clock, "transcribe", then="transcribe")
    for _ in range(1000):
        clock.now_s += 1
        with watch.handing_on():
            pass
    watch.end()
    assert latency.as_json(0) == {"model_transcribe": 1000}
    assert len(latency.intervals) == 2


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host:8000",
        "http://",
        "http://host:99999/v1",
        "http://user:" + KEY + "@host/v1",
        "https://host/v1?key=" + KEY,
        "http://api.openai.com/v1",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        ProviderParams(base_url=url)
    assert KEY not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    told = missing_provider(ProviderParams())
    assert any("OPENAI_BASE_URL" in what for what in told)
    assert KEY not in " ".join(told)


async def test_no_key_in_errors_logs_or_records(
    server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.key = "another"  # it answers with the whole key that it was sent
    params = params_for(server, api_key=KEY)
    clients = Clients(params)
    with pytest.raises(WrongKey) as caught:
        await asked(params, clients)
    assert "***" in caught.value.message
    told = [caught.value.message, repr(caught.value), repr(params), params.model_dump_json()]
    told += [repr(clients.of(params)), repr(server_of(params)), caplog.text]
    assert not [text for text in told if KEY in text]


async def test_two_keys_are_not_mixed(server: OpenAIServer) -> None:
    one, other = params_for(server, api_key="one"), params_for(server, api_key="other")
    clients = Clients(one)
    for params in (one, other, one):
        await asked(params, clients)
    sent = [each.headers["authorization"] for each in server.requests("chat")]
    assert sent == ["Bearer one", "Bearer other", "Bearer one"]


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = bytes.fromhex("ffd8 ffc0 000b 08 0001 0001 01 01 11 00 ffda 0002 ffd9")
GIF = b"GIF89a" + bytes((1, 0, 1, 0))
WEBP = b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f" + bytes(5)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (WEBP, "image/webp"),
    ],
)
def test_a_picture_is_sent_as_what_it_is(data: bytes, media_type: str) -> None:
    part = picture_part(Image(data=data, media_type=media_type), "low")
    assert part["image_url"]["url"].startswith(f"data:{media_type};base64,")
    assert part["image_url"]["detail"] == "low"


@pytest.mark.parametrize(
    "image",
    [
        Image(data=b"<svg/>", media_type="image/svg+xml"),
        Image(data=b"", media_type="image/png"),
        Image(data=b"RIFF" + bytes(4) + b"WAVE", media_type="image/webp"),
        Image(data=PNG, media_type="image/jpeg"),
        Image(data=PNG + bytes(21 * 2**20), media_type="image/png"),
    ],
    ids=["svg", "empty", "sound", "called wrongly", "too large"],
)
def test_what_is_no_picture_is_refused(image: Image) -> None:
    with pytest.raises(InvalidImage):
        data_url(image)


SAMPLES = np.arange(-500, 500, dtype="<i2")


def wav(data: bytes, *, rate: int = 22_050, bits: int = 16, length: int | None = None) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, bits // 8, bits)
    extra = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    size = len(data) if length is None else length
    return b"RIFF\0\0\0\0WAVE" + form + extra + b"data" + struct.pack("<I", size) + data


def heard(server: OpenAIServer, data: bytes, piece: int, kind: str = "audio/pcm") -> Sounds:
    params = params_for(server)
    sounds = Sounds(Provider(server=server_of(params), client=None, prices=None), 24_000)  # type: ignore[arg-type]
    sounds.expect(kind)
    parts = [sounds.add(data[at : at + piece]) for at in range(0, len(data), piece)]
    sounds.end()
    assert np.concatenate(parts) == pytest.approx(SAMPLES / 32768)
    return sounds


@pytest.mark.parametrize("piece", [1, 3, 7, 1000, 10_000])
def test_samples_come_whole_however_they_are_cut(server: OpenAIServer, piece: int) -> None:
    assert heard(server, SAMPLES.tobytes(), piece).sample_rate == 24_000
    after = b"LIST" + bytes(20)
    assert heard(server, wav(SAMPLES.tobytes()) + after, piece).sample_rate == 22_050
    assert heard(server, wav(SAMPLES.tobytes(), length=0xFFFFFFFF), piece).sample_rate == 22_050


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"<html>", "text/html; charset=utf-8", "text/html"),
        (b'{"error": 1}', "application/json", "application/json"),
        (b"ID3\x04" + bytes(100), "audio/pcm", "MP3"),
        (b"\xff\xfb\x90\x00" + bytes(100), "audio/mpeg", "MP3"),
        (b"OggS" + bytes(100), "audio/pcm", "Ogg"),
        (wav(bytes(100), bits=8), "audio/wav", "not 16-bit mono"),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\xff\xff\xff\x7f" + bytes(100), "audio/wav", "do not begin"),
        (wav(b""), "audio/wav", "no sound"),
        (b"", "audio/pcm", "no sound"),
    ],
)
def test_what_is_no_sound_is_refused(
    server: OpenAIServer, data: bytes, kind: str, says: str
) -> None:
    with pytest.raises(TurnlabError, match=says) as caught:
        heard(server, data, 64, kind)
    assert caught.value.code == "provider_failed"


@pytest.mark.parametrize("key", ["sk-\u00fcSECRET", "sk-a\nSECRET", "sk-\x00SECRET"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"OPENAI_API_KEY": key})
    (told,) = missing_provider(ProviderParams())
    assert "OPENAI_API_KEY" in told
    assert "SECRET" not in told


def test_white_space_around_a_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-mine\r\n")
    assert server_of(ProviderParams()).key == "sk-mine"
