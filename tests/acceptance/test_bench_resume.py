"""A Run whose process is killed or interrupted in the middle of a turn goes on as it says."""

from __future__ import annotations

import json
import shlex
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.conftest import Turnlab
from turnlab.packaged import packaged

pytestmark = pytest.mark.slow

MODULES = """
import asyncio
import os
import signal
import numpy as np
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.modules.base import Module

class Hear(Module):
    task_name, consumes, produces = "hear", (Audio,), Transcript
    async def run(self, inputs, context):
        await inputs.whole(Audio)
        yield Transcript(text="ever tried", final=True)

class Answer(Module):
    task_name, consumes, produces = "answer", (Transcript,), Reply
    ran = 0
    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        Answer.ran += 1
        if Answer.ran == int(os.environ.get("ENDS_AT", 0)):
            os.kill(os.getpid(), int(os.environ["ENDS_BY"]))
            await asyncio.Event().wait()
        yield Reply(text="Ever failed.")

class Speak(Module):
    task_name, consumes, produces = "speak", (Reply,), Speech
    async def run(self, inputs, context):
        await inputs.whole(Reply)
        yield Speech(samples=np.full(800, 0.5, dtype=np.float32), sample_rate=8000, text="Ever")
"""

CLUSTER = """
name = "{name}"
[[component]]
name = "hear"
task = "hear"
[[component]]
name = "answer"
task = "answer"
[[component]]
name = "speak"
task = "speak"
"""

TURNS = 3


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A small Run of two Clusters, two of its turns a conversation."""
    for folder in ("modules", "clusters", "dataset"):
        (tmp_path / folder).mkdir()
    (tmp_path / "modules" / "parrot.py").write_text(MODULES)
    for name in ("A", "B"):
        (tmp_path / "clusters" / f"{name}.toml").write_text(CLUSTER.format(name=name))
    voice = packaged("moonshine_voice", "assets", "beckett.wav")
    assert voice is not None
    (tmp_path / "dataset" / "voice.wav").write_bytes(voice.read_bytes())
    rows = [{"id": f"t{number}", "audio": "voice.wav"} for number in range(TURNS)]
    for index, row in enumerate(rows[:2]):
        row.update(conversation="c", index=index)
    (tmp_path / "dataset" / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folders = ("--modules", str(tmp_path / "modules"), "--cluster-folder")
    options = ("--clusters", "A,B", "--dataset", str(tmp_path / "dataset"), "--warm-up", "0")
    return ["bench", *options, *folders, str(tmp_path / "clusters")]


def kept(home: Path) -> Counter[str]:
    """How many Tracks there are of each status."""
    with closing(sqlite3.connect(home / "turnlab.sqlite3")) as database:
        rows = database.execute("SELECT status, COUNT(*) FROM turnlab_track GROUP BY status")
        return Counter(dict(rows))


def test_killed_and_interrupted_it_goes_on_as_it_says_and_repeats_nothing(
    turnlab: Turnlab, home: Path, asked: list[str]
) -> None:
    killed = turnlab(*asked, ENDS_AT="3", ENDS_BY=str(int(signal.SIGKILL)))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert kept(home)["completed"] == 2
    run_id = killed.stderr.split()[1].rstrip(":")
    resume = f"bench --resume {run_id}"
    done, cancelled = 2, kept(home)["started"]
    for name, ends_at in ((signal.SIGTERM, 1), (signal.SIGINT, 3)):
        ended = turnlab(*shlex.split(resume), ENDS_AT=str(ends_at), ENDS_BY=str(int(name)))
        assert ended.returncode == 130, ended.stderr
        assert f"turnlab {resume}\n" in ended.stderr
        done, cancelled = done + ends_at - 1, cancelled + 1
        assert kept(home) == {"completed": done, "cancelled": cancelled}
    last = turnlab(*shlex.split(resume))
    assert last.returncode == 0, last.stderr
    assert "6 of 6 turns" in last.stderr
    assert kept(home) == {"completed": 2 * TURNS, "cancelled": cancelled}
