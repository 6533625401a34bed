"""`turnlab judge` over recorded Runs, with real servers that speak OpenAI's API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.judging.rubric import load_rubric
from turnlab.bench.judging.scores import columns
from turnlab.cli.judge import judge
from turnlab.errors import (
    InvalidDataset,
    MissingKey,
    NothingMeasured,
    RunsDiffer,
    TurnlabError,
    UnknownCluster,
    UnknownRun,
)
from turnlab.runs import new_run_id
from turnlab.server import models
from turnlab.server.annotations import judge_scores
from turnlab.testing.openai_server import OpenAIServer, Refuse
from turnlab.testing.service import Served, served
from turnlab.tracks import new_track_id

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "rubric.toml"
GOOD = {
    name: {"reason": "So it is.", "score": score}
    for name, score in (("correct", 4), ("helpful", 3), ("spoken", 5))
}
NOW = datetime.now(UTC)
TURNS = 12

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(judge)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of questions with references; a person has scored each reference reply."""
    folder = tmp_path / "questions"
    folder.mkdir()
    rows = []
    for number in range(TURNS):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((np.arange(1600) + number).astype("<i2").tobytes())
        row = {
            "id": f"t{number}",
            "audio": f"{number}.wav",
            "transcript": f"What is {number}?",
            "reply": f"It is {number}.",
            "scores": {"ada": {"correct": 3 + number % 3}},
        }
        rows.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(rows))
    return Dataset.load(folder)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "TURNLAB_KEYS", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer(reply=json.dumps(GOOD)) as server:
        yield server


@pytest.fixture
def run_id(database: Path, dataset: Dataset) -> str:
    """A Run of two Clusters: A gives the reference replies, B others, and fails once."""
    run = models.Run.objects.create(
        id=new_run_id(),
        status="completed",
        dataset=dataset.name,
        dataset_hash=dataset.content_hash,
        turns=2 * TURNS,
        asked={"dataset": str(dataset.folder), "clusters": ["A", "B"]},
        created_at=NOW,
    )
    for number in range(TURNS):
        track(run.id, "A", number, f"It is {number}.")
        track(run.id, "B", number, f"Maybe {number}?", status="failed" if number == 3 else "")
    track(run.id, "A", 0, "A warm-up.", repeat=0)
    return str(run.id)


def track(
    run_id: str, cluster: str, number: int, reply: str, *, status: str = "", repeat: int = 1
) -> str:
    at = NOW + timedelta(seconds=number)
    row = models.Track.objects.create(
        track_id=new_track_id(cluster),
        cluster=cluster,
        cluster_hash="h",
        mode="streamed",
        status=status or "completed",
        run_id=run_id,
        turn_id=f"t{number}",
        repeat=repeat,
        created_at=at,
        updated_at=at,
    )
    for table, text in ((models.DataText, "what is this"), (models.ResText, reply)):
        table.objects.create(id=f"{row.track_id}-x", track=row, text=text, created_at=at)
    return str(row.track_id)


def called(run_id: str, server: OpenAIServer | None, *more: str) -> Result:
    """What the command prints; what it raises is raised, as `turnlab` shows it."""
    place = ["--base-url", server.base_url] if server else []
    known = ["--rubric", str(EXAMPLE), "--model", "judge-1", *place]
    asked = [run_id, *known, *more]
    done = CliRunner().invoke(app, asked, env={"COLUMNS": "120"}, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done


def judged(run_id: str, server: OpenAIServer | None, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(called(run_id, server, "--json", *more).stdout)
    return found


def test_a_run_is_judged_once(run_id: str, server: OpenAIServer) -> None:
    first = judged(run_id, server)
    assert first["judged"] == 2 * TURNS - 1, "neither the failed turn nor the warm-up"
    assert first["not_judged"] == []
    assert first["usage"]["output_tokens"] > 0
    assert first["cost_usd"] is None, "the price of this model is unknown"
    means = {(row["cluster"], row["criterion"]): row["mean"] for row in first["figures"]}
    assert means["A", "helpful"]["value"] == 3.0
    assert means["B", "helpful"]["n"] == TURNS - 1
    second = judged("last", server)
    assert (second["judged"], second["judged_before"]) == (0, 2 * TURNS - 1)
    assert (second["run_id"], second["figures"]) == (run_id, first["figures"])
    assert len(server.requests("chat")) == 2 * TURNS - 1
    again = judged(run_id, server, "--again", "--limit", "2")
    assert (again["judged"], again["left"]) == (2, 2 * TURNS - 3)
    assert models.Annotation.objects.filter(is_model=True).count() == 3 * (2 * TURNS - 1)


def test_what_the_judge_is_shown(run_id: str, server: OpenAIServer) -> None:
    judged(run_id, server, "--clusters", "B", "--limit", "1")
    (asked,) = server.requests("chat")
    text = asked.fields["messages"][1]["content"]
    assert "What is 0?" in text, "the dataset's transcript, not what the Cluster heard"
    assert "It is 0." in text
    assert "Maybe 0?" in text
    judged(run_id, server, "--clusters", "B", "--limit", "1", "--without-dataset")
    text = server.requests("chat")[1].fields["messages"][1]["content"]
    assert "It is" not in text
    assert "what is this" in text


def test_scores_are_a_metric_of_the_run(run_id: str, server: OpenAIServer) -> None:
    judged(run_id, server, "--clusters", "A")
    rows = models.Track.objects.filter(run_id=run_id, repeat=1).order_by("cluster", "created_at")
    ids = list(rows.values_list("track_id", flat=True))
    found = columns(judge_scores([run_id]), ids)
    assert sorted(found) == ["judge.correct", "judge.helpful", "judge.spoken"]
    assert np.isfinite(found["judge.helpful"]).tolist() == [True] * TURNS + [False] * TURNS
    annotation = models.Annotation.objects.filter(is_model=True).first()
    assert annotation is not None
    assert annotation.rubric_hash == load_rubric(EXAMPLE).hash
    assert (annotation.author, annotation.comment) == ("judge-1", "So it is.")


def test_bad_answers_are_no_scores(run_id: str, server: OpenAIServer) -> None:
    server.reply = '{"correct": 4, "helpful": 99, "spoken": 5}'
    done = called(run_id, server, "--clusters", "A", "--limit", "3")
    assert done.return_value == 1
    assert "3 could not be judged" in done.stdout
    assert "99, not a whole number from 1 to 5" in done.stdout
    assert not models.Annotation.objects.filter(is_model=True).exists()
    server.reply = json.dumps(GOOD)
    assert judged(run_id, server, "--clusters", "A")["judged"] == TURNS


def test_what_was_judged_before_a_failure_is_kept(run_id: str, server: OpenAIServer) -> None:
    judged(run_id, server, "--limit", "4")
    server.misbehave("chat", Refuse(401, "Wrong key."))
    with pytest.raises(TurnlabError, match="Wrong key"):
        called(run_id, server)
    server.misbehave("chat")
    assert judged(run_id, server)["judged_before"] == 4


def test_agreement_with_people(run_id: str, server: OpenAIServer, tmp_path: Path) -> None:
    found = judged(run_id, server)
    (correct,) = found["agreement"]
    assert (correct["criterion"], correct["replies"], correct["people"]) == ("correct", TURNS, 1)
    assert correct["figures"]["within_one"]["value"] == 1.0
    assert found["scores_of_other_replies"] == TURNS - 1, "B gave other replies"
    lines = ["turn_id,cluster,person,criterion,score"]
    lines += [f"t{number},B,ben,helpful,{2 + number % 2}" for number in range(5, TURNS)]
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(lines))
    shown = called(run_id, None, "--limit", "0", "--human", str(path))
    assert shown.return_value == 0, "what there is is shown without a server"
    assert "helpful: 7 replies were scored by the model and by 1 person" in shown.stdout
    assert "too few to tell: 7 replies can be compared, 10 are needed" in shown.stdout
    assert "at most one apart: 100 %" in shown.stdout
    called(run_id, None, "--limit", "0", "--human", str(path))
    assert models.Annotation.objects.filter(author="ben").count() == 7
    path.write_text("turn_id,cluster,person,criterion,score\nt1,A,ben,nonsense,2\n")
    with pytest.raises(InvalidDataset, match="'nonsense' is no criterion"):
        called(run_id, None, "--limit", "0", "--human", str(path))


@pytest.fixture
def refused(run_id: str) -> int:
    """Some of the users say that nothing may leave; how many Tracks that makes."""
    talk = models.Conversation.objects.create(id=f"C-{0:032x}", created_at=NOW, consent="refused")
    ids = models.Track.objects.filter(run_id=run_id, turn_id="t5").values("track_id")
    return models.Track.objects.filter(
        track_id__in=list(ids.values_list("track_id", flat=True))
    ).update(conversation=talk)


def test_what_users_refused_stays_on_this_machine(
    run_id: str, refused: int, server: OpenAIServer
) -> None:
    # No loopback address, so it is elsewhere as far as Turnlab knows.
    elsewhere = server.base_url.replace("127.0.0.1", "0.0.0.0")
    found = json.loads(called(run_id, None, "--base-url", elsewhere, "--json").stdout)
    assert (found["refused"], refused) == (2, 2)
    assert found["judged"] == len(server.requests("chat")) == 2 * TURNS - 1 - 2
    assert "What is 5?" not in json.dumps([each.fields for each in server.asked])


def test_on_this_machine_they_are_judged(run_id: str, refused: int, server: OpenAIServer) -> None:
    gone = models.Track.objects.filter(run_id=run_id, turn_id="t7").values("track_id")
    models.ResText.objects.filter(track_id__in=gone).delete()
    found = judged(run_id, server)
    assert (found["refused"], found["without_text"]) == (0, 2)
    assert found["judged"] == 2 * TURNS - 1 - 2, "those whose text is not kept are not"


def test_what_is_wrong_is_said_before_anything_is_sent(
    run_id: str, server: OpenAIServer, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UnknownRun):
        called("R-20260101T000000-000000", server)
    with pytest.raises(UnknownCluster, match="'C' is no Cluster of"):
        called(run_id, server, "--clusters", "A,C")
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is not set"):
        called(run_id, None)
    other = tmp_path / "other"
    other.mkdir()
    (other / "0.wav").write_bytes((dataset.folder / "0.wav").read_bytes())
    (other / "manifest.jsonl").write_text('{"id": "t0", "audio": "0.wav"}')
    with pytest.raises(RunsDiffer, match="--without-dataset"):
        called(run_id, server, "--dataset", str(other))
    (dataset.folder / "3.wav").unlink()
    with pytest.raises(InvalidDataset, match="--without-dataset"):
        called(run_id, server)
    models.Track.objects.filter(run_id=run_id).update(status="failed")
    with pytest.raises(NothingMeasured, match="no completed turn"):
        called(run_id, server, "--without-dataset")
    assert not server.asked


MODULE = '''
from turnlab.chunks import Reply, Transcript
from turnlab.modules.base import Module

class Judge(Module):
    """Give the same scores to everything."""

    task_name = "judge"
    consumes = (Transcript,)
    produces = Reply

    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        yield Reply(text={answer!r})
'''


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    """A Turnlab that serves a Module as a chat model."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "judge.py").write_text(MODULE.format(answer=json.dumps(GOOD)))
    names = {"TURNLAB_OPENAI_MODELS": "judge-1=judge"}
    with served(tmp_path / "served", modules=modules, env=names) as serving:
        yield serving


@pytest.mark.slow
def test_turnlab_itself_judges_from_the_command_line(
    run_id: str, database: Path, service: Served
) -> None:
    from django.db import connections

    connections.close_all()
    command = [sys.executable, "-m", "turnlab", "judge", run_id, "--rubric", str(EXAMPLE)]
    command += ["--model", "judge-1", "--base-url", f"{service.url}/v1", "--clusters", "A"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={
            **os.environ,
            "TURNLAB_HOME": str(database.parent),
            "OPENAI_API_KEY": service.token("client"),
        },
    )
    assert done.returncode == 0, done.stderr
    assert f"{TURNS} judged now" in done.stdout
    assert "helpful" in done.stdout
