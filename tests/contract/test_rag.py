"""The contract, applied to rag with its default model; and what it does ahead of the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from turnlab.chunks import Transcript
from turnlab.errors import InvalidIndex, InvalidParams
from turnlab.modules.rag import Rag
from turnlab.retrieval import embedding
from turnlab.retrieval.adding import add
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.indexes import find_backend
from turnlab.retrieval.stores import IndexFacts
from turnlab.testing.contract import ModuleContract
from turnlab.testing.rig import Rig
from turnlab.testing.scripted import Action, Pause
from turnlab.tracks import TrackStatus

DOCUMENTS = {
    "sky.md": "# Sky\nThe air scatters blue light the most.",
    "tea.txt": "Pour boiling water on black tea.",
    "dog.txt": "Dogs descend from wolves.",
}
FINAL = Transcript(text="Why is the sky blue?", final=True)


@pytest.fixture(scope="module", autouse=True)
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An index named `contract` in the tests' home."""
    if absent := embedding.missing(None):
        pytest.skip("; ".join(absent))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        folder = tmp_path_factory.mktemp("documents")
        for name, text in DOCUMENTS.items():
            Path(folder, name).write_text(text)
        add("contract", [folder], Embedder())
        yield
        find_backend().remove("contract")


class TestRag(ModuleContract):
    module = Rag
    params: ClassVar = {"index": "contract"}
    inputs: ClassVar = (Transcript(text="Why is the"), FINAL)


def test_documents_that_come_and_change_are_told_by_what_is_pinned(tmp_path: Path) -> None:
    Path(tmp_path, "a.txt").write_text("Black tea.")
    embedder = Embedder()
    try:
        seen = []
        for name, text in (("a.txt", "Black tea."), ("a.txt", "Green tea."), ("b.txt", "Milk.")):
            Path(tmp_path, name).write_text(text)
            add("growing", [tmp_path], embedder)
            seen.append(Rag.pinned(Rag.Params(index="growing"))["index"])
            assert Rag.pinned(Rag.Params(index="growing"))["index"] == seen[-1]
        assert len(set(seen)) == 3
    finally:
        find_backend().remove("growing")


@pytest.fixture
def rig() -> Rig:
    """rag alone, on a clock that waits for it."""
    return Rig(Rag, given=(Transcript,), overrides={"rag": {"index": "contract", "top_k": 2}})


async def run(rig: Rig, *script: Action) -> tuple[dict[str, Any], dict[str, float]]:
    """What a turn recorded of the Task: its result and its latency."""
    result = await rig.run(*script)
    assert result.track.status is TrackStatus.COMPLETED, result.error
    recorded = result.tasks[0].result_json
    return recorded["result_profile"], recorded["latency_profile"]


async def test_passages_come_with_source_and_score_best_first(rig: Rig) -> None:
    profile, latency = await run(rig, FINAL)
    found = profile["passages"]
    assert found[0]["source"] == "sky.md"
    assert found[0]["text"] == "Sky\nThe air scatters blue light the most."
    assert len(found) <= 2
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert {"model_embed", "model_search"} <= set(latency)


async def test_a_question_that_was_heard_whole_is_not_embedded_again(rig: Rig) -> None:
    heard = Transcript(text=FINAL.text)
    profile, latency = await run(rig, Transcript(text="Why is"), Pause(1), heard, Pause(1), FINAL)
    assert profile["embedded_ahead"] is True
    assert "model_embed" not in latency
    assert "model_embed_ahead" in latency
    plain, _ = await run(rig, FINAL)
    assert profile["passages"] == plain["passages"]


async def test_what_is_said_at_the_end_counts(rig: Rig) -> None:
    said = Transcript(text="How should I brew black tea?", final=True)
    profile, latency = await run(rig, Transcript(text=FINAL.text), Pause(1), said)
    assert profile["embedded_ahead"] is False
    assert profile["passages"][0]["source"] == "tea.txt"
    assert "model_embed" in latency


async def test_chatter_finds_nothing_and_the_turn_goes_on(rig: Rig) -> None:
    profile, _ = await run(rig, Transcript(text="Hello, how are you today?", final=True))
    assert profile["passages"] == []
    profile, _ = await run(rig, Transcript(text=" ", final=True))
    assert profile["passages"] == []


async def test_a_document_that_is_added_meanwhile_is_found(tmp_path: Path) -> None:
    embedder = Embedder()
    question = Transcript(text="Where do penguins live?", final=True)
    (tmp_path / "tea.txt").write_text(DOCUMENTS["tea.txt"])
    add("growing", [tmp_path], embedder)
    rig = Rig(Rag, given=(Transcript,), overrides={"rag": {"index": "growing"}})
    assert (await run(rig, question))[0]["passages"] == []
    (tmp_path / "penguin.txt").write_text("Penguins live in the southern half of the world.")
    add("growing", [tmp_path], embedder)
    profile, _ = await run(rig, question)
    assert profile["passages"][0]["source"] == "penguin.txt"
    find_backend().remove("growing")


def test_a_missing_index_is_told_with_the_command_that_makes_it() -> None:
    (told,) = Rag.missing(Rag.check_params({"index": "absent"}))
    assert "turnlab rag add absent FOLDER" in told


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(InvalidParams, match="index"):
        Rag.check_params({"index": "../../etc/passwd"})


async def test_an_index_of_another_model_fails_the_turn_with_its_code() -> None:
    facts = IndexFacts(
        model="other", fingerprint="f", dimensions=8, passage_tokens=96, overlap_tokens=24
    )
    find_backend().make("foreign", facts).close()
    rig = Rig(Rag, given=(Transcript,), overrides={"rag": {"index": "foreign"}})
    result = await rig.run(FINAL)
    assert isinstance(result.error, InvalidIndex)
    find_backend().remove("foreign")
