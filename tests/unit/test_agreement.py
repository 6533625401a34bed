"""Agreement with people: published figures, and what cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from turnlab.bench.judging.agreement import FEWEST, Rated, agreement, krippendorff_alpha, spearman

NONE = math.nan

KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)
"""K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011: four observers,
twelve units, one of which a single observer has judged."""


def rated(*pairs: tuple[float, float], turns: int | None = None) -> list[Rated]:
    return [
        Rated(turn_id=f"t{n % (turns or len(pairs))}", model=model, people={"ada": person})
        for n, (model, person) in enumerate(pairs)
    ]


@pytest.mark.parametrize(("level", "published"), [("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_as_published(level: str, published: float) -> None:
    found = krippendorff_alpha(KRIPPENDORFF_2011, level)  # type: ignore[arg-type]
    assert found == pytest.approx(published, abs=5e-4)


def test_alpha_of_full_agreement_of_chance_and_of_nothing() -> None:
    same = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4]])
    assert krippendorff_alpha(same) == 1.0
    opposed = np.array([[1.0, 2, 1, 2], [2, 1, 2, 1]])
    assert krippendorff_alpha(opposed) < 0
    assert math.isnan(krippendorff_alpha(np.full((2, 3), 4.0))), "nothing varies"
    assert math.isnan(krippendorff_alpha(np.array([[1.0, NONE], [NONE, 2]]))), "nothing to pair"
    assert math.isnan(krippendorff_alpha(np.full((2, 3), NONE)))


def test_spearman_is_as_published() -> None:
    # Intelligence and hours of television of ten people, the usual example: -29 / 165.
    intelligence = np.array([106.0, 100, 86, 101, 99, 103, 97, 113, 112, 110])
    television = np.array([7.0, 27, 2, 50, 28, 29, 20, 12, 6, 17])
    assert spearman(intelligence, television) == pytest.approx(-29 / 165)


def test_spearman_gives_ties_the_mean_of_their_ranks() -> None:
    # Ranks 1.5 1.5 3 4 and 1 2.5 2.5 4.
    expected = np.corrcoef([1.5, 1.5, 3, 4], [1, 2.5, 2.5, 4])[0, 1]
    assert spearman(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 2, 5])) == pytest.approx(expected)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_figures_of_a_model_that_gives_one_more_to_every_second_reply() -> None:
    pairs = [(3.0, 3.0), (5.0, 4.0), (2.0, 2.0), (2.0, 1.0)] * 6
    found = agreement("helpful", rated(*pairs))
    figures = found.figures
    assert (found.replies, found.people) == (24, 1)
    assert figures["exact"].value == 0.5
    assert figures["within_one"].value == 1.0
    assert figures["bias"].value == 0.5
    assert "alpha_of_people" not in figures, "there is one person"
    alpha = figures["alpha"]
    assert alpha.value is not None
    assert alpha.low is not None
    assert alpha.high is not None
    assert 0 < alpha.low < alpha.value < alpha.high < 1


def test_people_among_themselves_and_a_model_that_meets_one_of_two() -> None:
    people = {"ada": 2.0, "ben": 4.0}
    found = agreement(
        "helpful",
        [Rated(turn_id=f"t{n}", model=4.0 if n % 2 else 2.0, people=people) for n in range(12)],
    )
    assert found.people == 2
    assert found.figures["exact"].value == 0.5
    assert found.figures["bias"].value == 0.0
    assert found.figures["alpha_of_people"].value is not None
    assert found.figures["alpha_of_people"].value < 0
    assert found.figures["spearman"].value is None
    assert "do not vary" in found.figures["spearman"].why_absent


def test_too_few_replies_say_nothing() -> None:
    found = agreement("helpful", rated(*[(3.0, 3.0)] * (FEWEST - 1)))
    assert {figure.value for figure in found.figures.values()} == {None}
    assert all("too few to tell" in figure.why_absent for figure in found.figures.values())
    assert found.as_json()["figures"]["alpha"]["n"] == FEWEST - 1


def test_replies_to_one_turn_are_no_independent_evidence() -> None:
    pairs = [(3.0, 3.0), (5.0, 4.0), (2.0, 2.0), (2.0, 1.0)] * 12
    apart = agreement("helpful", rated(*pairs)).figures["bias"]
    together = agreement("helpful", rated(*pairs, turns=4)).figures["bias"]
    assert together.value == apart.value
    assert together.groups == 4
    assert together.low is not None
    assert apart.low is not None
    assert together.low < apart.low


def test_the_same_scores_give_the_same_intervals() -> None:
    pairs = [(3.0, 3.0), (5.0, 4.0), (2.0, 2.0)] * 5
    assert agreement("helpful", rated(*pairs)) == agreement("helpful", rated(*pairs))
