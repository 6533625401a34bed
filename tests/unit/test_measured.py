from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Callable, Iterator
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection

from tests.api.postgres import postgres_server, records_at, server_programs
from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import estimate
from turnlab.bench.verdicts.budget import parse_limits
from turnlab.bench.verdicts.verdict import Outcome, judge
from turnlab.chunks import (
    Audio,
    Emotion,
    Passage,
    Passages,
    Reply,
    Samples,
    Speech,
    Transcript,
)
from turnlab.conversations import Conversation
from turnlab.errors import UnknownRun, UnknownTrack
from turnlab.profiles import SpanKind
from turnlab.runs import Run, new_run_id
from turnlab.server import gathering
from turnlab.server.annotations import Annotation, keep
from turnlab.server.journal import Journal
from turnlab.server.measured import load, turn_reports
from turnlab.server.runs import begin_run
from turnlab.tasks import Task
from turnlab.testing.rig import Rig, cluster_of
from turnlab.testing.scripted import Pause, scripted
from turnlab.tracks import Mode, Replay, Track, TrackStatus

CLUSTER = "CLUSTER_TEST"
PRODUCES = {
    "speech2text": "Transcript",
    "feeling": "Emotion",
    "rag": "Passages",
    "llm": "Reply",
    "voice": "Speech",
}


def sound(seconds: float, loud_from_s: float = 0.0) -> Samples:
    samples = np.full(round(seconds * 16_000), 0.5, dtype=np.float32)
    samples[: round(loud_from_s * 16_000)] = 0.0
    return samples


QUESTION = Audio(samples=sound(1.5), sample_rate=16_000)
FOUND = (
    Passage(text="No.", source="b.txt", score=0.61),
    Passage(text="Yes.", source="a.txt", score=0.6),
)
MODULES = (
    scripted("speech2text", [Audio], Transcript, Pause(0.2), Transcript(text="a red fox")),
    scripted(
        "feeling", [Audio], Emotion, Pause(0.05), Emotion(values={"M": 0.5}, labels={"M": "happy"})
    ),
    scripted("rag", [Transcript], Passages, Pause(0.01), Passages(items=FOUND)),
    scripted(
        "llm", [Transcript], Reply, Pause(0.3), Reply(text="It is "), Pause(0.1), Reply(text="red.")
    ),
    scripted(
        "voice",
        [Reply],
        Speech,
        Pause(0.5),
        Speech(samples=sound(2.0, loud_from_s=0.25), sample_rate=16_000, text="It is red."),
    ),
)
BROKEN = (*MODULES[:3], scripted("llm", [Transcript], Reply, RuntimeError("no")), MODULES[4])


@pytest.fixture
def journal(database: Path) -> Iterator[Journal]:
    with_records = Journal(interval_s=3600)
    yield with_records
    with_records.close()


class Recording:
    """A Run whose turns are run by scripted Modules and kept by a Journal."""

    def __init__(self, journal: Journal, pace: str = "fast", **fields: Any) -> None:
        components = [{"name": name, "produces": kind} for name, kind in PRODUCES.items()]
        self.journal = journal
        self.run = Run(
            id=new_run_id(),
            created_at=datetime.now(UTC),
            asked={"pace": pace, **fields.pop("asked", {})},
            pins={"clusters": {CLUSTER: {"components": components}}},
            **fields,
        )
        begin_run(self.run)

    def turn(
        self,
        turn_id: str = "t1",
        repeat: int = 1,
        *,
        modules: Any = MODULES,
        mode: Mode = Mode.STREAMED,
        name: str = CLUSTER,
        conversation: Conversation | None = None,
        change: Callable[[Any], Any] = lambda record: record,
        spoken_s: float = 0.0,
    ) -> Track:
        """Run a turn, and keep each record as `change` makes it."""
        rig = Rig(*modules, cluster=cluster_of(*modules, name=name))
        place = Replay(run_id=self.run.id, turn_id=turn_id, repeat=repeat)
        fields = {"replay": place, "conversation": conversation, "mode": mode}
        spoken = {"speech_s": 1.5, "last_voiced_s": spoken_s}
        result = asyncio.run(rig.run(Pause(spoken_s), QUESTION, **fields, **spoken))
        keep = {
            Conversation: self.journal.conversation,
            Track: self.journal.track,
            Task: self.journal.task,
        }
        for record in rig.recorder.log:
            kept: Any = change(record)
            keep.get(type(record), self.journal.content)(kept)
        asyncio.run(self.journal.flush())
        return result.track


@pytest.fixture
def recording(journal: Journal) -> Recording:
    return Recording(journal)


def value(measured: Measured, name: str) -> float:
    found = estimate(measured, name).value
    assert found is not None, estimate(measured, name).why_absent
    return found


def test_the_figures_of_a_turn_are_what_its_modules_did(recording: Recording) -> None:
    track = recording.turn()
    (found,) = load([recording.run.id])
    assert found.track_ids == [track.track_id]
    assert str(found.subject) == "CLUSTER_TEST (streamed)"
    assert list(found.components) == list(PRODUCES)
    expected = {
        "voice_to_voice.p50": 1.35,
        "first_text.p50": 0.5,
        "first_sound.p50": 1.1,
        "end.p50": 1.1,
        "model.p50": 0.2 + 0.05 + 0.01 + 0.4 + 0.5,
        "wait.p50": 0.0,
        "speech2text.model.p50": 0.2,
        "llm.first_output.p50": 0.3,
        "llm.total.p50": 0.4,
        "voice.path.p50": 0.5,
        "feeling.path.p50": 0.0,
        "cost_per_turn": 0.0,
    }
    measured = {name: value(found, name) for name in expected}
    assert measured == pytest.approx(expected, abs=1e-3)
    assert found.columns["talk"][0] == pytest.approx(1.5 + 2.0)
    assert value(found, "memory") > 10
    assert found.columns["cpu"][0] >= 0
    path = sum(column[0] for column in found.stages.values())
    assert path == pytest.approx(found.columns["voice_to_voice"][0], abs=1e-3)
    assert found.stages["listener", SpanKind.PLAYOUT][0] == pytest.approx(0.25, abs=1e-3)


def test_at_the_pace_of_speech_latency_counts_from_the_last_voiced_sample(
    journal: Journal,
) -> None:
    recording = Recording(journal, pace="realtime")
    recording.turn(spoken_s=2.0)
    (found,) = load([recording.run.id])
    assert value(found, "first_text.p50") == pytest.approx(0.5, abs=1e-3)
    assert value(found, "end.p50") == pytest.approx(1.1, abs=1e-3)


def test_a_recording_that_was_handed_over_whole_counts_from_there(
    recording: Recording,
) -> None:
    def late(record: Any) -> Any:
        return replace(record, last_voiced_s=1.2) if isinstance(record, Track) else record

    recording.turn(change=late)
    (found,) = load([recording.run.id])
    assert value(found, "first_text.p50") == pytest.approx(0.5, abs=1e-3)


def test_the_way_to_a_worker_and_its_queue_count_once(recording: Recording) -> None:
    def remote(record: Any) -> Any:
        if isinstance(record, Task) and record.name == "llm" and record.result_json:
            latency = dict(record.result_json["latency_profile"])
            more = {"transfer_to_worker": 0.03, "queue_worker": 0.2}
            latency |= {"ts_claimed": latency["ts_created"] + 0.25, **more}
            return replace(record, result_json={**record.result_json, "latency_profile": latency})
        return record

    recording.turn(change=remote)
    (found,) = load([recording.run.id])
    assert found.components["llm"].transfer[0] == pytest.approx(0.03)
    # 0.02 s until it was sent, and 0.2 s at the worker; not 0.25 + 0.2.
    assert found.components["llm"].queue[0] == pytest.approx(0.22, abs=1e-5)


def test_the_reply_is_what_the_last_speaker_of_the_cluster_made(recording: Recording) -> None:
    def with_sound(record: Any) -> Any:
        if isinstance(record, Task) and record.name == "speech2text" and record.result_json:
            made = {**(record.result_json.get("result_profile") or {}), "duration_s": 60.0}
            return replace(record, result_json={**record.result_json, "result_profile": made})
        return record

    recording.turn(change=with_sound)
    (found,) = load([recording.run.id])
    assert found.columns["reply"][0] == pytest.approx(2.0)
    assert found.columns["talk"][0] == pytest.approx(1.5 + 2.0)
    assert value(found, "end.p50") == pytest.approx(1.1, abs=1e-3)


def test_scores_of_a_judge_are_figures_and_keep_limits(recording: Recording) -> None:
    tracks = [recording.turn(f"t{number}") for number in range(12)]
    keep(
        [
            Annotation(
                track_id=track.track_id,
                criterion="helpful",
                score=4.0 + number % 2,
                author="judge-model",
                is_model=True,
                rubric_hash="r" * 16,
            )
            for number, track in enumerate(tracks)
        ]
    )
    (found,) = load([recording.run.id])
    assert value(found, "judge.helpful") == pytest.approx(4.5)
    (passed, failed) = judge(found, parse_limits(["judge.helpful >= 4", "judge.helpful >= 5"]))
    assert passed.outcome is Outcome.PASS
    assert failed.outcome is Outcome.FAIL
    assert passed.sentence.startswith("Acceptable: judged helpful is 4.50 (4.")


def test_subjects_come_apart_and_warm_ups_are_left_out(recording: Recording) -> None:
    recording.turn(repeat=0)
    for repeat in (1, 2):
        recording.turn("t1", repeat)
        recording.turn("t1", repeat, mode=Mode.CHAINED)
        recording.turn("t1", repeat, name="CLUSTER_B")
    every = load([recording.run.id])
    assert [str(each.subject) for each in every] == [
        "CLUSTER_TEST (streamed)",
        "CLUSTER_TEST (chained)",
        "CLUSTER_B (streamed)",
    ]
    assert [each.repeats.tolist() for each in every] == [[1, 2]] * 3
    (other,) = load([recording.run.id], clusters=["CLUSTER_B"])
    assert other.subject.cluster == "CLUSTER_B"
    assert load([recording.run.id], clusters=[]) == []


def test_failures_are_counted_by_component_and_code_and_no_figures_made_of_them(
    recording: Recording,
) -> None:
    recording.turn("t1")
    recording.turn("t2", modules=BROKEN)
    (found,) = load([recording.run.id])
    assert found.failures == {("llm", "module_failed"): 1}
    assert found.counts.tolist() == [True, False]
    assert value(found, "completed") == 0.5
    assert estimate(found, "model.p50").n == 1
    assert all(np.isnan(column[1]) for column in found.stages.values())


def test_what_a_crash_or_a_cancel_left_is_in_no_figure(recording: Recording) -> None:
    def ended(status: TrackStatus) -> Callable[[Any], Any]:
        def change(record: Any) -> Any:
            return replace(record, status=status) if isinstance(record, Track) else record

        return change

    recording.turn("t1")
    recording.turn("t2", change=ended(TrackStatus.CANCELLED))
    recording.turn("t3", change=ended(TrackStatus.STARTED))
    (found,) = load([recording.run.id])
    assert found.statuses == ["completed", "cancelled", "started"]
    assert value(found, "completed") == 1.0
    assert estimate(found, "completed").n == estimate(found, "model.mean").n == 1


def test_turns_of_a_conversation_are_one_group_in_every_repetition(
    recording: Recording,
) -> None:
    for repeat in (1, 2):
        talk = Conversation(id=f"C-{repeat:032x}")
        for turn_id in ("t1", "t2"):
            recording.turn(turn_id, repeat, conversation=talk)
        recording.turn("t3", repeat)
    (found,) = load([recording.run.id])
    assert found.groups().tolist() == [0, 0, 1, 0, 0, 1]


def test_a_cost_that_nobody_knows_is_absent_and_says_whose(recording: Recording) -> None:
    def charged(**made: Any) -> Callable[[Any], Any]:
        def change(record: Any) -> Any:
            if not isinstance(record, Task) or record.name != "llm" or not record.result_json:
                return record
            profile = {**record.result_json["result_profile"], "usage": {"input_tokens": 3}, **made}
            return replace(record, result_json={**record.result_json, "result_profile": profile})

        return change

    recording.turn("t1", change=charged(cost_usd=None))
    (found,) = load([recording.run.id])
    assert estimate(found, "cost_per_turn").why_absent == (
        "no price is known for what llm uses; see TURNLAB_PRICES"
    )
    recording.turn("t2", change=charged(cost_usd=0.007))
    (found,) = load([recording.run.id])
    assert value(found, "cost_per_turn") == pytest.approx(0.007)
    assert value(found, "cost_per_hour") == pytest.approx(0.007 / 3.5 * 3600)
    assert value(found, "cost_per_hour_of_reply") == pytest.approx(0.007 / 2.0 * 3600)
    assert value(found, "llm.cost.mean") == pytest.approx(0.007)


def test_numbers_that_were_none_are_no_numbers(recording: Recording) -> None:
    def damaged(record: Any) -> Any:
        if isinstance(record, Task) and record.name == "llm" and record.result_json:
            latency = {**record.result_json["latency_profile"], "model_more": float("nan")}
            return replace(record, result_json={**record.result_json, "latency_profile": latency})
        return record

    recording.turn("t1", change=damaged)
    recording.turn("t2")
    (found,) = load([recording.run.id])
    assert found.components["llm"].model == pytest.approx([0.4, 0.4], abs=1e-3)


def make_dataset(folder: Path, **more: Any) -> Dataset:
    folder.mkdir(exist_ok=True)
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\1\0" * 8_000)
    turn = {"id": "t1", "audio": "a.wav", "transcript": "The red fox.", **more}
    (folder / "manifest.jsonl").write_text(json.dumps(turn) + "\n")
    return Dataset.load(folder)


REFERENCES = {"passages": ["a.txt"], "emotion": {"label": "happy"}}


def test_the_dataset_of_several_runs_is_read_once_while_it_stays_as_it_is(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "d", **REFERENCES)
    asked = {"dataset": str(dataset.folder)}
    of = {"asked": asked, "dataset": "d", "dataset_hash": dataset.content_hash}
    ids = [Recording(journal, **of).run.id for _ in range(3)]
    read: list[Path] = []

    def noted(folder: Path) -> Dataset:
        read.append(folder)
        return dataset

    monkeypatch.setattr(Dataset, "load", noted)
    load(ids)
    load(ids)
    assert read == [dataset.folder]
    (tmp_path / "d" / "more.txt").write_text("changed")
    load(ids)
    assert read == [dataset.folder] * 2


def test_accuracy_is_held_against_the_dataset_of_the_run(journal: Journal, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", **REFERENCES)
    asked = {"dataset": str(dataset.folder)}
    recording = Recording(journal, asked=asked, dataset="d", dataset_hash=dataset.content_hash)
    recording.turn()
    (found,) = load([recording.run.id])
    assert value(found, "wer") == pytest.approx(1 / 3)
    assert value(found, "retrieval.hit") == 1.0
    assert value(found, "retrieval.rank") == 0.5
    assert value(found, "emotion.accuracy") == 1.0

    changed = make_dataset(tmp_path / "d", reply="Red.", **REFERENCES)
    (found,) = load([recording.run.id])
    assert "is not what it was in the Run" in estimate(found, "wer").why_absent
    (found,) = load([recording.run.id], changed)
    assert value(found, "wer") == pytest.approx(1 / 3)

    (tmp_path / "d" / "manifest.jsonl").write_text("{")
    (found,) = load([recording.run.id])
    assert "can no longer be used" in estimate(found, "retrieval.rank").why_absent
    (tmp_path / "d" / "manifest.jsonl").unlink()
    (tmp_path / "d" / "a.wav").unlink()
    (tmp_path / "d").rmdir()
    (found,) = load([recording.run.id])
    assert "the dataset d is no longer at" in estimate(found, "emotion.accuracy").why_absent


def test_several_runs_in_the_order_in_which_they_are_named(journal: Journal) -> None:
    runs = [Recording(journal) for _ in range(2)]
    for each in runs:
        each.turn()
    ids = [runs[1].run.id, runs[0].run.id]
    assert [each.subject.run_id for each in load([*ids, ids[0]])] == ids


def test_runs_that_are_not_there(database: Path) -> None:
    with pytest.raises(UnknownRun, match="turnlab runs list"):
        load(["R-20260101T000000-abcdef"])
    with pytest.raises(UnknownRun):
        load(["'; DROP TABLE turnlab_run; --"])


def test_a_run_without_turns_has_no_figures(recording: Recording) -> None:
    assert load([recording.run.id]) == []


def test_only_rows_of_the_run_are_looked_at(recording: Recording) -> None:
    plans: list[str] = []

    def explained(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if "AS track" in sql:
            cursor = connection.connection.execute(
                f"EXPLAIN QUERY PLAN {sql.replace('%s', '?')}", params
            )
            plans.append("; ".join(row[3] for row in cursor))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explained):
        load([recording.run.id])
    (plan,) = plans
    assert plan.startswith("SEARCH track USING INDEX track_by_run")
    assert "SEARCH task USING INDEX" in plan


def test_the_details_of_turns(recording: Recording) -> None:
    first = recording.turn("t1")
    second = recording.turn("t2", 3, modules=BROKEN)
    failed, whole = turn_reports([second.track_id, first.track_id], sounds=True)
    assert whole.transcript == "a red fox"
    assert whole.reply == "It is red."
    assert whole.context == (
        ("Felt", "happy (M +0.50)"),
        ("Found", "b.txt (0.61); a.txt (0.60)"),
    )
    assert [task.name for task in whole.tasks] == list(PRODUCES)
    assert sum(span.duration_s for span in whole.spans) == pytest.approx(1.35, abs=1e-3)
    assert whole.error is None
    assert whole.label == "t1"
    for wav in (whole.question_wav, whole.reply_wav):
        assert wav is not None
        assert wav.startswith(b"RIFF")
    assert failed.status == "failed"
    assert failed.label == "t2 (3)"
    assert failed.error is not None
    assert failed.error["code"] == "module_failed"
    assert failed.reply_wav is None


def test_details_without_sounds_and_of_sounds_that_are_gone(
    recording: Recording, tmp_path: Path
) -> None:
    track = recording.turn()
    (bare,) = turn_reports([track.track_id])
    assert bare.question_wav is None
    for file in tmp_path.rglob("*.wav"):
        file.unlink()
    (purged,) = turn_reports([track.track_id], sounds=True)
    assert purged.question_wav is None
    with pytest.raises(UnknownTrack, match="it may have been deleted"):
        turn_reports([f"T-{CLUSTER}-{0:032x}"])


def test_the_zero_of_details_is_that_of_the_figures(journal: Journal) -> None:
    recording = Recording(journal, pace="realtime")
    track = recording.turn(spoken_s=2.0)
    (found,) = turn_reports([track.track_id])
    assert (found.zero_s, found.pace) == (2.0, "realtime")


@pytest.mark.slow
def test_postgresql_tells_the_same(database: Path, tmp_path: Path) -> None:
    programs = server_programs()
    if programs is None:
        pytest.skip("needs a PostgreSQL server (Debian: apt-get install postgresql)")
    dataset = make_dataset(tmp_path / "d", **REFERENCES)

    def told() -> tuple[Any, ...]:
        journal = Journal(interval_s=3600)
        recording = Recording(journal)
        try:
            tracks = [recording.turn("t1"), recording.turn("t2", modules=BROKEN)]
        finally:
            journal.close()
        (found,) = load([recording.run.id], dataset)
        names = ("voice_to_voice.p50", "llm.model.p95", "wer", "retrieval.rank", "completed")
        (report, _) = turn_reports([track.track_id for track in tracks])
        columns = {key: column.tolist() for key, column in found.columns.items()}
        columns = {k: c for k, c in columns.items() if k not in ("cpu", "memory")}
        figures = [estimate(found, name).value for name in (*names, "emotion.accuracy")]
        return str(columns), figures, found.failures, report.context, report.transcript

    here = told()
    with postgres_server(programs) as url, records_at(url):
        assert told() == here


def test_a_large_run_without_turns_so_far_has_no_figures(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MANY", 0)
    assert load([Recording(journal, turns=1_000_000).run.id]) == []


def test_two_processes_gather_what_one_does(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation()
    for number, turn_id in enumerate(("first", "second", "third", "alone")):
        recording.turn(turn_id, conversation=talk if number < 3 else None)
        recording.turn(turn_id, modules=BROKEN, mode=Mode.CHAINED)
    alone = load([recording.run.id])
    monkeypatch.setattr(gathering, "MANY", 0)
    together = load([recording.run.id])
    assert [_plain(each) for each in together] == [_plain(each) for each in alone]
    assert alone[0].conversations == dict.fromkeys(("first", "second", "third"), "first")
    assert alone[1].failures == {("llm", "module_failed"): 4}


def _plain(measured: Measured) -> Any:
    """Everything in it, arrays as lists of which NaN is like NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return list(map(repr, value.tolist()))
        if is_dataclass(value) and not isinstance(value, type):
            return {each.name: plain(getattr(value, each.name)) for each in fields_of(value)}
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return value

    return plain(measured)
