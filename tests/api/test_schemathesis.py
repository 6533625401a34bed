"""Schemathesis against a real `turnlab serve` process: the API is what its schema says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from turnlab.testing.service import served

PARTS = Path(__file__).parent / "parts"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "use_after_free",
)
UNLIMITED = {"TURNLAB_REQUESTS_PER_MINUTE": "1000000", "TURNLAB_FAILURES_PER_MINUTE": "100000"}

# Nobody is to wait for what does not come.
CONFIG = """
[[operations]]
include-path-regex = "/next$"
parameters = { wait = 0 }

[phases.coverage]
unexpected-methods = ["TRACE"]
"""


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    clusters, modules = PARTS / "clusters", PARTS / "modules"
    home = tmp_path / "home"
    with served(home, clusters=clusters, modules=modules, env=UNLIMITED) as server:
        token = server.token("administrator")
        headers = {"Authorization": f"Bearer {token}"}
        schema = httpx2.get(server.url + "/api/v1/openapi.json", headers=headers).json()
        # What there is, so that Tracks are run and not only refused.
        started = schema["components"]["schemas"]["StartTrack"]["properties"]
        started["cluster"] = {"type": "string", "enum": ["CLUSTER_FAST"]}
        queued = schema["components"]["schemas"]["QueueTask"]["properties"]
        queued["task_name"] = {"type": "string", "enum": ["fast_answer"]}
        (tmp_path / "schema.json").write_text(json.dumps(schema))
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", "schema.json"),
                *("--url", server.url, "-H", f"Authorization: Bearer {token}"),
                *("--phases", "coverage,fuzzing,stateful", "--max-examples", "3"),
                *("--seed", "1", "--checks", ",".join(CHECKS), "--no-shrink"),
                *("--suppress-health-check", "all", "--continue-on-failure"),
                *("--request-timeout", "20"),
            ],
            cwd=tmp_path,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "examples")},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        assert "Traceback" not in server.said
