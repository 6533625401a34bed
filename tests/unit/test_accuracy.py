from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.test_metrics import measured
from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.measuring import accuracy
from turnlab.bench.measuring.accuracy import Errors, Told, Transcripts, add_accuracy, retrieval_rank
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import estimate
from turnlab.errors import MissingPackage


def dataset(*turns: dict[str, Any]) -> Dataset:
    made = [
        DatasetTurn(id=f"turn-{number}", audio=Path("/x.wav"), **given)
        for number, given in enumerate(turns)
    ]
    return Dataset(folder=Path("/x"), name="d", turns=tuple(made), content_hash="")


def track(row: int) -> str:
    return f"T-CLUSTER_A-{row:032x}"


@pytest.fixture(scope="module")
def transcripts() -> Transcripts:
    return Transcripts()


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("It's ten o'clock, isn't it?", "it is 10 o'clock is not it", (0, 7)),
        ("What is the capital of France?", "What was the capital of France?", (1, 6)),
        ("What is the capital?", "", (4, 4)),
        ("What is the capital?", "What is the capital city?", (1, 4)),
        ("[noise]", "hello there", (2, 0)),
    ],
)
def test_words_that_differ_after_both_were_normalised(
    transcripts: Transcripts, reference: str, heard: str, expected: tuple[int, int]
) -> None:
    found = transcripts.errors(reference, heard)
    assert (found.word_errors, found.words) == expected


def test_characters_that_differ(transcripts: Transcripts) -> None:
    assert transcripts.errors("the cat", "the hat") == Errors(1, 2, 1, 7)


def test_sources_are_ranked_once_each() -> None:
    assert retrieval_rank(["a", "a", "b", "c"], ("b",)) == 2
    assert retrieval_rank(["a", "b"], ("c", "b")) == 2
    assert retrieval_rank(["a"], ("b",)) == 0
    assert retrieval_rank([], ("b",)) == 0


def test_what_completed_turns_should_have_told_and_did_not_is_wrong(
    transcripts: Transcripts,
) -> None:
    found = measured(5, statuses={4: "failed"}, voice_to_voice=[0.4])
    references = dataset(
        {"transcript": "red fox", "passages": ("a",), "emotion": {"label": "happy"}},
        {"transcript": "red fox", "passages": ("a",), "emotion": {"label": "sad"}},
        {"transcript": "red fox", "passages": ("a",), "emotion": {"valence": 0.3}},
        {},
        {"transcript": "red fox", "passages": ("a",), "emotion": {"label": "sad"}},
    )
    told = Told(
        heard={track(0): "red fox", track(1): "red box"},
        found={track(0): ("b", "a")},
        felt={track(0): "Happy"},
    )
    add_accuracy(found, references, told, transcripts)
    nan = np.nan
    assert_column(found, "word_errors", [0, 1, 2, nan, nan])
    assert_column(found, "retrieval_rank", [2, 0, 0, nan, nan])
    assert_column(found, "emotion_right", [1, 0, nan, nan, nan])
    assert estimate(found, "wer").value == pytest.approx(3 / 6)
    assert estimate(found, "emotion.accuracy").n == 2


def assert_column(found: Measured, key: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(found.columns[key], np.array(expected))


def test_without_references_or_answers_there_is_a_reason_and_no_figure(
    transcripts: Transcripts,
) -> None:
    found = measured(1, voice_to_voice=[0.4])
    references = dataset({"passages": ("a",)})
    add_accuracy(found, references, Told(), transcripts)
    reasons = {name: estimate(found, name).why_absent for name in ("wer", "cer", "retrieval.hit")}
    assert reasons == {
        "wer": "no turn of the dataset d has a reference transcript",
        "cer": "no turn of the dataset d has a reference transcript",
        "retrieval.hit": "CLUSTER_A retrieved nothing in any turn",
    }
    assert estimate(found, "emotion.accuracy").why_absent == (
        "no turn of the dataset d has the label of an emotion"
    )


def test_without_the_packages_error_rates_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accuracy, "installed", lambda name: name != "jiwer")
    with pytest.raises(MissingPackage, match="pip install 'turnlab\\[bench\\]'"):
        Transcripts()
    found = measured(1, voice_to_voice=[0.4])
    told = Told(heard={track(0): "one"})
    add_accuracy(found, dataset({"transcript": "one"}), told, None)
    assert "pip install 'turnlab[bench]'" in estimate(found, "wer").why_absent


def test_the_same_pair_is_compared_once(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jiwer

    calls = []
    whole = jiwer.process_words
    monkeypatch.setattr(jiwer, "process_words", lambda *pair: calls.append(pair) or whole(*pair))
    found = measured(2, 50, voice_to_voice=[0.4])
    references = dataset({"transcript": "a fresh pair"}, {"transcript": "another"})
    told = Told(heard={track(row): "a fresh pear" for row in range(100)})
    add_accuracy(found, references, told, transcripts)
    add_accuracy(found, references, told, transcripts)
    assert len(calls) == 2
