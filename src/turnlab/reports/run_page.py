"""The report on one or several Runs as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from turnlab.profiles import Span
from turnlab.reports.charts import bars_html
from turnlab.reports.numbers import Stage, rounded
from turnlab.reports.page import facts_html, page_html, section
from turnlab.reports.rows import Row, ms_text
from turnlab.reports.run_charts import shares, spreads
from turnlab.reports.run_pareto import pareto_html
from turnlab.reports.run_report import LATENCIES, Pins, RunReport
from turnlab.reports.run_tables import (
    details_html,
    endings_html,
    figures_html,
    means_html,
    summary_html,
    times_html,
)
from turnlab.reports.run_terms import breakable, notes_html
from turnlab.reports.run_turns import landmarks_html, turns_html
from turnlab.reports.run_values import title_of
from turnlab.reports.run_verdicts import comparisons_html, verdicts_html
from turnlab.reports.tables import legend_html, stages_html
from turnlab.reports.words import escaped

_SLIVER_S = 0.001


def render_run(report: RunReport) -> str:
    """The report as HTML in one string, to be written as UTF-8.

    It fetches nothing, runs nothing and stays under 2 MB for 1,000 told turns, the sound that
    they carry aside. Other pages link to a section by its id, such as `#latency`.
    """
    parts = [
        (anchor, heading, content)
        for anchor, heading, content in _parts(report)
        if content  # a section without anything to show is left out
    ]
    body = "\n".join(section(heading, content, anchor=anchor) for anchor, heading, content in parts)
    links = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in parts)
    nav = f'<nav aria-label="Sections"><ul>{links}</ul></nav>'
    lead = _lead(report)
    foot = "".join(map(_pins, report.pins))
    return page_html(report.title, report.headline, lead + nav + body, foot, styles=["run.css"])


def _parts(report: RunReport) -> list[tuple[str, str, str]]:
    subjects = report.subjects
    return [
        ("verdicts", "Verdicts", verdicts_html(report)),
        ("comparison", "Comparison", comparisons_html(report.comparisons, report.meanings)),
        ("latency", "Latency", _latency(report)),
        ("stages", "Where the time goes", _stages(report)),
        ("turns-of-note", "Turns of note", _landmarks(report)),
        ("accuracy", "Latency, accuracy, cost", _accuracy(report)),
        ("endings", "How turns ended", endings_html(report) if subjects else ""),
        ("load", "Cost and load", means_html(report)),
        ("summary", "Summary by Cluster", summary_html(report) if subjects else ""),
        ("turns", "Turn by turn", _turns(report)),
        ("tracks", "Detail by Track", _details(report)),
        ("notes", "What the figures mean", notes_html(report.meanings)),
    ]


def _pins(pins: Pins) -> str:
    command = f'<pre class="command">{escaped(pins.command)}</pre>' if pins.command else ""
    return f"<h2>{escaped(pins.heading)}</h2>{facts_html(pins.facts)}{command}"


def _lead(report: RunReport) -> str:
    sentences = [found.sentence for found in report.comparisons if found.sentence][:3]
    told = "".join(f'<p class="lead">{breakable(each)}</p>' for each in sentences)
    remarks = "".join(f"<li>{escaped(each, most=600)}</li>" for each in report.remarks)
    return told + (f'<ul class="remarks">{remarks}</ul>' if remarks else "")


def _latency(report: RunReport) -> str:
    main, *others = LATENCIES
    named = {metric: title_of(metric, report.meanings).lower() for metric in LATENCIES}
    pictures = spreads(report.subjects, main, named[main])
    if not pictures:
        return "<p>No turn was answered with a sound, so there is no latency to show.</p>"
    folded = "".join(_folded(report, metric, named[metric]) for metric in others)
    curves = shares(report.subjects, main, named[main])
    return (
        '<p class="soft">From the last voiced sample of the question to the first audible sample '
        "of the reply. Of each row the two marks are the median and the 95th percentile; the beam "
        f"under a mark is its 95 % interval.</p>{pictures}"
        f"<h3>Share of turns that are answered by a moment</h3>{curves}"
        f"{figures_html(report)}{folded}"
    )


def _folded(report: RunReport, metric: str, title: str) -> str:
    picture = spreads(report.subjects, metric, title)
    if not picture:
        return ""
    return f"<details><summary><b>How {escaped(title)} spreads</b></summary>{picture}</details>"


def _stages(report: RunReport) -> str:
    stages = {s.name: s.stages for s in report.subjects if s.stages}
    bars = [
        (name, ms_text(sum(stage.mean_s for stage in own)), "mean", _rows(own))
        for name, own in stages.items()
    ]
    if not bars:
        return ""
    times = times_html(report)
    tables = "".join(
        f"<h3>{breakable(name)}</h3>{stages_html({'': own})}" for name, own in stages.items()
    )
    more = (
        f"<details><summary><b>Inference, transfer, queue and wait</b></summary>{times}</details>"
    )
    return (
        '<p class="soft">The critical path on average: what each Component has of the silence that '
        f"the user hears.</p>{bars_html(bars)}{legend_html()}"
        f"<details><summary><b>As a table</b></summary>{tables}</details>"
        f"{more if times else ''}"
    )


def _rows(stages: Sequence[Stage]) -> list[Row]:
    """The stages as a bar; those under 1 ms are drawn as one, so that the bar keeps its length."""
    small = [stage for stage in stages if stage.mean_s < _SLIVER_S]
    small = small if len(small) > 1 else []
    large = [stage for stage in stages if stage not in small]
    pieces = [(stage.component, stage.kind, stage.mean_s) for stage in large]
    if small:
        seconds = sum(stage.mean_s for stage in small)
        pieces.append((f"{len(small)} below 1 ms", small[0].kind, seconds))
    amounts = rounded([seconds * 1000 for _, _, seconds in pieces])
    return [
        Row(
            name=name,
            kind=kind,
            ms=ms,
            spans=(Span(kind=kind, component=name, start_s=0.0, end_s=seconds),),
        )
        for (name, kind, seconds), ms in zip(pieces, amounts, strict=True)
    ]


def _landmarks(report: RunReport) -> str:
    found = landmarks_html(report)
    return found and (
        '<p class="soft">Real turns, each in every detail: the one nearest the median, the one '
        f"nearest the 95th percentile, the slowest.</p>{found}"
    )


def _accuracy(report: RunReport) -> str:
    front = pareto_html(report.subjects, report.accuracy, report.meanings)
    if any(
        name in s.figures and s.figures[name].value is not None
        for s in report.subjects
        for name in report.accuracy
    ):
        return front
    why = next((s.absent["wer"] for s in report.subjects if "wer" in s.absent), "not measured")
    return f'{front}<p class="soft">There is no figure of accuracy: {escaped(why)}.</p>'


def _turns(report: RunReport) -> str:
    found = turns_html(report)
    if not found:
        return ""
    told, all_ = len(report.turns), report.tracks
    which = (
        f"The {told:,} most telling of {all_:,} Tracks: those that failed, the slowest, and some "
        "evenly from the rest."
        if told < all_
        else f"All {all_:,} Tracks, those that failed and the slowest first."
    )
    return (
        f'<p class="soft">{which} A bar is the critical path of one Track, all on one axis; the '
        f"spot before it tells whose it is.</p>{legend_html()}{found}"
    )


def _details(report: RunReport) -> str:
    found = details_html(report)
    return found and (
        '<p class="soft">What each Task took of each Track, in seconds, model and transfer apart.'
        f"</p>{found}"
    )
