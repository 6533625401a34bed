"""What `turnlab bench` adds to a turn: its harness against a bare loop of `Runner.run`.

`python -m benchmarks.harness [--rounds N] [--utterances N] [--cluster NAME] [--mode MODE]
[--pace PACE] [--json FILE] [--scripted]`. Both run the same utterances through the same loaded
models, with the real records, in one process: a dozen utterances by one, the same by the other, the
order turned round from round to round. The bare loop opens its recordings beforehand and does
nothing else.

The models' own times vary by a tenth from turn to turn, so that hundreds of pairs do not tell 1 %.
`--scripted` has Modules in their place that wait as long by the clock and make as many Chunks: what
is left is what the harness itself adds, in milliseconds, without what it takes from models that
want all cores.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.journal import hardware
from benchmarks.parts.figures import Ratio, quantile, ratio
from turnlab.audio import Pace
from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.bench.questions import QUESTIONS, make_questions
from turnlab.bench.replay.harness import Assignment, Harness
from turnlab.bench.replay.recordings import Recordings
from turnlab.bench.replay.schedule import Job, schedule
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.cli.bench_progress import BenchProgress
from turnlab.cli.session import find_parts, open_runner, require_models
from turnlab.clusters import Plan, make_plan
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.registry import Registry
from turnlab.runner import Runner
from turnlab.runs import new_run_id
from turnlab.testing import Pause, cluster_of, scripted
from turnlab.tracks import Mode, Track

CLUSTER = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
QUESTIONS_FOLDER = Path(__file__).parent / "results" / "questions"
AT_A_TIME = 12
"""Utterances that one runs before the other does; never one, whose prompt would still be cached,
nor few, of which the harness's own beginning, after which caches are cold, would be a larger part
than of a Run."""

WARM_UPS = 2
LIMIT = 1.01


@dataclass(frozen=True, kw_only=True)
class Row:
    """One turn."""

    variant: str
    round: int
    utterance: str
    voice_to_voice_s: float


@dataclass(frozen=True, kw_only=True)
class Rig:
    """What both run on."""

    runner: Runner
    executor: EmbeddedExecutor
    plan: Plan
    recordings: Recordings
    mode: Mode
    pace: Pace

    async def bare(self, turns: Sequence[DatasetTurn]) -> list[Track]:
        """Turns by `Runner.run`, one after the other."""
        looks, clock = False, self.executor.clock
        sources = [await self.recordings.source(t, clock, self.pace, looks=looks) for t in turns]
        return [(await self.runner.run(self.plan, s, mode=self.mode)).track for s in sources]

    async def harness(self, turns: Sequence[DatasetTurn]) -> list[Track]:
        """Turns by the harness, with all that it does beside them: progress is drawn too."""
        name = self.plan.cluster.name
        jobs = schedule(turns, [name], [self.mode])
        assignment = Assignment(
            run_id=new_run_id(), plans={name: self.plan}, jobs=jobs, warm_ups=(), pace=self.pace
        )
        console = Console(file=io.StringIO(), force_terminal=True)
        with _Kept(console, jobs, jobs, 1) as progress:
            await Harness(self.runner, self.executor, self.recordings, assignment, progress).run()
        return progress.tracks


class _Kept(BenchProgress):
    """Progress that keeps the Tracks that it is told of."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.tracks: list[Track] = []

    def __enter__(self) -> _Kept:
        super().__enter__()
        return self

    def ended(self, job: Job, track: Track, took_s: float) -> None:
        self.tracks.append(track)
        super().ended(job, track, took_s)


def utterances(count: int | None) -> list[DatasetTurn]:
    """Questions that the local voice asks."""
    paths = make_questions(QUESTIONS_FOLDER, len(QUESTIONS))[:count]
    known: dict[str, Any] = {"scores": {}, "extra": {}, "duration_s": 0.0}
    return [DatasetTurn(id=path.stem, audio=path, **known) for path in paths]


def scripted_plan() -> Plan:
    """What the local models do in a turn, by the clock: 0.5 s, with 20 words."""
    loud = Speech(samples=np.full(22_050, 0.5, np.float32), sample_rate=22_050, text="Yes.")
    words = [step for _ in range(20) for step in (Pause(0.012), Reply(text="word "))]
    modules = (
        scripted("speech2text", [Audio], Transcript, Pause(0.09), Transcript(text="What?")),
        scripted("quantization_llm", [Transcript], Reply, Pause(0.1), *words),
        scripted("text2speech", [Reply], Speech, Pause(0.07), loud),
    )
    return make_plan(cluster_of(*modules, name="SCRIPTED"), Registry(modules))


def real_plan(name: str) -> Plan:
    """A Cluster whose models are here."""
    parts = find_parts(None, None)
    plan = make_plan(parts.catalogue.get(name), parts.registry)
    require_models(plan)
    return plan


async def measure(asked: argparse.Namespace) -> list[Row]:
    """All turns of both."""
    plan = scripted_plan() if asked.scripted else real_plan(asked.cluster)
    turns = utterances(asked.utterances)
    recordings = Recordings()
    recordings.measure(turns, lambda done: None)
    async with open_runner() as (runner, executor):
        await executor.prepare(plan)
        rig = Rig(
            runner=runner,
            executor=executor,
            plan=plan,
            recordings=recordings,
            mode=asked.mode,
            pace=asked.pace,
        )
        await rig.bare(turns[-WARM_UPS:])
        rows: list[Row] = []
        for number in range(asked.rounds):
            _say(f"round {number + 1} of {asked.rounds}")
            for at in range(0, len(turns), AT_A_TIME):
                rows += await _both(rig, turns[at : at + AT_A_TIME], number, at // AT_A_TIME)
    return rows


async def _both(rig: Rig, turns: Sequence[DatasetTurn], number: int, block: int) -> list[Row]:
    variants = [("bare", rig.bare), ("harness", rig.harness)]
    rows = []
    for name, run in reversed(variants) if (number + block) % 2 else variants:
        for turn, track in zip(turns, await run(turns), strict=True):
            if track.voice_to_voice_s is None:
                sys.exit(f"{turn.id} failed: {track.error_code} {track.error_message}")
            rows.append(
                Row(
                    variant=name,
                    round=number,
                    utterance=turn.id,
                    voice_to_voice_s=track.voice_to_voice_s,
                )
            )
    return rows


def compared(rows: Sequence[Row]) -> Ratio:
    """The harness by the bare loop, paired by utterance and round."""
    times = {(row.variant, row.round, row.utterance): row.voice_to_voice_s for row in rows}
    pairs = [key[1:] for key in times if key[0] == "bare"]
    return ratio(*([times[variant, *pair] for pair in pairs] for variant in ("harness", "bare")))


def added_ms(rows: Sequence[Row]) -> tuple[float, float, float]:
    """The median of the differences of pairs, between the ends of its interval of 95 %, which are
    order statistics (Conover, "Practical Nonparametric Statistics", 3.2)."""
    times = {(row.variant, row.round, row.utterance): row.voice_to_voice_s for row in rows}
    added = sorted(
        1e3 * (took - times["bare", *key[1:]]) for key, took in times.items() if key[0] != "bare"
    )
    count = len(added)
    reach = 1.96 * count**0.5 / 2
    ends = max(0, int(count / 2 - reach)), min(count - 1, int(count / 2 + reach))
    return added[ends[0]], quantile(added, 50), added[ends[1]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="turns of each utterance (6)")
    parser.add_argument("--utterances", type=int, help="only the first so many")
    parser.add_argument("--cluster", default=CLUSTER, help=f"({CLUSTER})")
    parser.add_argument("--mode", type=Mode, default=Mode.STREAMED, help="(streamed)")
    parser.add_argument("--pace", type=Pace, default=Pace.FAST, help="(fast)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and turns")
    parser.add_argument("--scripted", action="store_true", help="Modules that wait by the clock")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TURNLAB_HOME"] = home
        rows = asyncio.run(measure(asked))
    found = compared(rows)
    about = {"date": date.today().isoformat(), "hardware": hardware()}
    if asked.json:
        told = {**about, "ratio": asdict(found), "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    cluster = "scripted" if asked.scripted else asked.cluster
    print(f"{about['date']}, {about['hardware']}; {cluster}, {asked.mode}, {asked.pace}\n")
    _print(rows, found)


def _print(rows: Sequence[Row], found: Ratio) -> None:
    print("| | n | median, ms | p95, ms |\n| --- | ---: | ---: | ---: |")
    for name in ("bare", "harness"):
        took = [row.voice_to_voice_s for row in rows if row.variant == name]
        print(f"| {name} | {len(took)} | {1e3 * quantile(took, 50):.1f} ", end="")
        print(f"| {1e3 * quantile(took, 95):.1f} |")
    low, middle, high = added_ms(rows)
    print(f"\nTurn by turn it adds {middle:+.2f} ms ({low:+.2f} to {high:+.2f}) at the median.")
    print("\n| harness / bare | ratio | 95 % interval |\n| --- | ---: | --- |")
    for name, key in (("median", "median"), ("p95", "p95"), ("turn by turn", "paired")):
        low, high = getattr(found, f"{key}_interval")
        print(f"| {name} | {getattr(found, key):.4f} | {low:.4f} to {high:.4f} |")
    met = "met" if found.paired <= LIMIT else "not met"
    print(f"\nBelow {100 * (LIMIT - 1):g} %, turn by turn: {met}.")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
