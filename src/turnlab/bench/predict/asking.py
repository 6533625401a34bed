"""From what was asked on the command line to a question that can be played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnlab.bench.predict.casting import Company
from turnlab.bench.predict.library import Library
from turnlab.bench.predict.prediction import Question
from turnlab.bench.predict.records import Part
from turnlab.bench.predict.rulings import is_predicted, require_predicted
from turnlab.bench.predict.sources import Pool
from turnlab.bench.predict.stage import Setting
from turnlab.bench.predict.what_if import (
    Use,
    parse_change,
    parse_seconds,
    parse_use,
    parse_workers,
)
from turnlab.bench.predict.workload import Load
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.chunks import Speech
from turnlab.clusters.budget import Limit
from turnlab.errors import ClusterNotRunnable, InvalidWhatIf, NothingMeasured
from turnlab.tracks import Mode

MOST_CORES = 4_096


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked, in words."""

    cluster: str
    mode: Mode = Mode.STREAMED
    pace: str = "fast"
    changes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    concurrency: int = 1
    cores: float | None = None
    network: str = "0ms"
    budget: tuple[str, ...] = ()
    turns: int = 2_000
    seed: int = 0


def question_of(
    asked: Asked, library: Library, parts: Mapping[str, Part], own: Sequence[Limit] = ()
) -> Question:
    """What is to be played; `own` are the Cluster's limits, for where none is asked for.

    Raises InvalidWhatIf, InvalidBudget, NothingMeasured, TooFewMeasurements and
    ClusterNotRunnable.
    """
    if not any(part.produces == Speech.kind for part in parts.values()):
        raise ClusterNotRunnable(f"{asked.cluster} makes no Speech, so nobody would hear a reply.")
    if not library.groups:
        raise NothingMeasured(
            "No Run of this machine has been recorded; run `turnlab bench --clusters "
            f"{asked.cluster} --dataset DIR` first, or name Runs with --runs."
        )
    wanted = tuple(dict.fromkeys(map(parse_limit, asked.budget)))
    limits = tuple(require_predicted(limit, parts) for limit in wanted)
    limits = limits or tuple(filter(is_predicted, own))
    changes = tuple(parse_change(text, parts) for text in asked.changes)
    chosen = {use.component: _chosen(use, library, parts) for use in _uses(asked, parts)}
    company = Company(
        sources=library.sources(parts, asked.mode, asked.pace, chosen),
        mode=asked.mode,
        pace=asked.pace,
        changes=changes,
        drawn=any(change.drawn for change in changes),
    )
    setting = Setting(
        mode=asked.mode,
        cores=_cores(asked, company),
        workers=parse_workers(asked.workers, parts),
        network_s=parse_seconds(asked.network),
    )
    return Question(
        cluster=asked.cluster,
        company=company,
        setting=setting,
        load=Load(at_once=asked.concurrency),
        limits=limits,
        not_predicted=() if wanted else tuple(each for each in own if not is_predicted(each)),
        lost=tuple(library.lost({asked.cluster, *_clusters(company)})),
        turns=asked.turns,
        seed=asked.seed,
    )


def _clusters(company: Company) -> set[str]:
    """Those that its measurements come from."""
    return {source.pool.first.cluster for source in company.sources.values()}


def _uses(asked: Asked, parts: Mapping[str, Part]) -> list[Use]:
    return [parse_use(text, parts) for text in asked.uses]


def _cores(asked: Asked, company: Company) -> float:
    if asked.cores is None:
        return max(source.pool.first.cores for source in company.sources.values())
    if not 0 < asked.cores <= MOST_CORES:
        raise InvalidWhatIf(
            f"--cores {asked.cores:g}: give a number above 0, {MOST_CORES:,} at most."
        )
    return asked.cores


def _chosen(use: Use, library: Library, parts: Mapping[str, Part]) -> tuple[Pool, str]:
    """The measurements that `--use` names."""
    for pool in library.pools:
        runs = {group.run_id for group in pool.raw}
        if use.run_id in runs and pool.first.cluster == use.cluster:
            there = pool.first.parts
            if use.measured_as not in there:
                raise InvalidWhatIf(
                    f"{use.cluster} of {use.run_id} has no Component {use.measured_as!r}; it has "
                    f"{', '.join(there)}."
                )
            made, wanted = there[use.measured_as].produces, parts[use.component].produces
            if made != wanted:
                raise InvalidWhatIf(
                    f"{use.measured_as} makes {made}, but {use.component} makes {wanted}."
                )
            return pool, use.measured_as
    places = dict.fromkeys(f"{p.first.run_id}:{p.first.cluster}" for p in library.pools)
    there_are = ", ".join(list(places)[-5:])
    raise InvalidWhatIf(
        f"There are no measurements of {use.cluster} in {use.run_id} among those that are used"
        + (f"; the newest are {there_are}." if there_are else ".")
    )
