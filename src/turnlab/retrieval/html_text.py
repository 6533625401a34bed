"""The text of an HTML page under its headings, with nothing of its scripts and styles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from turnlab.retrieval.splitting import Section

_UNSEEN = frozenset(("script", "style", "template", "noscript", "svg", "math", "iframe", "object"))
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "div", "dl"),
        *("dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li", "main"),
        *("nav", "ol", "option", "p", "pre", "section", "table", "tbody", "tfoot", "thead", "tr"),
        "ul",
    )
)
_CELLS = frozenset(("td", "th"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}

_NAME = r"/?[A-Za-z][A-Za-z0-9:-]*"
_MARKUP = re.compile(
    rf"""<({_NAME})(?:[^<>"']|"[^"<]*"|'[^'<]*')*>|<({_NAME})[^<>]*>|<[!?][^<>]*>|<"""
)
_HIDDEN = re.compile(r"<!--|<(script|style)(?=[\s/>])(?![^<>]*/>)", re.I)
_ENDS = {
    "": re.compile("-->"),
    **{kind: re.compile(rf"</{kind}(?=[\s/>])[^<>]*>", re.I) for kind in ("script", "style")},
}
_UNSEEN_TAGS = re.compile(rf"<(/?)({'|'.join(sorted(_UNSEEN))})>", re.I)


def html_sections(text: str) -> Iterator[Section]:
    """One Section a heading; text before the first one stands under the page's title."""
    page = _Page()
    page.feed(_tamed(text))
    page.close()
    page.end_section()
    return iter(page.sections)


def _tamed(text: str) -> str:
    """The page with bare tags only: no scripts, comments, attributes, nothing left open.

    html.parser looks for the ends of such things again and again: a file made of them, smaller
    than a photograph, kept it busy for minutes.
    """
    return _closed(_MARKUP.sub(_bare, _uncommented(text)))


def _uncommented(text: str) -> str:
    """The page without comments, scripts and styles, whichever begins first: they hold each other.

    A comment that never ends is taken to end at its next `>`; scripts and styles that never end
    are left to `_closed`. Each end is sought forwards only, and not again once there is none.
    """
    kept, at, endless = [], 0, set()
    while begin := _HIDDEN.search(text, at):
        kind = (begin[1] or "").lower()
        kept.append(text[at : begin.start()])
        end = None if kind in endless else _ENDS[kind].search(text, begin.start() + 2)
        if end:
            at = end.end()
            continue
        endless.add(kind)
        if kind:
            kept.append(begin[0])
            at = begin.end()
        else:
            at = text.find(">", begin.end()) + 1 or len(text)
    kept.append(text[at:])
    return "".join(kept)


def _closed(page: str) -> str:
    """The page less the tags of unseen elements that have no partner: they would hide the rest."""
    waiting: dict[str, list[int]] = {}
    for tag in _UNSEEN_TAGS.finditer(page):
        opened = waiting.setdefault(tag[2].lower(), [])
        if not tag[1]:
            opened.append(tag.start())
        elif opened:
            opened.pop()
    alone = set().union(*waiting.values())
    return _UNSEEN_TAGS.sub(lambda tag: "" if tag.start() in alone else tag[0], page)


def _bare(markup: re.Match[str]) -> str:
    if name := markup[1] or markup[2]:
        return f"<{name}/>" if markup[0].endswith("/>") else f"<{name}>"
    return "&lt;" if markup[0] == "<" else ""


class _Page(HTMLParser):
    """Gathers text, block by block; a block ends with an empty line, which ends a sentence."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = []
        self._text: list[str] = []
        self._heading: list[str] = []
        self._headings: dict[int, str] = {}
        self._level: int | None = None
        """Of the heading that is being read; 0 for the title."""
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen:
            if tag == self._unseen[0]:
                self._unseen.append(tag)
        elif tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag in _HEADINGS or tag == "title":
            self._begin_heading(_HEADINGS.get(tag, 0))
        elif tag in _BLOCKS:
            self._add("\n\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN:  # <svg/> hides nothing
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag == self._unseen[0]:
                self._unseen.pop()
        elif tag in _HEADINGS or tag == "title":
            self._end_heading()
        elif tag in _BLOCKS:
            self._add("\n\n")
        elif tag in _CELLS:
            self._add(" ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._add(data)

    def end_section(self) -> None:
        """Take what was gathered as a Section."""
        self._end_heading()
        if text := "".join(self._text).strip():
            heading = " > ".join(self._headings[level] for level in sorted(self._headings))
            self.sections.append(Section(text=text, heading=heading))
        self._text = []

    def _add(self, text: str) -> None:
        (self._text if self._level is None else self._heading).append(text)

    def _begin_heading(self, level: int) -> None:
        self.end_section()
        self._level = level
        self._heading = []

    def _end_heading(self) -> None:
        """A heading stands until the next of its level or of a higher one."""
        if self._level is None:
            return
        level, self._level = self._level, None
        heading = " ".join("".join(self._heading).split())
        self._headings = {at: text for at, text in self._headings.items() if at < level}
        # A page mostly repeats its title as its first heading.
        if heading and heading not in self._headings.values():
            self._headings[level] = heading
