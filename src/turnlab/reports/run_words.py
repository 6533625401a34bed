"""The sentences on top of the report on a Run, for the page and for Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from turnlab.reports.run_report import Figure, Ruling, SubjectReport
from turnlab.reports.run_values import amount, known

UNMEASURED = "undecided"
"""What an outcome is called where there is no figure: more turns alone would not give one."""

OUTCOMES = {"pass": "pass", "fail": "fail", "undecided": "too few turns"}
"""What each other outcome is called."""

SIGNS = {"pass": "✓", "fail": "✕", "undecided": "?"}
"""Of each outcome, so that its colour need not be seen."""


def outcome_of(rulings: Sequence[Ruling]) -> str:
    """Of all limits together: fail if one fails, undecided if one is, else pass."""
    found = {ruling.outcome for ruling in rulings}
    return next((each for each in ("fail", "undecided", "pass") if each in found), "")


def unmeasured(ruling: Ruling) -> bool:
    """Whether a limit is undecided since there is no figure, however many turns there are."""
    return ruling.outcome == "undecided" and ruling.figure.value is None


def word_of(rulings: Sequence[Ruling]) -> str:
    """What to call the outcome of one limit, or of all of a subject together."""
    outcome = outcome_of(rulings)
    if outcome == "undecided" and any(map(unmeasured, rulings)):
        return UNMEASURED
    return OUTCOMES.get(outcome, outcome)


def headline(subjects: Sequence[SubjectReport], rulings: Sequence[Ruling]) -> str:
    """The answer in a sentence: which subjects are acceptable, or else how fast they are."""
    judged = {s.name: [r for r in rulings if r.subject == s.name] for s in subjects}
    judged = {name: own for name, own in judged.items() if own}
    if not subjects:
        return "Nothing was measured."
    if not judged:
        return _medians(subjects)
    if len(judged) == 1:
        ((name, own),) = judged.items()
        return _one(name, own)
    return _several(judged)


def _one(name: str, rulings: Sequence[Ruling]) -> str:
    broken = [ruling.limit for ruling in rulings if ruling.outcome == "fail"]
    match outcome_of(rulings):
        case "pass":
            return f"Acceptable: {name} keeps {_all(rulings)}."
        case "fail" if len(broken) == 1:
            return f"Not acceptable: {name} breaks {broken[0]}."
        case "fail":
            return f"Not acceptable: {name} breaks {len(broken)} of {len(rulings)} limits."
        case _ if absent := [ruling for ruling in rulings if unmeasured(ruling)]:
            return f"Undecided whether {name} keeps {_all(rulings)}: {_why(absent[0])}."
        case _:
            return f"Too few turns to tell whether {name} keeps {_all(rulings)}."


def _why(ruling: Ruling) -> str:
    return ruling.figure.why or f"there is no figure of {ruling.metric}"


def _all(rulings: Sequence[Ruling]) -> str:
    return rulings[0].limit if len(rulings) == 1 else f"all {len(rulings)} limits"


def _several(judged: dict[str, list[Ruling]]) -> str:
    by = {name: outcome_of(rulings) for name, rulings in judged.items()}
    absent = [each for own in judged.values() for each in own if unmeasured(each)]
    if set(by.values()) == {"undecided"}:
        whether = f"whether any of {len(by)} is acceptable"
        if absent:
            return f"Undecided {whether}: {_why(absent[0])}."
        return f"Too few turns to tell {whether}."
    good = [name for name, outcome in by.items() if outcome == "pass"]
    counted = Counter(by.values())
    told = f"{len(good) or 'None'} of {len(by)} {'are' if len(good) > 1 else 'is'} acceptable"
    if counted["undecided"] and not good:
        told += " so far"
    names = [", ".join(good)] if good else []
    verb = "break" if counted["fail"] > 1 else "breaks"
    broken = [f"{counted['fail']} not" if good else f"{counted['fail']} {verb} a limit"]
    told_of = "is undecided" if counted["undecided"] == 1 else "are undecided"
    doubt = [f"of {counted['undecided']} there are too few turns to tell"]
    if any(word_of(own) == UNMEASURED for own in judged.values()):
        doubt = [f"{counted['undecided']} {told_of}"]
    parts = names + broken * bool(counted["fail"]) + doubt * bool(counted["undecided"])
    return f"{told}: {'; '.join(parts)}."


def _medians(subjects: Sequence[SubjectReport]) -> str:
    """What was measured, without a claim: whether a difference is one is for the comparison."""
    found = [(known(_median(each).value), each.name) for each in subjects]
    heard = sorted((value, name) for value, name in found if value is not None)
    if not heard:
        return "No turn was answered with a sound."
    (low, first), (high, last) = heard[0], heard[-1]
    if len(heard) == 1:
        return f"{first} answers within {amount(low, 's')} at the median."
    told = f"{amount(low, 's')} ({first}) to {amount(high, 's')} ({last})"
    return f"Medians of voice to voice: {told}."


def _median(subject: SubjectReport) -> Figure:
    return subject.figures.get("voice_to_voice.p50", Figure(value=None))
