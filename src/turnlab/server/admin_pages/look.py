"""How the admin shows moments, durations, states and links: the same everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from turnlab.reports.words import clean, shortened

NOTHING = "–"  # noqa: RUF001


class State(StrEnum):
    """How good something is; the word is always shown beside its colour."""

    GOOD = "good"
    BUSY = "busy"
    ATTENTION = "attention"
    BAD = "bad"
    QUIET = "quiet"


STATUS = {
    "pending": State.ATTENTION,
    "started": State.BUSY,
    "completed": State.GOOD,
    "failed": State.BAD,
    "cancelled": State.QUIET,
}


def badge(word: str, state: State) -> SafeString:
    """A word on the colour of its state."""
    return format_html('<span class="badge {}">{}</span>', state, word)


def status_badge(status: str) -> SafeString:
    """The status of a Track or a Task."""
    return badge(status, STATUS.get(status, State.QUIET))


def moment(at: datetime | None) -> str | SafeString:
    """A moment in UTC, to the second."""
    if at is None:
        return NOTHING
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def lasting(seconds: float | None) -> str:
    """A duration of any size for people, such as `3.2 s`, `14 min` or `2 d 3 h`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = (int(seconds // each) for each in (60, 3600, 86_400))
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def ago(at: datetime | None, now: datetime | None = None) -> str | SafeString:
    """How long ago a moment was, with the moment itself as a tip."""
    if at is None:
        return NOTHING
    seconds = max(0.0, ((now or datetime.now(UTC)) - at).total_seconds())
    words = "just now" if seconds < 1 else f"{lasting(seconds)} ago"
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), at, words)


def wrapping(name: str) -> SafeString:
    """A name with underscores, such as a Cluster's, that may be broken after each of them."""
    return format_html_join(mark_safe("_<wbr>"), "{}", ((part,) for part in name.split("_")))


def link(name: str, words: object, *args: str, tip: str = "") -> SafeString:
    """A link to the admin's page `name`."""
    address = reverse(f"admin:{name}", args=args)
    return format_html('<a href="{}" title="{}">{}</a>', address, tip, words)


def track_link(track_id: str, words: str = "") -> SafeString:
    """A link to the page of a Track, by default called by the last of its digits."""
    return link("turnlab_track_change", words or track_id[-8:], track_id, tip=track_id)


def mebibytes(size: float) -> str:
    """A number of bytes for people, such as `3.4 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def pretty(value: Any) -> SafeString | str:
    """JSON, indented."""
    if not value:
        return NOTHING
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    lines = (clean_line(line) for line in text.splitlines())
    return format_html("<pre>{}</pre>", shortened("\n".join(lines), 40_000))


def clean_line(line: str) -> str:
    """A line without what no reader should be sent; its indentation stays."""
    bare = line.lstrip(" ")
    return " " * (len(line) - len(bare)) + clean(bare)
