"""Which database keeps the records: SQLite in the home folder, or what DATABASE_URL names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnlab.errors import MissingPackage, UnsupportedDatabase
from turnlab.packaged import installed

_SQLITE_OPTIONS: dict[str, Any] = {
    # Readers never wait for the writer (WAL). NORMAL syncs at checkpoints only: a power
    # cut may lose the newest commits and never tears the database.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    # A deferred transaction that reads first fails at once when it then meets a writer;
    # an immediate one waits for its turn, as long as `timeout` (busy_timeout, seconds).
    "transaction_mode": "IMMEDIATE",
    "timeout": 5,
}
_POSTGRES_OPTIONS: dict[str, Any] = {
    # A server that does not answer is told of after seconds, not after the system's minutes.
    "connect_timeout": 5,
}


def database_settings(url: str, home: Path) -> dict[str, Any]:
    """Django's settings of the database at `url`; an empty one is SQLite in the folder `home`.

    No message holds anything of the address, which may carry a password. Raises
    UnsupportedDatabase, MissingPackage.
    """
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": home / "turnlab.sqlite3",
            "OPTIONS": dict(_SQLITE_OPTIONS),
        }
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        return _sqlite(_parsed(url))
    if scheme in ("postgres", "postgresql"):
        return _postgres(_parsed(url))
    raise UnsupportedDatabase()


def _parsed(url: str) -> dict[str, Any]:
    if not installed("dj_database_url"):
        raise MissingPackage("DATABASE_URL needs a package: pip install 'turnlab[server]'.")
    import dj_database_url

    try:
        return dict(dj_database_url.parse(url, conn_health_checks=True))
    except ValueError:
        raise UnsupportedDatabase(
            "DATABASE_URL cannot be read as an address; write special characters of the "
            "password as %XX, and the rest as postgresql://user:password@host:port/name."
        ) from None


def _sqlite(parsed: dict[str, Any]) -> dict[str, Any]:
    if parsed["NAME"] == ":memory:":
        raise UnsupportedDatabase(
            "DATABASE_URL names a SQLite database in memory, which each thread would have its "
            "own of; name a file: sqlite:////folder/turnlab.sqlite3."
        )
    path = Path(parsed["NAME"]).expanduser().absolute()
    return {**parsed, "NAME": path, "OPTIONS": {**_SQLITE_OPTIONS, **parsed.get("OPTIONS", {})}}


def _postgres(parsed: dict[str, Any]) -> dict[str, Any]:
    if not installed("psycopg"):
        raise MissingPackage(
            "DATABASE_URL names a PostgreSQL: pip install 'turnlab[server,postgres]'."
        )
    return {**parsed, "OPTIONS": {**_POSTGRES_OPTIONS, **parsed.get("OPTIONS", {})}}
