"""What a Module says that its results depend on beside its parameters is pinned."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from turnlab.bench.replay.pins import differences, make_pins
from turnlab.chunks import Chunk, Transcript
from turnlab.clusters.plan import make_plan
from turnlab.modules.base import Module
from turnlab.modules.general_ml import GeneralML
from turnlab.modules.openai_gpt_35 import OpenAIGPT35
from turnlab.modules.openai_speech2text import OpenAISpeech2Text
from turnlab.modules.openai_text2speech import OpenAIText2Speech
from turnlab.modules.registry import Registry
from turnlab.modules.voice2voice import Voice2Voice
from turnlab.prices import VARIABLE
from turnlab.testing import cluster_of

ASKS = (OpenAIGPT35, OpenAISpeech2Text, OpenAIText2Speech, Voice2Voice)
PRICES = '[models.m]\ndate = 2026-11-22\nsource = "a contract"\ninput = {input}\noutput = 2.0\n'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", VARIABLE, "TURNLAB_CODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-to-be-seen")


def pins(module: type[Module], given: tuple[type[Chunk], ...] = (), **params: Any) -> dict:
    given = given or module.consumes
    overrides = {module.task_name: params}
    return make_pins({"A": make_plan(cluster_of(module), Registry([module]), overrides, given)})


@pytest.mark.parametrize("module", ASKS)
def test_the_server_that_the_environment_names_is_pinned_and_no_key(
    module: type[Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pins(module)
    assert before["clusters"]["A"]["components"][0]["pinned"]["server"].startswith("https://api.")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (refused,) = differences(before, pins(module)).refused
    assert refused.endswith("was https://api.openai.com/v1, is http://127.0.0.1:9/v1")
    assert "sk-never" not in json.dumps(before)


def test_the_prices_of_the_user_are_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prices.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    path.write_text(PRICES.format(input=1.0))
    before = pins(OpenAIGPT35)
    assert differences(before, pins(OpenAIGPT35)).refused == []
    path.write_text(PRICES.format(input=1.5))
    (refused,) = differences(before, pins(OpenAIGPT35)).refused
    assert ".pinned.prices was " in refused


def test_a_function_in_a_trusted_folder_is_pinned_by_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.py").write_text("def f(heard): return 1\n")
    monkeypatch.setenv("TURNLAB_CODE", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)  # not where the file lies
    params: Mapping[str, Any] = {"function": "x.py:f", "consumes": ["Transcript"]}
    before = pins(GeneralML, (Transcript,), **params)
    assert differences(before, pins(GeneralML, (Transcript,), **params)).refused == []
    os.utime(tmp_path / "mine" / "x.py", (0, 0))
    assert differences(before, pins(GeneralML, (Transcript,), **params)).refused == []
    (tmp_path / "mine" / "x.py").write_text("def f(heard): return 2\n")
    (refused,) = differences(before, pins(GeneralML, (Transcript,), **params)).refused
    assert ".pinned.x.py was " in refused
