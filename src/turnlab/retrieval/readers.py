"""Reads the text out of a document: plain text, Markdown, HTML, PDF."""

from __future__ import annotations

import codecs
import io
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from turnlab.errors import DocumentTooLarge, InvalidDocument, TurnlabError
from turnlab.retrieval.html_text import html_sections
from turnlab.retrieval.limits import Limits
from turnlab.retrieval.splitting import Section

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_FRONT_MATTER = re.compile(r"\A---\n.*?^---\s*$\n?", re.DOTALL | re.MULTILINE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_:-]{1,40})""", re.I)
_CHARSETS = re.compile(r"utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d|latin-?1", re.I)


def read_sections(suffix: str, data: bytes, limits: Limits) -> list[Section]:
    """The text of a document of a kind in SUFFIXES, under its headings.

    Raises InvalidDocument if `data` is not of that kind, is encrypted or holds no text;
    DocumentTooLarge if its text or its pages are more than `limits`.
    """
    try:
        read = [_clean(each) for each in READERS[suffix](data, limits)]
    except TurnlabError:
        raise
    except Exception as error:  # what a broken file makes a parser raise is anybody's guess
        reason = f"{type(error).__name__}: {error}"[:200]
        raise InvalidDocument(f"It is broken ({reason}); export it anew.") from error
    sections = [each for each in read if each.text.strip()]
    if not sections:
        raise InvalidDocument("It holds no text; a scan has to go through text recognition first.")
    _check_length(sum(len(each.text) for each in sections), limits)
    return sections


def _text(data: bytes, limits: Limits) -> Iterator[Section]:
    yield Section(text=_decoded(data, limits))


def _markdown(data: bytes, limits: Limits) -> Iterator[Section]:
    from markdown_it import MarkdownIt

    text = _FRONT_MATTER.sub("", _decoded(data, limits).replace("\r\n", "\n"))
    # Rendered to HTML, whatever a Markdown file holds, HTML included, is read in one way.
    return html_sections(MarkdownIt("commonmark").enable("table").render(text))


def _html(data: bytes, limits: Limits) -> Iterator[Section]:
    declared = _CHARSET.search(data[:2048])
    charset = declared[1].decode("ascii") if declared else "utf-8"
    if not _CHARSETS.fullmatch(charset):
        raise InvalidDocument(f"Its character set {charset!r} is not known; save it as UTF-8.")
    return html_sections(_decoded(data, limits, charset))


def _pdf(data: bytes, limits: Limits) -> Iterator[Section]:
    import pypdf

    # It warns of every oddity of a file; a failure is raised, and nobody reads the rest.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    if not data.lstrip()[:5] == b"%PDF-":
        raise InvalidDocument("It is not a PDF, whatever its name says; convert it.")
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        raise InvalidDocument("It is encrypted; save it without a password.")
    yield from _pages(reader, limits)


def _pages(reader: object, limits: Limits) -> Iterator[Section]:
    pages = reader.pages  # type: ignore[attr-defined]
    if len(pages) > limits.pdf_pages:
        raise DocumentTooLarge(f"It has {len(pages):,} pages; {limits.pdf_pages:,} are the most.")
    end_s = time.monotonic() + limits.pdf_seconds
    length = 0
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        yield Section(text=text, page=number)
        length += len(text)
        if length > limits.document_characters or time.monotonic() > end_s:
            raise DocumentTooLarge(
                f"Its text is too much at page {number} of {len(pages)}; split it."
            )


def _decoded(data: bytes, limits: Limits, charset: str = "utf-8") -> str:
    """The text. Raises InvalidDocument if it is none, rather than guess what it could be.

    Its length is checked before it is taken apart, which takes time.
    """
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), charset)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"It is not {encoding} text; save it as UTF-8.") from error
    if "\0" in text:
        raise InvalidDocument("It is a binary file, not text.")
    _check_length(len(text), limits)
    return text


def _check_length(length: int, limits: Limits) -> None:
    if length > limits.document_characters:
        most = limits.document_characters
        raise DocumentTooLarge(f"Its text is longer than {most:,} characters; split it.")


def _clean(section: Section) -> Section:
    """Without control characters, and without lone surrogates, which no database takes."""
    text, heading = (
        _CONTROLS.sub(" ", each).encode("utf-8", "replace").decode()
        for each in (section.text, section.heading)
    )
    return replace(section, text=text, heading=heading)


READERS: dict[str, Callable[[bytes, Limits], Iterator[Section]]] = {
    ".txt": _text,
    ".text": _text,
    ".md": _markdown,
    ".markdown": _markdown,
    ".htm": _html,
    ".html": _html,
    ".pdf": _pdf,
}
"""By the end of a file's name, in small letters."""
