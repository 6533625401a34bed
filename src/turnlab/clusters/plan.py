"""The plan of a Cluster: each Component with its Module, its Params and what it reads from."""

from __future__ import annotations

import difflib
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from turnlab.chunks import Audio, Chunk, Image, Speech
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
) -> Plan:
    """Check `cluster` and wire it: each kind is read from its newest earlier producer.

    `overrides` are parameters by Component name, `given` the kinds that the user gives.
    Raises InvalidCluster, InvalidParams or ClusterNotRunnable, naming file, component, remedy.
    """
    check_signals(cluster, registry.task_names)
    overrides = overrides or {}
    _check_overrides(cluster, overrides)
    producers: dict[type[Chunk], str] = dict.fromkeys(given, USER)
    steps: list[Step] = []
    for component in cluster.components:
        if component.is_task:
            params = {**component.params, **overrides.get(component.name, {})}
            steps.append(_step(cluster, component, registry, producers, params))
            producers[steps[-1].produces] = component.name
    return Plan(cluster=cluster, steps=tuple(steps))


def lacking(module: type[Module], params: BaseModel) -> list[str]:
    """What `module` misses here, whatever a user's Module does when it is asked."""
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


def _step(
    cluster: Cluster,
    component: Component,
    registry: Registry,
    producers: Mapping[type[Chunk], str],
    values: Mapping[str, object],
) -> Step:
    source = cluster.source or cluster.name
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
    module = module.wired(params)
    for kind in module.consumes:
        if kind not in producers:
            if kind is Image:
                raise ClusterNotRunnable(
                    f"{component.name} of {cluster.name} needs a picture; give one with --image.",
                    component=component.name,
                )
            makers = [m.task_name for m in registry if m.produces is kind]
            remedy = f"put {' or '.join(makers)} before it" if makers else "add a Module for it"
            raise invalid(source, component.name, f"needs {kind.kind}", remedy)
    _check_template(source, component, getattr(params, "prompt_template", None))
    reads = {k: producers[k] for k in (*module.consumes, *module.uses) if k in producers}
    return Step(component=component, module=module, params=params, reads=reads)


def _check_template(source: str, component: Component, template: object) -> None:
    if not isinstance(template, str):
        return
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        remedy = "double the braces that are not fields"
        raise invalid(source, component.name, f"has a bad template ({error})", remedy) from error
    known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    for _, field, spec, conversion in parts:
        if field not in TEMPLATE_FIELDS:
            problem = f"uses the unknown template field {{{field}}}"
            raise invalid(source, component.name, problem, f"use {known}")
        if spec or conversion:
            problem = f"formats the template field {{{field}}}"
            raise invalid(source, component.name, problem, f"use it plainly, as {known}")


def _check_overrides(cluster: Cluster, overrides: Mapping[str, object]) -> None:
    for name in overrides:
        if not any(c.name == name and c.is_task for c in cluster.components):
            tasks = ", ".join(c.name for c in cluster.components if c.is_task)
            raise InvalidParams(f"{cluster.name} has no component {name!r}; it has {tasks}.")
