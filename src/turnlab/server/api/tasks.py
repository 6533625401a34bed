"""/api/v1/tasks and workers: Tasks for workers written in anything, and one Task by itself."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urljoin

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import Path, Query, Router, Status
from pydantic import Field

from turnlab.errors import ClaimLost
from turnlab.executors.http_handover import Given
from turnlab.executors.http_link import HttpLink
from turnlab.server import http_workers
from turnlab.server.api import queueing
from turnlab.server.api.database import in_database
from turnlab.server.api.queueing import QueuedTask, ReadTask
from turnlab.server.api.schemas import Name, Strict
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.api.task_results import Posted, hand_on, outcome_of, read_result
from turnlab.server.node import current_node
from turnlab.server.roles import Principal

router = Router(tags=["tasks"])

_WORK = Bearer("tasks:work")
_LONGEST_WAIT_S = 60.0
_POSTED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/PostedResult"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["result"],
                    "additionalProperties": False,
                    "properties": {
                        "result": {"$ref": "#/components/schemas/PostedResult"},
                        "file": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                        },
                    },
                },
                "encoding": {"result": {"contentType": "application/json"}},
            },
        },
    }
}
_QUEUED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/QueueTask"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["request"],
                    "additionalProperties": False,
                    "properties": {
                        "request": {"$ref": "#/components/schemas/QueueTask"},
                        "audio": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                        },
                        "images": {
                            "type": "array",
                            "maxItems": 16,
                            "items": {
                                "type": "string",
                                "contentMediaType": "application/octet-stream",
                            },
                        },
                    },
                },
                "encoding": {"request": {"contentType": "application/json"}},
            },
        },
    }
}


class RegisterWorker(Strict):
    """A worker that will poll for Tasks."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
    tasks: list[Name] = Field(min_length=1, max_length=100)
    concurrency: int = Field(1, ge=1, le=1_000, description="Tasks that it runs at once.")


class RegisteredWorker(Strict):
    """The id to poll with, and how long a Task is the worker's without a heartbeat."""

    worker_id: str
    lease_s: float


class GivenTask(Strict):
    """A Task and all that is needed to do it."""

    id: str
    claim: str = Field(description="Goes back with the heartbeats and the result.")
    attempt: int
    track_id: str
    name: str
    task_name: str
    produces: str = Field(description="The kind that the result must be.")
    parameters: dict[str, Any]
    inputs: dict[str, Any] = Field(description="By kind. Media are links that need no token.")
    history: list[dict[str, str]]
    lease_s: float
    lease_until: str


class Beat(Strict):
    """A sign of life."""

    claim: str = Field(max_length=200)


class Lease(Strict):
    """Until when the Task is the worker's."""

    lease_until: str


class Taken(Strict):
    """The result was taken; `repeated` if it had been before."""

    repeated: bool


TaskName = Annotated[
    str, Query(pattern=r"^[A-Za-z0-9_]{1,128}$", description="Of a Module, or `all`.")
]
WorkerName = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
TaskId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,163}$")]


@router.post("/workers", auth=_WORK, response={201: RegisteredWorker}, summary="Register a worker")
async def register_worker(request: HttpRequest, asked: RegisterWorker) -> Status[Any]:
    """Say what a worker serves. It counts until it has not polled for two waits and a lease."""
    link = await http_workers.register(
        current_node(), principal_of(request), asked.name, asked.tasks, asked.concurrency
    )
    return Status(201, {"worker_id": link.id, "lease_s": link.lease_s})


@router.get(
    "/tasks/next",
    auth=_WORK,
    response={200: GivenTask, 204: None},
    summary="Wait for a Task to do",
)
async def next_task(
    request: HttpRequest,
    task_name: TaskName = http_workers.ALL,
    worker: WorkerName = "worker",
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT_S, allow_inf_nan=False)] = 20.0,
) -> Status[Any]:
    """The next Task for this worker, once all of its input is there. 204 if none came in `wait`
    seconds.

    `worker` is the id that it was registered with, or any name. The Task is the worker's for
    `lease_s` seconds after this and after each heartbeat.
    """
    link = await http_workers.polling(current_node(), principal_of(request), worker, task_name)
    given = await link.poll(wait)
    if given is None:
        return Status(204, None)
    return Status(200, _with_host(given, request.build_absolute_uri("/")))


def _with_host(given: Given, base: str) -> Given:
    """The Task with links that begin with the address that the worker itself uses."""
    inputs = {kind: _linked(value, base) for kind, value in given["inputs"].items()}
    return {**given, "inputs": inputs}


def _linked(value: Any, base: str) -> Any:
    if isinstance(value, list):
        return [_linked(each, base) for each in value]
    return {**value, "url": urljoin(base, value["url"])} if "url" in value else value


@router.post(
    "/tasks/{task_id}/heartbeat", auth=_WORK, response=Lease, summary="Keep a Task for longer"
)
async def heartbeat(request: HttpRequest, task_id: TaskId, asked: Beat) -> Any:
    """Begin the lease anew. 409 once the Task is no longer the worker's."""
    if elsewhere := _elsewhere(asked.claim):
        return await hand_on(request, elsewhere, asked.model_dump())
    link = _holder(principal_of(request), task_id, asked.claim)
    return {"lease_until": link.heartbeat(task_id, asked.claim)}


@router.post(
    "/tasks/{task_id}/result",
    auth=_WORK,
    response=Taken,
    openapi_extra=_POSTED,
    summary="Give the result of a Task",
)
async def post_result(request: HttpRequest, task_id: TaskId) -> Any:
    """What the worker made, or why it failed. Posted again it changes nothing; 409 once the Task
    is no longer the worker's; after 422 it can be mended and posted again.

    Of a Task that makes Speech, Audio or Image, the file is the part `file` of a multipart body,
    beside the JSON in the part `result`.
    """
    posted = await in_database(read_result, request)
    claim = posted.values.claim
    if elsewhere := _elsewhere(claim):
        return await hand_on(request, elsewhere, posted.values.model_dump(), posted.file)
    link = _holder(principal_of(request), task_id, claim)
    return {"repeated": not await _take(link, task_id, posted)}


async def _take(link: HttpLink, task_id: str, posted: Posted) -> bool:
    claim = posted.values.claim
    held = link.claimed(task_id, claim)
    if held is None:
        return False
    outcome = await in_database(outcome_of, posted, held.work)
    return link.complete(task_id, claim, outcome)


def _elsewhere(claim: str) -> str:
    """The API process that the claim is of, where that is another one."""
    node_id, colon, _ = claim.partition(":")
    return node_id if colon and node_id != current_node().id else ""


def _holder(principal: Principal, task_id: str, claim: str) -> HttpLink:
    link = http_workers.holder(current_node(), principal, task_id, claim)
    if link is None:
        raise ClaimLost()
    return link


@router.post(
    "/tasks",
    auth=Bearer("tasks:queue"),
    response={202: QueuedTask},
    openapi_extra=_QUEUED,
    summary="Queue one Task",
)
async def queue_task(request: HttpRequest, response: HttpResponse) -> Status[Any]:
    """Have a Module run by itself, as a Track of one Component."""
    taken = await queueing.queue(request, principal_of(request), current_node())
    response["Location"] = f"/api/v1/tasks/{taken.track_id}"
    if taken.repeated:
        response["Idempotency-Replayed"] = "true"
    ids = {"id": taken.track_id, "track_id": taken.track_id}
    return Status(202, {**ids, "status": taken.status})


@router.get(
    "/tasks/{task_id}", auth=Bearer("tracks:read"), response=ReadTask, summary="Read a Task"
)
async def get_task(request: HttpRequest, task_id: TaskId) -> dict[str, Any] | HttpResponseBase:
    """A Task by its id, or by that of the Track that it was queued as."""
    return await in_database(queueing.task_row, principal_of(request), task_id)
