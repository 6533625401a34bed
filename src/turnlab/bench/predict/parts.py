"""Parts of a prediction from Clusters that can be run, and from what a Run was pinned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnlab.bench.pins import _component as pinned
from turnlab.bench.predict.records import Part
from turnlab.clusters.plan import Plan
from turnlab.modules.registry import Registry

LANES = {"quantization_llm": 1}
"""Of Modules that have more places than their model computes at once: llama.cpp is loaded with one
sequence, so a second reply waits inside the library until the first has ended or paused."""


def parts_of_plan(plan: Plan, registry: Registry) -> dict[str, Part]:
    """The Components of a Cluster as it would run now, by name, in order."""
    parts = parts_of_pins([pinned(step) for step in plan.steps], registry)
    after = {step.name: step.component.after for step in plan.steps}
    return {name: replace(part, after=after[name]) for name, part in parts.items()}


def parts_of_pins(components: Sequence[Mapping[str, Any]], registry: Registry) -> dict[str, Part]:
    """The same of a Run's pins; what they do not tell is asked of the Modules that there are."""
    return {row["name"]: _part(row, registry) for row in components}


def _part(row: Mapping[str, Any], registry: Registry) -> Part:
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
        lanes=LANES.get(task_name),
        can_pause=module is not None and module.can_pause,
        instance=row["instance"],
    )
