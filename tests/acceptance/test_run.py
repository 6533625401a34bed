"""`turnlab run` on real speech through the real local models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
from whisper_normalizer.english import EnglishTextNormalizer

from tests.acceptance.conftest import CLUSTER, Turnlab, turns
from turnlab.packaged import packaged

pytestmark = pytest.mark.slow

SAID = {
    "whats_the_weather_like.wav": "What's the weather like?",
    "jfk.flac": "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country.",
}

KEYS = {
    *("track_id", "cluster", "mode", "status", "transcript", "reply", "speech_s"),
    *("conversation_id", "context", "voice_to_voice_s", "cost_usd"),
    *("spans", "tasks", "verdict", "error"),
}


SHIPPED = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


def word_error_rate(said: str, heard: str) -> float:
    normal = EnglishTextNormalizer()
    return float(jiwer.wer(normal(said), normal(heard)))


@pytest.mark.parametrize("engine", ["moonshine", "faster_whisper"])
def test_transcribes_people_with_less_than_10_percent_word_errors(
    turnlab: Turnlab, recording: Callable[[str], Path], engine: str
) -> None:
    files = [str(recording(name)) for name in SAID]
    audio = [arg for file in files for arg in ("--audio", file)]
    chosen = f"speech2text.engine={engine}"
    done = turnlab("run", "--cluster", CLUSTER, *audio, "--json", "--set", chosen, "--budget", "60")
    assert done.returncode == 0, done.stderr
    for said, turn in zip(SAID.values(), turns(done), strict=True):
        assert word_error_rate(said, turn["transcript"]) < 0.10


def test_transcribes_a_recording_that_a_package_ships(turnlab: Turnlab) -> None:
    file = packaged("moonshine_voice", "assets", "beckett.wav")
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(file), "--json", "--budget", "60")
    assert word_error_rate(SHIPPED, turns(done)[0]["transcript"]) < 0.10


@pytest.mark.parametrize("pace", ["fast", "realtime"])
@pytest.mark.parametrize("mode", ["streamed", "chained"])
def test_spans_are_contiguous_and_sum_to_the_latency(
    turnlab: Turnlab, questions: list[Path], mode: str, pace: str
) -> None:
    audio = [arg for file in questions[:2] for arg in ("--audio", str(file))]
    options = ("--mode", mode, "--pace", pace, "--budget", "60", "--json")
    done = turnlab("run", "--cluster", CLUSTER, *audio, *options)
    assert done.returncode == 0, done.stderr
    for turn in turns(done):
        assert set(turn) == KEYS
        assert turn["mode"] == mode
        spans = turn["spans"]
        assert spans[0]["start_s"] == 0
        assert all(a["end_s"] == b["start_s"] for a, b in pairwise(spans))
        total = sum(span["end_s"] - span["start_s"] for span in spans)
        assert total == pytest.approx(turn["voice_to_voice_s"], abs=0.001)
        assert {task["status"] for task in turn["tasks"]} == {"completed"}


def test_both_modes_give_the_same_words(turnlab: Turnlab, questions: list[Path]) -> None:
    said = []
    for mode in ("streamed", "chained"):
        options = ("--mode", mode, "--budget", "60", "--json")
        done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), *options)
        said += [(turn["transcript"], turn["reply"]) for turn in turns(done)]
    assert said[0] == said[1]
    assert all(said[0])


def test_the_words_that_are_spoken_are_the_words_that_were_written(
    turnlab: Turnlab, questions: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "reply.wav"
    asked = ("run", "--cluster", CLUSTER, "--audio", str(questions[3]))
    first = turns(turnlab(*asked, "--out", str(out), "--json", "--budget", "60"))[0]
    assert soundfile.info(out).duration > 1
    again = turns(
        turnlab("run", "--cluster", CLUSTER, "--audio", str(out), "--json", "--budget", "60")
    )
    # Heard by the transcriber, whose own errors count too.
    assert word_error_rate(first["reply"], again[0]["transcript"]) < 0.25


def test_over_budget_exits_with_2_and_says_so(turnlab: Turnlab, questions: list[Path]) -> None:
    done = turnlab(
        "run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--budget", "0.000001"
    )
    assert done.returncode == 2
    assert "Not acceptable" in done.stdout


PARROT = """
from turnlab.chunks import Reply, Transcript
from turnlab.modules.base import Module


class Parrot(Module):
    \"\"\"Tell what was said before.\"\"\"

    task_name = "parrot"
    consumes, produces = (Transcript,), Reply

    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        said = " ".join(f"{each.text} {each.reply}" for each in context.history)
        yield Reply(text=f"Before: {said or 'nothing.'}")
"""

TALK = """
name = "CLUSTER_PARROT"
component = [{ task = "speech2text" }, { task = "parrot" }, { task = "text2speech" }]
"""


@pytest.fixture
def parrot(tmp_path: Path, questions: list[Path]) -> tuple[str, ...]:
    """Asks something of a Cluster that replies with what it knows of the Conversation."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "parrot.py").write_text(PARROT)
    (mine / "talk.toml").write_text(TALK)
    folders = ("--modules", str(mine), "--clusters", str(mine))
    return ("run", "--cluster", "CLUSTER_PARROT", *folders, "--json", "--audio", str(questions[0]))


def test_a_later_turn_of_a_conversation_knows_the_earlier_one(
    turnlab: Turnlab, parrot: tuple[str, ...]
) -> None:
    first, second = turns(turnlab(*parrot, *parrot[-2:], "--conversation"))
    assert first["reply"] == "Before: nothing."
    assert second["reply"] == f"Before: {first['transcript']} Before: nothing."
    assert first["conversation_id"] == second["conversation_id"]


def test_a_conversation_is_gone_on_with_in_another_command(
    turnlab: Turnlab, parrot: tuple[str, ...]
) -> None:
    (first,) = turns(turnlab(*parrot, "--conversation"))
    known = first["conversation_id"]
    (second,) = turns(turnlab(*parrot, "--continue", known))
    assert second["conversation_id"] == known
    assert second["reply"] == f"Before: {first['transcript']} Before: nothing."
    shown = json.loads(turnlab("conversations", "show", known, "--json").stdout)
    said = [{"text": turn["transcript"], "reply": turn["reply"]} for turn in (first, second)]
    assert shown["exchanges"] == said
    listed = json.loads(turnlab("conversations", "list", "--json").stdout)
    assert (listed["id"], listed["tracks"]) == (known, 2)


def test_turns_know_nothing_of_each_other_by_default(
    turnlab: Turnlab, parrot: tuple[str, ...]
) -> None:
    found = turns(turnlab(*parrot, *parrot[-2:]))
    assert [turn["reply"] for turn in found] == ["Before: nothing."] * 2
    assert [turn["conversation_id"] for turn in found] == [None, None]


def test_a_conversation_that_is_not_there_is_refused(
    turnlab: Turnlab, questions: list[Path]
) -> None:
    asked = ("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--continue", "C-7")
    done = turnlab(*asked)
    assert done.returncode == 1
    assert "unknown_conversation" in done.stderr


@pytest.fixture
def long_recording(questions: list[Path], tmp_path: Path) -> Path:
    pieces = []
    for question in questions * 6:
        samples, rate = soundfile.read(question, dtype="float32")
        pieces += [samples, np.zeros(rate, dtype=np.float32)]
    path = tmp_path / "long.flac"
    soundfile.write(path, np.concatenate(pieces), rate)
    assert soundfile.info(path).duration > 60
    return path


def test_a_recording_longer_than_a_minute(turnlab: Turnlab, long_recording: Path) -> None:
    asked = ("run", "--cluster", CLUSTER, "--audio", str(long_recording))
    done = turnlab(*asked, "--json", "--budget", "60")
    assert done.returncode == 0, done.stderr
    heard = turns(done)[0]["transcript"].lower()
    assert heard.count("capital of france") >= 5


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("how", [("--pace", "realtime"), ("--mode", "chained")])
def test_ctrl_c_leaves_records_that_say_cancelled(
    turnlab: Turnlab, home: Path, long_recording: Path, how: tuple[str, str], asked: signal.Signals
) -> None:
    command = ["-m", "turnlab", "run", "--cluster", CLUSTER, *how]
    process = subprocess.Popen(
        [sys.executable, *command, "--audio", str(long_recording)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TURNLAB_HOME": str(home)},
        # What a shell starts in the background, such as these tests, ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (rows := tracks(turnlab)):
        assert process.poll() is None
    process.send_signal(asked)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "cancelled" in said
    assert [row["status"] for row in tracks(turnlab)] == ["cancelled"]
    shown = json.loads(turnlab("tracks", "show", rows[0]["track_id"], "--json").stdout)
    assert "cancelled" in {task["status"] for task in shown["tasks"]}
    assert not {task["status"] for task in shown["tasks"]} & {"pending", "started"}


def tracks(turnlab: Turnlab) -> list[dict[str, Any]]:
    return [json.loads(line) for line in turnlab("tracks", "list", "--json").stdout.splitlines()]


def test_a_reply_that_is_too_long_ends_with_a_sentence(
    turnlab: Turnlab, questions: list[Path]
) -> None:
    asked = ("run", "--cluster", CLUSTER, "--audio", str(questions[1]), "--json", "--budget", "60")
    reply = turns(turnlab(*asked))[0]["reply"]
    assert len(reply.split()) > 15
    assert reply.endswith((".", "!", "?"))


def test_a_past_turn_can_be_looked_at(turnlab: Turnlab, questions: list[Path]) -> None:
    asked = ("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--json", "--budget", "60")
    turn = turns(turnlab(*asked))[0]
    shown = json.loads(turnlab("tracks", "show", turn["track_id"], "--json").stdout)
    assert shown["voice_to_voice_s"] == turn["voice_to_voice_s"]
    assert shown["last_voiced_s"] > 0
    kinds = {content["kind"]: content["text"] for content in shown["contents"]}
    assert set(kinds) == {"DataAudio", "DataText", "ResText", "ResSpeech"}
    assert kinds["DataText"] == turn["transcript"]
    assert kinds["ResText"] == turn["reply"]
    for task in shown["tasks"]:
        profile = task["result_json"]["latency_profile"]
        assert {"ts_created", "ts_claimed", "ts_first_input", "ts_first_output", "ts_end"} <= set(
            profile
        )
        assert any(key.startswith("model_") for key in profile)
    page = turnlab("tracks", "show", turn["track_id"]).stdout
    assert turn["transcript"] in page
