"""`turnlab rag` as a user runs it, and a Cluster that answers from what was added."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.conftest import Turnlab, turns
from turnlab.clusters import find_clusters
from turnlab.modules.registry import find_modules
from turnlab.retrieval import embedding

if absent := embedding.missing(None):
    pytest.skip("; ".join(absent), allow_module_level=True)

SKY = "# Sky\n\nMolecules of the air scatter blue light the most.\n"

CLUSTER = """
name = "FROM_MY_NOTES"
[[component]]
task = "speech2text"
[[component]]
task = "rag"
params = { index = "notes", top_k = 1 }
[[component]]
task = "quantization_llm"
params = { prompt_template = "{text}\\n\\nFrom my notes: {passages}", max_tokens = 24 }
[[component]]
task = "text2speech"
"""


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with two documents."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "sky.md").write_text(SKY)
    (folder / "tea.txt").write_text("Pour boiling water on black tea.")
    return folder


def test_documents_are_added_listed_searched_and_removed(turnlab: Turnlab, documents: Path) -> None:
    added = turnlab("rag", "add", "notes", str(documents))
    assert added.returncode == 0, added.stderr
    assert "2 added" in added.stdout
    again = turnlab("rag", "add", "notes", str(documents), "--json")
    report = json.loads(again.stdout)
    assert (len(report["unchanged"]), report["embedded"]) == (2, 0)

    (row,) = json.loads(turnlab("rag", "list", "--json").stdout)
    assert (row["name"], row["documents"], row["passages"]) == ("notes", 2, 2)
    assert (row["backend"], row["facts"]["model"]) == ("sqlite", "all-MiniLM-L6-v2-int8")
    assert row["bytes"] > 0
    assert "notes" in turnlab("rag", "list").stdout
    assert "tea.txt" in turnlab("rag", "list", "notes").stdout

    found = json.loads(turnlab("rag", "search", "notes", "Why is it blue?", "--json").stdout)
    assert found[0]["source"] == "sky.md"
    assert found[0]["score"] > found[1]["score"]

    assert turnlab("rag", "remove", "notes", "tea.txt").returncode == 0
    listed = json.loads(turnlab("rag", "list", "notes", "--json").stdout)
    assert [each["source"] for each in listed] == ["sky.md"]
    assert turnlab("rag", "remove", "notes").returncode == 0
    assert json.loads(turnlab("rag", "list", "--json").stdout) == []
    assert (documents / "tea.txt").exists()


def test_a_refused_document_is_named_and_the_rest_goes_on(
    turnlab: Turnlab, documents: Path
) -> None:
    (documents / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    done = turnlab("rag", "add", "notes", str(documents))
    assert done.returncode == 1
    assert "2 added" in done.stdout
    assert "bad.pdf: invalid_document" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("add", "../notes", "."), "invalid_index"),
        (("add", "notes", "absent"), "unreadable_file"),
        (("list", "absent"), "unknown_index"),
        (("search", "absent", "why?"), "unknown_index"),
        (("remove", "absent"), "unknown_index"),
        (("remove", "/etc/passwd"), "invalid_index"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_code(
    turnlab: Turnlab, command: tuple[str, ...], code: str
) -> None:
    done = turnlab("rag", *command)
    assert done.returncode == 1
    assert code in done.stderr
    assert "Traceback" not in done.stderr


def test_a_document_that_is_not_there_cannot_be_removed(turnlab: Turnlab, documents: Path) -> None:
    turnlab("rag", "add", "notes", str(documents))
    done = turnlab("rag", "remove", "notes", "absent.txt")
    assert (done.returncode, "turnlab rag list notes" in done.stderr) == (1, True)


def test_a_damaged_index_does_not_hide_the_others(
    turnlab: Turnlab, documents: Path, home: Path
) -> None:
    turnlab("rag", "add", "notes", str(documents))
    (home / "rag" / "broken.sqlite3").write_bytes(b"nothing of SQLite" * 500)
    rows = {row["name"]: row for row in json.loads(turnlab("rag", "list", "--json").stdout)}
    assert rows["broken"]["error"]["code"] == "invalid_index"
    assert rows["notes"]["documents"] == 2
    assert "notes" in turnlab("rag", "list").stdout


def test_an_add_that_was_killed_goes_on_where_it_was(
    turnlab: Turnlab, documents: Path, home: Path
) -> None:
    for number in range(60):
        (documents / f"{number:02}.txt").write_text(f"Number {number} is told of here. " * 20)
    process = subprocess.Popen(
        [sys.executable, "-m", "turnlab", "rag", "add", "notes", str(documents)],
        env={**os.environ, "TURNLAB_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not _held(home / "rag" / "notes.sqlite3"):
        pass
    process.kill()
    process.wait()
    held = _held(home / "rag" / "notes.sqlite3")
    report = json.loads(turnlab("rag", "add", "notes", str(documents), "--json").stdout)
    assert len(report["unchanged"]) == held > 0
    assert len(report["unchanged"]) + len(report["added"]) == 62


def _held(index: Path) -> int:
    """The documents that an index holds; 0 while it is not there."""
    try:
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM document").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_the_built_in_cluster_hands_the_passages_to_its_model() -> None:
    cluster = find_clusters().get("CLUSTER_GPT_35_RAG_ETE_CONVERSATION")
    tasks = [each for each in cluster.components if each.is_task]
    names = [each.task_name for each in tasks]
    assert names == ["openai_speech2text", "rag", "openai_gpt_35", "openai_text2speech"]
    template = str(tasks[2].params["prompt_template"])
    assert 0 <= template.index("{text}") < template.index("{passages}")
    rag = find_modules().get("rag")
    assert rag.check_params(tasks[1].params)


def test_a_cluster_whose_index_is_missing_says_how_to_make_it(
    turnlab: Turnlab, tmp_path: Path
) -> None:
    (tmp_path / "notes.toml").write_text(CLUSTER)
    shown = turnlab("clusters", "show", "FROM_MY_NOTES", "--clusters", str(tmp_path))
    assert "turnlab rag add notes FOLDER" in " ".join(shown.stdout.split())


@pytest.mark.slow
def test_a_spoken_question_is_answered_beside_what_the_documents_say(
    turnlab: Turnlab, documents: Path, tmp_path: Path, questions: list[Path]
) -> None:
    assert turnlab("rag", "add", "notes", str(documents)).returncode == 0
    (tmp_path / "notes.toml").write_text(CLUSTER)
    sky = next(path for path in questions if "sky" in path.name)
    options = ("--clusters", str(tmp_path), "--cluster", "FROM_MY_NOTES", "--json")
    done = turnlab("run", *options, "--audio", str(sky))
    (turn,) = turns(done)
    assert turn["status"] == "completed", done.stderr
    assert turn["reply"]
    track = json.loads(turnlab("tracks", "show", turn["track_id"], "--json").stdout)
    found = next(task for task in track["tasks"] if task["task_name"] == "rag")["result_json"]
    (passage,) = found["result_profile"]["passages"]
    assert passage["source"] == "sky.md"
    assert "blue light" in passage["text"]
    assert passage["score"] > 0.25
    assert {"model_embed", "model_search"} <= set(found["latency_profile"])
    assert "rag" in {span["component"] for span in turn["spans"]}
