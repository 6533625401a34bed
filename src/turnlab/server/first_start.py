"""What the first start of a service makes: the administrator and the default project."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from turnlab.errors import UnsafeSettings
from turnlab.server.audit import audit
from turnlab.server.config import Config, config
from turnlab.server.models import Project
from turnlab.server.roles import LOCAL, PEOPLE

DEFAULT_PROJECT = "default"


def first_start(url: str) -> list[str]:
    """Make what is missing, and tell the person who started the service: lines, once.

    One line may hold the administrator's password, so do not log them; none where there is an
    administrator already. `url` is where this machine reaches the service. Needs the tables of a
    service, see `setup.open_database`. Of several API processes that start at once, one makes
    them. Raises UnsafeSettings on a weak password or a taken name.
    """
    _make_rows()
    if User.objects.filter(is_superuser=True).exists():
        return []
    settings = config()
    password = settings.admin_password or secrets.token_urlsafe(18)
    _check(settings.admin_user, password)
    try:
        with transaction.atomic():
            User.objects.create_superuser(settings.admin_user, password=password)
            audit(LOCAL, "user.create", settings.admin_user, {"role": "administrator"})
    except IntegrityError:
        _check_made(settings.admin_user)
        return []
    return [
        f"Made the administrator {settings.admin_user!r}; {_password_told(settings, password)}",
        f"Sign in at {settings.public_url or url}/admin/",
        "Make a token for each client: turnlab tokens create --role client --name NAME",
    ]


def _password_told(settings: Config, password: str) -> str:
    if settings.admin_password:
        return "the password is that of TURNLAB_ADMIN_PASSWORD"
    return f"the password, shown this once, is {password}"


def _make_rows() -> None:
    Project.objects.get_or_create(name=DEFAULT_PROJECT)
    for role in PEOPLE:
        Group.objects.get_or_create(name=role.value)


def _check(user: str, password: str) -> None:
    try:
        validate_password(password, User(username=user))
    except ValidationError as error:
        raise UnsafeSettings(
            f"TURNLAB_ADMIN_PASSWORD is refused: {' '.join(error.messages)} Give a better one, or "
            "unset it, and one is made and printed once."
        ) from None


def _check_made(user: str) -> None:
    """Raise UnsafeSettings if it was not another process that made the administrator."""
    if not User.objects.filter(username=user, is_superuser=True).exists():
        raise UnsafeSettings(
            f"There is no administrator, and the name {user!r} is somebody else's: set "
            "TURNLAB_ADMIN_USER to another."
        )
