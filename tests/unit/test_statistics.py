from __future__ import annotations

import math

import numpy as np
import pytest

from turnlab.bench.measuring import resampling as engine
from turnlab.bench.measuring.distributions import beta_cdf, beta_quantile, normal_cdf, t_quantile
from turnlab.bench.measuring.evidence import Evidence, percentile_bounds
from turnlab.bench.measuring.statistics import (
    Floats,
    Interval,
    Ints,
    Resampling,
    binomial_interval,
    interval,
    quantile,
    quantile_interval,
    share_interval,
)


@pytest.mark.parametrize(
    ("p", "a", "b", "expected"),
    [
        (0.5, 1, 1, 0.5),
        (0.025, 8, 3, 0.4439045),
        (0.975, 9, 2, 0.9747893),
        (0.975, 1, 10, 1 - 0.025**0.1),
    ],
)
def test_quantiles_of_the_beta_distribution(p: float, a: float, b: float, expected: float) -> None:
    assert beta_quantile(p, a, b) == pytest.approx(expected, abs=1e-6)
    assert beta_cdf(beta_quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-9)


def test_the_beta_distribution_is_that_of_binomial_sums() -> None:
    for chance in (0.01, 0.3, 0.97):
        terms = (math.comb(100, k) * chance**k * (1 - chance) ** (100 - k) for k in range(95, 101))
        assert beta_cdf(chance, 95, 6) == pytest.approx(sum(terms), rel=1e-9)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.30265), (10, 2.22814), (100_000, 1.95999)]
)
def test_quantiles_of_students_t(freedom: float, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-5)
    assert t_quantile(0.025, freedom) == pytest.approx(-expected, rel=1e-5)


def test_the_normal_distribution() -> None:
    assert normal_cdf(-1.959964) == pytest.approx(0.025, abs=1e-7)
    assert normal_cdf(0) == 0.5


def test_the_ends_of_the_beta_distribution_can_be_reached() -> None:
    assert beta_cdf(0, 2, 3) == 0
    assert beta_cdf(1, 2, 3) == 1
    assert 0 < beta_quantile(0.025, 0.4, 20_000) < 1e-6
    assert beta_quantile(0.975, 200_000, 1) < 1


@pytest.mark.parametrize(
    ("hits", "size", "low", "high"),
    # R 4: binom.test(hits, size)$conf.int
    [
        (8, 10, 0.4439045, 0.9747893),
        (0, 10, 0.0, 0.3084971),
        (10, 10, 0.6915029, 1.0),
        (1, 20, 0.001265089, 0.2487328),
    ],
)
def test_exact_intervals_of_a_chance(hits: int, size: int, low: float, high: float) -> None:
    assert binomial_interval(hits, size) == pytest.approx((low, high), abs=1e-6)


def test_quantiles_are_linear_between_ranks() -> None:
    values = np.array([4.0, 1.0, 3.0, 2.0])
    assert quantile(values, 0.5) == 2.5
    assert quantile(values, 0.95) == pytest.approx(3.85)
    assert math.isnan(quantile(np.array([]), 0.5))


def test_one_group_has_no_interval_and_says_so() -> None:
    values, groups = np.array([1.0, 2.0, 3.0]), np.zeros(3, dtype=np.int64)
    found = interval(Resampling(groups).means(values), 1)
    assert found == Interval(None, None, "one turn alone says nothing of how much others vary")


def test_equal_seeds_give_equal_intervals_and_others_others() -> None:
    values, groups = np.random.default_rng(1).normal(size=50), np.arange(50)

    def means(seed: int) -> Floats:
        return Resampling(groups, seed=seed).means(values)

    assert np.array_equal(means(3), means(3))
    assert not np.array_equal(means(3), means(4))


def test_every_resample_has_the_quantiles_of_the_values_that_it_drew() -> None:
    draw = np.random.default_rng(2)
    groups, values = draw.integers(0, 12, 60), draw.normal(size=60)
    values[[3, 17]] = np.nan
    resampling = Resampling(groups)
    medians, highest = resampling.quantiles(values, [0.5, 0.95])
    # A column that is 1 in one group and 0 in the others tells how often it was drawn.
    names = np.unique(groups)
    sizes = np.array([(groups == name).sum() for name in names])
    shares = [resampling.ratios(np.where(groups == n, 1.0, 0.0), np.ones(60)) for n in names]
    often = np.stack(shares, axis=1) / sizes
    often = np.rint(often / often.sum(axis=1, keepdims=True) * len(names)).astype(int)
    for number in range(25):
        drawn = np.repeat(values, often[number][np.searchsorted(names, groups)])
        drawn = drawn[~np.isnan(drawn)]
        assert medians[number] == pytest.approx(np.quantile(drawn, 0.5))
        assert highest[number] == pytest.approx(np.quantile(drawn, 0.95))


def test_quantiles_of_many_values_agree_with_counting_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(3)
    groups = np.repeat(np.arange(200), 5)
    values = draw.lognormal(size=1_000) + draw.lognormal(size=200)[groups]
    levels = [0.5, 0.9, 0.95]
    resampling = Resampling(groups)
    quick = resampling.quantiles(values, levels)
    monkeypatch.setattr(engine, "EXACT", 1_000)
    for level, some, counted in zip(
        levels, quick, resampling.quantiles(values, levels), strict=True
    ):
        width = np.subtract(*np.quantile(counted, (0.975, 0.025)))
        ends = [np.quantile(each, (0.025, 0.5, 0.975)) for each in (some, counted)]
        assert np.abs(ends[0] - ends[1]).max() < 0.08 * width, level


def test_two_hundred_thousand_values_of_as_many_turns() -> None:
    values = np.random.default_rng(4).normal(size=200_000)
    found = interval(Resampling(np.arange(200_000)).quantiles(values, [0.5])[0], 200_000)
    assert found.low is not None
    assert found.high is not None
    assert found.low < quantile(values, 0.5) < found.high
    # The median of n normal values has the standard deviation sqrt(pi / 2n).
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 4e5), rel=0.15)


def clustered(
    draw: np.random.Generator, groups: int, each: int, alike: float
) -> tuple[Floats, Ints]:
    """Values with mean and median 0 and variance 1, of which `alike` is shared by a group."""
    numbers = np.repeat(np.arange(groups), each)
    shared = draw.normal(size=groups)[numbers] * math.sqrt(alike)
    return shared + draw.normal(size=groups * each) * math.sqrt(1 - alike), numbers


def covered(found: Interval, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


@pytest.mark.parametrize("groups", [6, 30])
def test_intervals_of_means_hold_the_truth(groups: int) -> None:
    draw, hits = np.random.default_rng(5), 0
    for _ in range(300):
        values, numbers = clustered(draw, groups, 4, 0.5)
        hits += covered(interval(Resampling(numbers).means(values), groups), 0.0)
    assert 0.92 <= hits / 300 <= 0.99


def test_intervals_of_medians_hold_the_truth_only_if_repetitions_stay_together() -> None:
    draw, together, apart = np.random.default_rng(6), 0, 0
    for _ in range(200):
        values, numbers = clustered(draw, 40, 6, 0.7)
        drawn = Resampling(numbers).quantiles(values, [0.5])[0]
        together += covered(quantile_interval(drawn, Evidence(values, numbers), 0.5), 0.0)
        alone = np.arange(len(values))
        drawn = Resampling(alone).quantiles(values, [0.5])[0]
        apart += covered(quantile_interval(drawn, Evidence(values, alone), 0.5), 0.0)
    assert 0.91 <= together / 200 <= 0.99
    assert apart / 200 < 0.85


def test_intervals_of_the_95th_percentile_hold_the_truth() -> None:
    draw, hits = np.random.default_rng(7), 0
    for _ in range(200):
        values, numbers = clustered(draw, 150, 1, 0.0)
        drawn = Resampling(numbers).quantiles(values, [0.95])[0]
        hits += covered(quantile_interval(drawn, Evidence(values, numbers), 0.95), 1.6449)
    assert 0.90 <= hits / 200 <= 0.99


@pytest.mark.parametrize(("turns", "repeats", "alike"), [(72, 1, 0.0), (60, 4, 0.5)])
def test_tail_intervals_of_as_few_turns_as_have_one_hold_the_truth(
    turns: int, repeats: int, alike: float
) -> None:
    draw, hits = np.random.default_rng(10), 0
    for _ in range(300):
        values, numbers = clustered(draw, turns, repeats, alike)
        drawn = Resampling(numbers).quantiles(values, [0.95])[0]
        found = quantile_interval(drawn, Evidence(values, numbers), 0.95)
        low, high = found.low, found.high
        hits += (low is None or low <= 1.6449) and (high is None or high >= 1.6449)
    assert hits / 300 >= 0.95  # the bootstrap alone: 0.87 to 0.89


def test_the_interval_of_a_tail_reaches_to_the_bounds_that_judge_it() -> None:
    values, groups = np.random.default_rng(12).lognormal(size=100), np.arange(100)
    drawn = Resampling(groups).quantiles(values, [0.95])[0]
    found, exact = (
        quantile_interval(drawn, Evidence(values, groups), 0.95),
        percentile_bounds(values, groups, 0.95, 0.025),
    )
    assert found.low is not None
    assert found.high is not None
    assert found.low <= exact.low < exact.high <= found.high
    judged = percentile_bounds(values, groups, 0.95)
    assert found.low <= judged.low < judged.high <= found.high


def test_repetitions_that_never_vary_prove_nothing_of_a_tail() -> None:
    for values in (np.ones(120), np.repeat([1.0, 2.0, 3.0], 40)):
        groups = np.repeat(np.arange(3), 40)
        drawn = Resampling(groups).quantiles(values, [0.95])[0]
        found = quantile_interval(drawn, Evidence(values, groups), 0.95)
        assert found.high is None
        assert found.note.endswith("that takes 72 independent turns, these count as 3")


def test_a_95th_percentile_of_twenty_turns_has_no_upper_end_and_says_so() -> None:
    values, groups = np.random.default_rng(8).normal(size=20), np.arange(20)
    drawn = Resampling(groups).quantiles(values, [0.95])[0]
    found = quantile_interval(drawn, Evidence(values, groups), 0.95)
    assert found.high is None
    assert found.low is not None
    assert found.low < quantile(values, 0.95)
    assert found.note == "no upper end: that takes 72 independent turns, these count as 20"


def test_independent_repetitions_bound_a_percentile_and_alike_ones_do_not() -> None:
    draw = np.random.default_rng(9)
    bounded = []
    for alike in (0.0, 0.98):
        values, numbers = clustered(draw, 20, 10, alike)
        drawn = Resampling(numbers).quantiles(values, [0.95])[0]
        bounded.append(quantile_interval(drawn, Evidence(values, numbers), 0.95).high is not None)
    assert bounded == [True, False]


def test_shares_of_independent_turns_have_the_exact_interval() -> None:
    hits = np.array([1.0] * 8 + [0.0] * 2)
    found = share_interval(hits, np.arange(10))
    assert (found.low, found.high) == pytest.approx(binomial_interval(8, 10))


def test_shares_of_turns_that_always_end_alike_count_turns_not_repetitions() -> None:
    hits = np.repeat(np.array([1.0] * 8 + [0.0] * 2), 5)
    found = share_interval(hits, np.repeat(np.arange(10), 5))
    assert (found.low, found.high) == pytest.approx(binomial_interval(8, 10), abs=0.01)


def test_no_values_have_no_figures() -> None:
    resampling = Resampling(np.arange(3))
    nothing = np.full(3, np.nan)
    assert np.isnan(resampling.means(nothing)).all()
    assert np.isnan(resampling.quantiles(nothing, [0.5])[0]).all()
    assert interval(resampling.means(nothing), 3).note == "no resample has a value"
