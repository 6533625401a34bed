"""`turnlab bench` with Modules that take no time: what it refuses, goes on with, and ends with."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.unit.harness_rig import PARROTS, write_parrots
from turnlab.audio import RATE, open_recording
from turnlab.cli import runs as runs_command
from turnlab.cli.bench import bench
from turnlab.cli.reporting import find
from turnlab.errors import (
    ClusterNotRunnable,
    InvalidBudget,
    InvalidDataset,
    InvalidParams,
    InvalidRequest,
    OutputFailed,
    RunsDiffer,
    UnknownCluster,
    UnknownRun,
)
from turnlab.packaged import packaged
from turnlab.runs import RunStatus
from turnlab.server import models
from turnlab.server.runs import get_run, list_runs
from turnlab.tracks import TrackStatus

Bench = Callable[..., int]


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be most of the time that these take."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Somebody who speaks, for a second and a half."""
    path = packaged("moonshine_voice", "assets", "beckett.wav")
    assert path is not None
    return np.concatenate(list(open_recording(path).blocks()))[: int(1.5 * RATE)]


@pytest.fixture
def dataset(tmp_path: Path, voice: np.ndarray) -> Path:
    folder = tmp_path / "questions"
    folder.mkdir()
    rows = []
    for number in range(4):
        soundfile.write(folder / f"q{number}.wav", voice * (1 - number / 10), RATE)
        row = {"id": f"q{number}", "audio": f"q{number}.wav", "transcript": "ever tried"}
        rows.append(row | ({"tags": ["few"]} if number < 2 else {}))
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def run(database: Path, tmp_path: Path, dataset: Path) -> Bench:
    """Calls the command with the dataset and the Modules of this file."""
    modules, clusters = write_parrots(tmp_path, GOOD=False, OTHER=False, BROKEN=True)
    folders = {"modules": [modules], "cluster_folder": [clusters]}

    def call(*names: str, resume: str | None = None, **options: object) -> int:
        if resume is not None:
            return bench(resume=resume, **{**folders, **options})
        given = {"warm_up": 1, "dataset": dataset, **folders, **options}
        return bench(clusters=",".join(names), **given)

    return call


def newest() -> str:
    return list_runs()[0][0].id


def kept(run_id: str) -> list[tuple[str, str, str, int, str]]:
    rows = models.Track.objects.filter(run_id=run_id, repeat__gt=0)
    return sorted(rows.values_list("cluster", "mode", "turn_id", "repeat", "status"))


def interrupted(run_id: str, ended: int) -> None:
    """Have the Run look as if it had been killed after so many turns, in the middle of one."""
    tracks = models.Track.objects.filter(run_id=run_id, repeat__gt=0).order_by("created_at")
    late = [track.track_id for track in tracks[ended:]]
    models.Track.objects.filter(track_id__in=late[1:]).delete()
    models.Track.objects.filter(track_id__in=late[:1]).update(status=TrackStatus.STARTED)
    models.Run.objects.filter(id=run_id).update(status=RunStatus.STARTED)


def test_every_turn_is_recorded_and_the_figures_are_printed(run, capsys) -> None:
    assert run("GOOD", "OTHER", mode="streamed,chained", repeat=2) == 3
    assert len(kept(newest())) == len(set(kept(newest()))) == 2 * 2 * 4 * 2
    assert {row[-1] for row in kept(newest())} == {"completed"}
    assert models.Track.objects.filter(repeat=0).count() == 4
    told = capsys.readouterr()
    assert f"Run {newest()}: 32 turns of questions" in told.err
    assert "32 of 32 turns" in told.err
    assert f"Next: turnlab report {newest()} --out report.html" in told.err
    assert "Next: turnlab predict GOOD --clusters " in told.err
    assert re.search(r"voice to voice +0\.\d+", told.out)
    assert "TOO FEW TURNS" in told.out


def test_what_was_asked_for_and_what_it_belongs_to_is_kept(run) -> None:
    run("GOOD", budget=["voice_to_voice.p95 <= 2"], set_=["answer.fails=false"], name="nightly")
    found = get_run(newest())
    assert (found.name, found.dataset, found.turns) == ("nightly", "questions", 4)
    assert found.status is RunStatus.COMPLETED
    assert found.asked["overrides"] == {"answer": {"fails": False}}
    pinned = found.pins["clusters"]["GOOD"]
    assert pinned["budget"] == ["voice_to_voice.p95 <= 2"]
    assert [each["name"] for each in pinned["components"]] == ["hear", "answer", "speak"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", each["code"]) for each in pinned["components"])
    assert found.pins["host"]["cores"]
    assert found.pins["turnlab"]


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        (["completed >= 0.01"], 0),
        (["voice_to_voice.p99 <= 0.000001"], 2),
        (["completed >= 0.01", "voice_to_voice.p99 <= 10"], 3),
        (["voice_to_voice.p99 <= 10", "voice_to_voice.p99 <= 0.000001"], 2),
    ],
)
def test_the_exit_code_says_whether_budgets_are_kept(run, budget, code, capsys) -> None:
    assert run("GOOD", budget=budget, repeat=2, warm_up=0) == code


def test_a_cluster_that_fails_on_every_turn_is_told_early_and_the_others_go_on(
    run, tmp_path, capsys
) -> None:
    assert run("BROKEN", "GOOD", junit=tmp_path / "junit.xml") == 1
    told = capsys.readouterr()
    assert "BROKEN (streamed) failed at its warm-up (module_failed)" in told.err
    assert "failed: module_failed in answer (4)" in told.out
    assert [row[-1] for row in kept(newest())] == ["failed"] * 4 + ["completed"] * 4
    assert "BROKEN (streamed)" in (tmp_path / "junit.xml").read_text()
    assert (
        'message="Failed on every turn: module_failed in answer (4)."'
        in (tmp_path / "junit.xml").read_text()
    )


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"names": ("GOOOD",)}, UnknownCluster, "GOOD"),
        ({"names": (",",)}, InvalidRequest, "--clusters"),
        ({"dataset": Path("/nowhere")}, InvalidDataset, "/nowhere"),
        ({"dataset": None}, InvalidRequest, "--dataset DIR"),
        ({"budget": ["voice_to_voce.p95 <= 1"]}, InvalidBudget, "voice_to_voice"),
        ({"budget": ["anser.model.p95 <= 1"]}, InvalidBudget, "answer"),
        ({"mode": "steamed"}, InvalidRequest, "streamed or chained"),
        ({"only_tags": "many"}, InvalidDataset, "there are few"),
        ({"set_": ["anser.fails=true"]}, InvalidParams, "answer"),
        ({"name": "n" * 129}, InvalidRequest, "128 characters"),
        ({"name": "last"}, InvalidRequest, "another Run"),
        ({"name": "R-20260101T000000-abcdef"}, InvalidRequest, "another Run"),
        ({"report": Path("/dev/null/report.html")}, OutputFailed, "/dev/null"),
        ({"resume": "R-20260101T000000-abcdef"}, UnknownRun, "turnlab runs list"),
        ({"resume": "R-20260101T000000-abcdef", "repeat": 2}, InvalidRequest, "--resume"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_recorded(
    run, options, error, says
) -> None:
    names = options.pop("names", ("GOOD",))
    with pytest.raises(error, match=re.escape(says)):
        run(*names, **options)
    assert list_runs() == []
    assert not models.Track.objects.exists()


def test_turns_without_a_voice_are_named_before_anything_runs(run, dataset) -> None:
    soundfile.write(dataset / "q1.wav", np.zeros(RATE), RATE)
    with pytest.raises(InvalidDataset, match=r"Of 4 turns 1 cannot be run. q1: No voice"):
        run("GOOD")


def test_a_cluster_that_needs_pictures_names_the_turns_that_have_none(run, tmp_path) -> None:
    see = PARROTS.replace("(Audio,)", "(Image,)").replace("import Audio", "import Audio, Image")
    (tmp_path / "modules" / "parrot.py").write_text(see.replace("whole(Audio)", "whole(Image)"))
    with pytest.raises(ClusterNotRunnable, match="picture"):
        run("GOOD")


@pytest.mark.parametrize("options", [{"mode": ","}, {"only_tags": " ,"}])
def test_a_list_that_names_none_is_no_run_of_nothing(run, options) -> None:
    with pytest.raises(InvalidRequest, match="names none"):
        run("GOOD", **options)
    assert list_runs() == []


def test_a_report_on_another_dataset_is_refused(run, dataset) -> None:
    run("GOOD", only_tags="few")
    manifest = dataset / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("ever tried", "never tried"))
    with pytest.raises(RunsDiffer, match=r"is not the dataset of R-.* as it was"):
        find([newest()], dataset)


def test_only_turns_with_a_tag_are_run_where_one_is_named(run) -> None:
    run("GOOD", only_tags="few")
    assert [row[2] for row in kept(newest())] == ["q0", "q1"]


@pytest.mark.parametrize("ended", [0, 5])
def test_a_run_that_was_killed_goes_on_and_repeats_nothing(run, ended, capsys) -> None:
    run("GOOD", "BROKEN", repeat=1)
    run_id, before = newest(), kept(newest())
    interrupted(run_id, ended)
    done = [row for row in kept(run_id) if row[-1] in ("completed", "failed")]
    assert len(done) == ended
    assert run(resume=run_id) == 1
    after = kept(run_id)
    assert [row for row in after if row[-1] != "cancelled"] == before
    assert len(after) == 8 + 1
    assert get_run(run_id).status is RunStatus.COMPLETED
    assert "8 of 8 turns" in capsys.readouterr().err


def test_a_run_of_which_only_the_last_step_is_missing_runs_no_turn(run, capsys) -> None:
    run("GOOD")
    before = kept(newest())
    models.Run.objects.update(status=RunStatus.STARTED)
    for _ in range(2):  # the second time it is complete
        assert run(resume=newest()) == 3
        assert get_run(newest()).status is RunStatus.COMPLETED
        assert "voice to voice" in capsys.readouterr().out
    assert kept(newest()) == before


def test_code_is_not_run_from_folders_that_only_the_records_name(run, tmp_path, capsys) -> None:
    run("GOOD", set_=["answer.api_key=secret-value"])
    interrupted(newest(), 1)
    folders = f"--cluster-folder {tmp_path / 'clusters'} --modules {tmp_path / 'modules'}"
    with pytest.raises(InvalidRequest, match=re.escape(f"add: {folders}")):
        run(resume=newest(), modules=None, cluster_folder=None)
    with pytest.raises(InvalidRequest, match=re.escape(f"add: --modules {tmp_path / 'modules'}")):
        run(resume=newest(), modules=None)
    runs_command.show_run(newest())
    whole = f"turnlab bench --resume {newest()} {folders} --set answer.api_key=..."
    assert whole in capsys.readouterr().out


def changed_turn(folder: Path) -> None:
    manifest = folder / "questions" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("ever tried", "ever failed"))


def changed_tags(folder: Path) -> None:
    manifest = folder / "questions" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("few", "fewer", 1))


def changed_cluster(folder: Path) -> None:
    path = folder / "clusters" / "good.toml"
    path.write_text(path.read_text() + "timeout_s = 3\n")


def changed_module(folder: Path) -> None:
    path = folder / "modules" / "parrot.py"
    path.write_text(path.read_text().replace("Ever failed.", "No matter."))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_turn, "the dataset in"),
        (changed_tags, "the tags now choose 1 turn, not 2"),
        (changed_cluster, "clusters.GOOD.hash"),
        (changed_module, "clusters.GOOD.answer.code"),
    ],
)
def test_what_has_changed_is_named_and_the_run_does_not_go_on(run, tmp_path, change, named) -> None:
    run("GOOD", only_tags="few")
    interrupted(newest(), 1)
    before = kept(newest())
    change(tmp_path)
    with pytest.raises(RunsDiffer, match=re.escape(named)):
        run(resume=newest())
    assert kept(newest()) == before


def test_other_hardware_is_named_and_another_revision_only_told(run, capsys) -> None:
    run("GOOD")
    interrupted(newest(), 1)
    row = models.Run.objects.get()
    row.pins["git"] = {"revision": "0" * 40, "dirty": False}
    row.save()
    run(resume=newest())
    assert "git.revision was 0000" in capsys.readouterr().err
    row.pins["host"]["processor"] = "Z80"
    row.save()
    with pytest.raises(RunsDiffer, match=r"host\.processor was Z80"):
        run(resume=newest())


def test_a_key_is_not_kept_and_asked_for_again(run) -> None:
    run("GOOD", set_=["answer.api_key=secret-value", "answer.fails=false"])
    kept_texts = json.dumps([get_run(newest()).asked, get_run(newest()).pins])
    assert "secret-value" not in kept_texts
    interrupted(newest(), 1)
    with pytest.raises(InvalidParams, match=r"--set answer\.api_key="):
        run(resume=newest())
    with pytest.raises(RunsDiffer, match=r"answer\.params\.fails"):
        run(resume=newest(), set_=["answer.api_key=secret-value", "answer.fails=true"])
    run(resume=newest(), set_=["answer.api_key=secret-value"])
    assert get_run(newest()).status is RunStatus.COMPLETED


def test_runs_are_listed_shown_and_deleted(run, capsys) -> None:
    run("GOOD", "OTHER", name="nightly")
    run_id = newest()
    interrupted(run_id, 5)
    capsys.readouterr()
    runs_command.list_runs()
    told = capsys.readouterr().out
    assert f"{run_id}  nightly\n" in told
    assert "5 of 8 turns, not complete  questions: GOOD, OTHER" in told
    runs_command.show_run(run_id)
    told = capsys.readouterr().out
    assert re.search(r"OTHER +streamed +started +1", told)
    assert f"turnlab bench --resume {run_id} --cluster-folder " in told
    runs_command.show_run(run_id, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["done"], shown["turns"]) == (5, 8)
    assert set(shown["pins"]["clusters"]) == {"GOOD", "OTHER"}
    runs_command.delete_run(run_id)
    assert f"deleted {run_id}: 8 Tracks" in capsys.readouterr().out
    assert not models.Track.objects.exists()
    with pytest.raises(UnknownRun):
        runs_command.show_run(run_id)


def test_all_that_was_asked_for_is_written(run, tmp_path, capsys) -> None:
    files = {name: tmp_path / "new" / f"out.{name}" for name in ("report", "junit", "markdown")}
    run("GOOD", **files, json_=Path("-"))
    figures = json.loads(capsys.readouterr().out)
    assert figures["runs"][0]["id"] == newest()
    assert figures["outcome"] == "undecided"
    assert "<svg" in files["report"].read_text()
    assert "<skipped" in files["junit"].read_text()
    assert "GOOD" in files["markdown"].read_text()
