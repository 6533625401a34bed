"""The report as Markdown: a table is a table, text is text, and a comment takes it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.unit.test_run_report_samples import findings, measured, teller
from turnlab.bench.reporting.report import run_report
from turnlab.reports.run_markdown import MOST_BYTES, markdown, plain
from turnlab.reports.run_report import RunReport

NASTY = "a|b `c` *d* _e_ <script> [f](https://example.org) @someone #1 ~~g~~ \\ \n| www.a h\x00 $x$"


def two() -> RunReport:
    subjects = [measured(failures=2), measured("CLUSTER_B", factor=2.0, cost=0.01, seed=8)]
    return run_report(findings(subjects), teller(subjects))


def tables(text: str) -> list[list[str]]:
    return [part.splitlines() for part in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)]


def test_it_begins_with_the_answer_and_the_verdicts() -> None:
    text = markdown(two())
    lines = text.splitlines()
    assert lines[0].startswith("## ")
    assert "| verdict | Cluster | limit | measured |" in lines
    assert text.index("| verdict |") < text.index("| seconds |")
    assert "✕ fail" in text
    assert "CLUSTER\\_B is " in text


def test_tables_keep_their_columns_whatever_is_in_them() -> None:
    found = two()
    hostile = replace(
        found,
        subjects=tuple(
            replace(each, name=NASTY, failures=((NASTY, NASTY, 1),)) for each in found.subjects
        ),
        rulings=tuple(
            replace(e, subject=NASTY, limit=NASTY, sentence=NASTY) for e in found.rulings
        ),
        comparisons=tuple(
            replace(each, a=NASTY, b=NASTY, sentence=NASTY) for each in found.comparisons
        ),
        headline=NASTY,
        title=NASTY,
    )
    text = markdown(hostile)
    assert len(tables(text)) >= 4
    for lines in tables(text):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<script" not in text
    assert "https://" not in text
    assert "www." not in text.lower()
    assert "@someone" not in text
    assert "\x00" not in text


@pytest.mark.parametrize("text", ["*a*", "`a`", "_a_", "[a](b)", "<b>", "a|b", "~~a~~", "$a$"])
def test_nothing_in_a_text_is_markup(text: str) -> None:
    bare = re.sub(r"\\[\\`*_\[\]|~#$]", "", plain(text))
    assert not re.search(r"[`*_\[\]|~<>$]", bare)


def test_it_fits_into_a_comment_and_says_what_is_left_out() -> None:
    found = two()
    many = replace(
        found,
        subjects=found.subjects * 400,
        rulings=found.rulings * 400,
        comparisons=found.comparisons * 400,
    )
    text = markdown(many)
    assert len(text.encode()) <= MOST_BYTES
    assert "more rows are on the page" in text
    long = replace(found, pins=found.pins * 400)
    assert "Left out, for want of room: what it belongs to." in markdown(long)


def test_what_is_folded_is_html_outside_and_markdown_inside() -> None:
    text = markdown(two())
    assert text.count("<details>") == text.count("</details>") >= 3
    assert "<summary>CLUSTER_B (streamed) (B) against CLUSTER_A (streamed) (A)</summary>" in text


def test_a_comparison_says_of_what_it_cannot_speak() -> None:
    found = two()
    (first, *_) = found.comparisons
    said = "Nothing can be said of WER: CLUSTER-B has no transcript."
    line = replace(first.differences[0], difference=None, low=None, high=None, sentence=said)
    told = replace(first, differences=(line, *first.differences[1:]))
    assert f"\n- {said}\n" in markdown(replace(found, comparisons=(told,)))


def test_a_report_of_nothing_is_short() -> None:
    text = markdown(RunReport(title="t", headline="Nothing was measured.", subjects=()))
    assert text.startswith("## Nothing was measured.\n\nt")
