"""`turnlab run`: recordings through a Cluster, one turn each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from turnlab.audio import Pace, RecordedTurn, open_image, open_recording
from turnlab.bench.verdict import check_budget
from turnlab.chunks import Audio, Chunk, Image, Reply, Transcript
from turnlab.cli.session import (
    ClusterFolders,
    ModuleFolders,
    find_parts,
    open_runner,
    parse_overrides,
    require_models,
)
from turnlab.cli.turns import report_of, write_sound
from turnlab.clusters import Plan, make_plan
from turnlab.clusters.plan import require_speech
from turnlab.modules.base import Exchange
from turnlab.reports.terminal import turn_view
from turnlab.reports.turn import TurnReport
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Mode
from turnlab.turn import TurnResult
from turnlab.turns.voice_activity import VoiceActivity
from turnlab.work import Observer

EXIT_OVER_BUDGET = 2


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `turnlab run` was asked for."""

    plan: Plan
    recordings: tuple[Path, ...]
    images: tuple[Path, ...]
    mode: Mode
    pace: Pace
    budget_s: float | None
    out: Path | None
    conversation: bool


def run(
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", "--track_cluster", "--track-cluster", help="Name of the Cluster."
        ),
    ],
    audio: Annotated[
        list[Path], typer.Option(help="A recording of one turn; repeatable, one turn each.")
    ],
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture that goes with each turn; repeatable.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="Stages overlap, or wait for each other.")] = (
        Mode.STREAMED
    ),
    pace: Annotated[
        Pace, typer.Option(help="Hand the recording over whole, or at the speed of speech.")
    ] = Pace.FAST,
    budget: Annotated[
        float | None,
        typer.Option(help="Most seconds, voice to voice; by default the Cluster's own."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the spoken reply (of the last turn).")
    ] = None,
    conversation: Annotated[
        bool, typer.Option(help="Let each turn know the turns before it.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="component.param=value for this run; repeatable."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a turn, nothing else.")
    ] = False,
    clusters: ClusterFolders = None,
    modules: ModuleFolders = None,
) -> int:
    """Run recorded turns through a Cluster: transcript, reply, waterfall, verdict.

    Exit code 0: accepted; 1: failed to run; 2: ran but over budget.
    """
    parts = find_parts(clusters, modules)
    given = (Audio, Image) if image else (Audio,)
    found = parts.catalogue.get(cluster)
    plan = make_plan(found, parts.registry, parse_overrides(set_ or ()), given)
    require_speech(plan)
    require_models(plan)
    budget_s = budget if budget is not None else found.budget_s
    request = Request(
        plan=plan,
        recordings=tuple(audio),
        images=tuple(image or ()),
        mode=mode,
        pace=pace,
        budget_s=None if budget_s is None else check_budget(budget_s),
        out=out,
        conversation=conversation,
    )
    return asyncio.run(_run(request, json_))


async def _run(request: Request, as_json: bool) -> int:
    failed = over = False
    console = Console(highlight=False)
    progress = None if as_json else Console(stderr=True, highlight=False)
    async for report in _reports(request, progress):
        if as_json:
            typer.echo(json.dumps(report.as_json()))
        else:
            console.print(turn_view(report))
        failed = failed or report.error is not None
        over = over or (report.verdict or {}).get("outcome") == "fail"
    return 1 if failed else EXIT_OVER_BUDGET if over else 0


async def _reports(request: Request, console: Console | None) -> AsyncIterator[TurnReport]:
    """Each turn, once it is over. Pictures and recordings are checked before models load."""
    images = tuple(open_image(path) for path in request.images)
    detector = VoiceActivity()
    recordings = [open_recording(path, detector) for path in request.recordings]
    history: list[Exchange] = []
    with Progress(console) as progress:
        async with open_runner() as (runner, executor):
            progress.say("loading the models")
            await executor.prepare(request.plan)
            for recording in recordings:
                source = RecordedTurn(
                    recording=recording, clock=executor.clock, pace=request.pace, images=images
                )
                progress.say(f"listening to {recording.path.name}")
                result = await runner.run(
                    request.plan,
                    source,
                    mode=request.mode,
                    history=history if request.conversation else (),
                    observer=progress,
                )
                history.append(Exchange(text=result.transcript, reply=result.reply))
                _write(result, request.out)
                yield report_of(result, source, request.budget_s)


def _write(result: TurnResult, out: Path | None) -> None:
    if out is not None and result.speech is not None:
        write_sound(out, result.speech)


class Progress(Observer):
    """One line that says what is happening while a turn runs; nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._status = Status("", console=console) if console else None
        self._reply = ""

    def __enter__(self) -> Progress:
        with_status = self._status or nullcontext()
        with_status.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, words: str) -> None:
        """Show `words` in place of what was shown."""
        if self._status:
            self._status.update(words.replace("[", r"\["))

    def task(self, task: Task) -> None:
        if task.status is TaskStatus.STARTED:
            self.say(f"{task.name} ...")

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Transcript):
            self._reply = ""
            self.say(f"{component}: {chunk.text}")
        elif isinstance(chunk, Reply):
            self._reply += chunk.text
            self.say(f"{component}: {self._reply[-70:]}")
