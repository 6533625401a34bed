"""What a report on Runs is made of: which turns it tells, their names, what comes first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.test_run_report_samples import RUN_ID, findings, measured, run, teller
from tests.unit.test_run_terminal import printed
from turnlab.bench.judging.scores import JudgeScores
from turnlab.bench.measuring.measures import Measured, Subject
from turnlab.bench.reporting.components import INTERVALS_UP_TO
from turnlab.bench.reporting.pinned import command
from turnlab.bench.reporting.report import Findings, run_report
from turnlab.bench.reporting.telling import landmarks, telling
from turnlab.reports.run_markdown import markdown
from turnlab.reports.run_page import render_run
from turnlab.reports.run_report import RunReport
from turnlab.reports.run_terminal import verdicts_view
from turnlab.runs import RunStatus

OTHER_RUN = "R-20261124T093000-4d5e6f"


def report(found: Findings, most_tracks: int = 1_000) -> RunReport:
    made_at = datetime(2026, 11, 24, tzinfo=UTC)
    return run_report(found, teller(found.measured), most_tracks=most_tracks, made_at=made_at)


def made(*subjects: Measured, limits: Sequence[str] = ("voice_to_voice.p95 <= 1.0",)) -> RunReport:
    return report(findings(subjects, limits))


def test_every_subject_is_told_with_its_figures_and_intervals() -> None:
    found = made(measured(), measured("CLUSTER_B", factor=1.5, seed=8))
    assert [each.name for each in found.subjects] == [
        "CLUSTER_A (streamed)",
        "CLUSTER_B (streamed)",
    ]
    for subject in found.subjects:
        median = subject.figures["voice_to_voice.p50"]
        assert median.value == pytest.approx(np.median(subject.latencies["voice_to_voice"]))
        assert None not in (median.low, median.high)
        assert (median.low or 0) < (median.value or 0) < (median.high or 0)
        assert subject.budget_s == 1.0
        assert sum(each.mean_s for each in subject.stages) == pytest.approx(
            subject.latencies["voice_to_voice"].mean()
        )


def test_every_figure_has_a_meaning() -> None:
    found = made(measured(), measured("CLUSTER_B"), limits=["speech2text.model.p95 <= 1"])
    names = {name for each in found.subjects for name in each.figures}
    names |= {each.metric for each in found.rulings}
    names |= {line.metric for each in found.comparisons for line in each.differences}
    assert names <= set(found.meanings)
    assert found.meanings["voice_to_voice.p95"].of == "voice_to_voice"


def test_turns_that_ended_otherwise_are_counted_apart() -> None:
    sample = measured(failures=3, cancelled=2)
    sample.counts[:4] = False  # completed, but nobody heard a reply
    sample.statuses[5] = "started"
    (subject,) = made(sample).subjects
    assert subject.statuses == {
        "completed": 74,
        "failed": 3,
        "cancelled": 2,
        "of these without a sound": 4,
        "unfinished": 1,
    }
    assert (subject.tracks, subject.lost) == (80, 7)
    assert subject.failures == (("quantization_llm", "module_timeout", 3),)


def test_the_turns_of_note_are_real_turns_at_their_ranks() -> None:
    sample = measured(failures=5)
    latency = sample.columns["voice_to_voice"]
    ranked = np.sort(latency[sample.counts])
    places = {name: latency[row] for name, row in landmarks(sample).items()}
    assert places == {"median": ranked[37], "95th percentile": ranked[70], "worst": ranked[74]}
    assert list(landmarks(measured(turns=1, repeats=1))) == ["median and 95th percentile and worst"]
    assert landmarks(measured(failures=80)) == {}


def test_of_many_tracks_the_most_telling_are_told() -> None:
    large = measured(turns=1_000, failures=40)
    small = measured("CLUSTER_B", turns=20)
    first, second = telling([large, small], most=300)
    assert len(first) + len(second) == 300
    assert len(second) == len(small), "who needs little leaves its share to others"
    failed = np.flatnonzero(~large.counts)
    assert set(failed) <= set(first)
    slowest = np.argsort(-np.nan_to_num(large.columns["voice_to_voice"]))[:80]
    assert set(slowest) <= set(first)
    fastest = np.nanargmin(large.columns["voice_to_voice"])
    assert fastest in first, "the rest is spread from the slowest to the fastest"


def test_what_failed_is_told_first_and_all_tracks_of_a_turn_together() -> None:
    turns = report(findings([measured(failures=3), measured("CLUSTER_B", seed=3)]), 60).turns
    assert len(turns) == 60
    names = [each.turn_id for each in turns]
    assert names == sorted(names, key=names.index), "no turn is told in two places"
    lost = [each.turn_id for each in turns if not each.turn.counts]
    assert set(names[:3]) <= set(lost)


def test_the_headline_answers_whether_it_is_acceptable() -> None:
    fast, slow = measured(factor=0.2), measured("CLUSTER_B", factor=3.0)
    limit = "voice_to_voice.p50 <= 1.0"
    assert made(fast, limits=[limit]).headline == (
        "Acceptable: CLUSTER_A (streamed) keeps voice_to_voice.p50 <= 1.0."
    )
    assert made(slow, limits=[limit]).headline == (
        "Not acceptable: CLUSTER_B (streamed) breaks voice_to_voice.p50 <= 1.0."
    )
    assert made(fast, slow, limits=[limit]).headline == (
        "1 of 2 is acceptable: CLUSTER_A (streamed); 1 not."
    )
    assert made(
        slow, replace(slow, subject=Subject(RUN_ID, "C", "chained")), limits=[limit]
    ).headline == ("None of 2 is acceptable: 2 break a limit.")
    few = measured(turns=3, repeats=1)
    assert made(few, limits=["voice_to_voice.p95 <= 1.0"]).headline == (
        "Too few turns to tell whether CLUSTER_A (streamed) keeps voice_to_voice.p95 <= 1.0."
    )
    few_of_two = replace(few, subject=Subject(RUN_ID, "C", "chained"))
    assert made(few, few_of_two, limits=["voice_to_voice.p95 <= 1.0"]).headline == (
        "Too few turns to tell whether any of 2 is acceptable."
    )
    assert made(slow, few_of_two, limits=["voice_to_voice.p95 <= 1.0"]).headline == (
        "None of 2 is acceptable so far: 1 breaks a limit; of 1 there are too few turns to tell."
    )
    told = made(fast, slow, limits=[]).headline
    assert re.fullmatch(r"Medians of voice to voice: 0.* s \(CLUSTER_A .* s \(CLUSTER_B.*", told)
    silent = measured(failures=80)
    assert made(silent, limits=[]).headline == "No turn was answered with a sound."


def test_where_nothing_was_measured_nobody_is_told_to_measure_more_turns() -> None:
    limits = ("voice_to_voice.p95 <= 60", "wer <= 10%")
    alone = made(measured(wer=None), limits=limits)
    why = "no turn of the dataset questions has a reference transcript"
    assert alone.headline == f"Undecided whether CLUSTER_A (streamed) keeps all 2 limits: {why}."
    both = made(measured(wer=None), measured("CLUSTER_B", wer=None, seed=8), limits=limits)
    assert both.headline == f"Undecided whether any of 2 is acceptable: {why}."
    loose = ("voice_to_voice.p95 <= 60", "wer <= 90%")
    enough = measured(wer=0.01, turns=150)
    good = made(enough, measured("CLUSTER_B", turns=150, wer=None, seed=8), limits=loose)
    assert good.headline == "1 of 2 is acceptable: CLUSTER_A (streamed); 1 is undecided."
    bare = made(measured(wer=None), limits=["wer <= 10%"])
    for text in (render_run(bare), markdown(bare), printed(verdicts_view(bare.rulings))):
        assert "too few turns" not in text.lower()
        assert "undecided" in text.lower()
    assert "| ? undecided | CLUSTER" in markdown(bare)


def test_two_runs_are_held_against_each_other() -> None:
    before, after = measured(), measured(run_id=OTHER_RUN, factor=1.3)
    runs = [run(name="before"), run(OTHER_RUN, name="after")]
    found = report(findings([before, after], runs=runs))
    assert [each.name for each in found.subjects] == [
        "CLUSTER_A (streamed), before",
        "CLUSTER_A (streamed), after",
    ]
    (comparison,) = found.comparisons
    assert comparison.worse == "regression"
    assert any(line.regression for line in comparison.differences)


def test_each_cluster_is_held_against_itself_in_the_first_run() -> None:
    one, two = measured(), measured("CLUSTER_B")
    later = [measured(run_id=OTHER_RUN), measured("CLUSTER_B", run_id=OTHER_RUN)]
    found = report(findings([one, two, *later], runs=[run(), run(OTHER_RUN)]))
    pairs = [(each.a, each.b) for each in found.comparisons]
    names = [each.name for each in found.subjects]
    assert pairs == [(names[0], names[1]), (names[0], names[2]), (names[1], names[3])]


def test_modes_are_held_against_each_other_and_clusters_mode_by_mode() -> None:
    subjects = [measured(c, mode=mode) for c in ("A", "B") for mode in ("streamed", "chained")]
    names = [f"{each.subject}" for each in subjects]
    pairs = [(each.a, each.b) for each in made(*subjects).comparisons]
    assert pairs == [(names[0], names[1]), (names[0], names[2]), (names[1], names[3])]


def test_runs_of_different_datasets_are_told_side_by_side_and_not_compared() -> None:
    other = replace(run(OTHER_RUN), dataset="weather", dataset_hash="e" * 64)
    found = report(findings([measured(), measured(run_id=OTHER_RUN)], runs=[run(), other]))
    (refused,) = found.comparisons
    assert "different datasets" in refused.refused
    assert refused.differences == ()


def test_a_run_of_another_dataset_that_has_not_begun_hinders_nothing() -> None:
    other = replace(run(OTHER_RUN), dataset="weather", dataset_hash="e" * 64)
    found = report(findings([measured()], runs=[run(), other]))
    assert [each.name for each in found.subjects] == ["CLUSTER_A (streamed)"]
    assert found.comparisons == ()


@pytest.mark.parametrize("turns", [40, INTERVALS_UP_TO], ids=["few", "many"])
def test_components_are_told_of_turns_that_completed(turns: int) -> None:
    sample = measured(turns=turns, cancelled=30)
    component = sample.components["speech2text"]
    component.model[-30:] = 99.0
    (subject,) = made(sample).subjects
    told = subject.components[0].figures["model.p99"]
    assert told.n == 2 * turns - 30
    assert told.value is not None
    assert told.value < 9


def test_a_run_that_is_not_complete_says_so() -> None:
    begun = replace(run(), status=RunStatus.STARTED)
    (remark,) = report(findings([measured()], runs=[begun])).remarks
    assert f"turnlab bench --resume {RUN_ID}" in remark


def test_runs_under_other_conditions_are_told_apart() -> None:
    faster = replace(run(OTHER_RUN), pins={"host": {"processor": "Z80", "cores": 8}})
    faster = replace(faster, asked={**faster.asked, "pace": "realtime"})
    found = report(findings([measured(), measured(run_id=OTHER_RUN)], runs=[run(), faster]))
    assert found.remarks == (
        f"{OTHER_RUN} had the pace realtime, the processor Z80, cores: 8, {RUN_ID} had not; "
        "figures may differ for that alone.",
    )
    assert report(findings([measured()], runs=[run()])).remarks == ()


def test_the_pins_say_what_the_figures_belong_to() -> None:
    found = report(findings([measured()]))
    facts = {name: value for pins in found.pins for name, value in pins.facts.items()}
    assert facts["revision"] == "aaaaaaaaaaaa, with changes"
    assert facts["dataset"] == f"questions, hash {'d' * 16}"
    assert facts["processor"] == "AMD EPYC"
    assert facts["written"] == "2026-11-24 00:00 UTC"
    assert found.pins[0].command == command(run())
    assert command(run()) == (
        "turnlab bench --clusters CLUSTER_A --dataset 'data/my questions' --mode streamed "
        "--repeat 2 --concurrency 1 --pace fast --budget 'voice_to_voice.p95 <= 1.0' "
        "--set speech2text.threads=2"
    )


def test_what_a_judge_gave_is_a_figure_of_accuracy() -> None:
    sample = measured()
    given = {track: float(3 + i % 2) for i, track in enumerate(sample.track_ids)}
    scores = JudgeScores(judge="m", rubric_hash="r", by_criterion={"helpful": given})
    found = report(replace(findings([sample]), scores=scores))
    assert found.accuracy[0] == "judge.helpful"
    assert found.subjects[0].figures["judge.helpful"].value == 3.5
    assert found.meanings["judge.helpful"].better == "more"
    assert "judge.helpful" not in made(sample).meanings


def test_detail_rows_hold_what_each_task_took() -> None:
    sample = measured()
    (subject,) = made(sample).subjects
    row = subject.details[3]
    assert row.track_id == sample.track_ids[3]
    assert [name.name for name in subject.components] == list(sample.components)
    assert row.tasks[0][0] == sample.components["speech2text"].model[3]
    line = subject.components[0]
    assert line.model is not None
    model = sample.components["speech2text"].model
    assert line.model.mean_s == pytest.approx(model.mean())
    assert line.model.deviation_s == pytest.approx(model.std(ddof=1))
