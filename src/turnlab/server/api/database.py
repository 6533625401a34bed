"""Where asynchronous views read and write rows: in threads, never on the event loop."""

from __future__ import annotations

from turnlab.server.database import Database

_THREADS = 6
"""Requests that are at the database at once; further ones wait."""

_database = Database(_THREADS)

in_database = _database.call
"""`await in_database(function, *args)`. Raises DatabaseUnavailable, and what the function raises.

Django's own `sync_to_async` would give each request a thread of its own, and so a connection."""
