"""OpenAI's API on the Modules and Clusters of this server; see docs/reference/openai-endpoints.md.

Every request but those for embeddings and the list of models is a Track, recorded as any other.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Router
from ninja.errors import HttpError, ValidationError

from turnlab.server.api.security import Bearer
from turnlab.server.openai_endpoints import chat, embeddings, listing, speech, transcriptions
from turnlab.server.openai_endpoints.failures import handles

PARTS = (chat, embeddings, listing, speech, transcriptions)

api = NinjaAPI(
    title="Turnlab, as OpenAI's API",
    urls_namespace="openai",
    auth=Bearer("openai"),
    docs_url=None,
    openapi_url=None,
)
for kind in (Exception, Http404, HttpError, ValidationError):
    api.add_exception_handler(kind, handles)

anything = Router()


@anything.api_operation(["GET", "POST", "PUT", "PATCH", "DELETE"], "/{path:rest}")
async def nothing(request: HttpRequest, rest: str) -> HttpResponse:
    """What OpenAI has and Turnlab has not."""
    raise Http404


# The last one takes what no other does.
for router in (*(each.router for each in PARTS), anything):
    api.add_router("", router)
