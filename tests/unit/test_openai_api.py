from __future__ import annotations

import asyncio
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
    data_url,
    missing_provider,
    picture_part,
    stream_chat,
)
from turnlab.openai_api.params import server_of
from turnlab.openai_api.sound import Sounds
from turnlab.prices import Usage
from turnlab.testing.openai_server import Half, Hang, OpenAIServer, Refuse, Send

KEY = "sk-a-secret-key-1234567890"
QUESTION = [{"role": "user", "content": "What is the weather like?"}]
EVENTS = "text/event-stream"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_PRICES"):
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


def test_a_variable_that_is_named_must_be_set() -> None:
    params = ProviderParams(base_url="http://gpu.example/v1", key_variable="MY_KEY")
    assert any("MY_KEY is not set" in what for what in missing_provider(params))


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        ({}, {}, KEY),
        ({}, {"OPENAI_BASE_URL": "https://proxy.example/v1"}, KEY),
        ({"base_url": "http://127.0.0.1:8000/v1"}, {}, KEY),
        ({"base_url": "http://localhost:8000/v1"}, {}, KEY),
        (
            {"base_url": "https://proxy.example/v1/"},
            {"OPENAI_BASE_URL": "https://proxy.example/v1"},
            KEY,
        ),
        ({"base_url": "https://somebody.example/v1"}, {}, None),
        ({"base_url": "https://api.openai.com.somebody.example/v1"}, {}, None),
        ({"base_url": "https://somebody.example/v1", "key_variable": "OPENAI_API_KEY"}, {}, KEY),
        ({"base_url": "https://somebody.example/v1", "key_variable": "MINE"}, {"MINE": "m"}, "m"),
        ({"base_url": "https://somebody.example/v1", "api_key": "given"}, {}, "given"),
    ],
)
def test_a_key_goes_only_where_it_was_meant_to(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], environment: dict[str, str], sent: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert server_of(ProviderParams(**given)).key == sent


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


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
WEBP = b"RIFF" + bytes(4) + b"WEBP" + bytes(8)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
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
