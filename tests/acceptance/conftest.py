"""The command line as a user runs it, and recordings to run through it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turnlab.bench.questions import make_questions

CLUSTER = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

Turnlab = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the commands of one test keep their records."""
    return tmp_path / "home"


@pytest.fixture
def turnlab(home: Path) -> Turnlab:
    """Runs `turnlab ARGS` in a process of its own."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "turnlab", *args],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "TURNLAB_HOME": str(home), "COLUMNS": "100", **environment},
            # Started in the background by a shell, a process ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    return run


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Questions asked by the local voice."""
    return make_questions(tmp_path_factory.mktemp("questions"), 4)


@pytest.fixture
def recording() -> Callable[[str], Path]:
    """A recording of a person by its name; the test is skipped where there is none."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{name} is not beside the checkout in shared/data")
        return path

    return find


def turns(completed: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What `--json` printed, one object a turn."""
    return [json.loads(line) for line in completed.stdout.splitlines()]
