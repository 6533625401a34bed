"""`turnlab predict`: how fast a Cluster would be that has not run."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from turnlab.audio import Pace
from turnlab.bench.predict.advice import advise
from turnlab.bench.predict.asking import Asked, question_of
from turnlab.bench.predict.capacity import capacity as capacity_of
from turnlab.bench.predict.library import Library
from turnlab.bench.predict.page import prediction_page, validation_page
from turnlab.bench.predict.parts import parts_of_plan
from turnlab.bench.predict.prediction import predict as predict_it
from turnlab.bench.predict.records import Group
from turnlab.bench.predict.told import as_json, validation_json
from turnlab.bench.predict.validation import validate as validate_run
from turnlab.bench.predict.view import prediction_view, validation_view
from turnlab.bench.predict.what_if import parse_seconds
from turnlab.bench.verdicts.verdict import Outcome
from turnlab.cli.reporting import check_place, write_text
from turnlab.cli.session import ClusterFolders, ModuleFolders, Parts, find_parts
from turnlab.clusters import make_plan
from turnlab.errors import InvalidRequest, NothingMeasured
from turnlab.host import host_facts
from turnlab.tracks import Mode

EXIT_OVER_BUDGET = 2
EXIT_UNDECIDED = 3
MOST_TURNS = 1_000_000
MOST_AT_ONCE = 10_000


def predict(
    cluster: Annotated[
        str | None, typer.Argument(help="Name of the Cluster; it need not have run.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="COMPONENT.first_output or .model = lognormal(0.4, 0.25), x0.8, +100ms ...; "
            "repeatable.",
        ),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT=RUN:CLUSTER[:COMPONENT]",
            help="Another Component's measurements for one; repeatable.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=MOST_AT_ONCE, help="Turns at once, as in `bench`.")
    ] = 1,
    workers: Annotated[
        list[str] | None,
        typer.Option(metavar="A=2,B=4", help="Instances of Components, where more than one."),
    ] = None,
    cores: Annotated[
        float | None, typer.Option(help="Cores of the machine; by default as measured.")
    ] = None,
    network: Annotated[
        str, typer.Option(help="Round trip between API and workers, such as 40ms.")
    ] = "0ms",
    mode: Annotated[Mode, typer.Option(help="Stages overlap, or wait for each other.")] = (
        Mode.STREAMED
    ),
    pace: Annotated[
        Pace, typer.Option(help="The recording comes whole, or at the speed of speech.")
    ] = Pace.FAST,
    turns: Annotated[int, typer.Option(min=100, max=MOST_TURNS, help="To simulate.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    runs: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these Runs, by id, name or `last`; else the newest of this hardware.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Such as 'voice_to_voice.p95 <= 1.0', instead of the Cluster's own."),
    ] = None,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="How many conversations at once stay in budget.")
    ] = False,
    pause: Annotated[
        str, typer.Option(help="Of --capacity: from the reply's end to the next word.")
    ] = "1s",
    validate: Annotated[
        str | None, typer.Option(metavar="RUN", help="Predict a Run from the others; compare.")
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a page with the pictures.")] = None,
    clusters: ClusterFolders = None,
    modules: ModuleFolders = None,
) -> int:
    """Predict how fast a Cluster would be, from what Runs have measured of its Components.

    Exit code 0: the budget would be kept, or there is none; 1: it cannot be predicted; 2: it would
    not be kept, or (--validate) an error is larger than is tolerated; 3: too few measurements.
    """
    if out is not None:
        check_place(out)
    parts = find_parts(clusters, modules)
    if validate is not None:
        beside = {
            "CLUSTER": cluster,
            "--capacity": capacity,
            "--set": set_,
            "--use": use,
            "--workers": workers,
            "--cores": cores,
            "--budget": budget,
        }
        _alone([name for name, value in beside.items() if value])
        groups = _groups(runs, parts)
        return _validate(validate, groups, parts, turns=turns, seed=seed, out=out, told=as_json_)
    if cluster is None:
        raise InvalidRequest("Name a Cluster to predict, or a Run with --validate.")
    asked = Asked(
        cluster=cluster,
        mode=mode,
        pace=str(pace),
        changes=tuple(set_ or ()),
        uses=tuple(use or ()),
        workers=tuple(workers or ()),
        concurrency=concurrency,
        cores=cores,
        network=network,
        budget=tuple(budget or ()),
        turns=turns,
        seed=seed,
    )
    return _predict(asked, runs, parts, parse_seconds(pause) if capacity else None, out, as_json_)


def _alone(beside: Sequence[str]) -> None:
    """Raise InvalidRequest for what a Run is not held against."""
    if beside:
        raise InvalidRequest(
            f"--validate predicts a Run as it was: leave out {', '.join(beside)}, or predict a "
            "CLUSTER without --validate."
        )


def _predict(
    asked: Asked,
    runs: str | None,
    parts: Parts,
    pause_s: float | None,
    out: Path | None,
    told: bool,
) -> int:
    plan = make_plan(parts.catalogue.get(asked.cluster), parts.registry)
    components = parts_of_plan(plan, parts.registry)
    tasks = {part.task_name for part in components.values()}
    # A Run that is named with --use is there for another task, maybe.
    library = Library(_groups(runs, parts, () if asked.uses else tasks))
    asked = replace(asked, uses=tuple(map(_with_id, asked.uses)))
    question = question_of(asked, library, components, plan.cluster.budget)
    found = predict_it(question)
    failed = any(each.outcome is Outcome.FAIL for each in found.rulings)
    advice = advise(found, library, components) if failed else None
    most = capacity_of(question, pause_s=pause_s) if pause_s is not None else None
    if out is not None:
        write_text(out, prediction_page(found, advice, most))
    if told:
        typer.echo(json.dumps(as_json(found, advice, most), allow_nan=False, default=str))
    else:
        Console(highlight=False).print(prediction_view(found, advice, most))
    undecided = any(each.outcome is Outcome.UNDECIDED for each in found.rulings)
    return EXIT_OVER_BUDGET if failed else EXIT_UNDECIDED if undecided else 0


def _validate(
    run: str,
    groups: list[Group],
    parts: Parts,
    *,
    turns: int,
    seed: int,
    out: Path | None,
    told: bool,
) -> int:
    run_id = _ids([run])[0]
    if not any(group.run_id == run_id for group in groups):
        groups = groups + _load([run_id], parts)
    found = validate_run(run_id, groups, turns=turns, seed=seed)
    if out is not None:
        write_text(out, validation_page(found))
    if told:
        typer.echo(json.dumps(validation_json(found)))
    else:
        Console(highlight=False).print(validation_view(found))
    if found.right is None:
        return EXIT_UNDECIDED
    return 0 if found.right else EXIT_OVER_BUDGET


def _groups(runs: str | None, parts: Parts, tasks: Collection[str] = ()) -> list[Group]:
    """What was measured: by the Runs that were named, else by the newest on hardware such as this
    that have one of `tasks`."""
    from turnlab.server.setup import open_database

    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server.traces import run_ids

    if runs is None:
        return _load(run_ids(host_facts(), tasks), parts)
    named = [each.strip() for each in runs.split(",") if each.strip()]
    if not named:
        raise InvalidRequest("--runs names no Run; write their ids or names: --runs A,B.")
    ids = _ids(named)
    groups = _load(ids, parts)
    for run_id in ids:
        if not any(group.turns for group in groups if group.run_id == run_id):
            raise NothingMeasured(_nothing(run_id, groups))
    return groups


def _nothing(run_id: str, groups: Sequence[Group]) -> str:
    lost = sum(group.lost for group in groups if group.run_id == run_id)
    why = f": {lost} failed or gave no sound" if lost else ""
    return f"{run_id} holds no turn that can be used{why}; leave it out of --runs."


def _ids(named: Sequence[str]) -> list[str]:
    """Of Runs by their ids or names, or `last`, each once. Raises UnknownRun."""
    from turnlab.server.runs import get_run

    return list(dict.fromkeys(get_run(each).id for each in named))


def _with_id(use: str) -> str:
    """COMPONENT=RUN:CLUSTER, where the Run may be named in any way, with the Run's id."""
    component, equals, place = use.partition("=")
    run, colon, rest = place.partition(":")
    if not (equals and colon and run.strip()):
        return use
    return f"{component}={_ids([run.strip()])[0]}:{rest}"


def _load(run_ids: list[str], parts: Parts) -> list[Group]:
    from turnlab.server.traces import load_groups

    return load_groups(run_ids, parts.registry)
