"""`turnlab run`: recordings through a Cluster, one turn each."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from turnlab.audio import Pace, RecordedTurn, Recording, open_image, open_recording
from turnlab.bench.verdicts.verdict import check_budget
from turnlab.chunks import Audio, Image
from turnlab.cli import exit_codes
from turnlab.cli.failures import show_error
from turnlab.cli.problems import tell_problems
from turnlab.cli.progress import Progress
from turnlab.cli.reload import Opened, hint, run_on_change, watch
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
from turnlab.errors import ClusterNotRunnable, ModuleFailed, TurnlabError
from turnlab.reports.terminal import turn_view
from turnlab.reports.turn import TurnReport
from turnlab.tracks import Mode, TrackStatus
from turnlab.turns.voice_activity import VoiceActivity

Place = AbstractAsyncContextManager[Opened]
"""Where turns run: opened once the recordings are known to be good."""


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
    copied_from: str | None = None
    """The Conversation that this one knows the turns of and is not to be added to."""


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
    reload: Annotated[
        bool,
        typer.Option(
            "--reload",
            help="Run again whenever a file in --clusters, --modules or TURNLAB_CODE changes.",
        ),
    ] = False,
) -> int:
    """Run recorded turns through a Cluster: transcript, reply, waterfall, verdict.

    Exit code 0: accepted; 1: failed to run; 2: ran but over budget; 130: cancelled, which is
    also how --reload ends.
    """
    images = tuple(image or ())
    talk = _conversation(conversation, continue_)

    def request() -> Request:
        """What is asked for, of the files as they are now."""
        parts = find_parts(clusters, modules)
        tell_problems(parts)
        found = parts.catalogue.get(cluster)
        given = (Audio, Image) if images else (Audio,)
        plan = make_plan(found, parts.registry, parse_overrides(set_ or ()), given)
        require_speech(plan)
        require_pictures_read(plan, images)
        require_models(plan)
        budget_s = budget if budget is not None else found.budget_s
        return Request(
            plan=plan,
            recordings=tuple(audio),
            images=images,
            mode=mode,
            pace=pace,
            budget_s=None if budget_s is None else check_budget(budget_s),
            out=None if out is None else check_out(out, audio),
            # Each time one of its own: the same turn again is no further turn of it.
            conversation=Conversation(exchanges=[*talk.exchanges]) if talk and reload else talk,
            copied_from=continue_ if reload else None,
        )

    async def again(opened: Opened) -> None:
        asked = request()
        try:
            await opened[1].keep_only(asked.plan)
        except ModuleFailed as error:  # of the file as it was: it is gone all the same
            show_error(error)
        await _run(asked, json_, nullcontext(opened))

    # What Modules print must not come between the objects.
    with redirect_stdout(sys.stderr) if json_ else nullcontext():
        if reload:
            return run_to_the_end(run_on_change(again, watch(clusters, modules)))
        return run_to_the_end(_run(request(), json_, open_runner()))


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


async def _run(request: Request, as_json: bool, place: Place) -> int:
    failed = over = False
    progress = None if as_json else Console(stderr=True, highlight=False)
    async for report in _reports(request, place, progress):
        _show(report, as_json)
        unheard = report.voice_to_voice_s is None and not report.verdict
        failed = failed or report.error is not None or unheard
        over = over or (report.verdict or {}).get("outcome") == "fail"
    if progress and request.conversation:
        progress.print(hint(request.conversation.id, request.copied_from))
    return 1 if failed else exit_codes.OVER_BUDGET if over else 0


def _show(report: TurnReport, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()), file=sys.__stdout__)
    else:
        # A turn that never began is an error and nothing else.
        Console(stderr=not report.track_id, highlight=False).print(turn_view(report))


async def _reports(
    request: Request, place: Place, console: Console | None
) -> AsyncIterator[TurnReport]:
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
        async for report in _turns(request, recordings, images, place, Progress(console)):
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
    request: Request,
    recordings: list[Recording],
    images: tuple[Image, ...],
    place: Place,
    progress: Progress,
) -> AsyncIterator[TurnReport]:
    with progress:
        async with place as (runner, executor):
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
