"""Receivers in a user's file: they run after the commit, and may read the records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import CLUSTER, Turnlab, turns

pytestmark = pytest.mark.slow

RECEIVERS = """
import json
import os
import sqlite3
from pathlib import Path

from turnlab.server.signals import completed, completed_track, receiver

HOME = Path(os.environ["TURNLAB_HOME"])


@receiver(completed("speech2text"))
def heard(sender, data, track_id, **kwargs):
    from turnlab.server.models import DataText

    text = DataText.objects.get(track_id=track_id).text
    # A connection of its own sees only what was committed.
    with sqlite3.connect(HOME / "turnlab.sqlite3") as other:
        (status,) = other.execute(
            "SELECT status FROM turnlab_task WHERE id = ?", (data["id"],)
        ).fetchone()
    note("heard", track_id, text, status)


@receiver(completed_track)
def broken(sender, **kwargs):
    raise RuntimeError("a receiver of the user's that fails")


@receiver(completed_track)
def ended(sender, data, track_id, **kwargs):
    note("ended", track_id, data["voice_to_voice_s"], data["status"])


def note(*row):
    with (HOME / "notes.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
"""


def test_receivers_of_a_users_file_hear_each_turn_once(
    turnlab: Turnlab, questions: list[Path], home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "receivers.py").write_text(RECEIVERS)
    asked = [arg for question in questions[:2] for arg in ("--audio", str(question))]
    done = turnlab(
        *("run", "--cluster", CLUSTER, *asked, "--json", "--budget", "60"),
        *("--modules", str(tmp_path / "mine")),
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (home / "notes.jsonl").read_text().splitlines()]
    for turn in turns(done):
        mine = [row for row in rows if row[1] == turn["track_id"]]
        assert [row[0] for row in mine] == ["heard", "ended"]
        assert mine[0][2:] == [turn["transcript"], "completed"]
        assert mine[1][2:] == [turn["voice_to_voice_s"], "completed"]
    assert "a receiver of the user's that fails" in done.stderr
