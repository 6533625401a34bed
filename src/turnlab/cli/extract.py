"""`turnlab extract`: a film, cut into turns and run through Clusters."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.cli.problems import tell_problems
from turnlab.cli.progress import Progress
from turnlab.cli.session import ClusterFolders, ModuleFolders, find_parts, run_to_the_end
from turnlab.cli.telling import TokenOption, require_client
from turnlab.cli.trials import Trial, in_this_process, on_server
from turnlab.errors import InvalidRequest, UnknownCluster
from turnlab.reports.rows import ms_text
from turnlab.reports.words import clean, shortened
from turnlab.tracks import Mode
from turnlab.video.film import Cut, cut_film
from turnlab.video.moments import parse_moments, told
from turnlab.video.turns import CutTurn

REPLY_CHARACTERS = 160
"""Of a reply, in the table."""

Trials = Callable[[Sequence[CutTurn]], AsyncIterator[Trial]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where to run which Clusters."""

    api: str | None
    token: str
    clusters: tuple[str, ...]
    every: bool
    mode: Mode
    cluster_folders: list[Path] | None
    module_folders: list[Path] | None

    @property
    def runs(self) -> bool:
        """Whether any are to be run."""
        return bool(self.clusters) or self.every


def extract(
    video: Annotated[Path, typer.Argument(help="A film with sound: MP4, MKV, WebM, AVI, MOV.")],
    time_points: Annotated[
        list[str],
        typer.Option(
            "--time-points",
            "--time_points",
            help="Where each turn begins, h:mm:ss, mm:ss or seconds: 0,02:53,3:20.5; repeatable.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Empty folder for the turns; by default VIDEO-turns.")
    ] = None,
    frames_per_second: Annotated[
        float, typer.Option("--frames-per-second", help="Frames that are kept of each second.")
    ] = 1.0,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            "--track_cluster",
            "--track-cluster",
            help="A Cluster to run each turn through; repeatable.",
        ),
    ] = None,
    all_clusters: Annotated[
        bool, typer.Option("--all-clusters", help="Run each turn through every Cluster.")
    ] = False,
    api: Annotated[
        str | None,
        typer.Option("--api", help="Run them on the server at this address, not here."),
    ] = None,
    token: TokenOption = "",
    mode: Annotated[Mode, typer.Option(help="Stages overlap, or wait for each other.")] = (
        Mode.STREAMED
    ),
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
    ] = False,
    clusters: ClusterFolders = None,
    modules: ModuleFolders = None,
) -> int:
    """Cut a film into turns: sound, frames, and a manifest.jsonl that lists them.

    Each time point begins a turn, which lasts until the next one, or until the end of the film.
    With --cluster or --all-clusters every turn is run, and a table shows latency and replies.
    Exit code 0: all is done; 1: a turn failed.
    """
    asked = Asked(
        api=api,
        token=token,
        clusters=tuple(cluster or ()),
        every=all_clusters,
        mode=mode,
        cluster_folders=clusters,
        module_folders=modules,
    )
    if api is not None and not asked.runs:
        raise InvalidRequest("--api needs --cluster NAME or --all-clusters.")
    folder = out or Path(f"{video.stem}-turns")
    moments = parse_moments(time_points)
    cut = Cut(film=video, moments=moments, frames_per_second=frames_per_second)
    with redirect_stdout(sys.stderr) if json_ else nullcontext():
        return run_to_the_end(_extract(cut, folder, asked, json_))


async def _extract(cut: Cut, folder: Path, asked: Asked, as_json: bool) -> int:
    console = Console(highlight=False)
    progress = Progress(None if as_json else Console(stderr=True, highlight=False))
    async with _place(asked) as trials:
        with progress:
            progress.say(f"cutting {cut.film.name}")
            turns = await asyncio.to_thread(cut_film, cut, folder)
        if as_json and not asked.runs:
            for turn in turns:
                _print({"folder": str(folder), **turn.as_json(folder)})
        elif not as_json:
            console.print(_turns_table(turns))
            console.print(Text(f"{folder / 'manifest.jsonl'} lists their files."), soft_wrap=True)
        done = [trial async for trial in _shown(trials(turns), progress, as_json)]
    if asked.runs and not as_json:
        console.print(_trials_table(done))
        console.print(_summary(done))
    return 1 if any(trial.status != "completed" for trial in done) else 0


@asynccontextmanager
async def _place(asked: Asked) -> AsyncIterator[Trials]:
    """Where turns are run. Raises UnknownCluster and the like before the film is cut."""
    if not asked.runs:
        yield _none
    elif asked.api is None:
        parts = find_parts(asked.cluster_folders, asked.module_folders)
        tell_problems(parts)
        names = [each.name for each in parts.catalogue] if asked.every else asked.clusters
        for name in names:
            parts.catalogue.get(name)
        yield lambda turns: in_this_process(parts, names, turns, asked.mode)
    else:
        async with _server(asked, asked.api) as trials:
            yield trials


@asynccontextmanager
async def _server(asked: Asked, url: str) -> AsyncIterator[Trials]:
    require_client()
    from turnlab.cli.telling import teller
    from turnlab.client.api import Api
    from turnlab.client.patience import Patience, at_once

    async with Api(url, asked.token) as api:
        known = [str(each["name"]) for each in await at_once(api.clusters())]
        names = known if asked.every else asked.clusters
        for name in names:
            if name not in known:
                raise UnknownCluster(f"The server has no Cluster {name!r}; it has {known}.")
        patience = Patience(teller(False, to_stderr=True))
        yield lambda turns: on_server(api, patience, names, turns, asked.mode)


async def _none(turns: Sequence[CutTurn]) -> AsyncIterator[Trial]:
    for _ in ():
        yield _


async def _shown(
    trials: AsyncIterator[Trial], progress: Progress, as_json: bool
) -> AsyncIterator[Trial]:
    """The trials, each told of as soon as it is over."""
    with progress:
        async for trial in trials:
            if as_json:
                _print(trial.as_json())
            progress.say(f"turn {trial.turn}, {trial.cluster}: {_how(trial)}")
            yield trial


def _print(line: object) -> None:
    typer.echo(json.dumps(line), file=sys.__stdout__)


def _turns_table(turns: Sequence[CutTurn]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("turn", "from", "to", "frames"):
        table.add_column(name, justify="right", no_wrap=True)
    for turn in turns:
        where = (told(turn.start_s), told(turn.end_s))
        table.add_row(str(turn.number), *where, str(len(turn.images)))
    return table


def _trials_table(trials: Sequence[Trial]) -> Table:
    """A row for each turn and Cluster, those of one turn together."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("turn", justify="right", no_wrap=True)
    table.add_column("Cluster", overflow="fold", ratio=2)
    table.add_column("voice to voice", justify="right", overflow="fold", max_width=16)
    table.add_column("reply", ratio=3)
    shown = 0
    for trial in sorted(trials, key=lambda each: each.turn):
        reply = trial.reply or (trial.error or {}).get("message", "")
        number = str(trial.turn) if trial.turn != shown else ""
        if number and shown:
            table.add_section()
        shown = trial.turn
        cells = (trial.cluster, _how(trial), shortened(clean(reply), REPLY_CHARACTERS))
        table.add_row(number, *map(Text, cells))
    return table


def _how(trial: Trial) -> str:
    if trial.error:
        return trial.error.get("code", "failed")
    return ms_text(trial.voice_to_voice_s) or "no sound"


def _summary(trials: Sequence[Trial]) -> Table:
    """Each Cluster's median latency over the turns that it answered."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Cluster", overflow="fold")
    for name in ("turns", "median", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for cluster in dict.fromkeys(trial.cluster for trial in trials):
        own = [trial for trial in trials if trial.cluster == cluster]
        heard = [each.voice_to_voice_s for each in own if each.voice_to_voice_s is not None]
        median = ms_text(statistics.median(heard)) if heard else ""
        failed = sum(each.status != "completed" for each in own)
        table.add_row(Text(cluster), str(len(own)), median, str(failed))
    return table
