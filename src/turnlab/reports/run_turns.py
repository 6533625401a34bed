"""Turns one by one: some in every detail, all others as a bar of their path, with their texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnlab.profiles import Span, SpanKind
from turnlab.reports.details import audio_html, turn_html
from turnlab.reports.numbers import stage_totals
from turnlab.reports.rows import ending, ms_text
from turnlab.reports.run_charts import swatch
from turnlab.reports.run_report import RunReport, SubjectReport, ToldTurn
from turnlab.reports.run_terms import breakable
from turnlab.reports.run_values import amount
from turnlab.reports.turn import TurnReport
from turnlab.reports.words import escaped, shortened

TEXT_BYTES = 700_000
"""Of what was said on the whole page: all texts are cut to their share of it."""
_LONGEST_TEXT, _SHORTEST_TEXT = 4_000, 120
_LEAST_SHARE = 0.004
"""Of the axis: what is shorter than this is drawn together with what comes before it."""
_SHOWN_S = 0.001


def landmarks_html(report: RunReport) -> str:
    """The median, the 95th percentile and the worst turn of each subject; the first is unfolded."""
    return "".join(_landmarks(i, subject) for i, subject in enumerate(report.subjects))


def _landmarks(number: int, subject: SubjectReport) -> str:
    if not subject.landmarks:
        return ""
    median = subject.landmarks.get("median")
    parts = [f"<h3>{swatch(number)}{breakable(subject.name)}</h3>"]
    for name, told in subject.landmarks.items():
        note = f"{told.turn_id} #{told.repeat}{_difference(told, median)}"
        heading = name[:1].upper() + name[1:]
        parts.append(turn_html(told.turn, name=heading, note=note, shown=told is median))
    return "".join(parts)


def _difference(told: ToldTurn, median: ToldTurn | None) -> str:
    """Which stage makes most of the difference from the median turn."""
    if median is None or told is median:
        return ""
    own, usual = stage_totals(told.turn.spans), stage_totals(median.turn.spans)
    more = {key: seconds - usual.get(key, 0.0) for key, seconds in own.items()}
    if not more or max(more.values()) < _SHOWN_S:
        return ""
    component, kind = max(more, key=lambda key: more[key])
    return f", most of it {component} {kind}: {ms_text(more[component, kind])} more than there"


@dataclass(frozen=True, slots=True)
class _Look:
    """What all turns of the list share: the length of the axis, room for a text, colours."""

    end_s: float
    most: int
    places: Mapping[str, int]
    noted: frozenset[str]
    """Tracks that are shown as turns of note, where their sound is if it lies in the page."""


def turns_html(report: RunReport) -> str:
    """Every turn of the dataset with all Tracks of it that are told."""
    grouped: dict[str, list[ToldTurn]] = defaultdict(list)
    for told in report.turns:
        grouped[told.turn_id].append(told)
    if not grouped:
        return ""
    heard = sorted(t.turn.voice_to_voice_s or 0.0 for t in report.turns if t.turn.counts)
    usual_s = heard[int(0.95 * (len(heard) - 1))] if heard else 1.0
    look = _Look(
        end_s=min(2 * usual_s, heard[-1]) if heard else 1.0,
        most=_room(len(report.turns)),
        places={subject.name: i for i, subject in enumerate(report.subjects)},
        noted=frozenset(t.turn.track_id for s in report.subjects for t in s.landmarks.values()),
    )
    parts = "".join(_group(name, turns, look) for name, turns in grouped.items())
    return f'<div class="turns">{parts}</div>'


def _room(turns: int) -> int:
    """Bytes that each text may have."""
    return min(_LONGEST_TEXT, max(_SHORTEST_TEXT, TEXT_BYTES // (3 * turns)))


def cut(text: str, most: int) -> str:
    """The text escaped, in at most `most` bytes as far as it can be told from its beginning."""
    wanted = most
    while True:
        shown = escaped(text[: 4 * wanted], most=wanted)
        size = len(shown.encode("utf-8", "replace"))
        if size <= most or wanted <= 8:
            return shown
        wanted = max(8, min(wanted - 1, wanted * most // size))


def _group(name: str, turns: Sequence[ToldTurn], look: _Look) -> str:
    said = next((t.turn.transcript for t in turns if t.turn.transcript), "")
    bars = "".join(_bar(told, look) for told in turns)
    summary = (
        f"<b>{escaped(name, most=80)}</b> <span class=soft>{cut(said, 90)}</span>"
        f"<span>{_range(turns)}</span>{bars}"
    )
    asked = next((sound for told in turns if (sound := _sound(told.turn, look, "question"))), "")
    told = "".join(_told(each, look) for each in turns)
    return f"<details><summary>{summary}</summary><div class=turn>{asked}{told}</div></details>"


def _range(turns: Sequence[ToldTurn]) -> str:
    heard = [t.turn.voice_to_voice_s for t in turns if t.turn.counts]
    times = sorted(seconds for seconds in heard if seconds is not None)
    lost = len(turns) - len(times)
    parts = [f'<span class="bad">{lost} without a reply</span>'] if lost else []
    if times:
        more = f"{times[0]:.2f} to " if len(times) > 1 else ""
        parts.append(f"{more}{times[-1]:.2f} s")
    return ", ".join(parts)


def _bar(told: ToldTurn, look: _Look) -> str:
    """The path as a bar on the axis of all turns, and the colour of its subject before it."""
    spot = f'<i class="s{look.places.get(told.subject, 0) % 6}"></i>'
    if not told.turn.counts:
        return f'<span class="path">{spot}<i class="none"></i></span>'
    pieces, at = [], 0.0
    for kind, end_s in _pieces(told, look.end_s):
        width = 100 * (end_s / look.end_s - at)
        at += width / 100
        pieces.append(f'<i class="k-{kind}" style="width:{width:.1f}%"></i>')
    more = "<i>→</i>" if (told.turn.voice_to_voice_s or 0.0) > look.end_s * 1.001 else ""
    return f'<span class="path">{spot}{"".join(pieces)}{more}</span>'


def _pieces(told: ToldTurn, end_s: float) -> list[tuple[SpanKind, float]]:
    """Where each stretch of one kind ends; slivers belong to what comes before them."""
    pieces: list[tuple[SpanKind, float]] = []
    for span in told.turn.spans:
        until_s = min(span.end_s, end_s)
        short = span.duration_s < _LEAST_SHARE * end_s
        if pieces and (short or pieces[-1][0] == span.kind):
            pieces[-1] = (pieces[-1][0], until_s)
        elif span.start_s < end_s:
            pieces.append((span.kind, until_s))
    return pieces


def _told(told: ToldTurn, look: _Look) -> str:
    turn = told.turn
    tone = "" if turn.counts else " class=bad"
    wer = f", WER {amount(told.wer, 'ratio')}" if told.wer is not None else ""
    name = f"{swatch(look.places.get(told.subject, 0))}{breakable(told.subject)}"
    head = (
        f"<p class=who>{name} #{told.repeat}{wer} <b{tone}>{escaped(ending(turn), most=80)}</b></p>"
    )
    said = "".join(
        f"<dt>{what}</dt><dd>{text}</dd>"
        for what, text in (
            ("You", cut(turn.transcript, look.most)),
            *((escaped(w, most=40), cut(text, look.most // 2)) for w, text in turn.context[:3]),
            ("Reply", cut(turn.reply, look.most)),
        )
        if text
    )
    sound = _sound(turn, look, "reply")
    track = f"<p class=track>{_stages(turn.spans)}{escaped(turn.track_id, most=200)}</p>"
    return f"{head}<dl>{said}</dl>{_error(told, look.most)}{sound}{track}"


def _sound(turn: TurnReport, look: _Look, what: str) -> str:
    """A player; where the sound lies in the page already, a link to it."""
    wav, file = (
        (turn.question_wav, turn.question_file)
        if what == "question"
        else (turn.reply_wav, turn.reply_file)
    )
    if wav and turn.track_id in look.noted:
        return f'<p class=small><a href="#turns-of-note">Hear the {what} above</a></p>'
    return audio_html(wav, file, what)


def _stages(spans: Sequence[Span]) -> str:
    totals = stage_totals(spans)
    told = (
        f"{shortened(component, 40)} {kind} {ms_text(seconds)}"
        for (component, kind), seconds in totals.items()
        if seconds >= _SHOWN_S
    )
    text = ", ".join(told)
    return f"{escaped(text, most=600)}<br>" if text else ""


def _error(told: ToldTurn, most: int) -> str:
    if not told.turn.error:
        return ""
    code, message = (told.turn.error.get(key, "") for key in ("code", "message"))
    return f"<p class=bad><code>{escaped(code, most=80)}</code> {cut(message, most)}</p>"
