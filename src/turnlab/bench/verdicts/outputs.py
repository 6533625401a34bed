"""What programs read of Runs: one JSON object, and JUnit XML for whatever shows tests.

Both are described in docs/how-to/test-latency-in-ci.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as Xml

from turnlab.bench.measuring.measures import Measured, Subject
from turnlab.bench.measuring.metrics import Estimate, component_estimates, estimates, parse_metric
from turnlab.bench.verdicts.claims import Difference
from turnlab.bench.verdicts.comparison import Comparison
from turnlab.bench.verdicts.findings import Outcome
from turnlab.bench.verdicts.verdict import Judgement
from turnlab.reports.words import clean
from turnlab.runs import Run
from turnlab.tracks import TrackStatus

FORMAT = 1
"""Raised when a key of the JSON object changes its meaning or goes."""


def results(
    runs: Sequence[Run],
    measured: Sequence[Measured],
    judgements: Sequence[Judgement] = (),
    comparisons: Sequence[Comparison] = (),
) -> dict[str, Any]:
    """Everything that is known of Runs as one JSON object: keys, and what each holds.

    `format`, `outcome` (of all judgements together, null if there are none), `runs`, `subjects`
    (with their `estimates`), `judgements`, `comparisons`, `regressions`. Amounts are seconds, US
    dollars, ratios and MiB; what is not known or not finite is null.
    """
    rows = {
        "format": FORMAT,
        "outcome": together(judgements),
        "runs": [_run(run) for run in runs],
        "subjects": [_subject(each) for each in measured],
        "judgements": [_judgement(each) for each in judgements],
        "comparisons": [_comparison(each) for each in comparisons],
        "regressions": [
            {"a": asdict(each.a), "b": asdict(each.b), "metric": row.metric, "text": row.sentence}
            for each in comparisons
            for row in each.regressions
        ],
    }
    finite: dict[str, Any] = _finite(rows)
    return finite


def together(judgements: Iterable[Judgement]) -> Outcome | None:
    """Fail if one is, else undecided if one is, else pass; None of none."""
    found = {each.outcome for each in judgements}
    worst_first = (Outcome.FAIL, Outcome.UNDECIDED, Outcome.PASS)
    return next((outcome for outcome in worst_first if outcome in found), None)


def _finite(value: Any) -> Any:
    """What JSON can hold: it has no NaN and no infinity."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def _run(run: Run) -> dict[str, Any]:
    return {**asdict(run), "created_at": run.created_at.isoformat(), "status": str(run.status)}


def _subject(measured: Measured) -> dict[str, Any]:
    found = {**estimates(measured), **component_estimates(measured)}
    return {
        **asdict(measured.subject),
        "cluster_hash": measured.cluster_hash,
        "turns": len(measured),
        "statuses": dict(Counter(measured.statuses)),
        "failures": [
            {"component": component, "code": code, "turns": count}
            for (component, code), count in measured.failures.most_common()
        ],
        "estimates": {name: _estimate(name, each) for name, each in found.items()},
    }


def _estimate(name: str, found: Estimate) -> dict[str, Any]:
    return {"unit": parse_metric(name).metric.unit, **asdict(found)}


def _judgement(found: Judgement) -> dict[str, Any]:
    name = parse_metric(found.limit.metric)
    return {
        "subject": asdict(found.subject) if found.subject else None,
        "limit": found.limit.text,
        "metric": name.text,
        "comparison": str(found.limit.comparison),
        "bound": found.limit.bound,
        "unit": name.metric.unit,
        "outcome": str(found.outcome),
        "estimate": asdict(found.estimate),
        "turns": found.turns,
        "within": found.within,
        "more_turns": found.more_turns,
        "sentence": found.sentence,
        "blame": asdict(found.blame) if found.blame else None,
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "a": asdict(found.a),
        "b": asdict(found.b),
        "sentence": found.sentence,
        "rows": [asdict(row) for row in found.rows],
    }


def junit(
    judgements: Sequence[Judgement],
    comparisons: Sequence[Comparison] = (),
    runs: Sequence[Run] = (),
    measured: Sequence[Measured] = (),
) -> str:
    """JUnit XML: a testsuite for each Cluster and mode of a Run, a testcase for each limit.

    A limit that is broken is a `failure`, one that so few turns cannot decide is `skipped`; both
    say why. A comparison is a testsuite as well, each metric that could be compared a testcase,
    and a regression a failure. A Cluster of `measured` none of whose turns completed has an
    `error`, whether it has limits or not. `time` is the figure itself where that is a time.
    """
    top = Xml.Element("testsuites", name="turnlab")
    pins = {run.id: run for run in runs}
    lost = {each.subject: each for each in measured if all_failed(each)}
    for subject in dict.fromkeys([*(each.subject for each in judgements), *lost]):
        own = [each for each in judgements if each.subject == subject]
        suite = _suite(top, str(subject or "predicted"), subject, pins)
        if subject in lost:
            _failed_case(suite, lost[subject])
        for each in own:
            _limit_case(suite, each)
        _count(suite)
    for comparison in comparisons:
        name = f"{comparison.names[1]} against {comparison.names[0]}"
        suite = _suite(top, name, comparison.b, pins)
        for row in comparison.rows:
            _difference_case(suite, name, row)
        _count(suite)
    Xml.indent(top)
    return Xml.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _suite(
    top: Xml.Element, name: str, subject: Subject | None, pins: Mapping[str, Run]
) -> Xml.Element:
    """A testsuite that says what it belongs to."""
    suite = Xml.SubElement(top, "testsuite", name=clean(name))
    run = pins.get(subject.run_id) if subject else None
    facts = {"run": subject.run_id} if subject else {}
    if run is not None:
        facts |= {"dataset": run.dataset, "dataset_hash": run.dataset_hash}
        suite.set("timestamp", run.created_at.isoformat(timespec="seconds"))
    if facts:
        properties = Xml.SubElement(suite, "properties")
        for key, value in facts.items():
            Xml.SubElement(properties, "property", name=key, value=clean(value))
    return suite


def all_failed(measured: Measured) -> bool:
    """Whether turns failed and none completed."""
    failed, completed = (
        measured.having(status).any() for status in (TrackStatus.FAILED, TrackStatus.COMPLETED)
    )
    return bool(failed and not completed)


def _failed_case(suite: Xml.Element, measured: Measured) -> None:
    case = _case(suite, "runs", f"{measured.subject.cluster}.{measured.subject.mode}", None)
    failures = measured.failures.most_common()
    told = [f"{code} in {component} ({count})" for (component, code), count in failures]
    _say(case, "error", f"Failed on every turn: {', '.join(told)}.")


def _limit_case(suite: Xml.Element, found: Judgement) -> None:
    whose = f"{found.subject.cluster}.{found.subject.mode}" if found.subject else "predicted"
    unit = parse_metric(found.limit.metric).metric.unit
    case = _case(suite, found.limit.text, whose, found.estimate.value if unit == "s" else None)
    if found.outcome is Outcome.FAIL:
        blame = f"\n{found.blame.sentence}" if found.blame else ""
        _say(case, "failure", found.sentence, blame)
    elif found.outcome is Outcome.UNDECIDED:
        _say(case, "skipped", found.sentence)


def _difference_case(suite: Xml.Element, whose: str, row: Difference) -> None:
    if row.absent:
        return
    case = _case(suite, row.metric, whose, row.b if row.unit == "s" else None)
    if row.regression:
        _say(case, "failure", row.sentence)
    elif row.low is None:
        _say(case, "skipped", row.sentence)


def _case(suite: Xml.Element, name: str, whose: str, time_s: float | None) -> Xml.Element:
    shown = f"{time_s or 0.0:.6f}"
    return Xml.SubElement(suite, "testcase", classname=clean(whose), name=clean(name), time=shown)


def _say(case: Xml.Element, what: str, sentence: str, more: str = "") -> None:
    said = Xml.SubElement(case, what, message=clean(sentence))
    said.text = clean(sentence) + "".join(f"\n{clean(line)}" for line in more.splitlines() if line)


def _count(suite: Xml.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
