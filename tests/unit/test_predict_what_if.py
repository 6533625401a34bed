"""What can be asked with `--set`, `--workers`, `--use`, `--network`, and what is refused."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlab.bench.predict.steps import Script, Step
from turnlab.bench.predict.what_if import parse_change, parse_seconds, parse_use, parse_workers
from turnlab.errors import InvalidWhatIf

PARTS = ("speech2text", "quantization_llm", "openai_gpt_35.5")
SCRIPT = Script(
    steps=[
        Step(needs=(), work_s=0.2, emits=4.0),
        Step(needs=(), work_s=0.1, emits=4.0),
        Step(needs=(), work_s=0.1, emits=None, ends=True),
    ]
)


def works(text: str, seed: int = 0, component: str = "speech2text") -> list[float]:
    change = parse_change(text, PARTS)
    return [step.work_s for step in change(component, SCRIPT, random.Random(seed)).steps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("speech2text.model=x0.5", [0.1, 0.05, 0.05]),
        ("speech2text.model = x 2", [0.4, 0.2, 0.2]),
        ("speech2text.model=+100ms", [0.25, 0.125, 0.125]),
        ("speech2text.model=-0.2", [0.1, 0.05, 0.05]),
        ("speech2text.model=-9", [0.0, 0.0, 0.0]),
        ("speech2text.model=0.8", [0.4, 0.2, 0.2]),
        ("speech2text.model=800ms", [0.4, 0.2, 0.2]),
        ("speech2text.model=constant(0.8)", [0.4, 0.2, 0.2]),
        ("speech2text.first_output=x0.5", [0.1, 0.1, 0.1]),
        ("speech2text.first_output=+0.1", [0.3, 0.1, 0.1]),
        ("quantization_llm.model=x0.5", [0.2, 0.1, 0.1]),
        ("openai_gpt_35.5.model=x0.5", [0.2, 0.1, 0.1]),
    ],
)
def test_a_change_is_of_the_work_that_it_names(text: str, expected: list[float]):
    assert works(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "mean", "middle"),
    [
        ("lognormal(0.4, 0.25)", 0.4 * 1.0317, 0.4),
        ("normal(0.4, 0.02)", 0.4, 0.4),
        ("uniform(0.2, 0.6)", 0.4, 0.4),
        ("gamma(0.4, 0.1)", 0.4, 0.39),
        ("exponential(0.4)", 0.4, 0.277),
    ],
)
def test_distributions_are_what_they_are_called(text: str, mean: float, middle: float):
    change = parse_change(f"speech2text.first_output={text}", PARTS)
    chance = random.Random(7)
    drawn = [change("speech2text", SCRIPT, chance).steps[0].work_s for _ in range(4_000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.04)
    assert statistics.median(drawn) == pytest.approx(middle, rel=0.06)
    assert change.drawn
    assert min(drawn) >= 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("speech2text.model", "write it as"),
        ("speech2tex.model=x1", "did you mean 'speech2text'"),
        ("voice.model=x1", "there are speech2text"),
        ("speech2text.pause=x1", "first_output and model"),
        ("speech2text.model=cauchy(0, 1)", "names no distribution"),
        ("speech2text.model=normal(1)", "takes 2: mean"),
        ("speech2text.model=normal(1, a)", "'a' is no number"),
        ("speech2text.model=normal(nan,1)", "'nan' is no number"),
        ("speech2text.model=normal(1,)", "takes 2: mean"),
        ("speech2text.model=uniform(2, 1)", "must not be below"),
        ("speech2text.model=gamma(0, 1)", "above 0"),
        ("speech2text.model=normal(-1, 1)", "not between 0"),
        ("speech2text.model=x-1", "not between 0"),
        ("speech2text.model=x1e9", "not between 0"),
        ("speech2text.model=constant(1e9)", "not between 0"),
        ("speech2text.model=__import__('os')", "write a factor"),
        ("speech2text.model=exit()", "names no distribution"),
        ("speech2text.model=", "write a factor"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_said(text: str, told: str):
    with pytest.raises(InvalidWhatIf, match=told.replace("(", r"\(")):
        parse_change(text, PARTS)


@given(st.text(max_size=60))
def test_nothing_else_comes_of_any_text(text: str):
    for parse in (
        parse_seconds,
        lambda t: parse_workers([t], PARTS),
        lambda t: parse_use(t, PARTS),
    ):
        try:
            parse(text)
        except InvalidWhatIf:
            continue
    for value in (text, f"speech2text.model={text}"):
        try:
            change = parse_change(value, PARTS)
        except InvalidWhatIf:
            continue
        steps = change("speech2text", SCRIPT, random.Random(1)).steps
        assert all(0 <= step.work_s < 1e10 for step in steps)


def test_workers_and_durations():
    assert parse_workers(["speech2text=2, quantization_llm=4"], PARTS) == {
        "speech2text": 2,
        "quantization_llm": 4,
    }
    assert [parse_seconds(text) for text in ("40ms", "0.04s", "0.04")] == [0.04] * 3
    for text in ("speech2text=0", "speech2text", "speech2text=2.5", "voice=1"):
        with pytest.raises(InvalidWhatIf):
            parse_workers([text], PARTS)
    for text in ("", "-1", "1h", "nan", "1e99"):
        with pytest.raises(InvalidWhatIf):
            parse_seconds(text)


def test_measurements_are_named_by_run_and_cluster():
    use = parse_use("speech2text=R-1:OTHER", PARTS)
    assert (use.run_id, use.cluster, use.measured_as) == ("R-1", "OTHER", "speech2text")
    assert parse_use("speech2text=R-1:OTHER:ears", PARTS).measured_as == "ears"
    for text in ("speech2text=R-1", "speech2text=R-1::", "voice=R-1:OTHER", "x"):
        with pytest.raises(InvalidWhatIf):
            parse_use(text, PARTS)
