"""Cuts a reply into phrases to speak while it is still being written."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from turnlab.chunks import Reply

_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "no", "inc"}
    | {"ltd", "co", "mt", "approx", "dept", "fig", "u.s", "a.m", "p.m"}
)

_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*(?=\s)|\n+")
_CLAUSE_END = re.compile(r"(?:[,;:]+[\"')\]]*|\s[-\u2013\u2014])(?=\s)")

_EAGER_END = re.compile(r"(?<=[^\W\d_]{2})[.!?,;:]$")
"""An end that is taken for one before the next character is known: it follows a word."""

_CONNECTIVES = frozenset(
    {"and", "but", "or", "so", "because", "that", "which", "who", "when", "where", "while", "if"}
    | {"as", "with", "for", "from", "in", "on", "at", "by", "to", "about", "into", "through"}
    | {"during", "than", "until", "before", "after", "over", "under", "without", "between"}
)
"""Words before which a phrase may end without punctuation and still sound natural."""

_CLINGING = _CONNECTIVES | frozenset(
    {
        "of",
        "a",
        "an",
        "the",
        "this",
        "these",
        "those",
        "my",
        "your",
        "his",
        "her",
        "its",
        "our",
        "their",
    }
    | {"is", "are", "was", "were", "be", "can", "could", "will", "would", "should", "may", "might"}
    | {"not", "very", "no", "i", "you", "he", "she", "it", "we", "they", "some", "any", "it's"}
)
"""Words that a phrase may not end with, since they belong to what follows."""

_MARK = r"[*_#`~|<>\[\]{}\\]"
_MARKS = re.compile(f"{_MARK}+")
_MARKS_AT_AN_END = re.compile(rf"(?<!{_MARK}){_MARK}+(?=[\s.,;:!?\u2026]|$)")
_BLANKS = re.compile(r" {2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasing:
    """How a reply is cut. The first phrase is short, so that the first sound comes early."""

    first_words: int = 2
    """A clause of at least so many words may be the first phrase."""
    first_limit: int = 4
    """From so many words on the first phrase may end before a connective; 0: never. From twice
    as many on it may end after any word that does not cling to the next."""
    later_words: int = 4
    """Later phrases are whole sentences of at least so many words; shorter ones are joined."""


@dataclass(slots=True)
class _Cutter:
    phrasing: Phrasing
    text: str = ""
    first: bool = True

    def cut(self) -> str | None:
        """The next phrase if one is complete."""
        end = self._first_end() if self.first else self._later_end()
        if end is None:
            return None
        phrase, self.text = self.text[:end], self.text[end:]
        self.first = False
        return phrase

    def _first_end(self) -> int | None:
        # Waiting for the next character would cost the time of one token.
        patterns = (_SENTENCE_END, _CLAUSE_END, _EAGER_END)
        for end in sorted(end for pattern in patterns for end in _ends(pattern, self.text)):
            if _words(self.text[:end]) >= self.phrasing.first_words:
                return end
        return self._without_mark() if self.phrasing.first_limit else None

    def _without_mark(self) -> int | None:
        for word in re.finditer(r"\s+([\w'\u2019]+)(?=\W)", self.text):
            before = self.text[: word.start()].split()
            limit = self.phrasing.first_limit * (1 if word[1].lower() in _CONNECTIVES else 2)
            if len(before) >= limit and before[-1].lower() not in _CLINGING:
                return word.start()
        return None

    def _later_end(self) -> int | None:
        for end in _ends(_SENTENCE_END, self.text):
            if _words(self.text[:end]) >= self.phrasing.later_words:
                return end
        return None


async def phrases(reply: AsyncIterator[Reply], phrasing: Phrasing) -> AsyncIterator[str]:
    """The reply's text in phrases, in order, nothing lost but the white space between them."""
    cutter = _Cutter(phrasing)
    async for piece in reply:
        cutter.text += piece.text
        while (phrase := cutter.cut()) is not None:
            if phrase.strip():
                yield phrase.strip()
    if cutter.text.strip():
        yield cutter.text.strip()


def speakable(text: str) -> str:
    """`text` without the marks that nobody speaks, such as those of `**bold**` or `# Title`.

    Marks between two words leave a blank, others nothing.
    """
    return _BLANKS.sub(" ", _MARKS.sub(" ", _MARKS_AT_AN_END.sub("", text))).strip()


def _ends(pattern: re.Pattern[str], text: str) -> list[int]:
    return [m.end() for m in pattern.finditer(text) if not _abbreviated(text[: m.end()])]


def _abbreviated(text: str) -> bool:
    """Whether the full stop that ends `text` ends an abbreviation or an initial, no sentence."""
    words = text.split()
    if not words or not text.endswith("."):
        return False
    word = words[-1].rstrip(".").lower().lstrip("\"'(")
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i")


def _words(text: str) -> int:
    return len(re.findall(r"\w+(?:['\u2019]\w+)*", text))
