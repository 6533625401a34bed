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
from tests.unit.harness_rig import write_parrots
from turnlab.packaged import packaged

pytestmark = pytest.mark.slow

TURNS = 3


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A small Run of two Clusters, two of its turns a conversation."""
    (tmp_path / "dataset").mkdir()
    modules, clusters = write_parrots(tmp_path, budget=False, A=False, B=False)
    voice = packaged("moonshine_voice", "assets", "beckett.wav")
    assert voice is not None
    (tmp_path / "dataset" / "voice.wav").write_bytes(voice.read_bytes())
    rows = [{"id": f"t{number}", "audio": "voice.wav"} for number in range(TURNS)]
    for index, row in enumerate(rows[:2]):
        row.update(conversation="c", index=index)
    (tmp_path / "dataset" / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folders = ("--cluster-folder", str(clusters), "--modules", str(modules))
    options = ("--clusters", "A,B", "--dataset", str(tmp_path / "dataset"), "--warm-up", "0")
    return ["bench", *options, *folders]


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
    resume = shlex.join(["bench", "--resume", run_id, *asked[-4:]])
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
