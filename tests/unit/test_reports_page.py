"""The page and the pictures: self-contained, bounded, escaped, and adding up."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.unit.test_reports_samples import failed, some_turns, turn
from turnlab.reports import page
from turnlab.reports.charts import strip_plot
from turnlab.reports.details import audio_html
from turnlab.reports.numbers import breakdown, groups
from turnlab.reports.picture import readme_svg
from turnlab.reports.tables import ratio_sentence, stages_html
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import waterfall_svg

NASTY = "<script>alert(1)</script> \"' & https://example.org/x.png \x00\x1b\ud800"
VOID = {"meta", "br", "link", "img", "wbr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def render(turns: list[TurnReport], *, audio_limit_bytes: int = 10**6) -> str:
    facts = {"Date": "2025-01-05", "Command": "./run demo"}
    return page.render_page(
        "Demo", turns, 1.0, "Fast enough.", facts, audio_limit_bytes=audio_limit_bytes
    )


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


def hostile() -> TurnReport:
    base = failed()
    task = replace(base.tasks[0], name=NASTY, task_name=NASTY, status=NASTY, error_code=NASTY)
    path = tuple(replace(span, component=NASTY, label=NASTY) for span in turn().spans)
    words = dict.fromkeys(("track_id", "cluster", "mode", "pace", "label", "transcript"), NASTY)
    files = {"question_wav": None, "question_file": "javascript:alert(1)", "reply": NASTY}
    error, verdict = {"code": NASTY, "message": NASTY}, {"outcome": NASTY, "sentence": NASTY}
    values = {**words, **files, "tasks": (task,), "spans": path, "error": error}
    return replace(base, verdict=verdict, **values)  # type: ignore[arg-type]


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    html = render([*some_turns(), failed()])
    reader = read(html)
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    sources = [value for name, value in reader.attributes if name in ("src", "href", "data")]
    assert sources
    assert all(source.startswith("data:audio/wav;base64,") for source in sources)
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?:", html)


def test_hostile_text_is_text() -> None:
    html = page.render_page(NASTY, [hostile(), turn()], 1.0, NASTY, {NASTY: NASTY})
    reader = read(html)
    assert "script" not in reader.tags
    assert "<script>alert(1)</script>" in reader.text
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    sources = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:", "./")) for value in sources)
    html.encode("utf-8")
    assert "\x00" not in html
    assert "\x1b" not in html


@pytest.mark.parametrize("sample", [turn(), turn("chained"), failed(), hostile()])
def test_a_waterfall_is_well_formed_named_and_described(sample: TurnReport) -> None:
    root = ElementTree.fromstring(waterfall_svg(sample))
    assert root.get("role") == "img"
    assert root[0].tag == "title"
    assert root[1].tag == "desc"


def test_a_waterfall_shows_amounts_that_add_up_to_its_total() -> None:
    root = ElementTree.fromstring(waterfall_svg(turn()))
    texts = ["".join(each.itertext()) for each in root.iter("text")]
    amounts = [int(t.removesuffix(" ms")) for t in texts if re.fullmatch(r"\d+ ms", t)]
    assert sum(amounts) == 416
    assert "total 416 ms" in texts


def test_a_waterfall_draws_each_task_with_its_first_output() -> None:
    svg = waterfall_svg(turn())
    assert svg.count('class="task"') == 3
    assert svg.count('class="mark"') == 3
    assert "first output 300 ms, end 900 ms" in svg
    assert "→" in svg


def test_tasks_that_began_during_the_speech_leave_room_for_the_critical_path() -> None:
    early = replace(turn(), zero_s=6.0)
    svg = waterfall_svg(early)
    at_zero = re.search(r'class="k-model" y="\d+" height="10" rx="1.5" x="(\d+)', svg)
    assert at_zero is not None
    assert 0 < int(at_zero[1]) < 50


def test_a_turn_without_any_times_is_drawn_all_the_same() -> None:
    bare = replace(failed(), tasks=(replace(turn().tasks[0], latency_profile={}),))
    assert "speech2text" in waterfall_svg(bare)


def test_failed_and_cancelled_turns_are_shown_but_not_counted() -> None:
    broken = replace(failed(label="unlucky.wav"), voice_to_voice_s=77.0)
    cut = replace(turn(label="cut.wav"), status="cancelled", voice_to_voice_s=88.0)
    html = render([*some_turns(), broken, cut])
    assert "failed: module_timeout" in html
    assert "took longer than 5 s" in html
    assert "cancelled" in html
    assert "77000" not in html
    counts = re.findall(r'scope="row">(\w+)</th><td>(\d+)</td>.*?<td>(\d+)</td></tr>', html)
    assert counts[:2] == [("chained", "5", "0"), ("streamed", "5", "2")]


def test_the_stage_table_adds_up() -> None:
    stages = {name: breakdown(turns) for name, turns in groups(some_turns()).items()}
    table = stages_html(stages).replace("&lt;1", "0")
    rows = [re.findall(r"<td>(?:(\d+) (?:ms|%))?</td>", row) for row in table.split("<tr>")[2:]]
    *parts, total = [[int(cell or 0) for cell in row if cell is not None] for row in rows]
    assert [sum(column) for column in zip(*parts, strict=True)] == total
    assert total[1] == total[3] == 100


def test_the_comparison_is_of_the_same_utterances() -> None:
    sentence = ratio_sentence(groups([*some_turns(), turn("chained", "alone.wav", factor=9)]))
    assert sentence.startswith("At the median, streamed answers 2.62 times as fast as chained: 5")
    assert ratio_sentence(groups([turn()])) == ""


def test_a_page_of_nothing_but_failures_is_still_a_page() -> None:
    assert "Turn by turn" in read(render([failed()])).text
    assert "Latency" in read(render([])).text


def test_the_size_is_bounded() -> None:
    long = replace(turn(), transcript="word " * 10**6, reply="x" * 10**6)
    html = render([long, *some_turns() * 40], audio_limit_bytes=50_000)
    assert len(html) < 5_000_000
    assert "The sound was left out" in html
    assert "further turns are in the statistics only" in html


def test_many_turns_are_thinned_out_in_the_plot() -> None:
    turns = [turn(factor=1 + i / 2000) for i in range(2000)]
    assert strip_plot(groups(turns), 1.0).count("<circle") == 500


def test_sound_is_embedded_or_linked_beside_the_page() -> None:
    assert 'src="data:audio/wav;base64,' in audio_html(b"RIFF", "a.wav", "reply")
    assert 'href="./replies/a%20b.wav"' in audio_html(None, "replies/a b.wav", "reply")
    assert 'src="./evil.example/x"' in audio_html(None, "//evil.example/x", "reply")
    assert audio_html(None, "", "reply") == ""


def test_the_readme_picture_stands_alone() -> None:
    svg = readme_svg([*some_turns(), failed()])
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in svg
    assert svg.count("http") == 1
    assert not re.search(r"href|url\(|@import", svg)
    assert svg.index("streamed 432 ms") < svg.index("chained 1131 ms")
    assert len(svg) < 30_000


def test_the_readme_picture_escapes_and_needs_a_turn() -> None:
    nasty = replace(hostile(), status="completed", voice_to_voice_s=0.4158, mode=NASTY)
    ElementTree.fromstring(readme_svg([nasty], title=NASTY))
    with pytest.raises(ValueError, match="nothing to draw"):
        readme_svg([failed()])
