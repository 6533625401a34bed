"""What all tests share: records go to a temporary folder, never to that of the user."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = pytest.StashKey[str]()

_RECORDINGS = Path(__file__).parent.parent.parent / "shared" / "data"

pytest.register_assert_rewrite("turnlab.testing.contract")


def pytest_configure(config: pytest.Config) -> None:
    # Before tests are collected: their imports may read the settings.
    os.environ["TURNLAB_HOME"] = config.stash[_HOME] = tempfile.mkdtemp(prefix="turnlab-tests-")
    from turnlab.server.setup import configure

    configure()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say on stderr too what failed, in a line each: a log that is cut keeps its end."""
    stats = terminalreporter.stats
    for report in stats.get("failed", []) + stats.get("error", []):
        crash = getattr(report.longrepr, "reprcrash", None)
        print(
            f"FAILED {report.nodeid}: {' '.join(crash.message.split())[:300] if crash else ''}",
            file=sys.stderr,
        )


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, if it lies beside the repository."""
    if not _RECORDINGS.is_dir():
        pytest.skip("the real recordings are not beside the repository, in ../shared/data")
    return _RECORDINGS


@pytest.fixture(scope="session")
def migrated() -> Path:
    """A database with the tables and nothing in them."""
    from django.conf import settings
    from django.db import connections

    from turnlab.server.setup import open_database

    open_database()
    connections.close_all()  # the last to close folds the write-ahead log into the file
    return Path(settings.DATABASES["default"]["NAME"])


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty database and media folder of the test's own; the path of the database."""
    from django.db import connections
    from django.test import override_settings

    path = tmp_path / "turnlab.sqlite3"
    shutil.copy(migrated, path)
    connections.close_all()
    connections.databases["default"]["NAME"] = path
    with override_settings(MEDIA_ROOT=tmp_path / "media"):
        yield path
    connections.close_all()
    connections.databases["default"]["NAME"] = migrated
