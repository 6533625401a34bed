"""What `turnlab bench` needs before anything runs: plans, turns, limits, each checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.replay.asked import Asked
from turnlab.bench.verdicts.budget import Limit, check_limit, parse_limits
from turnlab.chunks import Audio, Image
from turnlab.cli.problems import tell_problems
from turnlab.cli.session import Parts, find_parts, require_models
from turnlab.clusters import Plan, make_plan
from turnlab.clusters.plan import require_speech
from turnlab.errors import ClusterNotRunnable, InvalidParams

_SHOWN = 10


def checked(asked: Asked) -> tuple[dict[str, Plan], Dataset, tuple[DatasetTurn, ...]]:
    """The Clusters, ready to be run, the dataset, and its turns that were asked for.

    Raises UnknownCluster, InvalidParams, ClusterNotRunnable, MissingModel, InvalidDataset.
    """
    parts = find_parts(asked.cluster_folders, asked.module_folders)
    tell_problems(parts)
    found = {name: parts.catalogue.get(name) for name in asked.clusters}
    _require_components(asked, {c.name for each in found.values() for c in each.components})
    dataset = Dataset.load(asked.dataset)
    turns = asked.chosen(dataset.turns)
    return {name: _plan(asked, parts, name, turns) for name in found}, dataset, turns


def limits_of(asked: Asked, plans: Mapping[str, Plan], name: str) -> tuple[Limit, ...]:
    """What a Cluster is held to: what was asked for, else its own budget.

    What was asked for of a Component that another Cluster has is left out. Raises InvalidBudget.
    """
    components = {cluster: [step.name for step in plan.steps] for cluster, plan in plans.items()}
    if not asked.budget:
        own = plans[name].cluster.budget
        for limit in own:
            check_limit(limit, components[name])
        return own
    everywhere = list(dict.fromkeys(chain.from_iterable(components.values())))
    limits = {limit: check_limit(limit, everywhere) for limit in parse_limits(asked.budget)}
    return tuple(
        limit
        for limit, metric in limits.items()
        if not metric.component or metric.component in components[name]
    )


def _require_components(asked: Asked, known: set[str]) -> None:
    for name in asked.overrides:
        if name not in known:
            there = ", ".join(sorted(known))
            raise InvalidParams(f"No Cluster of these has a component {name!r}; they have {there}.")


def _plan(asked: Asked, parts: Parts, name: str, turns: Sequence[DatasetTurn]) -> Plan:
    cluster = parts.catalogue.get(name)
    given = (Audio, Image) if any(turn.images for turn in turns) else (Audio,)
    own = {c.name for c in cluster.components}
    overrides = {key: dict(values) for key, values in asked.overrides.items() if key in own}
    plan = make_plan(cluster, parts.registry, overrides, given)
    require_speech(plan)
    require_models(plan)
    _require_pictures(plan, turns)
    return plan


def _require_pictures(plan: Plan, turns: Sequence[DatasetTurn]) -> None:
    blind = [turn.id for turn in turns if not turn.images] if Image in plan.needs else []
    if blind:
        more = " ..." if len(blind) > _SHOWN else ""
        raise ClusterNotRunnable(
            f"{plan.cluster.name} needs a picture with each turn; {len(blind)} have none: "
            f"{', '.join(blind[:_SHOWN])}{more}. Choose those that have one by --only-tags."
        )
