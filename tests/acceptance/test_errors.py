"""What goes wrong is told with a code and a remedy, and exit code 1."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.acceptance.conftest import CLUSTER, Turnlab, turns

pytestmark = pytest.mark.slow


def text_file(folder: Path) -> Path:
    path = folder / "notes.wav"
    path.write_text("this is not audio " * 100)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.wav"
    path.touch()
    return path


def silent_file(folder: Path) -> Path:
    path = folder / "silence.wav"
    soundfile.write(path, np.zeros(48_000), 16_000)
    return path


def no_file(folder: Path) -> Path:
    return folder / "absent.wav"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (text_file, "invalid_audio"),
        (empty_file, "empty_audio"),
        (silent_file, "no_speech"),
        (no_file, "unreadable_file"),
    ],
)
def test_bad_recordings(
    turnlab: Turnlab, tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(make(tmp_path)))
    assert done.returncode == 1
    assert code in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_recording_among_good_ones_is_one_json_object_with_its_error(
    turnlab: Turnlab, questions: list[Path], tmp_path: Path
) -> None:
    files = ("--audio", str(no_file(tmp_path)), "--audio", str(questions[0]))
    done = turnlab("run", "--cluster", CLUSTER, *files, "--json", "--budget", "60")
    bad, good = turns(done)
    assert done.returncode == 1
    assert bad["error"]["code"] == "unreadable_file"
    assert good["status"] == "completed"


def test_the_reply_never_replaces_the_recording(turnlab: Turnlab, questions: list[Path]) -> None:
    before = questions[0].read_bytes()
    same = ("--audio", str(questions[0]), "--out", str(questions[0]))
    done = turnlab("run", "--cluster", CLUSTER, *same)
    assert done.returncode == 1
    assert "output_failed" in done.stderr
    assert questions[0].read_bytes() == before


def test_a_place_for_the_reply_that_is_none_is_told_before_anything_runs(
    turnlab: Turnlab, questions: list[Path]
) -> None:
    done = turnlab(
        "run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--out", "/nope/x.wav"
    )
    assert done.returncode == 1
    assert "output_failed" in done.stderr
    assert turnlab("tracks", "list").stdout == ""


def test_speech_that_is_too_long_for_the_model_has_a_code_and_a_remedy(
    turnlab: Turnlab, questions: list[Path]
) -> None:
    long = "quantization_llm.prompt_template=" + "word " * 3000 + "{text}"
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--set", long)
    assert done.returncode == 1
    assert "prompt_too_long" in done.stdout
    assert "context_tokens" in done.stdout


def test_square_brackets_in_texts_of_the_user_are_shown_as_they_are(
    turnlab: Turnlab, questions: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "inst.toml").write_text(
        'name = "INST"\ndescription = "with [/red] in it"\n'
        '[[component]]\ntask = "speech2text"\n[[component]]\ntask = "quantization_llm"\n'
        'params = { prompt_template = "[INST] {text} [/INST]" }\n[[component]]\n'
        'task = "text2speech"\n'
    )
    folders = ("--clusters", str(tmp_path))
    assert "[/red]" in turnlab("clusters", "show", "INST", *folders).stdout
    asked = ("run", *folders, "--cluster", "INST", "--audio", str(questions[0]), "--budget", "60")
    turn = turns(turnlab(*asked, "--json"))[0]
    assert turnlab("tracks", "show", turn["track_id"]).returncode == 0
    assert turn["track_id"] in turnlab("tracks", "list", COLUMNS="40").stdout


def test_unknown_cluster_names_the_nearest(turnlab: Turnlab, questions: list[Path]) -> None:
    done = turnlab("run", "--cluster", CLUSTER.lower(), "--audio", str(questions[0]))
    assert done.returncode == 1
    assert "unknown_cluster" in done.stderr


def test_misspelt_parameter_names_the_nearest(turnlab: Turnlab, questions: list[Path]) -> None:
    wrong = "quantization_llm.temprature=1"
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--set", wrong)
    assert done.returncode == 1
    assert "invalid_params" in done.stderr
    assert "'temperature'" in done.stderr


def test_misspelt_option_exits_with_1_not_2(turnlab: Turnlab) -> None:
    assert turnlab("run", "--clustre", CLUSTER).returncode == 1


def test_cluster_without_speech(turnlab: Turnlab, questions: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mute.toml").write_text('name = "MUTE"\n[[component]]\ntask = "speech2text"\n')
    folders = ("--clusters", str(tmp_path))
    done = turnlab("run", *folders, "--cluster", "MUTE", "--audio", str(questions[0]))
    assert done.returncode == 1
    assert "cluster_not_runnable" in done.stderr
    assert "text2speech" in done.stderr


def test_missing_model_names_the_path(turnlab: Turnlab, questions: list[Path]) -> None:
    absent = "quantization_llm.model=/nowhere/model.gguf"
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--set", absent)
    assert done.returncode == 1
    assert "missing_model" in done.stderr
    assert "/nowhere/model.gguf" in done.stderr


def test_a_model_that_is_none_fails_with_a_code(
    turnlab: Turnlab, questions: list[Path], tmp_path: Path
) -> None:
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"GGUF" + bytes(1000))
    wrong = f"quantization_llm.model={fake}"
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--set", wrong)
    assert done.returncode == 1
    assert "module_failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_budget_that_is_none(turnlab: Turnlab, questions: list[Path]) -> None:
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--budget", "-1")
    assert done.returncode == 1
    assert "invalid_budget" in done.stderr


def test_other_clusters_are_listed_with_what_they_lack(
    turnlab: Turnlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    rows = {row["name"]: row for row in json.loads(turnlab("clusters", "list", "--json").stdout)}
    assert len(rows) == 8
    assert rows[CLUSTER]["runnable"]
    for name in ("GPT_4O", "GPT_4O_TEXT", "GPT_35", "GPT_35_RAG", "VOICE"):
        row = rows[f"CLUSTER_{name}_ETE_CONVERSATION"]
        assert not row["runnable"]
        assert any("OPENAI_API_KEY" in what for what in row["missing"])
    lacking = rows["CLUSTER_GPT_35_RAG_ETE_CONVERSATION"]["missing"]
    assert any("turnlab rag add" in what for what in lacking)


def test_check_names_file_component_and_remedy(turnlab: Turnlab, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "BAD"\n[[component]]\ntask = "text2speech"\n')
    done = turnlab("clusters", "check", str(path))
    assert done.returncode == 1
    for part in ("invalid_cluster", str(path), "text2speech", "quantization_llm"):
        assert part in done.stderr


def test_no_place_for_records_is_an_error_before_the_turn(
    turnlab: Turnlab, questions: list[Path]
) -> None:
    asked = ("run", "--cluster", CLUSTER, "--audio", str(questions[0]))
    done = turnlab(*asked, TURNLAB_HOME="/dev/full/home")
    assert done.returncode == 1
    assert "recording_failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_an_error_and_no_completed_turn(
    turnlab: Turnlab, home: Path, questions: list[Path]
) -> None:
    assert turnlab("tracks", "list").returncode == 0  # makes the database
    done = subprocess.run(
        [
            *(sys.executable, "-m", "turnlab", "run", "--json"),
            *("--cluster", CLUSTER, "--audio", str(questions[0])),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TURNLAB_HOME": str(home)},
        # No file may grow beyond 20 kB: neither the database nor a sound.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1
    assert "recording_failed" in done.stderr
    assert "completed" not in done.stdout
    assert "Traceback" not in done.stderr
    assert turnlab("tracks", "list").returncode == 0
