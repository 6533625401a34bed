"""Around every request: counted, timed, and answered with a problem where Django has a bare 405."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from turnlab.server.metrics import count_request
from turnlab.server.problems import MEDIA_TYPE, wrong_method

View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


@async_only_middleware
def observed(view: View) -> View:
    """The middleware as settings.MIDDLEWARE names it: the first one, so that it times all."""

    async def answer(request: HttpRequest) -> HttpResponseBase:
        start_s = time.perf_counter()
        response = await view(request)
        if response.status_code == 405 and _is_bare(request, response):
            response = wrong_method(request, response)
        method = request.method if request.method in _METHODS else "OTHER"
        count_request(
            str(method), _route(request), response.status_code, time.perf_counter() - start_s
        )
        return response

    return answer


@async_only_middleware
def known_host(view: View) -> View:
    """The middleware that refuses requests for a host that this server is not."""

    async def answer(request: HttpRequest) -> HttpResponseBase:
        request.get_host()  # raises DisallowedHost, which Django answers with 400
        return await view(request)

    return answer


def _is_bare(request: HttpRequest, response: HttpResponseBase) -> bool:
    return request.path.startswith("/api/") and response.get("Content-Type") != MEDIA_TYPE


def _route(request: HttpRequest) -> str:
    """The pattern that the address matched; one name for all that match none."""
    match = request.resolver_match
    return f"/{match.route}" if match else "none"
