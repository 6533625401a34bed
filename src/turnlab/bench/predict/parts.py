"""Parts of a prediction from Clusters that can be run, and from what a Run was pinned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnlab.bench.predict.records import Part
from turnlab.bench.replay.pins import component_pins, depends_pins, model_pins
from turnlab.clusters.plan import Plan, Step
from turnlab.errors import TurnlabError
from turnlab.host import host_facts
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry


def parts_of_plan(plan: Plan, registry: Registry) -> dict[str, Part]:
    """The Components of a Cluster as it would run now, by name, in order.

    Reads whole model files where parameters name some, as a Run does when it begins.
    """
    pins = {"models": model_pins({plan.cluster.name: plan}), "host": host_facts()}
    parts = parts_of_pins(list(map(_pinned, plan.steps)), registry, pins)
    after = {step.name: step.component.after for step in plan.steps}
    return {name: replace(part, after=after[name]) for name, part in parts.items()}


def _pinned(step: Step) -> dict[str, Any]:
    """What it depends on is unknown where that is not on this machine: it need not run here."""
    with suppress(TurnlabError):
        return {**component_pins(step), **depends_pins(step)}
    return component_pins(step)


def parts_of_pins(
    components: Sequence[Mapping[str, Any]], registry: Registry, pins: Mapping[str, Any]
) -> dict[str, Part]:
    """The same of a Run's pins; what they do not tell is asked of the Modules that there are."""
    return {row["name"]: _part(row, registry, pins) for row in components}


def _part(row: Mapping[str, Any], registry: Registry, pins: Mapping[str, Any]) -> Part:
    task_name, reads = str(row["task_name"]), dict(row["reads"])
    module = registry.get(task_name) if task_name in registry else None
    consumed = [kind.kind for kind in module.consumes] if module else []
    return Part(
        name=row["name"],
        task_name=task_name,
        produces=row["produces"],
        reads=reads,
        needs=tuple(dict.fromkeys(reads[kind] for kind in consumed if kind in reads)),
        params=row["params"],
        version=row["version"],
        code=row.get("code"),
        places=row["concurrency"],
        lanes=row.get("lanes") or _lanes_before(row, module),
        batches=bool(row.get("batches")),
        can_pause=module is not None and module.can_pause,
        instance=row["instance"],
        made_with=_made_with(row, module, pins),
    )


def _lanes_before(row: Mapping[str, Any], module: type[Module] | None) -> int:
    """Of a Run that was not yet pinned to it: what computes Tasks together took one at a time."""
    return 1 if module is not None and module.batches else int(row["concurrency"])


def _made_with(
    row: Mapping[str, Any], module: type[Module] | None, pins: Mapping[str, Any]
) -> dict[str, str]:
    """Engines, models and whatever else the Component's results depend on; of a Module that is not
    here that may be any package."""
    models = pins.get("models") or {}
    versions = {**((pins.get("host") or {}).get("engines") or {}), **models}
    wanted = None if module is None else module.packages
    found = {
        Path(name).name: version
        for name, version in versions.items()
        if (_names(row["params"], name) if "/" in name else wanted is None or name in wanted)
    }
    return {**found, **(row.get("pinned") or {})}


def _names(params: Mapping[str, Any], place: str) -> bool:
    """Whether a parameter names this file, from whatever folder."""
    tails = (each.lstrip("~./") for each in params.values() if isinstance(each, str))
    return any(tail and place.endswith(f"/{tail}") for tail in tails)
