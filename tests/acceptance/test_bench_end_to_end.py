"""A small Run with the real local models, and all that can be made of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.acceptance.conftest import CLUSTER

pytestmark = pytest.mark.slow

TURNS = 3
MODES = ("streamed", "chained")


@dataclass(frozen=True)
class Recorded:
    """A Run, and what was written of it."""

    run_id: str
    folder: Path
    bench: subprocess.CompletedProcess[str]
    tracks: list[dict[str, Any]]

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The Tracks that count, without warm-ups."""
        return [each for each in self.tracks if each["voice_to_voice_s"] is not None]

    def turnlab(self, *args: str) -> subprocess.CompletedProcess[str]:
        return turnlab(self.folder, *args)


def turnlab(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turnlab", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TURNLAB_HOME": str(folder / "home"), "COLUMNS": "120"},
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, questions: list[Path]) -> Recorded:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "recordings").mkdir()
    for path in questions[:TURNS]:
        shutil.copy(path, folder / "recordings")
        words = path.stem.replace("-", " ")
        (folder / "recordings" / f"{path.stem}.txt").write_text(f"{words}?")
    made = turnlab(folder, "dataset", "make", "recordings", "--out", "questions")
    assert made.returncode == 0, made.stderr
    asked = ["--clusters", CLUSTER, "--dataset", "questions", "--mode", ",".join(MODES)]
    asked += ["--warm-up", "0", "--budget", "voice_to_voice.p50 <= 0.001"]
    written = {"report": "html", "json": "json", "junit": "xml", "markdown": "md"}
    asked += [part for name, end in written.items() for part in (f"--{name}", f"report.{end}")]
    bench = turnlab(folder, "bench", *asked)
    (run,) = lines(turnlab(folder, "runs", "list", "--json"))
    tracks = lines(turnlab(folder, "tracks", "list", "--json", "--limit", "100"))
    return Recorded(run_id=run["id"], folder=folder, bench=bench, tracks=tracks)


def test_every_turn_of_every_mode_is_recorded(recorded: Recorded) -> None:
    assert recorded.bench.returncode in (2, 3), recorded.bench.stderr
    assert "Traceback" not in recorded.bench.stderr
    found = sorted(each["mode"] for each in recorded.measured)
    assert found == sorted(mode for mode in MODES for _ in range(TURNS))


def test_the_spans_of_every_turn_sum_to_its_latency_within_1_ms(recorded: Recorded) -> None:
    assert len(recorded.measured) == TURNS * len(MODES)
    for track in recorded.measured:
        spans = track["spans"]
        total_s = sum(each["end_s"] - each["start_s"] for each in spans)
        assert abs(total_s - track["voice_to_voice_s"]) < 0.001, track["track_id"]
        borders = [(a["end_s"], b["start_s"]) for a, b in pairwise(spans)]
        assert all(abs(end - start) < 1e-6 for end, start in borders), "no gap, no overlap"


def test_a_budget_that_nobody_can_keep_is_not_kept(recorded: Recorded) -> None:
    results = json.loads((recorded.folder / "report.json").read_text())
    assert recorded.run_id in json.dumps(results)
    assert [each["outcome"] for each in results["judgements"]].count("pass") == 0
    assert results["outcome"] in ("fail", "undecided")
    suites = ElementTree.parse(recorded.folder / "report.xml").getroot()
    cases = list(suites.iter("testcase"))
    assert len(cases) >= len(MODES)
    assert any(
        case.find("failure") is not None or case.find("skipped") is not None for case in cases
    )


def test_the_modes_are_compared_turn_by_turn(recorded: Recorded) -> None:
    done = recorded.turnlab("compare", recorded.run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["comparisons"]
    other = recorded.turnlab("compare", recorded.run_id, "R-20260101T000000-000000")
    assert other.returncode == 1
    assert "unknown_run" in other.stderr


def test_the_report_can_be_made_again(recorded: Recorded) -> None:
    done = recorded.turnlab("report", recorded.run_id, "--out", "again.html")
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "again.html"):
        page = (recorded.folder / name).read_text()
        assert recorded.run_id in page
        assert not any(each in page for each in ("http://", "https://", "<link")), "self-contained"
    assert recorded.run_id in (recorded.folder / "report.md").read_text()


def test_the_report_opens_in_a_browser_without_a_complaint(recorded: Recorded) -> None:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium here")
    page = (recorded.folder / "report.html").as_uri()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    place = f"--user-data-dir={recorded.folder / 'browser'}"
    done = subprocess.run(
        [program, *options, place, "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert recorded.run_id in done.stdout
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints


def test_nobody_judged_so_nothing_is_said_of_it(recorded: Recorded) -> None:
    page = (recorded.folder / "report.html").read_text()
    assert "judge." not in page
