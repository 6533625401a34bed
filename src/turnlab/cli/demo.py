"""`turnlab demo`: real recordings through the local Cluster, a table and a report."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.text import Text

from turnlab.audio import RATE, Pace, RecordedTurn, Recording, open_recording
from turnlab.bench.questions import make_questions
from turnlab.bench.verdicts.verdict import check_budget, judge_turns
from turnlab.chunks import Audio
from turnlab.cli.session import find_parts, open_runner, require_models, run_to_the_end
from turnlab.cli.turns import report_of, wav_bytes, write_sound
from turnlab.clusters import Plan, make_plan
from turnlab.errors import OutputFailed
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.host import host_facts
from turnlab.packaged import packaged
from turnlab.reports.page import render_page
from turnlab.reports.picture import readme_svg
from turnlab.reports.terminal import modes_table, turns_table
from turnlab.reports.turn import TurnReport
from turnlab.runner import Runner
from turnlab.tracks import Mode
from turnlab.turns.voice_activity import VoiceActivity

CLUSTER = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
BUDGET_S = 1.0

RUNS = ((Mode.CHAINED, Pace.FAST), (Mode.STREAMED, Pace.FAST), (Mode.STREAMED, Pace.REALTIME))
"""What is compared, one after the other."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and the replies.")] = Path(
        "turnlab-demo"
    ),
    budget: Annotated[float, typer.Option(help="Most seconds, voice to voice.")] = BUDGET_S,
) -> int:
    """Run recorded and made questions through the local Cluster; write report.html."""
    console = Console(highlight=False)
    parts = find_parts(None, None)
    plan = make_plan(parts.catalogue.get(CLUSTER), parts.registry)
    require_models(plan)
    return run_to_the_end(_demo(plan, out, check_budget(budget), console))


async def _demo(plan: Plan, out: Path, budget_s: float, console: Console) -> int:
    turns = await _turns(plan, out, console)
    live = [turn for turn in turns if turn.mode == Mode.STREAMED and turn.pace == Pace.REALTIME]
    verdict = judge_turns([turn.voice_to_voice_s for turn in live], budget_s)
    _write_report(out, turns, budget_s, verdict.sentence)
    console.print(turns_table(turns))
    console.print(modes_table(turns))
    console.print(Text(f"Streamed at the pace of speech: {verdict.sentence}", style="bold"))
    console.print(Text(f"The report: {out / 'report.html'}; the spoken replies lie beside it."))
    return 1 if any(turn.error for turn in turns) else 0


async def _turns(plan: Plan, out: Path, console: Console) -> list[TurnReport]:
    _make_folder(out)
    recordings = _recordings(out)
    async with open_runner() as (runner, executor):
        with Bar(console=console, transient=True) as bar:
            doing = bar.add_task("loading the models", total=len(recordings) * len(RUNS))
            await executor.prepare(plan)
            await _turn(runner, executor, plan, recordings[0], *RUNS[0])  # warm-up
            turns = []
            # Mode by mode: a question asked twice in a row would find its prompt in the cache.
            for mode, pace in RUNS:
                for recording in recordings:
                    bar.update(doing, description=f"{recording.path.stem}, {mode}, {pace}")
                    turn = await _turn(runner, executor, plan, recording, mode, pace, out)
                    turns.append(turn)
                    bar.advance(doing)
    return turns


async def _turn(
    runner: Runner,
    executor: EmbeddedExecutor,
    plan: Plan,
    recording: Recording,
    mode: Mode,
    pace: Pace,
    out: Path | None = None,
) -> TurnReport:
    source = RecordedTurn(recording=recording, clock=executor.clock, pace=pace)
    result = await runner.run(plan, source, mode=mode)
    report = report_of(result, source, None)
    if out is None or result.speech is None:
        return report
    reply = out / f"{recording.path.stem}-{mode}-{pace}.wav"
    write_sound(reply, result.speech)
    asked = Audio(samples=np.concatenate(list(recording.blocks())), sample_rate=RATE)
    return replace(
        report,
        question_wav=wav_bytes(asked),
        reply_wav=wav_bytes(result.speech),
        reply_file=reply.name,
    )


def _recordings(out: Path) -> list[Recording]:
    """Real speech that a package ships, and questions that the local voice asks."""
    shipped = [packaged("moonshine_voice", "assets", name) for name in ("beckett.wav",)]
    detector = VoiceActivity()
    paths = [*(path for path in shipped if path), *make_questions(out / "questions", 4)]
    return [open_recording(path, detector) for path in paths]


def _write_report(out: Path, turns: list[TurnReport], budget_s: float, sentence: str) -> None:
    title = "Turnlab demo: the verdict is on turns streamed at the pace of speech"
    page = render_page(title, turns, budget_s, sentence, _facts())
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "turns.json").write_text(json.dumps([turn.as_json() for turn in turns], indent=1))
    with contextlib.suppress(ValueError):
        (out / "waterfall.svg").write_text(readme_svg(turns), encoding="utf-8")


def _facts() -> dict[str, str]:
    facts = host_facts()
    engines = facts.pop("engines")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": "turnlab demo",
        **{name: str(value) for name, value in facts.items()},
        "engines": ", ".join(f"{name} {version}" for name, version in engines.items()),
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputFailed(f"{folder} cannot be made: {error.strerror}.") from error
