"""/healthz and /readyz: for load balancers and supervisors, without a token."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from turnlab.errors import NotReady
from turnlab.server.node import current_node


@csrf_exempt
async def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers at all."""
    return _answer(200, {"status": "alive"})


@csrf_exempt
async def readyz(request: HttpRequest) -> JsonResponse:
    """200 if Tracks are taken, else 503 with the reasons; none of them holds a secret."""
    try:
        problems = await current_node().problems()
    except NotReady as error:
        problems = [error.message]
    if not problems:
        return _answer(200, {"status": "ready", "problems": []})
    response = _answer(503, {"status": "not ready", "problems": problems})
    response["Retry-After"] = "5"
    return response


def _answer(status: int, values: dict[str, object]) -> JsonResponse:
    return JsonResponse(values, status=status, headers={"Cache-Control": "no-store"})
