"""Runs at a terminal: figures, verdicts, comparisons in 80 columns, also in ASCII."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from tests.unit.measured_turns import OTHER_RUN, turns_of
from turnlab.bench.reporting.lines import comparison_report
from turnlab.bench.verdicts.comparison import compare
from turnlab.reports.run_report import (
    ComparisonReport,
    DifferenceLine,
    Figure,
    Ruling,
    SubjectReport,
)
from turnlab.reports.run_terminal import comparison_view, figures_view, verdicts_view

NAME = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION (streamed)"


def printed(view: RenderableType, encoding: str = "utf-8") -> str:
    """What is printed 80 columns wide."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=80, highlight=False).print(view)
    file.flush()
    text = file.buffer.getvalue().decode(encoding)
    assert all(len(line) <= 80 for line in text.splitlines())
    return str(text)


def subject() -> SubjectReport:
    times = {
        f"voice_to_voice.{p}": Figure(value=12.345, low=11.234, high=13.456, n=40)
        for p in ("p50", "p95", "p99")
    }
    return SubjectReport(
        name=NAME,
        cluster="CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION",
        mode="streamed",
        run_id="R-20260101T000000-aaaaaa",
        tracks=43,
        statuses={"completed": 40, "failed": 3, "cancelled": 0},
        figures={**times, "wer": Figure(value=0.081, low=0.06, high=0.1, n=40)},
        failures=(("text2speech", "module_timeout", 3),),
    )


def test_figures_stand_with_their_intervals_and_failures() -> None:
    text = printed(figures_view([subject()]))
    assert "43 turns: 40 completed, 3 failed" in text
    assert text.count("12.35 (11.23–13.46)") == 3  # noqa: RUF001
    assert "WER 8.1 %" in text
    assert "failed: module_timeout in text2speech (3)" in text
    assert "12.35 (11.23-13.46)" in printed(figures_view([subject()]), "ascii")


def test_a_subject_of_which_nothing_is_known_is_named() -> None:
    nothing = SubjectReport(
        name="A", cluster="A", mode="chained", run_id="R", tracks=0, statuses={}
    )
    assert "no turns" in printed(figures_view([nothing]))


def test_verdicts_stand_under_their_subject_with_the_blame() -> None:
    ruling = Ruling(
        subject=NAME,
        limit="voice_to_voice.p95 <= 1",
        metric="voice_to_voice.p95",
        unit="s",
        bound=1.0,
        outcome="fail",
        figure=Figure(value=1.2),
        sentence="Not acceptable: it is too slow, by far, and \x1b[31mred.",
        blame="llm (model) takes 0.9 s.",
    )
    text = printed(verdicts_view([ruling]))
    assert (
        text.index(NAME) < text.index("FAIL  voice_to_voice.p95 <= 1") < text.index("llm (model)")
    )
    assert "\x1b" not in text


def test_a_comparison_says_of_what_it_cannot_speak() -> None:
    line = DifferenceLine(
        metric="wer",
        title="Word error rate",
        unit="ratio",
        a=0.1,
        b=None,
        difference=None,
        low=None,
        high=None,
        ratio=None,
        regression=False,
        sentence="Nothing can be said of WER: B has no transcript.",
    )
    found = ComparisonReport(a="A", b="B", sentence="B is as fast as A.", differences=(line,))
    assert line.sentence in printed(comparison_view(found))


def test_a_figure_that_one_side_alone_has_is_told_of() -> None:
    values = [0.5 + number / 50 for number in range(40)]
    found = compare(
        turns_of(values, word_errors=1.0, words=8.0), turns_of(values, run_id=OTHER_RUN)
    )
    view = comparison_report(found, {found.a: "A", found.b: "B"})
    (wer,) = (line for line in view.differences if line.metric == "wer")
    assert (wer.a, wer.b, wer.difference) == (0.125, None, None)
    assert "Nothing can be said of WER:" in printed(comparison_view(view))


def test_a_comparison_flags_what_has_become_worse() -> None:
    values = [0.5 + number / 50 for number in range(40)]
    found = compare(
        turns_of(values, cost=0.001),
        turns_of([2 * each for each in values], run_id=OTHER_RUN, cost=0.001),
    )
    view = comparison_report(found, {found.a: "A", found.b: "B"})
    text = printed(comparison_view(view))
    assert "slower (" in text
    assert "Regressions: voice to voice p50, voice to voice p95" in " ".join(text.split())
    assert "cost of a turn, USD" in text
    assert "word error rate" not in text  # nothing was measured of it
    printed(comparison_view(view), "ascii")
