"""What emotion detection adds to voice-to-voice latency: the same Cluster with and without it.

`python -m benchmarks.emotion [--rounds N] [--utterances N] [--json FILE]`. Three variants, each
with models of its own, take turns on the same recordings, streamed, at both paces, in an order that
moves on: `without` is CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION, `with` is CLUSTER_Q_ETE_CONVERSATION
judging voice and words, `told` the same with a picture and with the emotion told to the model even
where it is neutral, as it is where it is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.journal import hardware
from benchmarks.parts.figures import quantile, ratio
from benchmarks.parts.workers import ROOT
from benchmarks.voice_to_voice import QUESTIONS_FOLDER, RECORDINGS_FOLDER, SUFFIXES
from turnlab.audio import Pace, RecordedTurn, Recording, open_image, open_recording
from turnlab.bench.questions import QUESTIONS, make_questions
from turnlab.chunks import Audio, Image
from turnlab.cli.session import find_parts
from turnlab.clock import MonotonicClock
from turnlab.clusters import Plan, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.machine import Machine
from turnlab.records import NullRecorder
from turnlab.runner import Runner
from turnlab.turns.voice_activity import VoiceActivity

LIMIT = 1.10
FACE = ROOT / "tests" / "data" / "emotion" / "serious.jpg"
CLUSTERS = {
    "without": "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION",
    "with": "CLUSTER_Q_ETE_CONVERSATION",
    "told": "CLUSTER_Q_ETE_CONVERSATION",
}
TOLD = {"emotion_detection": {"neutral_remark": " I feel {label}."}}
PARTS = ("model_words", "model_voice", "model_face")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A plan with models of its own."""

    name: str
    plan: Plan
    runner: Runner
    executor: EmbeddedExecutor
    images: tuple[Image, ...]

    async def turn(self, recording: Recording, pace: Pace) -> Row:
        """One turn, in seconds."""
        source = RecordedTurn(
            recording=recording, clock=MonotonicClock(), pace=pace, images=self.images
        )
        result = await self.runner.run(self.plan, source)
        if result.error is not None:
            raise result.error
        profiles = {task.name: (task.result_json or {})["latency_profile"] for task in result.tasks}
        return {
            "variant": self.name,
            "pace": str(pace),
            "voice_to_voice_s": result.track.voice_to_voice_s,
            "speech_s": recording.duration_s,
            "first_token_s": profiles["quantization_llm"]["model_first_token"],
            **{part: profiles.get("emotion_detection", {}).get(part) for part in PARTS},
        }


async def variants() -> list[Variant]:
    """All three, loaded and warmed."""
    parts = find_parts(None, None)
    found = []
    for name, cluster in CLUSTERS.items():
        images = (open_image(FACE),) if name == "told" else ()
        given = (Audio, Image) if images else (Audio,)
        overrides = TOLD if name == "told" else None
        plan = make_plan(parts.catalogue.get(cluster), parts.registry, overrides, given)
        executor = EmbeddedExecutor(Machine())
        await executor.prepare(plan)
        runner = Runner(executor, NullRecorder())
        found.append(Variant(name=name, plan=plan, runner=runner, executor=executor, images=images))
    return found


def recordings(count: int | None) -> list[Recording]:
    """Questions that the local voice asks, then real recordings where there are any."""
    paths = make_questions(QUESTIONS_FOLDER, len(QUESTIONS))
    if RECORDINGS_FOLDER.is_dir():
        paths += sorted(p for p in RECORDINGS_FOLDER.iterdir() if p.suffix in SUFFIXES)
    detector = VoiceActivity()
    return [open_recording(path, detector) for path in paths[:count]]


async def measure(rounds: int, count: int | None) -> list[Row]:
    """One row a turn; two turns of each variant do not count."""
    spoken, compared = recordings(count), await variants()
    rows: list[Row] = []
    for variant in compared:
        for recording in spoken[:2]:
            await variant.turn(recording, Pace.FAST)
    turn = 0
    for number in range(rounds):
        for recording in spoken:
            print(f"round {number + 1}: {recording.path.stem}", file=sys.stderr, flush=True)
            for pace in Pace:
                turn += 1
                order = compared[turn % 3 :] + compared[: turn % 3]
                for variant in order:
                    row = await variant.turn(recording, pace)
                    rows.append({"round": number, "utterance": recording.path.stem, **row})
    for variant in compared:
        await variant.executor.close()
    return rows


def summary(rows: list[Row]) -> dict[str, Any]:
    """Medians of each variant and pace, and the ratios to `without`."""
    figures, ratios = [], []
    for pace in Pace:
        base = _of(rows, "without", pace)
        for name in CLUSTERS:
            mine = _of(rows, name, pace)
            figures.append({"variant": name, "pace": str(pace), **_figures(mine)})
            if name != "without":
                found = ratio(_took(mine), _took(base))
                ratios.append({"name": name, "pace": str(pace), **asdict(found)})
    return {"figures": figures, "ratios": ratios}


def _figures(rows: list[Row]) -> dict[str, float]:
    def median_ms(key: str) -> float:
        return 1e3 * quantile([row[key] for row in rows if row[key] is not None], 50)

    voice = [row["model_voice"] / row["speech_s"] for row in rows if row["model_voice"]]
    keys = ("voice_to_voice_s", "first_token_s", *PARTS)
    return {
        "n": len(rows),
        "p95_ms": 1e3 * quantile(_took(rows), 95),
        **{key.removesuffix("_s") + "_ms": median_ms(key) for key in keys},
        "voice_cores": quantile(voice, 50),
    }


def _of(rows: list[Row], name: str, pace: Pace) -> list[Row]:
    """In the order of the turns, which is the same for each variant."""
    mine = [row for row in rows if row["variant"] == name and row["pace"] == str(pace)]
    return sorted(mine, key=lambda row: (row["round"], row["utterance"]))


def _took(rows: list[Row]) -> list[float]:
    return [row["voice_to_voice_s"] for row in rows]


def as_markdown(found: dict[str, Any]) -> Iterator[str]:
    """The lines of the report."""
    yield (
        "| variant | pace | n | median, ms | p95, ms | first word, ms "
        "| words, ms | voice, ms | face, ms |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in found["figures"]:
        yield (
            f"| {row['variant']} | {row['pace']} | {row['n']} | {row['voice_to_voice_ms']:.0f} "
            f"| {row['p95_ms']:.0f} | {row['first_token_ms']:.0f} | {row['model_words_ms']:.2f} "
            f"| {row['model_voice_ms']:.1f} | {row['model_face_ms']:.0f} |"
        )
    yield ""
    yield "| to `without` | pace | ratio of medians | 95 % interval | paired | 95 % interval |"
    yield "| --- | --- | ---: | --- | ---: | --- |"
    for row in found["ratios"]:
        cells = " | ".join(
            f"{row[key]:.3f} | {row[f'{key}_interval'][0]:.3f} to {row[f'{key}_interval'][1]:.3f}"
            for key in ("median", "paired")
        )
        yield f"| {row['name']} | {row['pace']} | {cells} |"
    cores = max(row["voice_cores"] for row in found["figures"] if row["voice_cores"] > 0)
    yield f"\nMeasuring the voice takes {100 * cores:.2f} % of a core (median)."
    yield f"A ratio of medians of at most {LIMIT:g} is asked."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="turns of each utterance (2)")
    parser.add_argument("--utterances", type=int, help="only the first so many")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and turns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TURNLAB_HOME"] = home
        rows = asyncio.run(measure(asked.rounds, asked.utterances))
    found = {"date": date.today().isoformat(), "hardware": hardware(), **summary(rows)}
    if asked.json:
        asked.json.write_text(json.dumps({**found, "rows": rows}, indent=1), encoding="utf-8")
    print(f"{found['date']}, {found['hardware']}\n")
    print("\n".join(as_markdown(found)))


if __name__ == "__main__":
    main()
