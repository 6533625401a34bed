"""What programs read of a Run: one JSON object, and JUnit XML."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

import numpy as np

from tests.unit.measured_turns import RUN, turns_of
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.verdicts.budget import parse_limits
from turnlab.bench.verdicts.comparison import compare
from turnlab.bench.verdicts.outputs import junit, results, together
from turnlab.bench.verdicts.verdict import Judgement, Outcome, judge
from turnlab.profiles import SpanKind
from turnlab.runs import Run

LIMITS = parse_limits(["voice_to_voice.p95 <= 1", "completed >= 0.999", "wer <= 0.1"])
LLM = ("llm", SpanKind.MODEL)


def run() -> Run:
    return Run(
        id=RUN,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        dataset="questions",
        dataset_hash="1" * 64,
    )


def slow() -> Measured:
    values = np.linspace(0.8, 2.0, 60)
    return turns_of(values.tolist(), cluster="SLOW", parts={LLM: values})


def quick() -> Measured:
    return turns_of(np.linspace(0.4, 0.9, 60).tolist(), cluster="QUICK")


def judged(*subjects: Measured) -> list[Judgement]:
    return [each for subject in subjects for each in judge(subject, LIMITS)]


def test_the_object_holds_figures_verdicts_and_comparisons() -> None:
    a, b = quick(), slow()
    found = results([run()], [a, b], judged(a, b), [compare(a, b)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["format"], found["outcome"]) == (1, "fail")
    assert found["runs"][0]["dataset"] == "questions"
    first = found["subjects"][0]
    assert (first["cluster"], first["turns"], first["statuses"]) == ("QUICK", 60, {"completed": 60})
    estimate = first["estimates"]["voice_to_voice.p50"]
    assert (estimate["unit"], estimate["value"]) == ("s", 0.65)
    assert estimate["low"] < 0.65 < estimate["high"]
    assert first["estimates"]["wer"]["value"] is None
    assert first["estimates"]["wer"]["why_absent"]
    verdict = found["judgements"][3]
    assert (verdict["subject"]["cluster"], verdict["outcome"]) == ("SLOW", "fail")
    assert (verdict["metric"], verdict["bound"], verdict["unit"]) == (
        "voice_to_voice.p95",
        1.0,
        "s",
    )
    assert verdict["blame"]["component"] == "llm"
    assert found["comparisons"][0]["rows"][0]["metric"] == "voice_to_voice.p50"
    assert [each["metric"] for each in found["regressions"]] == [
        "voice_to_voice.p50",
        "voice_to_voice.p95",
    ]


def test_what_is_infinite_or_unknown_is_null() -> None:
    found = results([], [turns_of([0.5, None])], judge(turns_of([0.5]), LIMITS))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["judgements"][0]["estimate"]["high"] is None


def test_all_judgements_together() -> None:
    passed, failed = judge(quick(), LIMITS[:1]), judge(slow(), LIMITS[:1])
    undecided = judge(turns_of([0.5]), LIMITS[:1])
    assert together([]) is None
    assert together(passed) is Outcome.PASS
    assert together([*passed, *undecided]) is Outcome.UNDECIDED
    assert together([*passed, *undecided, *failed]) is Outcome.FAIL


def test_junit_has_a_suite_a_subject_and_a_case_a_limit() -> None:
    top = Xml.fromstring(junit(judged(quick(), slow()), runs=[run()]))
    assert [suite.get("name") for suite in top] == ["QUICK (streamed)", "SLOW (streamed)"]
    one, other = top
    counted = [(s.get("tests"), s.get("failures"), s.get("skipped")) for s in top]
    assert counted == [("3", "0", "2"), ("3", "1", "2")]
    named = {p.get("name"): p.get("value") for p in one.iter("property")}
    assert named == {"run": RUN, "dataset": "questions", "dataset_hash": "1" * 64}
    case = other.find("testcase")
    assert case is not None
    assert (case.get("name"), case.get("classname")) == ("voice_to_voice.p95 <= 1", "SLOW.streamed")
    assert float(case.get("time", "0")) > 1.9
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message", "").startswith("Not acceptable: voice to voice is within 1 s in")
    assert "llm (model) takes" in (failure.text or "")
    skipped = one.findall("testcase/skipped")
    assert "more turns within it" not in (skipped[0].get("message") or "")
    assert "Too few turns to tell" in (skipped[0].get("message") or "")


def test_junit_tells_of_regressions() -> None:
    a, b = quick(), slow()
    (suite,) = Xml.fromstring(junit([], [compare(a, b)], [run()]))
    assert suite.get("name") == "SLOW against QUICK"
    failed = [
        case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["voice_to_voice.p50", "voice_to_voice.p95"]


def test_junit_has_an_error_for_a_cluster_that_failed_on_every_turn() -> None:
    lost, kept = turns_of([None] * 3, cluster="LOST"), turns_of([0.5, None], cluster="KEPT")
    (suite,) = Xml.fromstring(junit([], measured=[lost, kept]))
    assert (suite.get("name"), suite.get("tests"), suite.get("errors")) == (
        "LOST (streamed)",
        "1",
        "1",
    )
    error = suite.find("testcase/error")
    assert error is not None
    assert error.get("message") == "Failed on every turn: module_timeout in llm (3)."
    (suite,) = Xml.fromstring(junit(judge(lost, LIMITS[:1]), measured=[lost]))
    assert (suite.get("tests"), suite.get("errors")) == ("2", "1"), "also where it has limits"


def test_what_xml_cannot_hold_is_left_out() -> None:
    measured = turns_of([None] * 3, cluster="A", error=("ll\x00m", "<&\x1b[31m"))
    top = Xml.fromstring(junit(judge(measured, LIMITS)))
    assert top.find("testsuite/testcase/failure") is not None
