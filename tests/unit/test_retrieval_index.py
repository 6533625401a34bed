"""Indexes: adding touches only what changed, bad input is refused, searching is exact."""

from __future__ import annotations

import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from turnlab.errors import InvalidIndex, MissingModel, UnknownIndex, UnreadableFile
from turnlab.retrieval import embedding
from turnlab.retrieval.adding import OVERLAP_TOKENS, PASSAGE_TOKENS, Report, add
from turnlab.retrieval.embedding import MAX_TOKENS, Embedder
from turnlab.retrieval.indexes import find_backend, missing_index, open_index
from turnlab.retrieval.limits import Limits
from turnlab.retrieval.ranking import ranked
from turnlab.retrieval.sqlite import connect
from turnlab.retrieval.sqlite_backend import SqliteBackend
from turnlab.retrieval.stores import Document, IndexFacts, TextPassage, Vectors

if absent := embedding.missing(None):
    pytest.skip("; ".join(absent), allow_module_level=True)

FACTS = IndexFacts(model="m", fingerprint="f", dimensions=4, passage_tokens=96, overlap_tokens=24)


class Counting(Embedder):
    """The real model, and what it was asked for."""

    texts: list[str]

    def batches(self, texts: Sequence[str]) -> Iterator[Vectors]:
        self.texts.extend(texts)
        return super().batches(texts)


@pytest.fixture(scope="module")
def model() -> Counting:
    Counting.texts = []
    return Counting()


@pytest.fixture
def embedder(model: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    """The model, with nothing counted yet and a home of the test's own."""
    monkeypatch.setenv("TURNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    model.texts = []
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three documents."""
    made = tmp_path / "docs"
    (made / "sub").mkdir(parents=True)
    (made / "sky.md").write_text("# Sky\nMolecules of the air scatter blue light the most.\n")
    (made / "tea.txt").write_text("Pour boiling water on black tea.")
    (made / "sub" / "dog.html").write_text("<h1>Dogs</h1><p>Dogs descend from wolves.</p>")
    return made


def search(name: str, embedder: Embedder, question: str) -> list[str]:
    """The sources that a question finds, best first."""
    with closing(open_index(name, embedder)) as store:
        return [each.source for each in store.search(embedder.embed([question])[0], 5, -1.0)]


def counts(report: Report) -> tuple[int, ...]:
    """Added, changed, unchanged, removed, refused, embedded."""
    parts = ("added", "changed", "unchanged", "removed", "refused")
    return (*(len(getattr(report, part)) for part in parts), report.embedded)


def test_a_question_finds_the_document_that_answers_it(embedder: Counting, folder: Path) -> None:
    report = add("default", [folder], embedder)
    assert sorted(report.added) == ["sky.md", "sub/dog.html", "tea.txt"]
    assert search("default", embedder, "Why is the sky blue?")[0] == "sky.md"
    assert search("default", embedder, "Which animal were dogs once?")[0] == "sub/dog.html"


def test_adding_again_touches_only_what_changed(embedder: Counting, folder: Path) -> None:
    add("default", [folder], embedder)
    embedder.texts = []
    assert counts(add("default", [folder], embedder)) == (0, 0, 3, 0, 0, 0)
    assert embedder.texts == []

    (folder / "tea.txt").write_text("Pour water of 70 degrees on green tea.")
    (folder / "new.txt").write_text("Penguins live in the south.")
    (folder / "sky.md").unlink()
    report = add("default", [folder], embedder)
    assert (report.added, report.changed, report.removed) == (["new.txt"], ["tea.txt"], ["sky.md"])
    assert embedder.texts == [
        "Penguins live in the south.",
        "Pour water of 70 degrees on green tea.",
    ]
    assert set(search("default", embedder, "sky")) == {"new.txt", "sub/dog.html", "tea.txt"}


def test_a_file_added_alone_says_nothing_of_its_neighbours(
    embedder: Counting, folder: Path
) -> None:
    add("default", [folder], embedder)
    assert counts(add("default", [folder / "tea.txt"], embedder)) == (0, 0, 1, 0, 0, 0)
    assert len(search("default", embedder, "anything")) == 3


def test_a_document_that_became_unreadable_is_told_and_keeps_its_place(
    embedder: Counting, folder: Path
) -> None:
    add("default", [folder], embedder)
    (folder / "tea.txt").write_bytes(b"\x00\x01")
    report = add("default", [folder], embedder)
    assert [(each.source, each.code) for each in report.refused] == [
        ("tea.txt", "invalid_document")
    ]
    assert "tea.txt" in search("default", embedder, "tea")


def test_one_bad_document_does_not_stop_the_others(embedder: Counting, folder: Path) -> None:
    (folder / "a-bad.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "b-large.txt").write_text("word " * 2_000)
    report = add("default", [folder], embedder, limits=Limits(document_bytes=5_000))
    assert len(report.added) == 3
    assert {each.source: each.code for each in report.refused} == {
        "a-bad.pdf": "invalid_document",
        "b-large.txt": "document_too_large",
    }


@pytest.mark.parametrize(("limits", "kept"), [(Limits(documents=2), 2), (Limits(passages=1), 1)])
def test_a_full_index_stops_and_keeps_what_it_has(
    embedder: Counting, folder: Path, limits: Limits, kept: int
) -> None:
    with pytest.raises(InvalidIndex, match=r"The index is full.* must go into another"):
        add("default", [folder], embedder, limits=limits)
    assert len(search("default", embedder, "anything")) == kept


def test_a_disk_that_is_full_is_no_fault_of_the_documents(
    embedder: Counting, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 1")  # as many as there are: no more fit
        return connection

    find_backend().make("default", facts_of(embedder)).close()
    (folder / "tea.txt").write_text("Pour boiling water on black tea. " * 500)
    monkeypatch.setattr("turnlab.retrieval.sqlite.connect", small)
    with pytest.raises(InvalidIndex, match="full"):
        add("default", [folder], embedder)


def facts_of(embedder: Embedder) -> IndexFacts:
    """Of the index that `add` makes."""
    return IndexFacts(
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        passage_tokens=PASSAGE_TOKENS,
        overlap_tokens=OVERLAP_TOKENS,
    )


def test_a_path_that_is_not_there_makes_no_index(embedder: Counting, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        add("default", [tmp_path / "absent"], embedder)
    assert find_backend().names() == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a" * 65, "a b", "ä", "x\n", ".hidden"])
def test_a_name_that_is_none_is_refused_everywhere(
    embedder: Counting, folder: Path, name: str
) -> None:
    backend = find_backend()
    for attempt in (
        lambda: add(name, [folder], embedder),
        lambda: open_index(name, embedder),
        lambda: backend.exists(name),
        lambda: backend.remove(name),
    ):
        with pytest.raises(InvalidIndex):
            attempt()
    assert not list(folder.parent.glob("home/**/*"))


def test_an_index_is_for_this_user_alone(embedder: Counting, folder: Path, tmp_path: Path) -> None:
    add("default", [folder], embedder)
    files = list((tmp_path / "home" / "rag").iterdir())
    assert any(file.name == "default.sqlite3" for file in files)
    for path in (*files, tmp_path / "home" / "rag"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_index_that_is_not_there_is_an_error_that_says_how_to_make_it(
    embedder: Counting,
) -> None:
    with pytest.raises(UnknownIndex, match="turnlab rag add nothing FOLDER"):
        open_index("nothing", embedder)
    assert "turnlab rag add nothing FOLDER" in missing_index("nothing")[0]
    with pytest.raises(UnknownIndex):
        find_backend().remove("nothing")


def test_an_index_of_another_model_is_refused(embedder: Counting, folder: Path) -> None:
    find_backend().make("default", FACTS).close()
    with pytest.raises(InvalidIndex, match="another model"):
        open_index("default", embedder)
    with pytest.raises(InvalidIndex, match="another model"):
        add("default", [folder], embedder)


def test_an_index_keeps_its_sizes(embedder: Counting, folder: Path) -> None:
    add("default", [folder], embedder, passage_tokens=50, overlap_tokens=10)
    assert counts(add("default", [folder], embedder))[2] == 3
    with pytest.raises(InvalidIndex, match="passage_tokens 50"):
        add("default", [folder], embedder, passage_tokens=60)
    with pytest.raises(InvalidIndex, match="overlap"):
        add("other", [folder], embedder, passage_tokens=20, overlap_tokens=20)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "vector", "format"])
def test_a_damaged_index_is_an_error_and_can_be_removed(
    embedder: Counting, folder: Path, tmp_path: Path, damage: str
) -> None:
    add("default", [folder], embedder)
    path = tmp_path / "home" / "rag" / "default.sqlite3"
    if damage == "garbage":
        path.write_bytes(b"nothing of SQLite" * 500)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5_000])
    else:
        with closing(sqlite3.connect(path)) as connection:
            if damage == "vector":
                connection.execute("UPDATE passage SET vector = x'0011' WHERE id = 1")
            else:
                connection.execute("PRAGMA user_version = 99")
            connection.commit()
    with pytest.raises(InvalidIndex, match="turnlab rag remove default"):
        search("default", embedder, "sky")
    find_backend().remove("default")
    assert counts(add("default", [folder], embedder))[0] == 3


def test_a_second_writer_is_refused(embedder: Counting, folder: Path) -> None:
    with (
        find_backend().writing("default"),
        pytest.raises(InvalidIndex, match="Another process"),
    ):
        add("default", [folder], embedder)


def unit(*values: float) -> Vectors:
    vector = np.array(values, dtype=np.float32)
    made: Vectors = vector / np.linalg.norm(vector)
    return made


def document(name: str) -> Document:
    return Document(path=f"/{name}", root="/", source=name, digest="", size=0)


def test_a_search_follows_an_index_that_is_removed_and_made_anew(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "rag")
    store = backend.make("a", FACTS)
    row = unit(1, 0, 0, 0)
    store.put(document("old"), [TextPassage(text="old", source="old")], row[None])
    assert store.search(row, 1, -1)[0].text == "old"
    backend.remove("a")
    with pytest.raises(UnknownIndex):
        store.search(row, 1, -1)
    with closing(backend.make("a", FACTS)) as other:
        other.put(document("new"), [TextPassage(text="new", source="new")], row[None])
    assert store.search(row, 1, -1)[0].text == "new"
    store.close()


def test_a_vector_of_another_model_is_refused(tmp_path: Path) -> None:
    with (
        closing(SqliteBackend(tmp_path).make("a", FACTS)) as store,
        pytest.raises(InvalidIndex, match="4 values"),
    ):
        store.search(np.ones(3, dtype=np.float32), 1, -1)


def test_a_search_finds_the_old_or_the_new_document_while_it_is_replaced(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    writer, reader = backend.make("a", FACTS), backend.open("a")
    rows = np.stack([unit(1, n, 0, 0) for n in range(5)])

    def put(version: int) -> None:
        texts = [TextPassage(text=str(version), source="a") for _ in rows]
        writer.put(document("a"), texts, rows)

    put(0)
    ended = threading.Event()

    def write() -> None:
        for version in range(1, 60):
            put(version)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not ended.is_set():
        found = reader.search(unit(1, 1, 0, 0), 5, -1)
        assert len(found) == 5
        assert len({each.text for each in found}) == 1
        seen.add(found[0].text)
    thread.join()
    assert reader.search(unit(1, 1, 0, 0), 5, -1)[0].text == "59"
    writer.close()
    reader.close()


changes_of_documents = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=12
)


@settings(max_examples=30, deadline=None)
@given(changes_of_documents)
def test_a_search_finds_what_is_there_after_any_changes(
    changes: list[tuple[int, int, bool]],
) -> None:
    held: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        backend = SqliteBackend(Path(folder))
        with closing(backend.make("a", FACTS)) as writer, closing(backend.open("a")) as reader:
            for step, (number, count, kept) in enumerate(changes):
                name = f"d{number}"
                rows = np.array([unit(1, number, n, step) for n in range(count)]).reshape(-1, 4)
                texts = [TextPassage(text=f"{step}-{n}", source=name) for n in range(count)]
                if kept:
                    writer.put(document(name), texts, rows.astype(np.float32))
                    held[name] = {each.text for each in texts}
                else:
                    writer.drop([f"/{name}"])
                    held.pop(name, None)
                found = reader.search(unit(1, 0, 0, 0), 50, -1)
                assert {each.text for each in found} == set().union(*held.values())
                for text, row in zip(texts if kept else [], rows, strict=False):
                    assert reader.search(row, 1, -1)[0].text == text.text


numbers = st.floats(-1, 1, width=32, allow_subnormal=False)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(0, 40), st.just(4)), elements=numbers),
    arrays.arrays(np.float32, 4, elements=numbers),
    st.integers(1, 45),
    st.floats(-1, 1),
)
def test_ranking_is_that_of_sorting_all_of_them(
    matrix: Vectors, vector: Vectors, top_k: int, least: float
) -> None:
    scores = np.round(matrix.astype(float) @ vector.astype(float), 6)
    naive = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    wanted = [row for row in naive if scores[row] >= least][:top_k]
    found = ranked(matrix, vector, top_k, least)
    assert [score for _, score in found] == pytest.approx([scores[row] for row in wanted], abs=2e-6)
    assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)


def test_embeddings_are_as_the_model_card_says(model: Counting) -> None:
    texts = ["A cat sits outside.", "A kitten is in the garden.", "The bank raised its rates."]
    vectors = model.embed(texts)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.4 > 0.2 > vectors[0] @ vectors[2]
    alone = np.concatenate([model.embed([text]) for text in texts])
    assert np.allclose(vectors, alone, atol=1e-4), "padding must not count"


def test_a_text_beyond_what_the_model_takes_is_cut_for_it(model: Counting) -> None:
    text = "word " * 3 * MAX_TOKENS
    assert np.allclose(model.embed([text])[0], model.embed(["word " * 2 * MAX_TOKENS])[0])


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_pieces_of_a_text_keep_to_the_limit(model: Counting, limit: int) -> None:
    text = "Unquestionably, antidisestablishmentarianism is a long word; so is 你好世界. " * 5
    pieces = model.pieces(text, limit)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(count <= limit + 1 for count in model.count(pieces))


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match=r"model\.onnx"):
        Embedder(str(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(MissingModel, match="cannot be read"):
        Embedder(str(tmp_path))
