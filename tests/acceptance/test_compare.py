"""`turnlab compare` as it is run: Runs from the records, exit codes for CI."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from tests.acceptance.conftest import Turnlab
from turnlab.cli.compare import compare as compare_command
from turnlab.errors import TurnlabError
from turnlab.runs import Run, RunStatus
from turnlab.tracks import new_track_id

FIRST, SECOND, OTHER, BROKEN = (f"R-2026010{day}T000000-aaaaaa" for day in (1, 2, 3, 4))
TURNS = 24


def rows(run_id: str, cluster: str, mode: str, factor: float) -> Iterator[Any]:
    """Tracks of one subject; how long a turn takes hangs on the turn above all. 0: all failed."""
    from turnlab.server import models

    draw = random.Random(f"{run_id}{cluster}{mode}")
    for number in range(TURNS):
        took_s = factor * (0.5 + number / 40) + draw.uniform(0, 0.01)
        span = {"kind": "model", "component": "llm", "start_s": 0.0, "end_s": took_s, "label": ""}
        yield models.Track(
            track_id=new_track_id(cluster),
            cluster=cluster,
            cluster_hash="0" * 64,
            mode=mode,
            status="completed" if factor else "failed",
            error_code="" if factor else "module_failed",
            created_at=datetime.now(UTC),
            updated_at=datetime.now(UTC),
            voice_to_voice_s=took_s if factor else None,
            speech_s=2.0,
            last_voiced_s=1.9,
            spans=[span] if factor else [],
            run_id=run_id,
            turn_id=f"t{number}",
            repeat=1,
        )


@pytest.fixture
def recorded(database: Path) -> Path:
    """Four Runs: two Clusters in two modes, the same a day later and slower, another dataset, and
    one in which every turn failed."""
    from django.db import connections

    from turnlab.server import models
    from turnlab.server.runs import begin_run

    def begin(run_id: str, dataset: str, factors: dict[tuple[str, str], float]) -> None:
        begin_run(
            Run(
                id=run_id,
                created_at=datetime.now(UTC),
                status=RunStatus.COMPLETED,
                dataset=dataset,
                dataset_hash=dataset * 8,
                turns=TURNS * len(factors),
                asked={"dataset": "gone", "pace": "fast"},
                pins={"clusters": {}},
            )
        )
        for (cluster, mode), factor in factors.items():
            models.Track.objects.bulk_create(rows(run_id, cluster, mode, factor))

    today = {("A", "streamed"): 1.0, ("B", "streamed"): 0.5, ("A", "chained"): 2.0}
    begin(FIRST, "question", today)
    begin(SECOND, "question", {key: factor * 1.2 for key, factor in today.items()})
    begin(OTHER, "weathers", {("A", "streamed"): 1.0})
    begin(BROKEN, "question", {("A", "streamed"): 0.0})
    connections.close_all()
    return database.parent


Compare = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def compare(recorded: Path, turnlab: Turnlab) -> Compare:
    """`turnlab compare ARGS` on those Runs."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return turnlab("compare", *args, TURNLAB_HOME=str(recorded), COLUMNS="80")

    return run


@pytest.mark.slow
def test_clusters_modes_and_runs_are_compared(compare: Compare, tmp_path: Path) -> None:
    clusters = compare(f"{FIRST}", "--clusters", "A,B", "--mode", "streamed")
    assert clusters.returncode == 0, clusters.stderr
    assert "B is 0.39 s faster (0." in clusters.stdout
    assert all(len(line) <= 80 for line in clusters.stdout.splitlines())

    modes = compare(f"{FIRST}:A")
    assert "chained is 0.7" in modes.stdout
    assert "slower" in modes.stdout

    junit = tmp_path / "compare.xml"
    asked = (FIRST, SECOND, "--json", "--fail-on-regression", "--junit", str(junit))
    runs = compare(*asked)
    assert runs.returncode == 2, runs.stderr
    found = json.loads(runs.stdout)
    assert len(found["comparisons"]) == 3
    assert {each["metric"] for each in found["regressions"]} >= {"voice_to_voice.p50"}
    assert found["comparisons"][0]["sentence"].startswith(f"{SECOND} is 0.1")
    assert len(Xml.parse(junit).getroot()) == 3

    assert compare(SECOND, FIRST, "--fail-on-regression").returncode == 0
    named = compare(f"{FIRST}:A:streamed", f"{SECOND}:B:streamed")
    assert "B is 0.3" in named.stdout


def test_a_cluster_that_failed_on_every_turn_is_compared_by_that(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_command([FIRST, BROKEN], fail_on_regression=True) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert f"{BROKEN} is 100 points worse in completed turns than {FIRST}." in told


@pytest.mark.slow
def test_runs_of_different_datasets_are_refused(compare: Compare) -> None:
    done = compare(FIRST, OTHER)
    assert done.returncode == 1
    assert "runs_differ" in done.stderr
    assert "different datasets (question and weathers)" in done.stderr


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ((OTHER,), "runs_differ", "name another Run"),
        ((FIRST, "R-20260101T000000-ffffff"), "unknown_run", "There is no Run"),
        (("yesterday",), "unknown_run", "There is no Run 'yesterday'"),
        ((f"{FIRST}:C",), "unknown_cluster", "holds no turn of C"),
        ((f"{FIRST}:B:chained",), "runs_differ", "holds no turn"),
        ((f"{FIRST}:A:sideways",), "invalid_request", "is no mode"),
    ],
)
def test_what_cannot_be_compared_says_why(
    recorded: Path, what: tuple[str, ...], code: str, told: str
) -> None:
    with pytest.raises(TurnlabError, match=told) as raised:
        compare_command(list(what))
    assert raised.value.code == code
