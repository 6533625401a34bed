"""How well retrieval finds the passage that answers a question, and how long that takes.

`python -m benchmarks.rag [--json] [--passages N] [--model FOLDER]`. The set in
benchmarks/data/rag is added to a new index the way `turnlab rag add` does it, one file a document;
each question is then embedded alone and searched for. `recall@k` is the share of questions whose
document is among the k best passages, `MRR` the mean of 1 / its rank (0 beyond the tenth). The
intervals hold 95 of 100 draws of as many questions (bootstrap). `chatter` are sentences that no
document answers. The time of a search is then measured on an index of N passages (10,000) of the
same length with random vectors. With DATABASE_URL, indexes are kept in that PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.journal import hardware
from turnlab.modules.rag import Rag
from turnlab.retrieval.adding import add
from turnlab.retrieval.embedding import Embedder
from turnlab.retrieval.indexes import find_backend, open_index
from turnlab.retrieval.stores import Document, IndexFacts, Store, TextPassage

P = ParamSpec("P")
T = TypeVar("T")

DATA = Path(__file__).parent / "data" / "rag"
DEPTH = 10
DRAWS = 2_000
A_DOCUMENT = 100  # passages of the large index


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and the document that answers it."""

    text: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of the questions."""

    ranks: NDArray[np.int64]
    """Of the right document, from 1; 0 if it was not among the first DEPTH."""
    right_scores: NDArray[np.float64]
    embed_ms: NDArray[np.float64]
    search_ms: NDArray[np.float64]


def read_set() -> tuple[dict[str, str], list[Question], list[str]]:
    """The documents by source, the questions, the chatter."""
    lines = (DATA / "passages.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    documents = {f"{row['id']}.txt": row["text"] for row in rows}
    questions = [
        Question(text=text, source=f"{row['id']}.txt") for row in rows for text in row["questions"]
    ]
    return documents, questions, (DATA / "chatter.txt").read_text(encoding="utf-8").splitlines()


def indexed(name: str, documents: dict[str, str], embedder: Embedder) -> tuple[Store, float]:
    """The index of the documents, and the milliseconds a passage that making it took."""
    with tempfile.TemporaryDirectory() as folder:
        for source, text in documents.items():
            Path(folder, source).write_text(text, encoding="utf-8")
        start_s = time.perf_counter()
        report = add(name, [Path(folder)], embedder)
        took_s = time.perf_counter() - start_s
    return open_index(name, embedder), 1000 * took_s / report.embedded


def ask(store: Store, embedder: Embedder, questions: Sequence[Question]) -> Asked:
    """Each question alone, as a turn asks it."""
    ranks, scores, embed_ms, search_ms = [], [], [], []
    for question in questions:
        vectors, took_ms = timed(embedder.embed, [question.text])
        embed_ms.append(took_ms)
        found, took_ms = timed(store.search, vectors[0], DEPTH, -1.0)
        search_ms.append(took_ms)
        sources = list(dict.fromkeys(each.source for each in found))
        right = question.source in sources
        ranks.append(sources.index(question.source) + 1 if right else 0)
        scores += [each.score for each in found if each.source == question.source][:1]
    return Asked(
        ranks=np.array(ranks),
        right_scores=np.array(scores),
        embed_ms=np.array(embed_ms),
        search_ms=np.array(search_ms),
    )


def timed(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    """What it returns, and its milliseconds."""
    start_s = time.perf_counter()
    result = function(*args, **kwargs)
    return result, 1000 * (time.perf_counter() - start_s)


def with_interval(
    ranks: NDArray[np.int64], figure: Callable[[NDArray[np.int64]], float]
) -> dict[str, float]:
    """A figure of the ranks and the interval that holds it in 95 of 100 draws."""
    random = np.random.default_rng(1)
    draws = [figure(random.choice(ranks, len(ranks))) for _ in range(DRAWS)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"value": round(figure(ranks), 3), "low": round(low, 3), "high": round(high, 3)}


def recall(ranks: NDArray[np.int64], k: int) -> float:
    """Share of questions whose document is among the first k."""
    return float(np.mean((ranks >= 1) & (ranks <= k)))


def reciprocal(ranks: NDArray[np.int64]) -> float:
    """Mean of 1 / rank, 0 where the document was not found."""
    return float(np.mean(np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)))


def best_scores(store: Store, embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float64]:
    """The score of the nearest passage of each text."""
    return np.array([store.search(embedder.embed([text])[0], 1, -1.0)[0].score for text in texts])


def large_index(name: str, count: int, facts: IndexFacts) -> Store:
    """An index of `count` passages with random vectors of length 1."""
    store = find_backend().make(name, facts)
    random = np.random.default_rng(1)
    for begin in range(0, count, A_DOCUMENT):
        size = min(A_DOCUMENT, count - begin)
        vectors = random.normal(size=(size, facts.dimensions)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        source = f"{begin}.txt"
        document = Document(path=f"/{source}", root="/", source=source, digest="", size=0)
        text = "Words that stand for a passage of the usual length. " * 8
        store.put(document, [TextPassage(text=text, source=source)] * size, vectors)
    return store


def search_times(store: Store, dimensions: int, times: int) -> tuple[float, NDArray[np.float64]]:
    """Milliseconds of the first search, which loads the vectors, and of later ones."""
    random = np.random.default_rng(2)
    took = []
    for _ in range(times + 1):
        vector = random.normal(size=dimensions).astype(np.float32)
        vector /= np.linalg.norm(vector)
        took.append(timed(store.search, vector, 3, -1.0)[1])
    return took[0], np.array(took[1:])


def measure(count: int, model: str | None) -> dict[str, Any]:
    """All of it, in indexes that are removed again."""
    documents, questions, chatter = read_set()
    embedder = Embedder(model)
    run = secrets.token_hex(4)
    names = f"bench-{run}", f"bench-large-{run}"
    store, add_ms = indexed(names[0], documents, embedder)
    alone = Embedder(model, threads=Rag.Params().threads)
    ask(store, alone, questions[:5])  # the first ones load the vectors
    asked = ask(store, alone, questions)
    unanswered = best_scores(store, embedder, chatter)
    facts, held = store.facts, store.summary()
    store.close()
    large = large_index(names[1], count, facts)
    first_ms, later_ms = search_times(large, facts.dimensions, 200)
    large.close()
    for name in names:
        find_backend().remove(name)
    least = Rag.Params().min_score
    return {
        "date": date.today().isoformat(),
        "hardware": hardware(),
        "model": facts.model,
        "backend": held.backend,
        "documents": held.documents,
        "passages": held.passages,
        "passage_tokens": facts.passage_tokens,
        "overlap_tokens": facts.overlap_tokens,
        "questions": len(questions),
        **{f"recall@{k}": with_interval(asked.ranks, partial(recall, k=k)) for k in (1, 3, 5)},
        "MRR": with_interval(asked.ranks, reciprocal),
        "min_score": least,
        "right_below_min_score": round(
            1 - float(np.sum(asked.right_scores >= least)) / len(questions), 3
        ),
        "chatter_below_min_score": round(float(np.mean(unanswered < least)), 3),
        "add_ms_a_passage": round(add_ms, 2),
        "embed_ms": spread(asked.embed_ms),
        "search_ms": spread(asked.search_ms),
        "large_passages": count,
        "large_first_search_ms": round(first_ms, 2),
        "large_search_ms": spread(later_ms),
    }


def spread(values: NDArray[np.float64]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "median": round(float(np.median(values)), 2),
        "p95": round(float(np.quantile(values, 0.95)), 2),
    }


def show(found: dict[str, Any]) -> None:
    """The figures as tables."""
    print(f"{found['date']}, {found['hardware']}; {found['model']}, {found['backend']}")
    counted = [f"{found[what]} {what}" for what in ("documents", "passages", "questions")]
    print(", ".join(counted) + "\n")
    print("| figure | value | 95 % interval |\n| --- | ---: | --- |")
    for name in ("recall@1", "recall@3", "recall@5", "MRR"):
        each = found[name]
        print(f"| {name} | {each['value']:.3f} | {each['low']:.3f} to {each['high']:.3f} |")
    print(
        f"\nmin_score {found['min_score']}: {found['right_below_min_score']:.1%} of the answers "
        f"and {found['chatter_below_min_score']:.0%} of the chatter are below it\n"
    )
    print("| time, ms | median | p95 |\n| --- | ---: | ---: |")
    print(f"| adding, a passage | {found['add_ms_a_passage']:.2f} | |")
    rows = {
        "embedding a question, 1 thread": "embed_ms",
        f"search, {found['passages']} passages": "search_ms",
        f"search, {found['large_passages']:,} passages": "large_search_ms",
    }
    for name, key in rows.items():
        print(f"| {name} | {found[key]['median']:.2f} | {found[key]['p95']:.2f} |")
    print(f"| the first search there, loading | {found['large_first_search_ms']:.2f} | |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--passages", type=int, default=10_000, help="of the large index (10000)")
    parser.add_argument("--model", help="folder with model.onnx and tokenizer.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TURNLAB_HOME"] = home
        found = measure(asked.passages, asked.model)
    print(json.dumps(found)) if asked.json else show(found)


if __name__ == "__main__":
    main()
