"""Runs as they are measured, for the other tests of their reports; a test that they are sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.test_reports_samples import failed, turn
from turnlab.bench.measuring.measures import ComponentMeasures, Measured, Subject
from turnlab.bench.reporting.report import Findings, Tell, compared
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.bench.verdicts.verdict import judge
from turnlab.profiles import Span, SpanKind
from turnlab.reports.turn import TurnReport
from turnlab.runs import Run, RunStatus

RUN_ID = "R-20261123T093000-1a2b3c"
PATH = (
    ("speech2text", SpanKind.TRANSFER, 0.001),
    ("speech2text", SpanKind.MODEL, 0.24),
    ("quantization_llm", SpanKind.QUEUE, 0.0004),
    ("quantization_llm", SpanKind.MODEL, 0.31),
    ("text2speech", SpanKind.WAIT, 0.02),
    ("text2speech", SpanKind.MODEL, 0.12),
    ("text2speech", SpanKind.PLAYOUT, 0.004),
)
COMPONENTS = ("speech2text", "quantization_llm", "text2speech")
SAID = ("What is the capital of France?", "Will it rain today?", "How long should I brew tea?")
REPLIES = ("Paris. It lies on the Seine.", "I cannot see the sky.", "About four minutes.")


def measured(
    cluster: str = "CLUSTER_A",
    *,
    run_id: str = RUN_ID,
    turns: int = 40,
    repeats: int = 2,
    factor: float = 1.0,
    wer: float | None = 0.08,
    cost: float = 0.0,
    failures: int = 0,
    cancelled: int = 0,
    mode: str = "streamed",
    seed: int = 7,
) -> Measured:
    """Made-up turns of one Subject; the last ones failed or were cancelled."""
    draw, count = np.random.default_rng(seed), turns * repeats
    base = np.repeat(draw.lognormal(0, 0.25, turns), repeats) * draw.lognormal(0, 0.06, count)
    stages = {(c, k): s * factor * base * draw.lognormal(0, 0.1, count) for c, k, s in PATH}
    counts = np.arange(count) < count - failures - cancelled
    late = np.arange(count) >= count - cancelled
    statuses = np.where(counts, "completed", np.where(late, "cancelled", "failed")).tolist()
    stages = {key: np.where(counts, column, np.nan) for key, column in stages.items()}
    total = np.sum(list(stages.values()), axis=0)
    words = np.full(count, 8.0)
    columns = {
        "voice_to_voice": total,
        "first_text": 0.7 * total,
        "first_sound": total - stages["text2speech", SpanKind.PLAYOUT],
        "end": 2.2 * total,
        "model": 1.6 * total,
        **{key: 0.01 * total for key in ("transfer", "queue", "wait")},
        "cost": np.where(counts, cost, np.nan),
        "cpu": 1.5 * total,
        "memory": np.where(counts, 812.0 + draw.random(count), np.nan),
        **dict.fromkeys(("speech", "reply"), np.where(counts, 2.4, np.nan)),
        "talk": np.where(counts, 4.8, np.nan),
    }
    absent = {"retrieval.hit": f"no turn of the dataset questions has the passages of {cluster}"}
    if wer is None:
        absent["wer"] = "no turn of the dataset questions has a reference transcript"
    else:
        errors = draw.binomial(8, wer, count).astype(np.float64)
        columns |= {"word_errors": np.where(counts, errors, np.nan), "words": words}
    return Measured(
        subject=Subject(run_id, cluster, mode),
        cluster_hash="c0ffee" * 8,
        track_ids=[f"T-{cluster}-{seed:08x}{i:024x}" for i in range(count)],
        turn_ids=[f"q{i // repeats:04d}" for i in range(count)],
        repeats=np.arange(count, dtype=np.int32) % repeats + 1,
        statuses=statuses,
        errors=["module_timeout" if each == "failed" else "" for each in statuses],
        counts=counts,
        columns=columns,
        components={name: _component(name, stages, cost) for name in COMPONENTS},
        stages=stages,
        failures=Counter({("quantization_llm", "module_timeout"): failures} if failures else {}),
        absent=absent,
        pace="fast",
    )


def _component(
    name: str, stages: dict[tuple[str, SpanKind], np.ndarray], cost: float
) -> ComponentMeasures:
    model = 1.5 * stages[name, SpanKind.MODEL]
    return ComponentMeasures(
        task_name="openai_gpt_35" if cost and name == "quantization_llm" else name,
        model=model,
        transfer=0.01 * model,
        queue=0.002 * model,
        wait=0.1 * model,
        first_output=0.5 * model,
        total=1.2 * model,
        cost=np.full(len(model), cost if name == "quantization_llm" else 0.0),
        cpu=0.9 * model,
        path=stages[name, SpanKind.MODEL],
    )


def run(run_id: str = RUN_ID, clusters: Sequence[str] = ("CLUSTER_A",), name: str = "") -> Run:
    """The record of such a Run."""
    component = {"name": "speech2text", "task_name": "speech2text", "version": "2", "params": {}}
    pinned = {"hash": "c0ffee" * 8, "description": "", "budget": [], "components": [component]}
    return Run(
        id=run_id,
        created_at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
        status=RunStatus.COMPLETED,
        name=name,
        dataset="questions",
        dataset_hash="d" * 64,
        turns=80,
        asked={
            "dataset": "data/my questions",
            "clusters": list(clusters),
            "modes": ["streamed"],
            "repeat": 2,
            "concurrency": 1,
            "pace": "fast",
            "budget": ["voice_to_voice.p95 <= 1.0"],
            "overrides": {"speech2text": {"threads": 2}},
        },
        pins={
            "clusters": {each: pinned for each in clusters},
            "host": {"processor": "AMD EPYC", "cores": 2, "engines": {"piper-tts": "1.8.0"}},
            "git": {"revision": "a" * 40, "dirty": True},
            "turnlab": "0.1.0",
            "models": {"moonshine_voice": "0.1.0"},
        },
    )


def findings(
    subjects: Sequence[Measured],
    limits: Iterable[str] = ("voice_to_voice.p95 <= 1.0", "wer <= 0.1", "completed >= 0.9"),
    runs: Sequence[Run] | None = None,
) -> Findings:
    """Judged and compared."""
    runs = runs or [run(clusters=[each.subject.cluster for each in subjects])]
    checked = [parse_limit(each) for each in limits]
    comparisons, why = compared(runs, subjects)
    return Findings(
        runs=runs,
        measured=subjects,
        judgements=[judgement for each in subjects for judgement in judge(each, checked)],
        comparisons=comparisons,
        not_compared=why,
    )


def teller(subjects: Sequence[Measured]) -> Tell:
    """What tells the turns of these subjects, with texts and a path of the right length."""
    places = {track: (each, i) for each in subjects for i, track in enumerate(each.track_ids)}
    return lambda track_ids: [told(*places[each]) for each in track_ids]


def told(each: Measured, row: int) -> TurnReport:
    """One turn in words."""
    base = turn() if each.counts[row] else failed()
    at, number = 0.0, int(each.turn_ids[row][1:]) % len(SAID)
    spans = []
    for (component, kind), column in each.stages.items():
        if each.counts[row]:
            end = at + float(column[row])
            spans.append(Span(kind=kind, component=component, start_s=at, end_s=end))
            at = end
    return replace(
        base,
        track_id=each.track_ids[row],
        cluster=each.subject.cluster,
        mode=each.subject.mode,
        status=each.statuses[row],
        transcript=SAID[number],
        reply=REPLIES[number] if each.counts[row] else "",
        voice_to_voice_s=at if each.counts[row] else None,
        spans=tuple(spans),
        verdict=None,
        label=each.turn_ids[row],
        question_wav=None,
        reply_wav=None,
    )


def test_the_samples_add_up() -> None:
    sample = measured(failures=2, cancelled=1)
    assert Counter(sample.statuses) == {"completed": 77, "failed": 2, "cancelled": 1}
    assert told(sample, 0).voice_to_voice_s == pytest.approx(sample.columns["voice_to_voice"][0])
