"""One turn of the page: what was said, its waterfall, its Tasks, and its sound."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from turnlab.reports.rows import cost_text, ending
from turnlab.reports.tables import tasks_html
from turnlab.reports.turn import TurnReport
from turnlab.reports.waterfall import waterfall_svg
from turnlab.reports.words import escaped


def turns_html(turns: Sequence[TurnReport], audio_limit_bytes: int) -> Iterator[str]:
    """A `<details>` per turn; sound is embedded until `audio_limit_bytes` are spent."""
    left = audio_limit_bytes
    for turn in turns:
        size = len(turn.question_wav or b"") + len(turn.reply_wav or b"")
        yield turn_html(turn, embed=size <= left)
        left -= size if size <= left else 0


def turn_html(
    turn: TurnReport, *, embed: bool = True, name: str = "", note: str = "", shown: bool = False
) -> str:
    """A turn with all its details, folded unless `shown`.

    `name` and `note` stand in its heading for its own name and for how it was run; `embed`
    allows its sound in the page.
    """
    how = escaped(note or ", ".join(filter(None, (turn.mode, turn.pace))), most=200)
    end = escaped(ending(turn), most=120)
    tone = "" if turn.counts else ' class="bad"'
    summary = (
        f'<summary><b>{escaped(name or turn.name, most=120)}</b> <span class="soft">{how}</span>'
        f"<span{tone}>{end}</span></summary>"
    )
    parts = [_said(turn, embed), _outcome(turn), waterfall_svg(turn), tasks_html(turn)]
    track = f'<p class="soft small">{escaped(turn.track_id, most=200)}</p>'
    opened = " open" if shown else ""
    return f'<details{opened}>{summary}<div class="turn">{"".join(parts)}{track}</div></details>'


def _said(turn: TurnReport, embed: bool) -> str:
    question = audio_html(turn.question_wav if embed else None, turn.question_file, "question")
    reply = audio_html(turn.reply_wav if embed else None, turn.reply_file, "reply")
    if not embed and not (turn.question_file or turn.reply_file):
        reply = '<p class="soft small">The sound was left out to keep this page small.</p>'
    rows = ((escaped(what), escaped(text, most=2000)) for what, text in turn.context)
    context = "".join(f"<dt>{what}</dt><dd>{text}</dd>" for what, text in rows)
    return (
        f"<dl><dt>You</dt><dd>{escaped(turn.transcript) or '–'}{question}</dd>{context}"  # noqa: RUF001
        f"<dt>Reply</dt><dd>{escaped(turn.reply) or '–'}{reply}</dd></dl>"  # noqa: RUF001
    )


def audio_html(wav: bytes | None, file: str, what: str) -> str:
    """A player: of the bytes where there are any, else of a file beside the page."""
    if wav:
        source, link = f"data:audio/wav;base64,{base64.b64encode(wav).decode()}", ""
    elif file:
        # "./" and the quoting make any name a path, never a URL with a scheme or a host.
        source = escaped("./" + quote(file.lstrip("/\\")))
        link = f' <a href="{source}">{escaped(file, most=120)}</a>'
    else:
        return ""
    player = f'<audio controls preload="none" aria-label="{escaped(what)}" src="{source}"></audio>'
    return f'<div class="sound">{player}{link}</div>'


def _outcome(turn: TurnReport) -> str:
    parts = []
    if turn.error:
        code, message = (escaped(turn.error.get(key, ""), most=2000) for key in ("code", "message"))
        parts.append(f'<p class="bad"><code>{code}</code> {message}</p>')
    if turn.charged:
        parts.append(f"<p>{escaped(cost_text(turn))}</p>")
    if turn.verdict:
        outcome = escaped(turn.verdict.get("outcome", ""), most=40)
        sentence = escaped(turn.verdict.get("sentence", ""), most=2000)
        parts.append(f"<p><b>{outcome}</b> {sentence}</p>")
    return "".join(parts)
