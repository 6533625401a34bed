"""/api/v1/clusters, modules and workers: what there is to run, and who runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import HttpRequest
from ninja import Router
from pydantic.errors import PydanticInvalidForJsonSchema

from turnlab.clusters.declaration import Cluster, Component
from turnlab.clusters.plan import Plan, lacking, make_plan
from turnlab.errors import TurnlabError
from turnlab.executors.hub import Room
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.server.api.database import in_database
from turnlab.server.api.schemas import (
    ClusterList,
    ClusterRow,
    ModuleList,
    ModuleRow,
    WorkerList,
)
from turnlab.server.api.security import Bearer
from turnlab.server.api.tasks import router as registering
from turnlab.server.config import config
from turnlab.server.health import live_workers
from turnlab.server.node import current_node
from turnlab.server.problems import without_files
from turnlab.work import EMBEDDED

router = Router(tags=["parts"])

T = TypeVar("T")

_READ = Bearer("clusters:read")


@dataclass(frozen=True)
class Now:
    """What the Hub knows of each task, taken on the event loop; the rest is work for a thread."""

    registry: Registry
    rooms: Mapping[str, Room]
    transports: Mapping[str, frozenset[str]]
    """By task how the workers that serve it are connected."""


def _now() -> Now:
    node = current_node()
    names = [module.task_name for module in node.registry]
    links = [each for each in node.hub.links if not each.draining]
    return Now(
        registry=node.registry,
        rooms={name: node.hub.room(name) for name in names},
        transports={
            name: frozenset(each.transport for each in links if each.places(name)) for name in names
        },
    )


@router.get("/clusters", auth=_READ, response=ClusterList, summary="List Clusters")
async def list_clusters(request: HttpRequest) -> dict[str, Any]:
    """The pipelines that there are, and of each whether it can run now."""
    clusters = list(current_node().catalogue)
    return {"items": await asyncio.to_thread(_all, _cluster, _now(), clusters)}


@router.get("/clusters/{name}", auth=_READ, response=ClusterRow, summary="Read a Cluster")
async def get_cluster(request: HttpRequest, name: str) -> dict[str, Any]:
    """One pipeline with its Components."""
    cluster = current_node().catalogue.get(name)
    return await asyncio.to_thread(_cluster, _now(), cluster)


@router.get("/modules", auth=_READ, response=ModuleList, summary="List Modules")
async def list_modules(request: HttpRequest) -> dict[str, Any]:
    """The code that performs the tasks, and how busy the workers for each are."""
    modules = list(current_node().registry)
    return {"items": await asyncio.to_thread(_all, _module, _now(), modules)}


@router.get("/modules/{task_name}", auth=_READ, response=ModuleRow, summary="Read a Module")
async def get_module(request: HttpRequest, task_name: str) -> dict[str, Any]:
    """One Module with its parameters."""
    module = current_node().registry.get(task_name)
    return await asyncio.to_thread(_module, _now(), module)


def _all(describe: Callable[[Now, T], dict[str, Any]], now: Now, parts: list[T]) -> list[Any]:
    return [describe(now, each) for each in parts]


# On the router that has the other method of this address: django-ninja asks one alone.
@registering.get("/workers", auth=_READ, response=WorkerList, summary="List workers")
async def list_workers(request: HttpRequest) -> dict[str, Any]:
    """The workers that are connected, to whichever process of the API end."""
    found = await in_database(live_workers, config().lease_s)
    return {"items": [{key: getattr(each, key) for key in _WORKER} for each in found]}


_WORKER = (
    "id",
    "name",
    "transport",
    "node",
    "tasks",
    "hardware",
    "concurrency",
    "running",
    "draining",
    "clock_offset_s",
    "round_trip_s",
    "connected_at",
    "heartbeat_at",
)


def _cluster(now: Now, cluster: Cluster) -> dict[str, Any]:
    missing: list[str] = []
    needs: set[str] = set()
    try:
        plan = make_plan(cluster, now.registry)
        needs = {kind.kind for kind in plan.needs}
        missing = _lacking(now, plan)
    except TurnlabError as error:
        missing = [without_files(error.message)]
    return {
        "name": cluster.name,
        "description": cluster.description,
        "budget_s": cluster.budget_s,
        "hash": cluster.content_hash,
        "components": [_component(each, now.registry) for each in cluster.components],
        "needs": sorted(needs),
        "runnable": not missing,
        "missing": missing,
    }


def _lacking(now: Now, plan: Plan) -> list[str]:
    """What keeps the Cluster from running now; what lacks here may be there at a worker."""
    found: list[str] = []
    for step in plan.steps:
        name = step.module.task_name
        transports = now.transports.get(name, frozenset())
        if not transports:
            found.append(f"{step.name}: no worker serves {name}")
        elif transports == {EMBEDDED}:
            found += [f"{step.name}: {what}" for what in lacking(step.module, step.params)]
    return found


def _component(component: Component, registry: Registry) -> dict[str, Any]:
    usable = {module.task_name: module for module in registry}
    module = usable.get(component.task_name or "")
    # Of a Module that is not known nobody can tell which parameters are secret.
    shown = module.shown(component.params) if module else dict.fromkeys(component.params, "?")
    return {
        "name": component.name,
        "component_type": str(component.component_type),
        "task_name": component.task_name,
        "params": shown,
        "open": list(component.open),
        "after": list(component.after),
    }


def _module(now: Now, module: type[Module]) -> dict[str, Any]:
    room = now.rooms[module.task_name]
    return {
        "task_name": module.task_name,
        "version": module.version,
        "description": (module.__doc__ or "").strip(),
        "consumes": [kind.kind for kind in module.consumes],
        "uses": [kind.kind for kind in module.uses],
        "produces": module.produces.kind,
        "parameters": _parameters(module),
        "places": room.places,
        "running": room.running,
        "waiting": room.waiting,
    }


def _parameters(module: type[Module]) -> dict[str, Any]:
    try:
        return dict(module.Params.model_json_schema().get("properties", {}))
    except PydanticInvalidForJsonSchema as error:
        return {name: {"description": error.message} for name in module.Params.model_fields}
