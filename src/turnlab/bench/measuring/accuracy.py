"""How right turns were, where the dataset says what is right; see docs/reference/metrics.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.measuring.measures import Measured, Values
from turnlab.errors import MissingPackage
from turnlab.packaged import installed
from turnlab.tracks import TrackStatus

METRICS_OF = {
    "transcript": ("wer", "cer"),
    "passages": ("retrieval.hit", "retrieval.rank"),
    "emotion": ("emotion.accuracy",),
}
"""The metrics that each sort of reference makes possible."""


class Errors(NamedTuple):
    """How a transcript differs from its reference, both normalised."""

    word_errors: int
    """Substitutions, deletions and insertions."""
    words: int
    """Of the reference."""
    character_errors: int
    characters: int


@dataclass(kw_only=True)
class Told:
    """What turns made of which references tell, by track_id."""

    heard: dict[str, str] = field(default_factory=dict)
    """What the user said, as it was transcribed."""
    found: dict[str, Sequence[str]] = field(default_factory=dict)
    """The sources of the passages, best first."""
    felt: dict[str, str] = field(default_factory=dict)
    """The label of all modalities together."""


class Transcripts:
    """Compares transcripts with references: as Whisper's normaliser for English writes both.

    Each text is normalised once and each pair compared once, since repetitions of a turn mostly
    are heard the same. Raises MissingPackage.
    """

    def __init__(self) -> None:
        if why := missing():
            raise MissingPackage(f"{why}.")
        from whisper_normalizer.english import EnglishTextNormalizer

        self._normal: Callable[[str], str] = cache(EnglishTextNormalizer())
        self.errors: Callable[[str, str], Errors] = cache(self._compare)

    def _compare(self, reference: str, heard: str) -> Errors:
        import jiwer

        right, said = self._normal(reference), self._normal(heard)
        if not right:  # of which jiwer makes no ratio; all that was heard is inserted
            return Errors(len(said.split()), 0, len(said), 0)
        words, characters = jiwer.process_words(right, said), jiwer.process_characters(right, said)
        return Errors(
            _wrong(words),
            len(right.split()),
            _wrong(characters),
            characters.hits + _lost(characters),
        )


def _wrong(output: Any) -> int:
    return int(output.substitutions + output.deletions + output.insertions)


def _lost(output: Any) -> int:
    return int(output.substitutions + output.deletions)


def missing() -> str:
    """Why error rates cannot be computed here; empty if they can."""
    if installed("jiwer") and installed("whisper_normalizer"):
        return ""
    return "jiwer or whisper-normalizer is not installed: pip install 'turnlab[bench]'"


def retrieval_rank(found: Sequence[str], right: Sequence[str]) -> int:
    """The rank of the first source that answers among the distinct sources, from 1; 0 if none."""
    sources = list(dict.fromkeys(found))
    return next((rank for rank, each in enumerate(sources, 1) if each in right), 0)


def references(dataset: Dataset) -> set[str]:
    """Which sorts of reference at least one turn has, of the keys of METRICS_OF."""
    return {
        kind
        for kind in METRICS_OF
        if any(_reference(turn, kind) is not None for turn in dataset.turns)
    }


def _reference(turn: DatasetTurn, kind: str) -> Any:
    """The turn's reference of a sort, None if it has none."""
    if kind == "emotion":
        label = (turn.emotion or {}).get("label")
        return None if label is None else str(label)
    return getattr(turn, kind)


def leave_out(measured: Measured, why: str) -> None:
    """No metric of accuracy is there, for one reason."""
    measured.absent.update({name: why for names in METRICS_OF.values() for name in names})


def add_accuracy(
    measured: Measured, dataset: Dataset, told: Told, transcripts: Transcripts | None
) -> None:
    """Fill in the columns of accuracy, or why there are none.

    A turn counts that completed and has a reference. What it should have told and did not is
    wrong: an empty transcript, nothing found, no label. Without `transcripts` there are no
    error rates.
    """
    there = references(dataset)
    compared = transcripts.errors if transcripts else None
    for sort in (
        _Sort("transcript", _ERRORS, told.heard, "", compared),
        _Sort("passages", ("retrieval_rank",), told.found, (), _rank),
        _Sort("emotion", ("emotion_right",), told.felt, "", _right),
    ):
        if sort.kind not in there:
            why = f"no turn of the dataset {dataset.name} has {_WHAT[sort.kind]}"
        elif not any(map(sort.told.__contains__, measured.track_ids)):
            why = f"{measured.subject.cluster} {_LACKS[sort.kind]}"
        elif sort.compare is None:
            why = missing()
        else:
            measured.columns.update(_columns(measured, dataset, sort, sort.compare))
            continue
        measured.absent.update(dict.fromkeys(METRICS_OF[sort.kind], why))


_ERRORS = ("word_errors", "words", "character_errors", "characters")
_WHAT = {
    "transcript": "a reference transcript",
    "passages": "the passages that answer it",
    "emotion": "the label of an emotion",
}
_LACKS = {
    "transcript": "wrote down in no turn what it heard",
    "passages": "retrieved nothing in any turn",
    "emotion": "judged no emotion in any turn",
}

Compare = Callable[[Any, Any], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class _Sort:
    """One sort of reference: the columns that come of it, what turns told, and what of nothing."""

    kind: str
    columns: tuple[str, ...]
    told: Mapping[str, Any]
    nothing: Any
    compare: Compare | None


class _Numbers(dict[tuple[Any, Any], int]):
    """Numbers the pairs of a reference and what was told; repetitions mostly are such a pair."""

    def __missing__(self, pair: tuple[Any, Any]) -> int:
        return self.setdefault(pair, len(self))


def _columns(
    measured: Measured, dataset: Dataset, sort: _Sort, compare: Compare
) -> dict[str, Values]:
    known = {turn.id: _reference(turn, sort.kind) for turn in dataset.turns}
    numbers = _Numbers()
    right = map(known.get, measured.turn_ids)
    told = (sort.told.get(each, sort.nothing) for each in measured.track_ids)
    pairs = np.fromiter(map(numbers.__getitem__, zip(right, told, strict=True)), np.int64)
    unknown = (math.nan,) * len(sort.columns)
    results = [unknown if pair[0] is None else compare(*pair) for pair in numbers]
    table = np.array(results, dtype=np.float64).reshape(len(results), len(sort.columns))[pairs]
    table[~measured.having(TrackStatus.COMPLETED)] = math.nan
    return dict(zip(sort.columns, np.ascontiguousarray(table.T), strict=True))


def _rank(right: Sequence[str], found: Sequence[str]) -> tuple[float]:
    return (retrieval_rank(found, right),)


def _right(label: str, felt: str) -> tuple[float]:
    return (label.casefold() == felt.casefold(),)
