"""A Module from a package that somebody else made is found through its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import CLUSTER, Turnlab, turns

pytestmark = pytest.mark.slow

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "turnlab-parrot"
version = "1.0"

[project.entry-points."turnlab.modules"]
parrot = "turnlab_parrot"
"""

PARROT = '''
from turnlab.chunks import Audio, Speech
from turnlab.modules.base import Module


class Parrot(Module):
    """Say what was said, in the user's own voice."""

    task_name, consumes, produces = "parrot", (Audio,), Speech

    async def run(self, inputs, context):
        heard = await inputs.whole(Audio)
        with context.latency.model("listen"):
            yield Speech(samples=heard.samples, sample_rate=heard.sample_rate)
'''

Install = Callable[[str], str]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Builds and installs the package with that text; the PYTHONPATH under which it is there."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")

    def built(text: str) -> str:
        project, site = tmp_path / "project", tmp_path / "site"
        project.mkdir()
        (project / "pyproject.toml").write_text(PYPROJECT)
        (project / "turnlab_parrot.py").write_text(text)
        pip("wheel", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(project))
        (wheel,) = tmp_path.glob("*.whl")
        pip("install", "--target", str(site), str(wheel))
        return os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))

    return built


def pip(*args: str) -> None:
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", *args, "--no-index", "--no-deps"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_its_module_is_listed_and_runs(
    turnlab: Turnlab, install: Install, tmp_path: Path, questions: list[Path]
) -> None:
    path = install(PARROT)
    listed = json.loads(turnlab("modules", "list", "--json", PYTHONPATH=path).stdout)
    (row,) = [row for row in listed if row["task_name"] == "parrot"]
    assert (row["produces"], row["error"]) == ("Speech", None)
    (tmp_path / "parrot.toml").write_text('name = "PARROT"\n[[component]]\ntask = "parrot"\n')
    asked = ("--clusters", str(tmp_path), "--cluster", "PARROT", "--audio", str(questions[0]))
    done = turnlab("run", *asked, "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert turns(done)[0]["status"] == "completed"


def test_a_package_that_cannot_be_imported_is_named_and_the_rest_works(
    turnlab: Turnlab, install: Install
) -> None:
    path = install("raise SystemExit('no licence')")
    done = turnlab("modules", "list", "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (error,) = [row["error"] for row in json.loads(done.stdout) if row["error"]]
    assert error["code"] == "invalid_module"
    assert "'parrot' of turnlab-parrot" in error["message"]
    rows = json.loads(turnlab("clusters", "list", "--json", PYTHONPATH=path).stdout)
    assert [row["runnable"] for row in rows if row["name"] == CLUSTER] == [True]
    assert "warning" in turnlab("modules", "list", PYTHONPATH=path).stderr
