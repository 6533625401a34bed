"""Phrases: a short first one, whole sentences after it, and not a word lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlab.chunks import Reply
from turnlab.phrases import Phrasing, phrases, speakable


async def pieces(text: str, size: int) -> AsyncIterator[Reply]:
    for start in range(0, len(text), size):
        yield Reply(text=text[start : start + size])


async def cut(text: str, size: int = 3, phrasing: Phrasing | None = None) -> list[str]:
    return [phrase async for phrase in phrases(pieces(text, size), phrasing or Phrasing())]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Of course, I can help you with that. Tell me more.", "Of course,"),
        ("The sky is blue because of a process called scattering.", "The sky is blue"),
        ("Paris. It lies on the Seine.", "Paris. It lies on the Seine."),
        ("That is how it should be. Always.", "That is how it should be."),
        ("Mr. Smith lives here, in this street.", "Mr. Smith lives here,"),
        ("It costs 1,000 dollars, more or less.", "It costs 1,000 dollars,"),
        ("It is in the house.", "It is in the house."),
    ],
)
async def test_the_first_phrase_is_short_but_whole(text: str, first: str) -> None:
    assert (await cut(text))[0] == first


async def test_later_phrases_are_whole_sentences() -> None:
    found = await cut("Well now, this one, which is long, goes on. And this, too, is one piece.")
    assert found == [
        "Well now,",
        "this one, which is long, goes on.",
        "And this, too, is one piece.",
    ]


async def test_a_first_phrase_without_marks_ends_at_a_word_that_does_not_cling() -> None:
    found = await cut("A very large green happy dancing elephant walked quietly past the house.")
    assert found[0] == "A very large green happy dancing elephant walked"


async def test_without_a_limit_the_first_phrase_waits_for_a_mark() -> None:
    text = "The sky is blue because of a process called scattering. Yes."
    found = await cut(text, phrasing=Phrasing(first_limit=0))
    assert found[0] == "The sky is blue because of a process called scattering."


async def test_nothing_is_spoken_of_nothing() -> None:
    assert await cut("  \n ") == []


@given(text=st.text(alphabet="abc ,.!?\n'1-", max_size=120), size=st.integers(1, 9))
async def test_no_word_is_lost_or_changed(text: str, size: int) -> None:
    found = await cut(text, size)
    assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("It is sunny, and 3.5 degrees.", "It is sunny, and 3.5 degrees."),
        ("**Bold**, and *this* too.", "Bold, and this too."),
        ("## Title", "Title"),
        ("Call `some_name` or [this](that).", "Call some name or this (that)."),
        ("a * b", "a b"),
        ("***", ""),
    ],
)
def test_marks_that_nobody_speaks_are_left_out(text: str, spoken: str) -> None:
    assert speakable(text) == spoken


@given(text=st.text(max_size=60))
def test_what_can_be_spoken_stays_so(text: str) -> None:
    assert speakable(speakable(text)) == speakable(text)
    assert list(filter(str.isalnum, speakable(text))) == list(filter(str.isalnum, text))
