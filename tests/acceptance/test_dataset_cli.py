"""`turnlab dataset` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import CLUSTER, Turnlab
from tests.unit.dataset_parts import png, wav, write_manifest


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder of recordings, with what is said beside one."""
    folder = tmp_path / "recordings"
    (folder / "talk").mkdir(parents=True)
    for number in (1, 2):
        (folder / "talk" / f"{number}.wav").write_bytes(wav(number, seconds=0.5))
    (folder / "talk" / "1.txt").write_text("Hello.\n")
    (folder / "talk" / "1.png").write_bytes(png())
    return folder


def test_a_folder_becomes_a_dataset_that_goes_to_hugging_face_and_back(
    turnlab: Turnlab, recorded: Path, tmp_path: Path
) -> None:
    first, there, back = (str(tmp_path / name) for name in ("first", "there", "back"))
    made = turnlab("dataset", "make", str(recorded), "--out", first, "--conversations")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[:2] == [
        "first: 2 turns, 0 min 1 s",
        "  conversations 1, transcripts 1, images 1",
    ]
    assert turnlab("dataset", "convert", first, "--out", there).returncode == 0
    assert turnlab("dataset", "import", there, "--out", back).returncode == 0
    hashes = [
        json.loads(turnlab("dataset", "show", folder, "--json").stdout)["hash"]
        for folder in (first, back)
    ]
    assert hashes[0] == hashes[1]
    shown = turnlab("dataset", "show", back, "--limit", "1").stdout
    assert "talk/1" in shown
    assert "and 1 more" in shown


def test_check_lists_all_that_is_wrong(turnlab: Turnlab, tmp_path: Path) -> None:
    lines = [{"id": str(n), "audio": f"{n}.wav"} for n in range(2_000)]
    folder = str(write_manifest(tmp_path / "wrong", *lines))
    found = turnlab("dataset", "check", folder)
    assert found.returncode == 1
    assert len(found.stdout.splitlines()) == 2_000
    assert found.stdout.startswith("manifest.jsonl:1: audio: there is no file '0.wav'\n")
    assert found.stderr == "error invalid_dataset: 2,000 errors\n"
    shown = turnlab("dataset", "show", folder)
    assert shown.returncode == 1
    assert "2,000 errors, of which the first 10 are" in shown.stderr
    problems = json.loads(turnlab("dataset", "check", folder, "--json").stdout)["problems"]
    assert len(problems) == 2_000


def test_check_finds_recordings_without_a_voice(turnlab: Turnlab, tmp_path: Path) -> None:
    folder = str(write_manifest(tmp_path / "tones", {"id": "a", "audio": "a.wav"}))
    assert turnlab("dataset", "check", folder).returncode == 0
    found = turnlab("dataset", "check", folder, "--speech")
    assert found.returncode == 1
    assert "No voice was found" in found.stdout


def test_wrong_options_are_told(turnlab: Turnlab, recorded: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for arguments, told in (
        (("make", str(recorded), "--out", str(recorded)), "is there already"),
        (("export", "--where", "nonsense", "--out", out), "--where takes NAME=VALUE"),
        (("import", str(recorded), "--out", out), "is nothing that `datasets` writes"),
        (("import", str(recorded), "--out", out, "--column", "x"), "is not of the form KEY=COLUMN"),
        (("show", str(recorded)), "manifest.jsonl cannot be read"),
    ):
        found = turnlab("dataset", *arguments)
        assert found.returncode == 1
        assert told in " ".join(found.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_turns_that_were_run_become_a_dataset(turnlab: Turnlab, tmp_path: Path) -> None:
    starter, out, saved = (str(tmp_path / name) for name in ("starter", "out", "saved"))
    made = turnlab("dataset", "starter", "--turns", "1", "--out", starter)
    assert made.returncode == 0, made.stderr
    audio = next((tmp_path / "starter" / "audio").iterdir())
    ran = turnlab("run", "--cluster", CLUSTER, "--audio", str(audio))
    assert ran.returncode in (0, 2), ran.stderr
    where = f"cluster={CLUSTER} status=completed since=1h"
    exported = turnlab("dataset", "export", "--where", where, "--out", out)
    assert exported.returncode == 0, exported.stderr
    (line,) = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert "france" in json.loads(line)["heard"].lower()
    assert "transcript" not in json.loads(line)
    exported = turnlab("dataset", "export", "--format", "huggingface", "--out", saved)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "saved" / "state.json").exists()
