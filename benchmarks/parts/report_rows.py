"""A Run as large as wanted, written into the tables: rows as real turns leave them, traces too.

Four subjects (two Clusters in both modes) of five Components, over a dataset of turns that is
written beside it, with references. Every number differs from turn to turn; of the traces, which
nothing that is measured here may read, there are some dozens that rows share.
"""

from __future__ import annotations

import json
import random
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from turnlab.bench.datasets.dataset import Dataset
from turnlab.runs import Run, RunStatus, new_run_id
from turnlab.tasks import new_id

CLUSTERS = ("A_LARGE_VOICE", "A_SMALL_VOICE")
MODES = ("streamed", "chained")
COMPONENTS = {
    "speech2text": ("Transcript", 0.12, 9),
    "emotion_detection": ("Emotion", 0.02, 1),
    "rag": ("Passages", 0.03, 1),
    "quantization_llm": ("Reply", 0.55, 48),
    "text2speech": ("Speech", 0.31, 4),
}
"""By name: what it makes, about how many seconds it takes, how many Chunks it makes."""

BUDGET = ["voice_to_voice.p95 <= 1.0", "wer <= 0.1", "completed >= 0.99"]
DATASET_TURNS = 250
_FAILED = 0.004
_CANCELLED = 0.001
_AT_ONCE = 2_000
_WORDS = (
    "what",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "and",
    "how",
    "far",
    "away",
    "from",
    "here",
)
_PASSAGE = "Paris has been the capital since the year 987, but for a few interruptions. " * 5

Row = dict[str, Any]


def write_dataset(folder: Path) -> Dataset:
    """Turns of half a second of silence, each with all references."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(DATASET_TURNS):
        with wave.open(str(folder / f"{number}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(16_000)
            sound.writeframes(number.to_bytes(2, "little") * 8_000)
        turn = {
            "id": f"turn-{number}",
            "audio": f"{number}.wav",
            "transcript": said(number),
            "passages": [f"{number % 40}.txt"],
            "emotion": {"label": "happy" if number % 3 else "sad"},
        }
        lines.append(json.dumps(turn))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Dataset.load(folder)


def said(number: int) -> str:
    """The words of a turn."""
    draw = random.Random(number)
    return " ".join(draw.choice(_WORDS) for _ in range(4 + number % 9)).capitalize() + "?"


def write_run(tasks: int, dataset: Dataset) -> str:
    """Fill the open database with a Run of so many Tasks; its id."""
    from django.db import transaction

    from turnlab.server.runs import begin_run

    tracks = tasks // len(COMPONENTS)
    components = [_pin(each) for each in COMPONENTS]
    pinned = {name: {"components": components, "budget": BUDGET} for name in CLUSTERS}
    run = Run(
        id=new_run_id(),
        created_at=datetime.now(UTC),
        status=RunStatus.COMPLETED,
        dataset=dataset.name,
        dataset_hash=dataset.content_hash,
        turns=tracks,
        asked={
            "dataset": str(dataset.folder),
            "clusters": list(CLUSTERS),
            "modes": list(MODES),
            "repeat": max(1, tracks // (DATASET_TURNS * len(CLUSTERS) * len(MODES))),
            "concurrency": 1,
            "pace": "fast",
            "budget": BUDGET,
            "overrides": {},
        },
        pins={"clusters": pinned, "host": {}, "git": None, "turnlab": "0", "models": {}},
    )
    begin_run(run)
    turns = _turns(run.id, tracks)
    while some := list(islice(turns, _AT_ONCE)):
        with transaction.atomic():
            _insert(some)
    return run.id


def _pin(name: str) -> Row:
    return {
        "name": name,
        "task_name": name,
        "version": "1",
        "params": {},
        "produces": COMPONENTS[name][0],
        "reads": {},
        "concurrency": 1,
        "instance": name,
        "timeout_s": 120.0,
    }


def _insert(turns: list[dict[str, list[Row]]]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for table in turns[0]:
            rows = [row for turn in turns for row in turn[table]]
            if rows:
                columns = ", ".join(rows[0])
                marks = ", ".join(["%s"] * len(rows[0]))
                sql = f"INSERT INTO turnlab_{table} ({columns}) VALUES ({marks})"
                cursor.executemany(sql, [tuple(row.values()) for row in rows])


def _turns(run_id: str, tracks: int) -> Iterator[dict[str, list[Row]]]:
    """The rows of each turn by table, subject after subject in turn."""
    draw = random.Random(1)
    traces = {name: [_trace(draw, name) for _ in range(24)] for name in COMPONENTS}
    begun = datetime.now(UTC)
    for number in range(tracks):
        round_of_all, subject = divmod(number, len(CLUSTERS) * len(MODES))
        repeat, turn = divmod(round_of_all, DATASET_TURNS)
        yield _Turn(draw, run_id, CLUSTERS[subject // 2], MODES[subject % 2]).rows(
            turn, repeat + 1, begun + timedelta(seconds=number), traces
        )


class _Turn:
    def __init__(self, draw: random.Random, run_id: str, cluster: str, mode: str) -> None:
        self.draw = draw
        self.run_id = run_id
        self.cluster = cluster
        self.mode = mode
        self.track_id = f"T-{cluster}-{draw.getrandbits(128):032x}"

    def rows(
        self, turn: int, repeat: int, begun: datetime, traces: dict[str, list[str]]
    ) -> dict[str, list[Row]]:
        """All rows of it."""
        at = f"{begun:%Y-%m-%d %H:%M:%S.%f}"
        chance = self.draw.random()
        status = "failed" if chance < _FAILED else "completed"
        status = "cancelled" if chance > 1 - _CANCELLED else status
        spans, latencies = self._times()
        ids = {name: new_id() for name in COMPONENTS}
        tasks = [
            self._task(name, ids[name], at, status, latencies[name], self.draw.choice(traces[name]))
            for name in COMPONENTS
        ]
        return {
            "track": [self._track(turn, repeat, at, status, spans)],
            "task": tasks,
            **self._contents(turn, at, ids),
        }

    def _times(self) -> tuple[list[Row], dict[str, str]]:
        """The critical path, and the `latency_profile` of each Task."""
        spans: list[Row] = []
        latencies, now = {}, 0.002
        for name, (_, usual, chunks) in COMPONENTS.items():
            took = usual * self.draw.lognormvariate(0, 0.25)
            own = [("queue", 0.0004), ("transfer", 0.0001), ("model", took / 2), ("wait", 0.001)]
            first = now
            for kind, seconds in own:
                row = {"kind": kind, "component": name, "start_s": round(now, 6)}
                now += seconds * self.draw.uniform(0.8, 1.2)
                spans.append({**row, "end_s": round(now, 6), "label": "words"})
            latencies[name] = json.dumps(
                {
                    "ts_created": round(first, 6),
                    "ts_claimed": round(first + 0.0004, 6),
                    "ts_first_input": round(first + 0.0006, 6),
                    "ts_first_output": round(first + took / chunks, 6),
                    "ts_end": round(first + took, 6),
                    "queue_thread": 0.000321,
                    "model_first": round(took / chunks, 6),
                    "model_rest": round(took - took / chunks, 6),
                    "transfer_read": 0.00012,
                    "wait_input": round(took / 9, 6),
                }
            )
        quiet = {"kind": "playout", "component": "listener", "start_s": round(now, 6)}
        now += self.draw.uniform(0.01, 0.03)
        return [*spans, {**quiet, "end_s": round(now, 6), "label": ""}], latencies

    def _track(self, turn: int, repeat: int, at: str, status: str, spans: list[Row]) -> Row:
        done = status == "completed"
        return {
            "track_id": self.track_id,
            "cluster": self.cluster,
            "cluster_hash": "0" * 64,
            "mode": self.mode,
            "status": status,
            "conversation_id": None,
            "speech_s": 2.5 + turn % 7 / 10,
            "last_voiced_s": 2.1 + turn % 7 / 10,
            "voice_to_voice_s": spans[-1]["end_s"] if done else None,
            "spans": json.dumps(spans if done else []),
            "host": '{"cores": 2}',
            "error_code": "module_failed" if status == "failed" else "",
            "error_message": "",
            "created_at": at,
            "updated_at": at,
            "run_id": self.run_id,
            "turn_id": f"turn-{turn}",
            "repeat": repeat,
            "resources": json.dumps(
                {"cpu_s": round(self.draw.gauss(1.4, 0.1), 6), "peak_mib": 812.5}
            ),
        }

    def _task(self, name: str, task_id: str, at: str, status: str, latency: str, trace: str) -> Row:
        failed = status == "failed" and name == "quantization_llm"
        return {
            "id": task_id,
            "track_id": self.track_id,
            "name": name,
            "task_name": name,
            "status": status if status != "failed" or failed else "completed",
            "worker": "embedded",
            "attempt": 1,
            "parameters": json.dumps({"model": "a-model", "temperature": 0.7, "max_tokens": 128}),
            "result_json": f'{{"result_profile": {_PROFILES[name]}, "latency_profile": {latency}}}',
            "error_code": "module_failed" if failed else "",
            "error_message": "",
            "created_at": at,
            "updated_at": at,
            "trace": trace,
        }

    def _contents(self, turn: int, at: str, ids: dict[str, str]) -> dict[str, list[Row]]:
        heard = said(turn) if self.draw.random() < 0.8 else said(turn).replace("is", "was")

        def row(name: str, **columns: Any) -> list[Row]:
            own = {"id": new_id(), "track_id": self.track_id, "task_id": ids[name]}
            return [{**own, "created_at": at, **columns}]

        return {
            "datatext": row("speech2text", text=heard),
            "restext": row("quantization_llm", text=_REPLY),
            "contextrag": row("rag", profile=_PROFILES["rag"]),
            "contextemotion": row("emotion_detection", profile=_PROFILES["emotion_detection"]),
        }


_REPLY = (
    "The capital of France is Paris, which lies on the river Seine. Shall I tell you more? " * 2
)
_CONFIDENCES = {"angry": 0.1, "happy": 0.6, "sad": 0.1, "neutral": 0.2}
_PROFILES = {
    "speech2text": json.dumps({"text": "What is the capital of France?", "language": "en"}),
    "emotion_detection": json.dumps(
        {
            "T": 0.4,
            "A": 0.1,
            "M": 0.3,
            "labels": {"T": "happy", "A": "neutral", "M": "happy"},
            "confidences": {"T": _CONFIDENCES, "A": _CONFIDENCES, "M": _CONFIDENCES},
            "missing": {"V": "no picture was given"},
            "words": "happy",
        }
    ),
    "rag": json.dumps(
        {
            "passages": [
                {"text": _PASSAGE, "source": f"{number}.txt", "score": 0.61}
                for number in (3, 7, 11)
            ]
        }
    ),
    "quantization_llm": json.dumps(
        {
            "text": _REPLY,
            "usage": {"input_tokens": 212, "output_tokens": 38},
            "cost_usd": 0.000114,
            "pauses": 3,
        }
    ),
    "text2speech": json.dumps(
        {"duration_s": 9.64, "sample_rate": 22_050, "text": _REPLY, "phrases": 4}
    ),
}


def _trace(draw: random.Random, name: str) -> str:
    """What turn_trace keeps of a Task that makes so many Chunks."""
    _, usual, chunks = COMPONENTS[name]
    moments = [round(usual * (number + draw.random()) / chunks, 6) for number in range(chunks)]
    rows = [[at, "user", at - 0.1, at - 0.0004, at - 0.0002, 12.0] for at in moments]
    intervals = [["model", "words", at - 0.01, at] for at in moments]
    return json.dumps({"chunks": rows, "end": rows[-1], "intervals": intervals, "cpu_s": 0.412345})
