"""Makes the records ready to be written and read: Django, the folder, the tables."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from turnlab.errors import RecordingFailed
from turnlab.home import make_folder

if TYPE_CHECKING:
    from turnlab.server.journal import Journal


def configure(service: bool = False) -> None:
    """Set Django up with Turnlab's settings: those of records, or of a `service` for people.

    A process is set up once; one that serves also keeps records.
    """
    from django.conf import settings

    if not settings.configured:
        # Not the variable's own value, which may be that of another Django project.
        os.environ["DJANGO_SETTINGS_MODULE"] = (
            "turnlab.server.settings_service" if service else "turnlab.server.settings"
        )
    elif service and "django.contrib.auth" not in settings.INSTALLED_APPS:
        raise RuntimeError("Django was set up for records alone; begin with service=True.")
    django.setup()


def open_database(service: bool = False) -> None:
    """Make the home folder and bring the tables up to date; quick if nothing is to be done.

    Only then import `turnlab.server.queries`. Raises RecordingFailed, UnsupportedDatabase,
    MissingPackage, and for a `service` UnsafeSettings.
    """
    configure(service)
    from django.db import DatabaseError

    try:
        make_folder(_home())
        if not _up_to_date():
            _migrate()
    except (OSError, DatabaseError) as error:
        why = " ".join(str(error).split())  # PostgreSQL's messages have several lines
        raise RecordingFailed(f"The records cannot be opened ({why}); {_remedy()}.") from error


def use_database(database: dict[str, Any]) -> None:
    """Set Django up in a process of its own to read what another one has opened."""
    configure()
    from django.db import connections

    connections.databases["default"] = database
    connections["default"] = connections.create_connection("default")


def _remedy() -> str:
    from django.db import connection

    if connection.vendor == "postgresql":
        return "check that the database of DATABASE_URL runs and lets this user in"
    return f"check the disk and the permissions of {_home()}, or set TURNLAB_HOME to another folder"


EMBEDDED_INTERVAL_S = 0.25
"""Between two writes beside running turns: on few cores each write takes time from the models."""


def open_records(interval_s: float = EMBEDDED_INTERVAL_S) -> Journal:
    """The Journal of the default database, running. Raises RecordingFailed."""
    open_database()
    from turnlab.server.journal import Journal

    return Journal(interval_s=interval_s)


def _home() -> Path:
    from django.conf import settings

    return Path(settings.TURNLAB_HOME)


def _up_to_date() -> bool:
    """Whether each migration file is applied; one SELECT instead of Django's whole machinery."""
    from django.db import DatabaseError, connection

    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            return _migrations() <= set(cursor.fetchall())
    except DatabaseError:
        return False  # no such table yet; whatever else it was, migrating will say


def _migrations() -> set[tuple[str, str]]:
    from django.apps import apps

    return {
        (config.label, file.stem)
        for config in apps.get_app_configs()
        for file in Path(config.path, "migrations").glob("[0-9]*.py")
    }


def _migrate() -> None:
    from django.core.management import call_command

    with _alone():
        if not _up_to_date():
            _make_private()
            call_command("migrate", interactive=False, verbosity=0)


def _make_private() -> None:
    """SQLite gives its journal files the mode of the database, so that has to be private first."""
    from django.db import connection

    if connection.vendor == "sqlite":
        name = connection.settings_dict["NAME"]
        os.close(os.open(name, os.O_RDWR | os.O_CREAT, 0o600))


_MIGRATING = 0x7475726E6C6162
"""The number of the lock in PostgreSQL: "turnlab" in ASCII."""


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time in; the lock goes with the process that holds it."""
    from django.db import connection

    if connection.vendor == "postgresql":  # whose other processes may be on other machines
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATING])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATING])
        return
    with open(_home() / "migrate.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
