"""Passwords of people, with a limit on how many may be tried."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from turnlab.errors import TooManyRequests
from turnlab.server.limits import check_failures, count_failure


class LimitedBackend(ModelBackend):
    """Django's own, which refuses an address that has sent too many wrong passwords.

    By address and not by name, or anybody could lock the administrator out.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> AbstractBaseUser | None:
        """The user, None if the password is wrong. Raises PermissionDenied when too many were."""
        address = request.META.get("REMOTE_ADDR", "") if request else ""
        try:
            check_failures(address)
            user = super().authenticate(request, username, password, **kwargs)
            if user is None:
                count_failure(address)
        except TooManyRequests as error:
            raise PermissionDenied(error.message) from error
        return user

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> AbstractBaseUser | None:
        """The same; Django's own would go past the limit."""
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)
