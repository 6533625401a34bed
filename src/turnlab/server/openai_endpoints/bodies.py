"""Reads what clients send: JSON against a pydantic model, with the field that is wrong named."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from django.http import HttpRequest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnlab.server.api.uploads import JSON, MOST_JSON, json_body, read_json, require_type
from turnlab.server.openai_endpoints.failures import BadField

M = TypeVar("M", bound=BaseModel)

ModelName = Field(min_length=1, max_length=256)


class Body(BaseModel):
    """A request; what OpenAI does not know is a mistake, and told."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


async def read_body(request: HttpRequest, model: type[M], most: int = MOST_JSON) -> M:
    """The JSON of a request of up to `most` bytes, read in a thread: pictures make it long.

    Raises InvalidRequest, TooLarge.
    """
    require_type(request, JSON)

    def read() -> M:
        return checked(read_json(json_body(request, most), most), model)

    return await asyncio.to_thread(read)


def checked(values: Any, model: type[M]) -> M:
    """`values` as a `model`. Raises BadField that names the first field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Neither the value nor pydantic's own words for it: both may quote what was sent.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"])[:200]
        what = first["msg"].removeprefix("Value error, ")[:300].removesuffix(".")
        if first["type"] == "extra_forbidden":
            what = "is no field that this endpoint knows"
        raise BadField(param, f"{param or 'body'}: {what}.") from None


def refuse_unless_plain(values: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    """Raise BadField for a field whose value is none of those that change nothing."""
    for name, harmless in plain.items():
        if values.get(name) not in harmless:
            raise BadField(name, f"{name} is not supported here; leave it out.")
