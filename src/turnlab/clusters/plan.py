"""The plan of a Cluster: each Component with its Module, its Params and what it reads from."""

from __future__ import annotations

import difflib
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from turnlab.chunks import Audio, Chunk, Image, Reply, Speech, Transcript
from turnlab.clusters.declaration import Cluster, Component, check_signals, invalid
from turnlab.errors import ClusterNotRunnable, InvalidParams, TurnlabError
from turnlab.modules.base import TEMPLATE_FIELDS, Module
from turnlab.modules.registry import Registry
from turnlab.profiles import USER


@dataclass(frozen=True, kw_only=True)
class Step:
    """One task Component, ready to be run."""

    component: Component
    module: type[Module]
    params: BaseModel
    reads: Mapping[type[Chunk], str]
    """The producer of each kind that it reads: a Component's name, or `user`."""

    @property
    def name(self) -> str:
        """The Component's name."""
        return self.component.name

    @property
    def produces(self) -> type[Chunk]:
        """The kind that it makes."""
        return self.module.produces


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked Cluster: its Steps in order."""

    cluster: Cluster
    steps: tuple[Step, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why each Component that is not run is not, by its name."""

    def newest(self, kind: type[Chunk]) -> Step | None:
        """The last Step that makes `kind`."""
        return next((s for s in reversed(self.steps) if s.produces is kind), None)

    @property
    def needs(self) -> set[type[Chunk]]:
        """The kinds that must come from the user."""
        required = {(kind, s.reads.get(kind)) for s in self.steps for kind in s.module.consumes}
        return {kind for kind, producer in required if producer == USER}

    def depth(self, name: str) -> int:
        """How many Steps lie before it: the later, the nearer to the sound."""
        return next(i for i, step in enumerate(self.steps) if step.name == name)


def make_plan(
    cluster: Cluster,
    registry: Registry,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    given: Collection[type[Chunk]] = (Audio, Image),
    wanted: type[Chunk] | None = None,
) -> Plan:
    """Check `cluster` and wire it: each kind is read from its newest earlier producer.

    `overrides` are parameters by Component name, `given` the kinds that the user gives. Where
    those take the place of Audio (a text, say), a Component that would make what is given anew is
    left out, and so is one that needs what is not there, unless it makes the reply. `wanted` leaves
    out what that kind does not come from. Raises InvalidCluster, InvalidParams or
    ClusterNotRunnable, naming file, component, remedy.
    """
    check_signals(cluster, registry.task_names)
    overrides = overrides or {}
    _check_overrides(cluster, overrides)
    wiring = _Wiring(cluster, registry, given)
    for component in cluster.components:
        if component.is_task:
            wiring.add(component, {**component.params, **overrides.get(component.name, {})})
    return wiring.plan(wanted)


def lacking(module: type[Module], params: BaseModel) -> list[str]:
    """What `module` misses here, whatever a user's Module does when it is asked."""
    if module.run is Module.run:
        return ["is only declared, by a Module without run(); a worker elsewhere performs it."]
    try:
        return module.missing(params)
    except TurnlabError as error:
        return [error.message]
    except Exception as error:
        return [f"missing() of its Module failed: {error!r}"]


def require_speech(plan: Plan) -> None:
    """Raise ClusterNotRunnable unless the Cluster answers with Speech."""
    if plan.newest(Speech) is None:
        raise ClusterNotRunnable(
            f"{plan.cluster.name} makes no Speech, so nobody would hear a reply; end it with "
            "a Component such as text2speech."
        )


class _Wiring:
    """Finds for each Component in turn what it reads from, and whether it has to run."""

    def __init__(
        self, cluster: Cluster, registry: Registry, given: Collection[type[Chunk]]
    ) -> None:
        self._cluster = cluster
        self._registry = registry
        self._producers: dict[type[Chunk], str] = dict.fromkeys(given, USER)
        self._instead = set(given) - {Audio, Image}
        """What is given in place of Audio."""
        absent = {Audio, Transcript} - set(given) if self._instead else set()
        self._absent = dict.fromkeys(absent, "which is not given")
        """What would be there after Audio, and why it is not."""
        self._steps: list[Step] = []
        self._unmet: dict[str, ClusterNotRunnable] = {}
        """Why a Step cannot run; no matter if it need not."""
        self._left_out: dict[str, str] = {}

    def add(self, component: Component, values: Mapping[str, object]) -> None:
        """Wire the next Component, or leave it out."""
        module, params = _checked(self._cluster, component, self._registry, values)
        made = module.produces
        if made in self._instead and made not in (*module.consumes, *module.uses):
            self._left_out[component.name] = f"it makes {made.kind}, which is given"
            return
        lacked = [kind for kind in module.consumes if kind not in self._producers]
        if lacked and lacked[0] in self._absent and made not in (Reply, Speech):
            self._left_out[component.name] = self._why(lacked[0])
            self._absent.setdefault(made, f"which {component.name} would make")
            return
        if lacked:
            self._unmet[component.name] = self._problem(component, lacked[0])
        read = [k for k in (*module.consumes, *module.uses) if k in self._producers]
        reads = {kind: self._producers[kind] for kind in read}
        self._steps.append(Step(component=component, module=module, params=params, reads=reads))
        self._producers[made] = component.name

    def plan(self, wanted: type[Chunk] | None) -> Plan:
        """What is to run. Raises ClusterNotRunnable if that cannot."""
        needed = self._needed(wanted) if wanted else {step.name for step in self._steps}
        steps = tuple(step for step in self._steps if step.name in needed)
        for step in steps:
            if step.name in self._unmet:
                raise self._unmet[step.name]
        if not steps:
            kinds = " and ".join(sorted(kind.kind for kind in self._instead))
            raise ClusterNotRunnable(f"{self._cluster.name} does nothing with {kinds}.")
        unneeded = {step.name for step in self._steps} - needed
        kind = wanted.kind if wanted else ""
        left_out = self._left_out | dict.fromkeys(unneeded, f"no {kind} comes from it")
        return Plan(cluster=self._cluster, steps=steps, left_out=left_out)

    def _needed(self, wanted: type[Chunk]) -> set[str]:
        """The Components from which the last `wanted` comes, however far."""
        makers = [step.name for step in self._steps if step.produces is wanted]
        if not makers:
            raise ClusterNotRunnable(f"{self._cluster.name} makes no {wanted.kind}.")
        needed = {makers[-1]}
        for step in reversed(self._steps):
            if step.name in needed:
                needed |= {*step.reads.values(), *step.component.after}
        return needed

    def _why(self, kind: type[Chunk]) -> str:
        return f"it needs {kind.kind}, {self._absent[kind]}"

    def _problem(self, component: Component, kind: type[Chunk]) -> ClusterNotRunnable:
        """Why the Component cannot run now. Raises InvalidCluster if it never could."""
        which = f"{component.name} of {self._cluster.name}"
        if kind is Image:
            problem = f"{which} needs a picture; give one with --image."
        elif kind in self._absent:
            problem = f"{which} cannot do without speech: {self._why(kind)}; give a recording."
        else:
            makers = [m.task_name for m in self._registry if m.produces is kind]
            remedy = f"put {' or '.join(makers)} before it" if makers else "add a Module for it"
            raise invalid(_source(self._cluster), component.name, f"needs {kind.kind}", remedy)
        return ClusterNotRunnable(problem, component=component.name)


def _checked(
    cluster: Cluster, component: Component, registry: Registry, values: Mapping[str, object]
) -> tuple[type[Module], BaseModel]:
    """The Component's Module and Params."""
    source = _source(cluster)
    task_name = component.task_name or ""
    if task_name not in registry:
        near = difflib.get_close_matches(task_name, [m.task_name for m in registry], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "add a Module for it with --modules"
        raise invalid(source, component.name, f"needs the unknown task {task_name!r}", hint)
    module = registry.get(task_name)
    try:
        params = module.check_params(values)
    except InvalidParams as error:
        where = f"{source}: component {component.name!r}"
        raise InvalidParams(f"{where}: {error}", component=component.name) from error
    _check_template(source, component, getattr(params, "prompt_template", None))
    return module.wired(params), params


def _source(cluster: Cluster) -> str:
    """What messages call the place where it is declared."""
    return cluster.source or cluster.name


def _check_template(source: str, component: Component, template: object) -> None:
    if not isinstance(template, str):
        return
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        remedy = "double the braces that are not fields"
        raise invalid(source, component.name, f"has a bad template ({error})", remedy) from error
    known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    for _, name, spec, conversion in parts:
        if name not in TEMPLATE_FIELDS:
            problem = f"uses the unknown template field {{{name}}}"
            raise invalid(source, component.name, problem, f"use {known}")
        if spec or conversion:
            problem = f"formats the template field {{{name}}}"
            raise invalid(source, component.name, problem, f"use it plainly, as {known}")


def _check_overrides(cluster: Cluster, overrides: Mapping[str, object]) -> None:
    for name in overrides:
        if not any(c.name == name and c.is_task for c in cluster.components):
            tasks = ", ".join(c.name for c in cluster.components if c.is_task)
            raise InvalidParams(f"{cluster.name} has no component {name!r}; it has {tasks}.")
