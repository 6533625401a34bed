"""Cuts the text of a document into passages of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnlab.retrieval.stores import TextPassage

HEADING_SHARE = 0.25
"""A heading takes at most so much of a passage."""

LONGEST = 4_000
"""Characters of a sentence. What has none of its marks for longer is a table or a list of numbers;
cut here, it costs the tokenizer no memory to speak of."""

MOST_PARTS = 50
"""Abbreviations in one sentence; more are a list of them."""

# A sentence ends with its mark, what closes it, and white space; or with a CJK mark; or with an
# empty line.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])\s*|\n\s*\n")  # noqa: RUF001
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z]|e\.g|i\.e|cf|vs|Dr|Mr|Mrs|Ms|Prof|St|No|Fig|approx)\.)$")


class Tokens(Protocol):
    """What a splitter asks of an embedding model's tokenizer."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, without those that the model adds."""
        ...

    def pieces(self, text: str, limit: int) -> list[str]:
        """The text in pieces of at most `limit` tokens, cut between words where it can."""
        ...


@dataclass(frozen=True, kw_only=True)
class Section:
    """A stretch of a document under one heading, or one page of it."""

    text: str
    heading: str = ""
    """The headings above it, outermost first, joined by ` > `."""
    page: int | None = None


def passages(
    sections: Iterable[Section], source: str, tokens: Tokens, size: int, overlap: int
) -> list[TextPassage]:
    """The passages of a document: whole sentences, about `size` tokens, none across sections.

    Each begins with the last sentences of the one before it, as many as `overlap` tokens hold,
    and carries its heading on a line of its own, which counts as part of `size`. A sentence that
    is longer than a passage is cut between words.
    """
    made = []
    for section in sections:
        where = source if section.page is None else f"{source}#page={section.page}"
        heading = _heading(section.heading, tokens, int(size * HEADING_SHARE))
        room = size - sum(tokens.count([heading])) if heading else size
        for text in _packed(_sentences(section.text, tokens, room), room, overlap):
            full = f"{heading}\n{text}" if heading else text
            made.append(TextPassage(text=full, source=where))
    return made


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, white space made single."""
    held: list[str] = []
    for part in _split_after(text):
        held.append(part)
        if len(held) >= MOST_PARTS or not _ABBREVIATION.search(part[-8:]):
            yield from _cut(" ".join(held))
            held = []
    if held:
        yield from _cut(" ".join(held))


def _cut(text: str) -> Iterator[str]:
    """The text in pieces of at most LONGEST characters, cut between words where it can."""
    while len(text) > LONGEST:
        end = text.rfind(" ", 1, LONGEST)
        end = end if end > 0 else LONGEST
        yield text[:end]
        text = text[end:].lstrip()
    if text:
        yield text


def _split_after(text: str) -> Iterator[str]:
    begin = 0
    for end in _SENTENCE_END.finditer(text):
        if part := " ".join(text[begin : end.end()].split()):
            yield part
        begin = end.end()
    if part := " ".join(text[begin:].split()):
        yield part


def _heading(heading: str, tokens: Tokens, limit: int) -> str:
    """The heading, its innermost end if it is too long."""
    if not heading or limit < 1:
        return ""
    pieces = tokens.pieces(heading, limit)
    return pieces[-1] if pieces else ""


def _sentences(text: str, tokens: Tokens, limit: int) -> list[tuple[str, int]]:
    """Sentences with their tokens, none longer than `limit`."""
    whole = list(sentences(text))
    sized: list[tuple[str, int]] = []
    for sentence, count in zip(whole, tokens.count(whole), strict=True):
        if count <= limit:
            sized.append((sentence, count))
        else:
            pieces = tokens.pieces(sentence, limit)
            sized.extend(zip(pieces, tokens.count(pieces), strict=True))
    return sized


def _packed(sized: Sequence[tuple[str, int]], size: int, overlap: int) -> Iterator[str]:
    """As many sentences as fit, then the next ones, which begin with the end of those."""
    held: list[tuple[str, int]] = []
    fresh = False
    for sentence, count in sized:
        if fresh and sum(n for _, n in held) + count > size:
            yield " ".join(text for text, _ in held)
            held, fresh = _tail(held, min(overlap, size - count)), False
        held.append((sentence, count))
        fresh = True
    if fresh:
        yield " ".join(text for text, _ in held)


def _tail(held: Sequence[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    """The last sentences that `limit` tokens hold."""
    total = 0
    for index in range(len(held) - 1, -1, -1):
        total += held[index][1]
        if total > limit:
            return list(held[index + 1 :])
    return list(held)
