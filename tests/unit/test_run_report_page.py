"""The page about Runs: self-contained, escaped, small, accessible, and true to its figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.unit.test_reports_page import NASTY, Reader, read
from tests.unit.test_reports_samples import tone
from tests.unit.test_run_report_samples import findings, measured, teller
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.reporting.report import run_report
from turnlab.profiles import Span, SpanKind
from turnlab.reports.run_page import render_run
from turnlab.reports.run_pareto import axes, points
from turnlab.reports.run_report import (
    ComparisonReport,
    Figure,
    Meaning,
    Pins,
    RunReport,
    SubjectReport,
    ToldTurn,
)
from turnlab.reports.run_turns import cut
from turnlab.reports.run_values import amount, bound, interval, number, signed
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import line_of_text

LIMITS = ("voice_to_voice.p95 <= 1.0", "wer <= 0.1", "completed >= 0.9")


def made(*subjects: Measured, limits: Iterable[str] = LIMITS, **changes: Any) -> RunReport:
    found = findings(subjects, limits)
    return replace(run_report(found, teller(subjects)), **changes)


@cache
def three() -> RunReport:
    dear = measured("CLUSTER_B", factor=1.4, wer=0.05, cost=0.0013, failures=3, seed=8)
    return made(measured(), dear, measured("CLUSTER_C", factor=1.6, wer=0.12, cancelled=2, seed=9))


def pictures(html: str) -> list[ElementTree.Element]:
    """The outermost SVG elements."""
    found, depth, start = [], 0, 0
    for tag in re.finditer(r"<(/?)svg", html):
        start = tag.start() if not depth else start
        depth += -1 if tag[1] else 1
        if not depth:
            found.append(ElementTree.fromstring(html[start : tag.end()] + ">"))
    return found


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_the_page_has_all_its_parts_in_order() -> None:
    html = render_run(three())
    assert headings(html)[:12] == [
        "Verdicts",
        "Comparison",
        "Latency",
        "Where the time goes",
        "Turns of note",
        "Latency, accuracy, cost",
        "How turns ended",
        "Cost and load",
        "Summary by Cluster",
        "Turn by turn",
        "Detail by Track",
        "What the figures mean",
    ]


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    html = render_run(three())
    reader = read(html)
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert "default-src 'none'" in html
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?:", html)
    links = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(link.startswith("#") for link in links)


def test_every_link_leads_to_one_place_of_the_page() -> None:
    reader = read(render_run(three()))
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value[1:] for name, value in reader.attributes if name == "href"}
    assert links <= set(ids)
    assert "m-voice-to-voice" in links


def test_pictures_are_well_formed_named_and_described() -> None:
    found = pictures(render_run(three()))
    assert len(found) > 20
    for root in found:
        if root.get("aria-hidden") != "true":
            assert (root.get("role"), root[0].tag, root[1].tag) == ("img", "title", "desc")
            assert "nan" not in ElementTree.tostring(root, encoding="unicode")


def test_tables_have_heads_that_say_what_they_are_of() -> None:
    html = render_run(three())
    for table in re.findall(r"<table.*?</table>", html, re.S):
        columns = len(re.findall(r'<th[^>]*scope="col"', table))
        rows = re.findall(r"<tr>(?:(?!</tr>).)*</tr>", table, re.S)[1:]
        assert {len(re.findall(r"<t[hd][ >]", row)) for row in rows} == {columns}
        assert all('scope="row"' in row for row in rows)


def hostile() -> RunReport:
    found = three()
    turns = tuple(replace(told, turn_id=NASTY, turn=nasty_turn(told.turn)) for told in found.turns)
    subject = replace(found.subjects[0], name=NASTY, failures=((NASTY, NASTY, 2),))
    rulings = [
        replace(each, subject=NASTY, limit=NASTY, sentence=NASTY, blame=NASTY, metric=NASTY)
        for each in found.rulings[:3]
    ]
    meaning = Meaning(title=NASTY, unit="s", formula=NASTY, of=NASTY)
    comparison = replace(found.comparisons[0], a=NASTY, b=NASTY, sentence=NASTY)
    refused = ComparisonReport(a=NASTY, b=NASTY, sentence="", differences=(), refused=NASTY)
    return RunReport(
        title=NASTY,
        headline=NASTY,
        subjects=(subject, replace(found.subjects[1], absent={NASTY: NASTY})),
        rulings=tuple(rulings),
        comparisons=(comparison, refused),
        turns=turns[:20],
        meanings={**found.meanings, NASTY: meaning},
        accuracy=found.accuracy,
        pins=(Pins(heading=NASTY, facts={NASTY: NASTY}),),
        remarks=(NASTY,),
    )


def nasty_turn(turn: TurnReport) -> TurnReport:
    span = Span(kind=SpanKind.MODEL, component=NASTY, label=NASTY, start_s=0.0, end_s=0.5)
    return replace(
        turn,
        track_id=NASTY,
        transcript=NASTY + "\u202e" * 3,
        reply=NASTY,
        status=NASTY,
        spans=(span,),
        context=((NASTY, NASTY),),
        error={"code": NASTY, "message": NASTY},
        reply_file="javascript:alert(1)",
    )


def test_hostile_text_is_text() -> None:
    html = render_run(hostile())
    reader = read(html)
    assert "script" not in reader.tags
    assert "<script>alert(1)</script>" in reader.text
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    links = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(link.startswith(("#", "./")) for link in links)
    assert not re.search("[\x00\x1b\u202e\ud800]", html)
    html.encode("utf-8")


@cache
def thousand() -> RunReport:
    subjects = [measured(turns=250), measured("CLUSTER_B", turns=250, failures=50)]
    return run_report(findings(subjects, ()), teller(subjects))


@pytest.mark.parametrize("text", ["word " * 200_000, "\u6f22<" * 300_000, "&" * 1_000_000])
def test_a_thousand_turns_of_endless_texts_stay_under_2_mb(text: str) -> None:
    found = thousand()
    assert len(found.turns) == 1_000
    turns = tuple(
        replace(told, turn=replace(told.turn, transcript=text, reply=text)) for told in found.turns
    )
    html = render_run(replace(found, turns=turns))
    assert len(html.encode()) < 2_000_000
    read(html)


def test_beyond_a_thousand_tracks_the_page_says_what_it_shows() -> None:
    html = render_run(made(measured(turns=700), limits=()))
    assert "The 1,000 most telling of 1,400 Tracks" in html
    assert "All 80 Tracks" in render_run(made(measured(), limits=()))


def test_texts_are_cut_to_their_bytes() -> None:
    assert cut("short", 100) == "short"
    for text in ("x" * 5_000, "<&>" * 5_000, "\U0001f600" * 5_000, "\u6f22 " * 5_000):
        assert 40 < len(cut(text, 120).encode()) <= 120


def test_verdicts_tell_figure_interval_sentence_and_who_is_to_blame() -> None:
    found = made(measured(factor=2.0))
    html = render_run(found)
    ruling = found.rulings[0]
    assert ruling.outcome == "fail"
    assert ruling.sentence.replace("_", "_<wbr>") in html.replace("&lt;", "<")
    assert "quantization_<wbr>llm" in ruling.blame.replace("_", "_<wbr>")
    assert "✕ fail" in html
    assert html.index('id="verdicts"') < html.index('id="latency"')


def test_no_accuracy_says_why() -> None:
    html = render_run(made(measured(wer=None), limits=()))
    assert (
        "There is no figure of accuracy: no turn of the dataset questions has a reference" in html
    )


def test_who_is_beaten_by_whom() -> None:
    def subject(name: str, latency: float, score: float) -> SubjectReport:
        figures = {"l": Figure(value=latency), "score": Figure(value=score)}
        return SubjectReport(
            name=name, cluster=name, mode="", run_id="", tracks=1, statuses={}, figures=figures
        )

    meanings = {
        "l": Meaning(title="l", unit="s", formula="", of="l"),
        "score": Meaning(title="s", unit="score", formula="", of="s", better="more"),
    }
    subjects = [subject("fast", 1, 2), subject("good", 2, 4), subject("bad", 3, 3)]
    found = points(subjects, ["l", "score"], meanings)
    assert [point.beaten_by for point in found] == [(), (), (1,)]
    alike = points([subjects[0], subjects[0]], ["l", "score"], meanings)
    assert [point.beaten_by for point in alike] == [(), ()], "who is as good beats nobody"


def test_who_fails_often_beats_nobody_by_what_it_did_not_answer() -> None:
    lucky = measured("CLUSTER_B", factor=0.9, wer=0.02, failures=20, seed=8)
    found = made(measured(), lucky)
    names = axes(found.subjects, found.accuracy)
    assert names[-1] == "completed"
    assert not any(each.beaten_by for each in points(found.subjects, names, found.meanings))
    html = render_run(found)
    part = html[html.index('id="accuracy"') : html.index('id="endings"')]
    assert "CLUSTER_<wbr>B (streamed) completed 75.0 % of its turns" in part
    whole = made(measured(), measured("CLUSTER_B", seed=8))
    assert "completed" not in axes(whole.subjects, whole.accuracy)


def test_figures_and_words_fit_a_narrow_screen() -> None:
    html = render_run(three())
    assert "--columns: repeat(1, minmax(0, 1.5fr)) repeat(4, minmax(0, 1fr))" in html
    assert "<code>module_<wbr>timeout</code>" in html
    row = line_of_text("6 steps under 1 ms", "2 ms", 0, soft="endpointing, queue, model, transfer")
    shown = re.sub(r"<title>.*?</title>|<[^>]*>", "", row)
    assert len(shown) <= 44
    assert "<title>endpointing, queue, model, transfer</title>" in row


def test_a_run_of_failures_and_a_run_of_nothing_are_pages_too() -> None:
    html = render_run(made(measured(failures=80), limits=()))
    assert "No turn was answered with a sound, so there is no latency to show." in html
    assert "module_timeout" in html
    empty = RunReport(title="t", headline="Nothing was measured.", subjects=())
    assert "Nothing was measured." in read(render_run(empty)).text


def test_one_turn_is_enough_for_a_page() -> None:
    html = render_run(made(measured(turns=1, repeats=1)))
    assert "Median and 95th percentile and worst" in html


def test_sound_is_a_player_of_what_the_turn_carries() -> None:
    found = made(measured(turns=30, repeats=1), limits=())
    files = {"question_file": "s/q.wav", "reply_file": "s/r.wav"}
    html = render_run(with_sound(found, **files))
    assert html.count('src="./s/q.wav"') == html.count('src="./s/r.wav"') == 30 + 3
    inside = render_run(with_sound(found, question_wav=tone(), reply_wav=tone()))
    assert inside.count("data:audio/wav;base64,") == 60, "each sound lies in the page once"
    assert inside.count('href="#turns-of-note">Hear the reply above') == 3


def with_sound(found: RunReport, **sound: Any) -> RunReport:
    def heard(told: ToldTurn) -> ToldTurn:
        return replace(told, turn=replace(told.turn, **sound))

    (subject,) = found.subjects
    noted = {name: heard(told) for name, told in subject.landmarks.items()}
    return replace(
        found,
        subjects=(replace(subject, landmarks=noted),),
        turns=tuple(map(heard, found.turns)),
    )


def test_a_turn_that_is_far_slower_leaves_the_others_room() -> None:
    sample = measured(turns=60)
    for column in sample.stages.values():
        column[7] *= 100
    sample.columns["voice_to_voice"] = np.sum(list(sample.stages.values()), axis=0)
    html = render_run(made(sample, limits=()))
    assert ", 1 beyond →" in html
    assert "<i>→</i>" in html


def test_the_bars_of_the_list_are_as_long_as_their_turns() -> None:
    html = render_run(made(measured(turns=3, repeats=1), limits=()))
    bars = re.findall(r'<span class="path">(.*?)</span>', html)
    widths = [sum(map(float, re.findall(r"width:([\d.]+)%", bar))) for bar in bars]
    assert max(widths) == pytest.approx(100, abs=0.5)
    assert widths == sorted(widths, reverse=True), "the slowest first"


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.6184, "s", "0.618 s"),
        (12.345, "s", "12.35 s"),
        (0.1234, "ratio", "12.3 %"),
        (1.0, "ratio", "100 %"),
        (0.0013, "usd", "0.0013 USD"),
        (0.0, "usd", "0 USD"),
        (0.0000042, "usd", "4.2e-06 USD"),
        (1234.5, "mib", "1,234 MiB"),
        (None, "s", "–"),  # noqa: RUF001
        (float("nan"), "s", "–"),  # noqa: RUF001
    ],
)
def test_amounts_read_well(value: float | None, unit: str, told: str) -> None:
    assert amount(value, unit) == told


def test_intervals_and_differences_read_well() -> None:
    assert interval(Figure(value=1, low=0.5, high=2), "s") == "0.500–2.000"  # noqa: RUF001
    assert interval(Figure(value=1, low=0.5), "s") == "from 0.500"
    assert interval(Figure(value=1, high=0.5), "s") == "up to 0.500"
    assert interval(Figure(value=1), "s") == ""
    assert interval(Figure(value=1, low=1, high=1), "s") == ""
    assert signed(0.031, "ratio") == "+3.1 points"
    assert signed(-0.0001, "s") == "0.000 s"
    assert signed(-0.5, "s", bare=True) == "-0.500"
    assert number(-0.00001, "s") == "-0.000".lstrip("-")
    assert bound(0.025, "ratio") == "2.5 %"
    assert bound(1.0, "s") == "1 s"


def test_the_reader_of_pages_still_checks_nesting() -> None:
    with pytest.raises(AssertionError):
        Reader().feed("<p><b></p>")
