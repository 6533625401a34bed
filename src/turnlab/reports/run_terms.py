"""Names of metrics that tell what they mean: a tip, and a link to the notes at the end."""

from __future__ import annotations

from collections.abc import Mapping

from turnlab.reports.run_report import Meaning
from turnlab.reports.run_values import title_of
from turnlab.reports.words import escaped


def term(name: str, meanings: Mapping[str, Meaning], label: str = "") -> str:
    """A figure's name as a link to its note, with its formula as a tip."""
    told = escaped(label or title_of(name, meanings), most=120)
    meaning = meanings.get(name)
    if meaning is None:
        return told
    tip = escaped(meaning.formula)
    return f'<a class="term" href="#{anchor(meaning.of)}" title="{tip}">{told}</a>'


def breakable(text: str, *, most: int = 1_000) -> str:
    """The text escaped, with a place for a line break after each underscore of a long name."""
    return escaped(text, most=most).replace("_", "_<wbr>")


def anchor(metric: str) -> str:
    """Where on the page the metric's note is."""
    return "m-" + "".join(each if each.isalnum() else "-" for each in metric)


def notes_html(meanings: Mapping[str, Meaning]) -> str:
    """What each metric means, once."""
    own = {meaning.of: meanings.get(meaning.of, meaning) for meaning in meanings.values()}
    rows = (
        f'<div id="{anchor(name)}"><dt>{escaped(meaning.title)} <code>{escaped(name)}</code></dt>'
        f"<dd>{escaped(meaning.formula)}</dd></div>"
        for name, meaning in own.items()
    )
    return f'<dl class="facts notes">{"".join(rows)}</dl>' if own else ""
