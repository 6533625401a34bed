"""Budgets: how limits are written, which make sense, and where a Cluster keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnlab.bench.verdicts.budget import check_limit, parse_limit, parse_limits
from turnlab.cli.lists import check_cluster
from turnlab.clusters import load_cluster
from turnlab.clusters.budget import Comparison, Limit, voice_to_voice
from turnlab.clusters.writer import to_toml
from turnlab.errors import InvalidBudget, InvalidCluster

TASK = '[[component]]\ntask = "speech2text"\n'


@pytest.mark.parametrize(
    ("text", "metric", "comparison", "bound"),
    [
        ("voice_to_voice.p95 <= 1.0", "voice_to_voice.p95", "<=", 1.0),
        ("voice_to_voice.p95<=800ms", "voice_to_voice.p95", "<=", 0.8),
        ("  first_text.p50 < 1 s ", "first_text.p50", "<", 1.0),
        ("end.p99.9 <= 1min", "end.p99.9", "<=", 60.0),
        ("voice_to_voice.mean < .5", "voice_to_voice.mean", "<", 0.5),
        ("wer <= 10%", "wer", "<=", 0.1),
        ("wer <= 57 %", "wer", "<=", 0.57),
        ("wer <= 1.5", "wer", "<=", 1.5),
        ("wer <= 1000%", "wer", "<=", 10.0),
        ("cost_per_turn <= $0.01", "cost_per_turn", "<=", 0.01),
        ("cost_per_turn <= 1e-2 USD", "cost_per_turn", "<=", 0.01),
        ("cost_per_turn <= 0", "cost_per_turn", "<=", 0.0),
        ("completed >= 0.99", "completed", ">=", 0.99),
        ("completed > 99%", "completed", ">", 0.99),
        ("memory <= 2 GiB", "memory", "<=", 2048.0),
        ("speech2text.model.p95 <= 0.2", "speech2text.model.p95", "<=", 0.2),
        ("retrieval.hit@3 >= 80%", "retrieval.hit@3", ">=", 0.8),
    ],
)
def test_a_limit_is_a_metric_a_comparison_and_a_number(
    text: str, metric: str, comparison: str, bound: float
) -> None:
    limit = parse_limit(text)
    assert (limit.metric, str(limit.comparison), limit.bound) == (metric, comparison, bound)
    assert str(limit) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no limit: it begins with no metric"),
        ("<= 1", "is no limit: it begins with no metric"),
        ("voice_to_voice.p95", "is no limit: there is no comparison"),
        ("voice_to_voice.p95 1", "is no limit: there is no comparison"),
        ("voice_to_voice.p95 <=", "is no limit: there is no number behind <="),
        ("voice_to_voice.p95 = 1", "is no limit: = is no comparison, there are <=, <, >=, >"),
        ("voice_to_voice.p95 == 1", "is no limit: == is no comparison"),
        ("voice_to_voice.p95 \u2264 1", "is no limit: \u2264 is no comparison"),
        ("voice_to_voice.p95 <= -1", "is no limit: -1 is below 0"),
        ("voice_to_voice.p95 <= nan", "is no limit: nan is no number"),
        ("voice_to_voice.p95 <= 1,0", "is no limit: 1,0 is no number, a point stands before"),
        ("voice_to_voice.p95 <= 1 <= 2", "is no limit: 1 <= 2 is no number"),
        ("voice_to_voice.p95 <= 1; drop", "is no limit: 1; drop is no number"),
        ("x" * 10_000 + " <= 1", "is no limit: it has more than 256 characters"),
        ("voice_to_voice.p95 <= 1e999", "too large"),
        ("voice_to_voice.p95 <= 1 parsec", "unknown unit"),
        ("cost_per_turn <= $1 s", "unknown unit"),
        ("voice_to_vioce.p95 <= 1", "did you mean voice_to_voice.p95"),
        ("voice_to_voice <= 1", "say which is meant"),
        ("colour <= 1", "There is no metric 'colour'"),
        ("wer <= 100ms", "measured in a ratio"),
        ("voice_to_voice.p95 <= 10%", "measured in seconds"),
        ("voice_to_voice.p95 >= 1", "write <="),
        ("completed <= 0.99", "write >="),
        ("completed >= 99", "write 0.99 or 99%"),
        ("completed >= 1.5", "is a ratio of at most 1.$"),
        ("completed >= 150%", "is a ratio of at most 1.$"),
        ("wer <= 10", "that is 1000%; write 0.1 or 10%, or 1000% if it is meant"),
        ("voice_to_voice.p95 <= 0", "above 0"),
    ],
)
def test_what_is_no_limit_says_why(text: str, told: str) -> None:
    with pytest.raises(InvalidBudget) as raised:
        parse_limit(text)
    assert told.removesuffix("$") in raised.value.message
    assert not told.endswith("$") or raised.value.message.endswith(told[:-1])


def test_whether_a_value_keeps_a_limit() -> None:
    cases = {"<=": (True, True, False), "<": (True, False, False)}
    cases |= {">=": (False, True, True), ">": (False, False, True)}
    for sign, kept in cases.items():
        limit = Limit("", "x", Comparison(sign), 2.0)
        assert tuple(map(limit.keeps, (1.0, 2.0, 3.0))) == kept
        assert not limit.keeps(float("nan"))


def test_equal_limits_count_once() -> None:
    assert len(parse_limits(["wer <= 10%", "wer <= 10%", "wer <= 0.2"])) == 2


def test_a_component_that_a_cluster_has_not_is_refused_with_the_nearest() -> None:
    limit = parse_limit("speech2txt.model.p95 <= 0.2")
    with pytest.raises(InvalidBudget, match="did you mean speech2text"):
        check_limit(limit, ["speech2text", "llm"])
    assert check_limit(limit, ["speech2txt"]).component == "speech2txt"


def cluster_file(folder: Path, budget: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f'name = "MINE"\n[budget]\n{budget}\n{TASK}', encoding="utf-8")
    return path


def test_a_cluster_names_its_limits_beside_voice_to_voice_s(tmp_path: Path) -> None:
    budget = 'voice_to_voice_s = 1.5\nlimits = ["wer <= 10%", "voice_to_voice.p95 <= 900ms"]'
    cluster = load_cluster(cluster_file(tmp_path, budget))
    texts = [limit.text for limit in cluster.budget]
    assert texts == ["voice_to_voice.p95 <= 1.5", "wer <= 10%", "voice_to_voice.p95 <= 900ms"]
    assert cluster.budget_s == 0.9
    path = tmp_path / "again.toml"
    path.write_text(to_toml(cluster), encoding="utf-8")
    assert load_cluster(path).budget == cluster.budget


def test_voice_to_voice_s_is_the_limit_that_it_is_documented_to_be(tmp_path: Path) -> None:
    cluster = load_cluster(cluster_file(tmp_path, "voice_to_voice_s = 0.8"))
    assert cluster.budget == (voice_to_voice(0.8),) == (parse_limit("voice_to_voice.p95 <= 0.8"),)


def test_a_budget_is_no_part_of_what_a_cluster_does(tmp_path: Path) -> None:
    hashes = {
        load_cluster(cluster_file(tmp_path, budget)).content_hash
        for budget in ("", "voice_to_voice_s = 1", 'limits = ["wer <= 0.1"]')
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ('limits = ["wer == 1"]', "'wer == 1' is no limit"),
        ('limits = ["wer <= 3 yards"]', "unknown unit"),
        ("limits = [1]", "budget.limits.0"),
        ('limits = "wer <= 1"', "budget.limits"),
        ('limit = ["wer <= 1"]', "budget.limit"),
        ("limits = [" + '"wer <= 1", ' * 101 + "]", "budget.limits"),
    ],
)
def test_a_budget_that_is_none_names_the_file(tmp_path: Path, budget: str, told: str) -> None:
    with pytest.raises(InvalidCluster, match=told) as raised:
        load_cluster(cluster_file(tmp_path, budget))
    assert "mine.toml" in raised.value.message


def test_checking_a_cluster_checks_its_limits_against_metrics_and_components(
    tmp_path: Path,
) -> None:
    check_cluster(cluster_file(tmp_path, 'limits = ["speech2text.model.p95 <= 0.2"]'))
    for limit, told in (
        ("speech2txt.model.p95", "did you mean speech2text"),
        ("x", "no metric 'x'"),
    ):
        with pytest.raises(InvalidCluster, match=told) as raised:
            check_cluster(cluster_file(tmp_path, f'limits = ["{limit} <= 0.2"]'))
        assert "mine.toml" in raised.value.message
