"""`turnlab bench`: replays a dataset through Clusters, and says whether they are acceptable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from turnlab.audio import Pace
from turnlab.bench.replay.asked import Asked
from turnlab.bench.reporting.pinned import resume_command
from turnlab.cli import exit_codes
from turnlab.cli.bench_end import Outputs, finish
from turnlab.cli.bench_run import Bench, begun, replay, resumed
from turnlab.cli.printing import figures_alone
from turnlab.cli.session import ModuleFolders, parse_overrides
from turnlab.errors import InvalidRequest
from turnlab.runs import RunStatus, check_run_name
from turnlab.tracks import Mode

MOST_REPEATS = 1_000
MOST_AT_ONCE = 1_000


def bench(
    clusters: Annotated[
        str | None, typer.Option(metavar="A,B", help="Names of Clusters, with commas.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="streamed (the default), chained, or both with a comma.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(min=1, max=MOST_REPEATS, help="How often each turn is run (1).")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=MOST_AT_ONCE, help="How many turns run at once (1).")
    ] = None,
    pace: Annotated[
        Pace | None,
        typer.Option(help="Hand recordings over whole (the default), or at the speed of speech."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Such as 'voice_to_voice.p95 <= 1.0', instead of the Clusters' own."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="component.param=value for this Run; repeatable."),
    ] = None,
    warm_up: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Turns of each that do not count, before all (2)."),
    ] = None,
    only_tags: Annotated[
        str | None, typer.Option(help="Only turns with one of these tags, with commas.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the Run.")] = "",
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a Run that was interrupted.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report, an HTML file.")] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write all figures as JSON; - prints them.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the verdicts as JUnit XML.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write the report for a pull request; - prints it."),
    ] = None,
    cluster_folder: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of Cluster files; repeatable. Also TURNLAB_CLUSTERS."),
    ] = None,
    modules: ModuleFolders = None,
) -> int:
    """Replay a dataset through Clusters: figures, a verdict on each budget, a comparison.

    Every turn is a Track of one Run. Interrupted, by Ctrl-C or worse, the Run can be gone on with:
    what has ended is not run again.

    Exit code 0: all budgets are kept, or there is none; 1: failed to run, or a Cluster failed on
    every turn; 2: a budget is not kept; 3: too few turns to tell; 130: interrupted.
    """
    outputs = Outputs(report=report, json=json_, junit=junit, markdown=markdown)
    outputs.check()
    console = Console(stderr=True, highlight=False)
    with figures_alone():
        if resume is not None:
            what = (clusters, dataset, mode, repeat, concurrency, pace, budget, warm_up, only_tags)
            _refuse_with_resume((*what, name or None))
            ready = resumed(
                resume,
                parse_overrides(set_ or ()),
                console,
                cluster_folders=_absolute(cluster_folder),
                module_folders=_absolute(modules),
            )
        else:
            asked = _asked(
                clusters,
                dataset,
                mode=mode,
                repeat=repeat,
                concurrency=concurrency,
                pace=pace,
                budget=tuple(budget or ()),
                overrides=parse_overrides(set_ or ()),
                warm_up=warm_up,
                only_tags=only_tags,
                cluster_folders=_absolute(cluster_folder),
                module_folders=_absolute(modules),
            )
            ready = begun(asked, check_run_name(name), console)
        if _replayed(ready, outputs, console) == exit_codes.INTERRUPTED:
            return exit_codes.INTERRUPTED
    return finish(ready.run.id, outputs)


def _replayed(ready: Bench, outputs: Outputs, console: Console) -> int:
    """The exit code of the replay; whatever ends it early, how to go on is said."""
    if ready.run.status is RunStatus.COMPLETED:
        return 0
    code = exit_codes.INTERRUPTED
    try:
        code = replay(ready, console)
    except KeyboardInterrupt:
        pass
    finally:
        if code:
            console.print("Go on with:", markup=False)
            line = f"  {resume_command(ready.run)}{outputs.as_options()}"
            console.print(line, markup=False, soft_wrap=True)
    return code


def _asked(clusters: str | None, dataset: Path | None, **given: Any) -> Asked:
    if clusters is None or dataset is None:
        raise InvalidRequest("Give --clusters A,B and --dataset DIR, or --resume RUN.")
    mode, only_tags = given.pop("mode"), given.pop("only_tags")
    names = tuple(dict.fromkeys(_some("--clusters", clusters)))
    listed = [Mode.STREAMED] if mode is None else _some("--mode", mode)
    modes = dict.fromkeys(map(_mode, listed))
    tags = () if only_tags is None else _some("--only-tags", only_tags)
    return Asked(
        dataset=dataset.absolute(),
        clusters=names,
        modes=tuple(modes),
        only_tags=tuple(tags),
        **{key: value for key, value in given.items() if value is not None},
    )


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        known = " or ".join(Mode)
        raise InvalidRequest(f"--mode {text!r} is none; write {known}, or both.") from None


def _some(option: str, text: str) -> list[str]:
    """The names in a list with commas: an empty one is a mistake, such as an unset variable."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidRequest(f"{option} names none; give names with commas.")
    return parts


def _absolute(folders: list[Path] | None) -> tuple[Path, ...]:
    return tuple(folder.absolute() for folder in folders or ())


def _refuse_with_resume(given: tuple[Any, ...]) -> None:
    if any(each is not None for each in given):
        raise InvalidRequest(
            "--resume goes on with what was asked for when the Run began; with it, give only "
            "--set (for what may be a secret), --modules and --cluster-folder as it had them, and "
            "where to write."
        )
