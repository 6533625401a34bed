"""GET /v1/models: what can be asked of this server."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from ninja import Router

from turnlab.server.node import current_node
from turnlab.server.openai_endpoints import embedding_model
from turnlab.server.openai_endpoints.failures import UnknownModel
from turnlab.server.openai_endpoints.served import Models, models_of

router = Router()


@router.get("/models")
async def list_models(request: HttpRequest) -> JsonResponse:
    """The models that some endpoint takes and that can run now."""
    models = models_of(current_node())
    rows = [row for name in models.names if (row := _row(models, name, models.endpoints(name)))]
    if name := embedding_model.name():
        rows.append(_row(models, name, ["/v1/embeddings"]))
    return JsonResponse({"object": "list", "data": rows})


@router.get("/models/{path:name}")
async def get_model(request: HttpRequest, name: str) -> JsonResponse:
    """One of them. Raises UnknownModel."""
    models = models_of(current_node())
    endpoints = models.endpoints(name)
    if name == embedding_model.name():
        endpoints = ["/v1/embeddings"]
    row = _row(models, name, endpoints)
    if not row:
        raise UnknownModel(
            f"There is no model {name[:200]!r}; GET /v1/models lists those there are."
        )
    return JsonResponse(row)


def _row(models: Models, name: str, endpoints: list[str]) -> dict[str, Any]:
    """Empty for what no endpoint takes."""
    if not endpoints:
        return {}
    return {
        "id": name,
        "object": "model",
        "created": models.created,
        "owned_by": "turnlab",
        "endpoints": endpoints,
    }
