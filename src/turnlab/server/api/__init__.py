"""The REST API under /api/v1: what clients, scripts and third-party workers talk to."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from turnlab import __version__
from turnlab.server.api import (
    conversations,
    listening,
    parts,
    replies,
    retention,
    tasks,
    tracks,
)
from turnlab.server.api.queueing import QueueTask
from turnlab.server.api.schemas import Problem, StartTrack
from turnlab.server.api.security import readable
from turnlab.server.api.task_results import PostedResult
from turnlab.server.api.uploads import JsonParser
from turnlab.server.problems import MEDIA_TYPE, handles

_PROBLEMS = {
    400: "The request cannot be read",
    401: "No token, or a wrong one",
    403: "The token may not do this",
    404: "There is no such thing",
    405: "Not this method",
    409: "Something else is in the way",
    413: "Too much was sent",
    415: "Not this type of body",
    422: "The request is not as it should be",
    429: "Too many requests; see Retry-After",
    502: "Something that the server asked failed",
    503: "Not now; see Retry-After",
}


class Api(NinjaAPI):
    """django-ninja's, whose schema tells of failures what they really are."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The name of its view: clients that are generated from the schema have it as a method."""
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """The schema in OpenAPI 3.1, with problem+json for every failure of every operation."""
        schema = super().get_openapi_schema(**options)
        _define(schema, Problem, StartTrack, PostedResult, QueueTask)
        for path in schema["paths"].values():
            for operation in path.values():
                _add_problems(operation)
        return schema


def _define(schema: OpenAPISchema, *models: type[Any]) -> None:
    """Add the schemas that operations refer to and django-ninja has not seen."""
    for model in models:
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"].update(made.pop("$defs", {}))
        schema["components"]["schemas"][model.__name__] = made


def _add_problems(operation: dict[str, Any]) -> None:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = operation["responses"]
    for status, description in _PROBLEMS.items():
        responses.setdefault(status, {"description": description, "content": content})
    for described in responses.values():
        described.setdefault("description", "As it was asked for")


api = Api(
    title="Turnlab",
    version=__version__,
    description="Start turns, follow them, and read what became of them. Every call needs a "
    "token: `Authorization: Bearer TOKEN`.",
    urls_namespace="api-v1",
    docs_decorator=readable,
    parser=JsonParser(),
)
for part in (tracks, listening, conversations, replies, parts, tasks, retention):
    api.add_router("", part.router)
for kind in (Exception, HttpError, ValidationError):
    api.add_exception_handler(kind, handles)
