"""The OpenAI-compatible endpoints on the real local models, and one Turnlab served by another."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import soundfile

from turnlab.bench.questions import make_questions
from turnlab.testing.service import Served, served

pytestmark = pytest.mark.slow

NAMES = "whisper-1=speech2text, gpt-4o-mini=quantization_llm, tts-1=text2speech"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the local models, which OpenAI's names stand for too."""
    home = tmp_path_factory.mktemp("openai") / "home"
    env = {"TURNLAB_OPENAI_MODELS": NAMES, "OPENAI_API_KEY": ""}
    with served(home, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Served) -> str:
    """A client's token."""
    return server.token("client")


@pytest.fixture(scope="module")
def client(server: Served, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_the_local_models_are_listed(client):
    found = {model.id for model in client.models.list()}
    assert {"speech2text", "quantization_llm", "text2speech"} <= found
    assert {"CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION", "whisper-1"} <= found
    assert "openai_gpt_35" not in found  # nobody set a key for it


def test_what_one_model_says_another_understands(client):
    speech = client.audio.speech.create(
        model="text2speech", voice="alloy", input="The cat is on the roof.", response_format="wav"
    )
    file = ("speech.wav", io.BytesIO(speech.content))
    heard = client.audio.transcriptions.create(model="speech2text", file=file, language="en")
    assert "cat is on the roof" in heard.text.lower()


def test_pcm_has_openais_rate(client):
    fields = {"model": "text2speech", "voice": "alloy", "input": "The cat is on the roof."}
    wav = client.audio.speech.create(**fields, response_format="wav").content
    pcm = client.audio.speech.create(**fields, response_format="pcm").content
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert len(pcm) / 2 / 24_000 == pytest.approx(len(samples) / rate, rel=0.2)


def test_a_chat_goes_on(client):
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    first = client.chat.completions.create(model="quantization_llm", messages=messages)
    assert "Paris" in first.choices[0].message.content
    assert first.choices[0].finish_reason in ("stop", "length")
    messages += [first.choices[0].message, {"role": "user", "content": "And of Italy?"}]
    stream = client.chat.completions.create(
        model="quantization_llm", messages=messages, stream=True, max_tokens=20
    )
    words = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert len([word for word in words if word]) > 2


def test_a_cluster_transcribes_and_replies(client, tmp_path):
    name = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
    question = make_questions(tmp_path, 1)[0]
    heard = client.audio.transcriptions.create(model=name, file=question)
    assert "capital of France" in heard.text
    messages = [{"role": "user", "content": heard.text}]
    reply = client.chat.completions.create(model=name, messages=messages)
    assert "Paris" in reply.choices[0].message.content


def test_a_gpt_cluster_of_one_turnlab_runs_on_another(server, key, tmp_path):
    question = make_questions(tmp_path, 1)[0]
    cluster = "CLUSTER_GPT_35_ETE_CONVERSATION"
    done = run(tmp_path, server, key, "--cluster", cluster, "--audio", str(question))
    turn = json.loads(done.stdout)
    assert done.returncode in (0, 2), done.stderr  # 2: over its budget
    assert "capital of France" in turn["transcript"]
    assert "Paris" in turn["reply"]
    assert turn["voice_to_voice_s"] > 0


def run(home: Path, server: Served, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`turnlab run` with `server` in the place of OpenAI."""
    env = {
        **os.environ,
        "TURNLAB_HOME": str(home / "client"),
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": key,
    }
    command = [sys.executable, "-m", "turnlab", "run", "--json", *options]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=120
    )
