"""Who may call what: Bearer tokens, their scopes, and how many requests a minute each may make."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.security.base import AuthBase

from turnlab.errors import InvalidToken, TurnlabError
from turnlab.server import limits, tokens
from turnlab.server.api.database import in_database
from turnlab.server.problems import problem
from turnlab.server.roles import Principal, Role, require

OVERRIDERS = (Role.RESEARCHER, Role.ADMINISTRATOR)
"""The roles that may override parameters which a Cluster does not leave open."""


class Bearer(AuthBase):
    """A Bearer token that has `scope`, within its rate."""

    openapi_type: str = "http"
    openapi_scheme: str = "bearer"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope
        self.is_async = True

    async def __call__(self, request: HttpRequest) -> Principal:
        """The Principal of the request. Raises InvalidToken, Forbidden, TooManyRequests."""
        return await authorised(request, self.scope)


async def authorised(request: HttpRequest, scope: str) -> Principal:
    """The same for views that are not django-ninja's."""
    principal = _remembered(request)
    if principal is None:
        principal = await in_database(_known_by_token, request)
    require(principal, scope)
    return principal


def _remembered(request: HttpRequest) -> Principal | None:
    """Whose token it is if that is known without the database."""
    principal = tokens.remembered(request.headers.get("Authorization"))
    if principal is not None:
        limits.count_request(principal)
    return principal


def _known_by_token(request: HttpRequest) -> Principal:
    """Whose token it is, within its rate; of wrong ones an address may send a few."""
    header = request.headers.get("Authorization")
    try:
        principal = tokens.authenticate(header)
    except InvalidToken:
        if header:  # who sends none is not guessing
            limits.count_wrong_token(address_of(request))
        raise
    limits.count_request(principal)
    return principal


def readable(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """`view` for people who are signed in to the admin, and for tokens that may list Clusters."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            require(_known(request), "clusters:read")
        except TurnlabError as error:
            return problem(error, request)
        return view(request, *args, **kwargs)

    return guarded


def _known(request: HttpRequest) -> Principal:
    """Who asks; in views that are not asynchronous."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return Principal.from_user(user)
    return _known_by_token(request)


def principal_of(request: Any) -> Principal:
    """Whose request it is; only in views that have `auth=Bearer(...)`."""
    principal: Principal = request.auth
    return principal


def address_of(request: HttpRequest) -> str:
    """The address of the client, for limits and the audit."""
    return str(request.META.get("REMOTE_ADDR", ""))
