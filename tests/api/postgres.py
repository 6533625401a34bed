"""This process's records in a database of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnlab.testing.postgres import Postgres, server_programs


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """The address of an empty database, on a server of the tests' own."""
    server = Postgres(programs)
    try:
        server.start()
        yield server.url
    finally:
        server.delete()


@contextmanager
def records_at(url: str) -> Iterator[None]:
    """This process's records in the database of `url`, whose tables are made; then as before."""
    from django.conf import settings
    from django.db import connections

    from turnlab.server.databases import database_settings
    from turnlab.server.setup import open_database

    def use(values: dict[str, object]) -> None:
        connections["default"].close()
        connections.databases["default"] = values
        del connections["default"]

    before = connections.databases["default"]
    made = {"default": database_settings(url, settings.TURNLAB_HOME)}
    use(connections.configure_settings(made)["default"])
    try:
        open_database()
        yield
    finally:
        use(before)


__all__ = ["postgres_server", "records_at", "server_programs"]
