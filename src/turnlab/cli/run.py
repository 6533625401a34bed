"""`turnlab run`: recordings through a Cluster, one turn each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from turnlab.audio import Pace, RecordedTurn, Recording, open_image, open_recording
from turnlab.bench.verdict import check_budget
from turnlab.chunks import Audio, Chunk, Image, Reply, Transcript
from turnlab.cli.session import (
    ClusterFolders,
    ModuleFolders,
    find_parts,
    open_queries,
    open_runner,
    parse_overrides,
    require_models,
    run_to_the_end,
)
from turnlab.cli.turns import check_out, report_of, write_sound
from turnlab.clusters import Plan, make_plan
from turnlab.clusters.plan import require_speech
from turnlab.conversations import Conversation
from turnlab.errors import ClusterNotRunnable, TurnlabError
from turnlab.reports.terminal import turn_view
from turnlab.reports.turn import TurnReport
from turnlab.reports.words import clean
from turnlab.tasks import Task, TaskStatus
from turnlab.tracks import Mode, TrackStatus
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
    conversation: Conversation | None


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
        bool, typer.Option("--conversation", help="Let each turn know the turns before it.")
    ] = False,
    continue_: Annotated[
        str | None,
        typer.Option(
            "--continue", metavar="ID", help="Go on with a Conversation that was recorded."
        ),
    ] = None,
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

    Exit code 0: accepted; 1: failed to run; 2: ran but over budget; 130: cancelled.
    """
    parts = find_parts(clusters, modules)
    given = (Audio, Image) if image else (Audio,)
    found = parts.catalogue.get(cluster)
    plan = make_plan(found, parts.registry, parse_overrides(set_ or ()), given)
    require_speech(plan)
    require_pictures_read(plan, image or ())
    require_models(plan)
    budget_s = budget if budget is not None else found.budget_s
    request = Request(
        plan=plan,
        recordings=tuple(audio),
        images=tuple(image or ()),
        mode=mode,
        pace=pace,
        budget_s=None if budget_s is None else check_budget(budget_s),
        out=None if out is None else check_out(out, audio),
        conversation=_conversation(conversation, continue_),
    )
    return run_to_the_end(_run(request, json_))


def _conversation(begin: bool, known: str | None) -> Conversation | None:
    """A new Conversation, the one with the id `known`, or none."""
    if known is None:
        return Conversation() if begin else None
    found: Conversation = open_queries().get_conversation(known)
    return found


def require_pictures_read(plan: Plan, images: Sequence[Path]) -> None:
    """Raise ClusterNotRunnable if there are pictures that no Component would look at."""
    if images and not any(Image in step.reads for step in plan.steps):
        raise ClusterNotRunnable(f"{plan.cluster.name} reads no Image; leave --image out.")


async def _run(request: Request, as_json: bool) -> int:
    failed = over = False
    progress = None if as_json else Console(stderr=True, highlight=False)
    async for report in _reports(request, progress):
        _show(report, as_json)
        failed = failed or report.error is not None
        over = over or (report.verdict or {}).get("outcome") == "fail"
    if progress and request.conversation:
        progress.print(f"To go on with this conversation: --continue {request.conversation.id}")
    return 1 if failed else EXIT_OVER_BUDGET if over else 0


def _show(report: TurnReport, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        # A turn that never began is an error and nothing else.
        Console(stderr=not report.track_id, highlight=False).print(turn_view(report))


async def _reports(request: Request, console: Console | None) -> AsyncIterator[TurnReport]:
    """Each turn, once it is over. Pictures and recordings are checked before models load."""
    images = tuple(open_image(path) for path in request.images)
    detector = VoiceActivity()
    recordings = []
    for path in request.recordings:
        try:
            recordings.append(open_recording(path, detector))
        except TurnlabError as error:
            yield _refused(request, path, error)
    if recordings:
        async for report in _turns(request, recordings, images, Progress(console)):
            yield report


def _refused(request: Request, path: Path, error: TurnlabError) -> TurnReport:
    return TurnReport(
        track_id="",
        cluster=request.plan.cluster.name,
        mode=request.mode,
        status=TrackStatus.FAILED,
        error={"code": error.code, "message": error.message},
        label=path.name,
    )


async def _turns(
    request: Request, recordings: list[Recording], images: tuple[Image, ...], progress: Progress
) -> AsyncIterator[TurnReport]:
    with progress:
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
                    conversation=request.conversation,
                    observer=progress,
                )
                progress.hide()
                yield report_of(result, source, request.budget_s)
                if request.out is not None and result.speech is not None:
                    write_sound(request.out, result.speech)


class Progress(Observer):
    """One line that says what is happening while a turn runs; nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._status: Status | None = None
        self._reply = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.hide()

    def hide(self) -> None:
        """Leave the terminal to others until there is something to say."""
        if self._status:
            self._status.stop()
        self._status = None

    def say(self, words: str) -> None:
        """Show `words` in place of what was shown, as much of them as fits a line."""
        if self._console is None:
            return
        text = Text(clean(words))
        text.truncate(max(10, self._console.width - 4), overflow="ellipsis")
        if self._status is None:
            self._status = Status(text, console=self._console)
            self._status.start()
        else:
            self._status.update(text)

    def task(self, task: Task) -> None:
        if task.status is TaskStatus.STARTED:
            self.say(f"{task.name} ...")

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Transcript):
            self._reply = ""
            self.say(f"{component}: {chunk.text}")
        elif isinstance(chunk, Reply):
            self._reply += chunk.text
            self.say(f"{component}: {self._reply[-60:]}")
