"""Turns in the terminal: 80 columns, no colour, ASCII, hostile text."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from tests.unit.test_reports_samples import CHAINED, failed, some_turns, spans, turn
from turnlab.reports import terminal


def shown(part: RenderableType, *, encoding: str = "utf-8", width: int = 80) -> str:
    """What a console without colour prints."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    console.print(part)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def everything() -> list[RenderableType]:
    turns = [*some_turns(), failed(label="unlucky.wav")]
    views = [terminal.turn_view(each) for each in turns]
    return [*views, terminal.modes_table(turns), terminal.turns_table(turns)]


@pytest.mark.parametrize("width", [80, 100])
def test_nothing_is_wider_than_the_console(width: int) -> None:
    for part in everything():
        assert max(map(len, shown(part, width=width).splitlines())) <= width


def test_a_console_without_utf8_gets_ascii_alone() -> None:
    said = replace(turn(), transcript="Où est “le café” … 今?", reply="naïve — yes")
    for part in [*everything(), terminal.turn_view(said)]:
        assert shown(part, encoding="ascii").isascii()
    assert 'Ou est "le cafe" ... ?' in shown(terminal.turn_view(said), encoding="ascii")


def test_rows_and_total_agree_at_80_columns() -> None:
    lines = shown(terminal.waterfall(turn("chained"))).splitlines()
    *rows, total = [int(line[28:].split(" ms")[0].replace("<1", "0")) for line in lines]
    assert sum(rows) == total == 1088


def test_every_kind_is_told_in_words_and_pattern() -> None:
    text = shown(terminal.waterfall(turn()), encoding="ascii")
    assert re.search(r"quantization_llm decode +121 ms model +#+\n?", text)
    assert re.search(r"text2speech +5 ms playout +~", text)


def test_bars_follow_one_another() -> None:
    lines = shown(terminal.waterfall(turn("chained")), encoding="ascii").splitlines()
    starts = [line.index("#") for line in lines if "#" in line]
    assert starts == sorted(starts)


def test_a_failed_turn_shows_code_and_what_was_heard() -> None:
    text = shown(terminal.turn_view(failed()))
    assert "failed: module_timeout" in text
    assert "took longer than 5 s" in text
    assert "What is the capital of France?" in text


def test_the_table_counts_but_does_not_measure_failed_turns() -> None:
    broken = replace(failed(), voice_to_voice_s=99.0)
    text = shown(terminal.modes_table([*some_turns(), broken]))
    assert re.search(r"chained +5 .* 0 *\n", text)
    assert re.search(r"streamed +5 .* 1 *\n", text)
    assert "99000" not in text


def test_a_mode_without_a_turn_that_counts_has_dashes() -> None:
    assert re.search(r"streamed +0 +– +– +– +1", shown(terminal.modes_table([failed()])))  # noqa: RUF001


def test_hostile_text_steers_no_terminal() -> None:
    nasty = "[bold]hi[/bold] \x1b]0;owned\x07 \x1b[2J \u202eabc \ud800"
    text = shown(terminal.turn_view(replace(turn(), reply=nasty, label=nasty)))
    assert "[bold]hi[/bold]" in text
    assert not set(text) & set("\x1b\x07\u202e\ud800")


def test_a_verdict_reads_as_one_line() -> None:
    line = terminal.verdict_line({"outcome": "fail", "sentence": "Too slow."})
    assert shown(line).strip() == "FAIL  Too slow."


def test_the_smallest_span_is_seen() -> None:
    text = shown(terminal.Bar(spans(CHAINED)[:1], 60.0), encoding="ascii")
    assert text.startswith(">")


def test_an_indented_part_keeps_its_text() -> None:
    assert shown(terminal.indented(terminal.Line("x"))).startswith("  x")
