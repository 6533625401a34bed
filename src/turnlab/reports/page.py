"""One self-contained page about many turns: no script, no font, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from turnlab.reports.charts import stacked_bars, strip_plot
from turnlab.reports.details import turns_html
from turnlab.reports.numbers import breakdown, groups
from turnlab.reports.tables import legend_html, modes_html, ratio_sentence, stages_html
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import CSS
from turnlab.reports.words import escaped

MOST_TURNS = 200
"""Turns shown one by one; statistics are of all."""

# Nothing that a transcript or a reply might smuggle in could load or run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data: 'self' file:"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body>
<main>
<header><p class="soft">{title}</p><h1>{heading}</h1></header>
{body}
</main>
<footer>{foot}</footer>
</body>
</html>
"""


def render_page(
    title: str,
    turns: Sequence[TurnReport],
    budget_s: float | None,
    verdict_sentence: str,
    facts: Mapping[str, str],
    *,
    audio_limit_bytes: int = 24 * 2**20,
) -> str:
    """The report as HTML in one string, to be written as UTF-8.

    `budget_s` is the limit on voice-to-voice latency in seconds; `facts` (date, hardware,
    command, versions) become the footer. Sound beyond `audio_limit_bytes` is not embedded.
    """
    body = "\n".join(_sections(turns, budget_s, audio_limit_bytes))
    return page_html(title, verdict_sentence, body, facts_html(facts))


def page_html(title: str, heading: str, body: str, foot: str, *, styles: Sequence[str] = ()) -> str:
    """A whole page; `title` and `heading` are text, `body` and `foot` are markup.

    `styles` name further files of rules beside page.css.
    """
    folder = files(__package__)
    rules = [folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", *styles)]
    return _PAGE.format(
        policy=_POLICY,
        title=escaped(title, most=200),
        css="".join(rules) + CSS,
        heading=escaped(heading, most=500),
        body=body,
        foot=foot,
    )


def facts_html(facts: Mapping[str, str]) -> str:
    """Names and values, in columns where there is room."""
    pairs = "".join(
        f"<div><dt>{escaped(name, most=80)}</dt><dd>{escaped(value, most=500)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{pairs}</dl>'


def _sections(
    turns: Sequence[TurnReport], budget_s: float | None, audio_limit_bytes: int
) -> list[str]:
    grouped = groups(turns)
    parts = [
        section("Latency", _latency(grouped, budget_s)),
        section("Every turn", strip_plot(grouped, budget_s)),
        section("Where the time goes", _stages(grouped)),
        section("Turn by turn", _turns(turns, audio_limit_bytes)),
    ]
    return [part for part in parts if part]


def section(heading: str, content: str, *, anchor: str = "") -> str:
    """A part of a page under its heading; nothing where there is no content."""
    name = f' id="{anchor}"' if anchor else ""
    return f"<section{name}><h2>{heading}</h2>{content}</section>" if content else ""


def _latency(grouped: Mapping[str, Sequence[TurnReport]], budget_s: float | None) -> str:
    ratio = escaped(ratio_sentence(grouped))
    return (
        '<p class="soft">From the last voiced sample of the question to the first audible sample '
        "of the reply.</p>"
        + modes_html(grouped, budget_s)
        + (f"<p>{ratio}</p>" if ratio else "")
        + '<p class="soft small">First Speech: when the first piece of the reply arrived, before '
        "the quiet that it begins with (median). Left out: turns that failed, were cancelled or "
        "gave no sound.</p>"
    )


def _stages(grouped: Mapping[str, Sequence[TurnReport]]) -> str:
    bars = stacked_bars(grouped)
    if not bars:
        return ""
    stages = {name: breakdown(turns) for name, turns in grouped.items()}
    return (
        f'<p class="soft">The turn at the median of each mode, piece by piece.</p>{bars}'
        f"<h3>Mean over all turns</h3>{stages_html(stages)}{legend_html()}"
    )


def _turns(turns: Sequence[TurnReport], audio_limit_bytes: int) -> str:
    shown = "".join(turns_html(turns[:MOST_TURNS], audio_limit_bytes))
    more = len(turns) - MOST_TURNS
    note = f'<p class="soft">{more} further turns are in the statistics only.</p>'
    return shown + (note if more > 0 else "")
