"""`turnlab compare`: two Clusters, modes or Runs, turn by turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from turnlab.bench.measuring.measures import Measured
from turnlab.bench.reporting.lines import comparison_report
from turnlab.bench.verdicts.comparison import (
    TOLERANCE,
    Comparison,
    check_comparable,
    other_conditions,
)
from turnlab.bench.verdicts.comparison import compare as compare_two
from turnlab.bench.verdicts.outputs import junit as junit_of
from turnlab.bench.verdicts.outputs import results
from turnlab.cli import exit_codes
from turnlab.cli.problems import warn
from turnlab.cli.reporting import dataset_of, write_text
from turnlab.cli.session import open_queries
from turnlab.errors import InvalidRequest, RunsDiffer, UnknownCluster
from turnlab.reports.run_terminal import comparison_view
from turnlab.runs import Run, RunStatus
from turnlab.tracks import Mode

MOST_SIDES = 20


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared: a Run, or what it holds of one Cluster, in one mode."""

    run_id: str
    cluster: str = ""
    mode: str = ""

    def __str__(self) -> str:
        return ":".join(filter(None, (self.run_id, self.cluster, self.mode)))


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN[:CLUSTER[:MODE]]...",
            help="One Run (its id or name, or `last`), for its Clusters; or several, each compared "
            "with the first.",
        ),
    ],
    clusters: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these Clusters; the first is compared with."),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Only what ran in this mode.")] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=10, help="A regression is worse by more than this share."),
    ] = TOLERANCE,
    dataset: Annotated[
        Path | None,
        typer.Option(help="The dataset, if it is no longer where it was; for its references."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write regressions as JUnit XML.")] = None,
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit with 2 if something became worse.")
    ] = False,
) -> int:
    """Compare two Clusters, two modes, or a Cluster in two Runs, turn by turn.

    Only what is significant is claimed. Exit code 0: compared; 1: cannot be compared; 2: there
    is a regression, and --fail-on-regression.
    """
    names = [name.strip() for name in (clusters or "").split(",") if name.strip()]
    sides = [_side(text, mode) for text in what[:MOST_SIDES]]
    runs, measured = _load(sides, names, dataset)
    held = [_held(side, measured, names) for side in sides]
    pairs = list(_pairs(sides, held))
    compared = [compare_two(a, b, tolerance=tolerance) for a, b in pairs]
    if json_:
        involved = [each for each in measured if any(each in pair for pair in pairs)]
        typer.echo(json.dumps(results(runs, involved, (), compared)))
    else:
        _show(compared)
    if junit is not None:
        write_text(junit, junit_of((), compared, runs))
    regressed = any(each.regressions for each in compared)
    return exit_codes.OVER_BUDGET if regressed and fail_on_regression else 0


def _side(text: str, mode: Mode | None) -> Side:
    run_id, _, rest = text.partition(":")
    cluster, _, named = rest.partition(":")
    if named and named not in list(Mode):
        raise InvalidRequest(f"{named!r} in {text!r} is no mode; write {' or '.join(Mode)}.")
    return Side(run_id, cluster, named or str(mode or ""))


def _load(
    sides: list[Side], names: Sequence[str], dataset: Path | None
) -> tuple[list[Run], list[Measured]]:
    """The Runs, and what was measured in them; `sides` then have their ids.

    Raises UnknownRun, RunsDiffer, InvalidDataset.
    """
    open_queries()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server.measured import load
    from turnlab.server.runs import get_run

    named = {side.run_id: get_run(side.run_id) for side in sides}
    sides[:] = [replace(side, run_id=named[side.run_id].id) for side in sides]
    runs = list({run.id: run for run in named.values()}.values())
    check_comparable(runs)
    warn(f"{run.id} is not complete." for run in runs if run.status is not RunStatus.COMPLETED)
    warn(other_conditions(runs))
    wanted = [*names, *(side.cluster for side in sides)]
    only = None if "" in wanted and not names else [name for name in wanted if name]
    return runs, load([run.id for run in runs], dataset_of(runs, dataset), clusters=only)


def _held(side: Side, measured: Sequence[Measured], names: Sequence[str]) -> list[Measured]:
    """What a side holds, in the order of `names` where some are given."""
    there = [each for each in measured if each.subject.run_id == side.run_id]
    wanted = [side.cluster] if side.cluster else names
    for name in wanted:
        if not any(each.subject.cluster == name for each in there):
            raise UnknownCluster(f"{side.run_id} holds no turn of {name}.")
    found = [
        each
        for each in there
        if side.mode in ("", each.subject.mode) and (not wanted or each.subject.cluster in wanted)
    ]
    if not found:
        raise RunsDiffer(
            f"{side} holds no turn; `turnlab runs show {side.run_id}` says what it has."
        )
    order = {name: number for number, name in enumerate(wanted)}
    return sorted(found, key=lambda each: order.get(each.subject.cluster, 0))


def _pairs(
    sides: Sequence[Side], held: Sequence[list[Measured]]
) -> Iterator[tuple[Measured, Measured]]:
    """Of one side its Clusters, or its modes if it has one Cluster; of several, like with like."""
    if len(sides) == 1:
        yield from _within(sides[0], held[0])
        return
    for side, others in zip(sides[1:], held[1:], strict=True):
        alone = all(len({m.subject.cluster for m in each}) == 1 for each in (held[0], others))
        found = [(a, b) for a in held[0] for b in others if _alike(a, b, alone)]
        if not found and len(held[0]) == len(others) == 1:
            found = [(held[0][0], others[0])]
        if not found:
            raise RunsDiffer(f"{sides[0]} and {side} share no Cluster in a mode; name one of each.")
        yield from found


def _alike(a: Measured, b: Measured, alone: bool) -> bool:
    """The same Cluster and mode; the same mode where each side has one Cluster alone."""
    same = a.subject.mode == b.subject.mode
    return same and (alone or a.subject.cluster == b.subject.cluster)


def _within(side: Side, held: list[Measured]) -> Iterator[tuple[Measured, Measured]]:
    if len(held) < 2:
        raise RunsDiffer(f"{side} holds {held[0].subject} alone; name another Run to compare with.")
    if len({each.subject.cluster for each in held}) == 1:
        yield from ((held[0], other) for other in held[1:])
        return
    for mode in dict.fromkeys(each.subject.mode for each in held):
        first, *others = (each for each in held if each.subject.mode == mode)
        yield from ((first, other) for other in others)


def _show(compared: Sequence[Comparison]) -> None:
    console = Console(highlight=False)
    for each in compared:
        names = {each.a: each.names[0], each.b: each.names[1]}
        console.print(comparison_view(comparison_report(each, names)))
