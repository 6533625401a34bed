"""What a user adds works; what is wrong with it is told, and stops nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import CLUSTER, Turnlab, turns
from tests.acceptance.test_docs import _FILE, commands

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "voice-cluster.md"
VOICE = "CLUSTER_VOICE_ETE_CONVERSATION"

ECHO = """
from turnlab.chunks import Audio, Speech
from turnlab.modules.base import Module


class Echo(Module):
    task_name, consumes, produces = "{task_name}", (Audio,), Speech

    async def run(self, inputs, context):
        heard = await inputs.whole(Audio)
        with context.latency.model("echo"):
            {body}
        yield Speech(samples=heard.samples, sample_rate=heard.sample_rate, text="hello")
"""


def echo(folder: Path, task_name: str, body: str = "pass", limit_s: float = 1) -> None:
    """Write a Module that gives back what it heard, and a Cluster of it."""
    text = ECHO.format(task_name=task_name, body=body)
    (folder / f"{task_name}.py").write_text(text)
    (folder / f"{task_name}.toml").write_text(
        f'name = "{task_name.upper()}"\n'
        f'[[component]]\ntask = "{task_name}"\ntimeout_s = {limit_s}\n'
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of Modules and Clusters that holds a good one of each."""
    mine = tmp_path / "mine"
    mine.mkdir()
    echo(mine, "good")
    return mine


def asked(folder: Path, cluster: str, audio: Path) -> tuple[str, ...]:
    folders = ("--modules", str(folder), "--clusters", str(folder))
    return ("run", *folders, "--cluster", cluster, "--audio", str(audio), "--json")


# The tutorial


@pytest.fixture
def reader(tmp_path: Path, questions: list[Path]) -> Path:
    """The checkout of a reader of the tutorial who has written its files."""
    asked = tmp_path / "turnlab-demo" / "questions"
    asked.mkdir(parents=True)
    for question in questions:
        shutil.copy(question, asked)
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    for path, text in _FILE.findall(TUTORIAL.read_text()):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_the_tutorial_needs_three_files_of_less_than_60_lines(reader: Path) -> None:
    written = sorted(path for path in reader.glob("my-*/*") if path.is_file())
    assert [path.name for path in written] == ["voice.toml", "image2text.py", "voice2voice.py"]
    lines = sum(len(path.read_text().splitlines()) for path in written)
    assert lines < 60
    assert f"with {lines} lines together" in TUTORIAL.read_text()


def test_the_tutorial_ends_with_a_reply_that_tells_what_was_seen(
    turnlab: Turnlab, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reader)
    for command in commands(TUTORIAL):
        assert command[:2] == ["./run", "turnlab"]
        done = turnlab(*command[2:])
        assert done.returncode in (0, 2), f"{command}: {done.stderr}"
    track = json.loads(turnlab("tracks", "list", "--json").stdout)
    shown = json.loads(turnlab("tracks", "show", track["track_id"], "--json").stdout)
    assert {task["status"] for task in shown["tasks"]} == {"completed"}
    said = {task["task_name"]: task["result_json"]["result_profile"] for task in shown["tasks"]}
    assert said["image2text"]["text"] == "a wide picture of 192 by 128 pixels"
    assert re.match(r"You spoke for [1-9]\.\d seconds and", said["voice2voice"]["text"])
    assert (reader / "reply.wav").stat().st_size > 10_000


def test_the_tutorials_modules_keep_the_contract(reader: Path, tmp_path: Path) -> None:
    (reader / "test_both.py").write_text(
        """
from pathlib import Path

import numpy as np

from turnlab.chunks import Audio, Caption, Image
from turnlab.modules.registry import find_modules
from turnlab.testing.contract import ModuleContract

HERE = Path(__file__).parent
FOUND = find_modules([HERE / "my-modules"])


class TestImage2Text(ModuleContract):
    module = FOUND.get("image2text")
    inputs = (Image(data=(HERE / "docs/images/meadow.png").read_bytes(), media_type="image/png"),)


class TestVoice2Voice(ModuleContract):
    module = FOUND.get("voice2voice")
    inputs = (
        Audio(samples=np.ones(8_000, np.float32), sample_rate=16_000),
        Caption(text="a cat"),
    )
    deterministic = False
"""
    )
    passes(reader / "test_both.py")


def passes(path: Path) -> None:
    """The tests at `path` pass as they are."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=path.parent,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


# What `new` writes


def test_a_new_module_passes_its_tests_as_it_is(turnlab: Turnlab, tmp_path: Path) -> None:
    to = str(tmp_path / "my-modules")
    for name, reads, makes in (
        ("plain", "Transcript", "Reply"),
        ("painter", "Speech", "Image"),
        ("reader", "Passages", "Audio"),
    ):
        done = turnlab("modules", "new", name, "--to", to, "--reads", reads, "--makes", makes)
        assert done.returncode == 0, done.stderr
    passes(tmp_path / "my-modules")


def test_a_new_module_and_cluster_run_together(
    turnlab: Turnlab, tmp_path: Path, questions: list[Path]
) -> None:
    mine = str(tmp_path / "mine")
    kinds = ("--reads", "Audio", "--makes", "Speech")
    assert turnlab("modules", "new", "parrot", "--to", mine, *kinds).returncode == 0
    new = ("clusters", "new", "PARROT", "--to", mine, "--modules", mine, "--tasks", "parrot")
    assert turnlab(*new).returncode == 0
    done = turnlab(*asked(Path(mine), "PARROT", questions[0]))
    assert done.returncode == 0, done.stderr
    assert turns(done)[0]["status"] == "completed"


def test_a_clusters_file_of_the_seed_is_imported_and_listed(
    turnlab: Turnlab, tmp_path: Path
) -> None:
    (tmp_path / "clusters.py").write_text(
        'MY_NAME = "CLUSTER_MY"\n'
        'MY = {"heard": {"order": 0, "component_type": "task", "task_name": speech2text},\n'
        '      "completed_speech2text": {"order": 1, "component_type": "signal"},\n'
        '      "asked": {"order": 2, "component_type": "task", "task_name": "quantization_llm",\n'
        '                "extra_params": {"prompt_template": """{text}"""}},\n'
        '      "said": {"order": 3, "component_type": "task", "task_name": "text2speech"}}\n'
        "CLUSTERS = {MY_NAME: MY}\n"
    )
    to = str(tmp_path / "mine")
    done = turnlab("clusters", "import", str(tmp_path / "clusters.py"), "--to", to)
    assert done.returncode == 0, done.stderr
    assert "clusters.py:2: speech2text is not defined" in done.stderr
    listed = json.loads(turnlab("clusters", "list", "--json", "--clusters", to).stdout)
    (row,) = [row for row in listed if row["name"] == "CLUSTER_MY"]
    assert (row["runnable"], row["missing"]) == (True, [])


# What is wrong is told, and stops nothing else


def test_a_module_that_cannot_be_imported_stops_only_what_needs_it(
    turnlab: Turnlab, folder: Path, questions: list[Path]
) -> None:
    echo(folder, "broken")
    (folder / "broken.py").write_text("raise SystemExit(3)\n")
    done = turnlab(*asked(folder, "GOOD", questions[0]))
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert "broken.py cannot be imported: SystemExit(3)" in warning
    done = turnlab(*asked(folder, "BROKEN", questions[0]))
    assert done.returncode == 1
    assert "invalid_module" in done.stderr
    folders = ("--modules", str(folder), "--clusters", str(folder))
    rows = {row["name"]: row for row in json.loads(turnlab(*LIST, *folders).stdout)}
    assert "broken.py cannot be imported" in rows["BROKEN"]["missing"][0]
    assert rows["GOOD"]["runnable"]
    shown = json.loads(turnlab("clusters", "show", "BROKEN", "--json", *folders).stdout)
    assert shown["missing"] == rows["BROKEN"]["missing"]
    assert "cannot run here" in turnlab("clusters", "show", "BROKEN", *folders).stdout
    found = turnlab("modules", "list", "--json", "--modules", str(folder))
    assert [row["error"]["code"] for row in json.loads(found.stdout) if row["error"]] == [
        "invalid_module"
    ]
    assert "broken.py" in turnlab("modules", "list", "--modules", str(folder)).stderr


LIST = ("clusters", "list", "--json")


def test_a_cluster_file_that_is_wrong_stops_only_its_own_cluster(
    turnlab: Turnlab, folder: Path, questions: list[Path]
) -> None:
    (folder / "bad.toml").write_text('name = "BAD"\n[[component]]\ntask = good\n')
    done = turnlab(*asked(folder, "GOOD", questions[0]))
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert "bad.toml is not TOML" in warning
    done = turnlab(*asked(folder, "BAD", questions[0]))
    assert done.returncode == 1
    assert "invalid_cluster" in done.stderr
    listed = turnlab(*LIST, "--clusters", str(folder))
    (row,) = [row for row in json.loads(listed.stdout) if row["name"] == "BAD"]
    assert row["error"]["code"] == "invalid_cluster"
    assert "bad.toml is not TOML" in row["missing"][0]


def test_the_list_of_clusters_is_readable_at_80_columns(turnlab: Turnlab, folder: Path) -> None:
    (folder / "bad.toml").write_text('name = "BAD"\n')
    needy = 'name = "NEEDY"\n[[component]]\ntask = "weather"\n'
    (folder / "needy.toml").write_text(needy)
    folders = ("--modules", str(folder), "--clusters", str(folder))
    shown = turnlab("clusters", "list", *folders, COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "GOOD: runs here" in lines
    assert lines[lines.index("NEEDY: cannot run here") + 2].startswith(
        "  - weather: no Module performs weather"
    )
    assert "BAD: cannot be used" in lines


def test_a_signal_that_nobody_sends_is_an_error(
    turnlab: Turnlab, folder: Path, questions: list[Path]
) -> None:
    with (folder / "good.toml").open("a") as file:
        file.write('[[component]]\nsignal = "completed_god"\n')
    for done in (
        turnlab(*asked(folder, "GOOD", questions[0])),
        turnlab("clusters", "check", str(folder / "good.toml"), "--modules", str(folder)),
    ):
        assert done.returncode == 1
        assert "did you mean 'completed_good'?" in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("raise ValueError('odd')", "module_failed", "ValueError('odd')"),
        ("await __import__('asyncio').sleep(600)", "module_timeout", "longer than 1 s"),
        (
            "await context.blocking(context.stop.wait, 600)",
            "module_timeout",
            "longer than 1 s",
        ),
        # A thread that nobody can end: the command must end all the same.
        ("await context.blocking(__import__('time').sleep, 900)", "module_timeout", "than 1 s"),
        ("print('in between'); __import__('sys').exit(0); yield", "module_failed", "SystemExit"),
        ("yield heard", "invalid_module", "Audio"),
        ("yield None", "invalid_module", "NoneType"),
    ],
)
def test_a_module_that_misbehaves_ends_in_a_typed_error(
    turnlab: Turnlab, folder: Path, questions: list[Path], body: str, code: str, says: str
) -> None:
    echo(folder, "odd", body)
    done = turnlab(*asked(folder, "ODD", questions[0]))
    assert done.returncode == 1, done.stderr
    (turn,) = turns(done)
    assert turn["error"]["code"] == code, turn["error"]
    assert says in turn["error"]["message"]
    assert turn["tasks"][0]["status"] == "failed"
    assert "Traceback" not in done.stderr


def test_a_module_that_floods_ends_in_a_typed_error(
    turnlab: Turnlab, folder: Path, questions: list[Path]
) -> None:
    flood = "while True: yield Speech(samples=heard.samples[:1], sample_rate=16_000)"
    echo(folder, "flood", flood, limit_s=120)
    (turn,) = turns(turnlab(*asked(folder, "FLOOD", questions[0])))
    assert turn["error"]["code"] == "too_much_output"


# While it is being written


def test_reload_runs_again_what_was_edited(folder: Path, questions: list[Path]) -> None:
    pytest.importorskip("watchfiles")
    process = subprocess.Popen(
        [sys.executable, "-m", "turnlab", *asked(folder, "GOOD", questions[0]), "--reload"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TURNLAB_HOME": str(folder / "home")},
        # What a shell starts in the background, such as these tests, ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    reports = map(json.loads, iter(process.stdout.readline, ""))
    told = iter(process.stderr.readline, "")

    def ended(status: str) -> dict[str, Any]:
        """The next turn that ended so; an edit may be noticed in more than one step."""
        return next(turn for turn in reports if turn["status"] == status)

    ended("completed")
    echo(folder, "good", "raise ValueError('slip')")
    assert "slip" in ended("failed")["error"]["message"]
    (folder / "good.py").write_text("this is no Python\n")
    assert any("good.py cannot be imported" in line for line in told)
    echo(folder, "good")
    ended("completed")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_reload_without_a_folder_says_what_to_give(turnlab: Turnlab, questions: list[Path]) -> None:
    done = turnlab("run", "--cluster", CLUSTER, "--audio", str(questions[0]), "--reload")
    assert done.returncode == 1
    assert "--clusters or --modules" in done.stderr
