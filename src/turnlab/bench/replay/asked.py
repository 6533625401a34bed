"""What `turnlab bench` was asked for, as a Run keeps it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnlab.audio import Pace
from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.clusters.plan import Plan
from turnlab.errors import InvalidDataset, InvalidParams, InvalidRequest
from turnlab.modules.base import MASK
from turnlab.reports.words import clean
from turnlab.tracks import Mode

Overrides = Mapping[str, Mapping[str, Any]]
"""Parameters by Component name."""

CLUSTER_FOLDER, MODULES = "--cluster-folder", "--modules"
_KEPT_AS = {CLUSTER_FOLDER: "cluster_folders", MODULES: "module_folders"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Everything that decides which turns a Run consists of, and how they are run."""

    dataset: Path
    clusters: tuple[str, ...]
    modes: tuple[Mode, ...] = (Mode.STREAMED,)
    repeat: int = 1
    concurrency: int = 1
    pace: Pace = Pace.FAST
    budget: tuple[str, ...] = ()
    overrides: Overrides = field(default_factory=dict)
    warm_up: int = 2
    only_tags: tuple[str, ...] = ()
    cluster_folders: tuple[Path, ...] = ()
    module_folders: tuple[Path, ...] = ()

    def as_json(self, plans: Mapping[str, Plan]) -> dict[str, Any]:
        """As `Run.asked` keeps it: what may be a secret is masked."""
        return {
            "dataset": str(self.dataset),
            "clusters": list(self.clusters),
            "modes": [str(mode) for mode in self.modes],
            "repeat": self.repeat,
            "concurrency": self.concurrency,
            "pace": str(self.pace),
            "budget": list(self.budget),
            "overrides": _shown(self.overrides, plans.values()),
            "warm_up": self.warm_up,
            "only_tags": list(self.only_tags),
            "cluster_folders": [str(folder) for folder in self.cluster_folders],
            "module_folders": [str(folder) for folder in self.module_folders],
        }

    @classmethod
    def from_json(
        cls,
        kept: Mapping[str, Any],
        given: Overrides | None = None,
        *,
        cluster_folders: Sequence[Path] = (),
        module_folders: Sequence[Path] = (),
    ) -> Asked:
        """What a Run was asked for; `given` overrides again those that were not kept.

        The folders are those that are given, never those that were kept: whoever may write to a
        database that is shared would else choose which Python files are run here.

        Raises InvalidParams if an override that is masked is not given, InvalidRequest if folders
        were and are not.
        """
        _require_folders(kept, {CLUSTER_FOLDER: cluster_folders, MODULES: module_folders})
        overrides = _merged(kept["overrides"], given or {})
        for component, values in overrides.items():
            for name, value in values.items():
                if MASK in str(value):
                    raise InvalidParams(
                        f"{component}.{name} may be a secret and was not kept; give it again with "
                        f"--set {component}.{name}=..."
                    )
        return cls(
            dataset=Path(kept["dataset"]),
            clusters=tuple(kept["clusters"]),
            modes=tuple(map(Mode, kept["modes"])),
            repeat=kept["repeat"],
            concurrency=kept["concurrency"],
            pace=Pace(kept["pace"]),
            budget=tuple(kept["budget"]),
            overrides=overrides,
            warm_up=kept["warm_up"],
            only_tags=tuple(kept["only_tags"]),
            cluster_folders=tuple(cluster_folders),
            module_folders=tuple(module_folders),
        )

    def chosen(self, turns: Sequence[DatasetTurn]) -> tuple[DatasetTurn, ...]:
        """The turns that carry one of `only_tags`, all if none is named. Raises InvalidDataset."""
        wanted = set(self.only_tags)
        found = tuple(turn for turn in turns if not wanted or wanted.intersection(turn.tags))
        if not found:
            there = ", ".join(sorted({tag for turn in turns for tag in turn.tags})) or "no tags"
            raise InvalidDataset(
                f"No turn of {self.dataset} is tagged {' or '.join(self.only_tags)}; "
                f"there are {there}."
            )
        return found


def folder_options(kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The options that name the folders a Run began with."""
    return [
        (option, str(folder)) for option, key in _KEPT_AS.items() for folder in kept.get(key, ())
    ]


def masked_options(kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The options that must be given again, as they were not kept; `...` stands for the values."""
    return [
        ("--set", f"{component}.{name}=...")
        for component, values in kept.get("overrides", {}).items()
        for name, value in values.items()
        if MASK in str(value)
    ]


def _require_folders(kept: Mapping[str, Any], given: Mapping[str, Sequence[Path]]) -> None:
    options = [each for each in folder_options(kept) if not given[each[0]]]
    if options:
        told = " ".join(f"{option} {shlex.quote(folder)}" for option, folder in options)
        raise InvalidRequest(
            "The Run began with folders of its own, and code is not run from where only the "
            f"records say; if you trust them, add: {clean(told)}"
        )


def _merged(kept: Overrides, given: Overrides) -> dict[str, dict[str, Any]]:
    names = {**kept, **given}
    return {name: {**kept.get(name, {}), **given.get(name, {})} for name in names}


def _shown(overrides: Overrides, plans: Any) -> dict[str, dict[str, Any]]:
    modules = {step.name: step.module for plan in plans for step in plan.steps}
    return {
        name: modules[name].shown(values) if name in modules else dict.fromkeys(values, MASK)
        for name, values in overrides.items()
    }
