"""Documents: what is read of each kind, what is refused, and how text is cut into passages."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlab.errors import DocumentTooLarge, InvalidDocument, TurnlabError, UnreadableFile
from turnlab.retrieval.documents import find_documents, read_document, resolve
from turnlab.retrieval.limits import Limits
from turnlab.retrieval.readers import read_sections
from turnlab.retrieval.splitting import LONGEST, Section, passages, sentences

pypdf = pytest.importorskip("pypdf", reason="pip install 'turnlab[rag]'")
pytest.importorskip("markdown_it", reason="pip install 'turnlab[rag]'")


class Words:
    """A tokenizer to which each word is a token."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def pieces(self, text: str, limit: int) -> list[str]:
        words = text.split()
        return [" ".join(words[at : at + limit]) for at in range(0, len(words), limit)]


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text a page."""
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): font})
    for text in pages:
        page = writer.add_blank_page(400, 400)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = stream
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def read(suffix: str, data: bytes | str, limits: Limits | None = None) -> list[Section]:
    raw = data.encode() if isinstance(data, str) else data
    return read_sections(suffix, raw, limits or Limits())


def test_markdown_keeps_its_words_and_its_headings() -> None:
    text = (
        "---\ntitle: hidden\n---\nBefore.\n\n# Tea\n\nIntro *with* [a link](http://x.example).\n\n"
        "## Green\n\n- 70 degrees\n- two minutes\n\n# Coffee\n\n| a | b |\n|---|---|\n| c | d |\n"
    )
    found = [(each.heading, " ".join(each.text.split())) for each in read(".md", text)]
    assert found == [
        ("", "Before."),
        ("Tea", "Intro with a link."),
        ("Tea > Green", "70 degrees two minutes"),
        ("Coffee", "a b c d"),
    ]


def test_html_is_read_as_a_person_sees_it() -> None:
    page = (
        "<html><head><title>Birds</title><style>p{}</style></head><body><script>alert(1)</script>"
        "<h1>Birds</h1><p>Penguins &amp; puffins<br>swim.</p><svg><text>no</text></svg>"
        "<h2>Food</h2><p>Fi<b>sh</b></p><h1>Trees</h1><p>Oaks.</p></body></html>"
    )
    found = [(each.heading, " ".join(each.text.split())) for each in read(".html", page)]
    assert found == [
        ("Birds", "Penguins & puffins swim."),
        ("Birds > Food", "Fish"),
        ("Birds > Trees", "Oaks."),
    ]


def test_html_is_decoded_as_it_declares() -> None:
    page = '<meta charset="iso-8859-1"><p>café</p>'.encode("latin-1")
    assert read(".htm", page)[0].text == "café"
    with pytest.raises(InvalidDocument, match="UTF-8"):
        read(".html", b'<meta charset="rot13"><p>x</p>')


def test_markup_that_is_no_page_reads_as_what_is_in_it() -> None:
    page = "<p title='a > b'>1 < 2 &amp; <!-- <b>no</b> -->3 <3</p><![x><p id=it's>end<!-- open"
    assert " ".join(read(".html", page)[0].text.split()) == "1 < 2 & 3 <3 end"


@pytest.mark.parametrize(
    "part",
    [
        *("<a ", "<", "<![", "</", "<a x='' y='>", "<!--", "<a " + "='" * 500),
        *("<script>", "<script ", "<script><!--", "</style", "<style></script>", "<object>"),
    ],
)
def test_markup_that_never_ends_is_read_in_time(part: str) -> None:
    read(".html", "text " + part * (600_000 // len(part)))


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ('before<script>var open="<!--";</script> after', "before after"),
        ("before<style>a<!--</style> between<STYLE >--></STYLE > after", "before between after"),
        ("<!-- <script> --> before<script>x()</script> after", "before after"),
        ("before<!-- never ended > after", "before after"),
        ("before<!--> between<!---> after", "before between after"),
        ("before <object data=x>or so, after", "before or so, after"),
        ("<svg>no</svg>before<object><object>no</object> after", "before after"),
        ("before<script src='x'/> between <script>after", "before between after"),
    ],
)
def test_nothing_that_can_be_seen_is_lost_behind_what_cannot(page: str, seen: str) -> None:
    assert " ".join(read(".html", page)[0].text.split()) == seen


def test_a_pdf_is_read_page_by_page() -> None:
    found = read(".pdf", pdf("Tea is hot.", "Ice is cold."))
    assert [(each.page, each.text.strip()) for each in found] == [
        (1, "Tea is hot."),
        (2, "Ice is cold."),
    ]


def test_text_with_a_byte_order_mark_is_read() -> None:
    assert read(".txt", "grün".encode("utf-8-sig"))[0].text == "grün"
    assert read(".txt", "grün".encode("utf-16"))[0].text == "grün"


@pytest.mark.parametrize(
    ("suffix", "data", "error"),
    [
        (".txt", b"\x00\x01\x02 binary", InvalidDocument),
        (".md", b"\xff\xfe\xfa\x00\xd8", InvalidDocument),
        (".txt", "café".encode("latin-1"), InvalidDocument),
        (".txt", b" \n ", InvalidDocument),
        (".html", b"<script>only();</script>", InvalidDocument),
        (".pdf", b"no PDF at all", InvalidDocument),
        (".pdf", pdf("Tea.")[:150], InvalidDocument),
        (".pdf", b"%PDF-1.7\n" + bytes(range(256)) * 8, InvalidDocument),
        (".pdf", pdf("Secret.", password="x"), InvalidDocument),
        (".pdf", pdf(""), InvalidDocument),
        (".pdf", pdf("a", "b", "c"), DocumentTooLarge),
        (".txt", b"x " * 600, DocumentTooLarge),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_why(
    suffix: str, data: bytes, error: type[TurnlabError]
) -> None:
    with pytest.raises(error) as caught:
        read(suffix, data, Limits(pdf_pages=2, document_characters=1_000))
    assert len(caught.value.message) > 20


def test_a_document_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(100 * 1024 * 1024)  # sparse: takes no room
    with pytest.raises(DocumentTooLarge, match="32 MiB"):
        read_document(large, Limits())


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InvalidDocument):
        read_document(tmp_path / "pipe.txt", Limits())


def test_links_are_not_followed_out_of_a_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inside / "own.txt").write_text("own")
    (inside / "again.txt").symlink_to(inside / "own.txt")
    (inside / "one.txt").symlink_to(outside / "secret.txt")
    (inside / "all").symlink_to(outside)
    (inside / "nowhere.txt").symlink_to(outside / "absent.txt")
    found = {each.source: each.error for each in find_documents(inside, Limits())}
    assert set(found) == {"own.txt", "one.txt", "all"}
    assert found["own.txt"] is None
    assert isinstance(found["one.txt"], InvalidDocument)
    assert isinstance(found["all"], InvalidDocument)


def test_a_link_that_replaces_a_document_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target.txt").write_text("text")
    (tmp_path / "link.txt").symlink_to(tmp_path / "target.txt")
    with pytest.raises(UnreadableFile):
        read_document(tmp_path / "link.txt", Limits())


def test_hidden_files_and_other_kinds_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden.txt", "photo.png", "b.txt", "A.MD"):
        (tmp_path / name).write_text("text")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("text")
    assert [each.source for each in find_documents(tmp_path, Limits())] == ["A.MD", "b.txt"]


def test_a_file_that_is_named_must_be_of_a_known_kind(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("text")
    (found,) = find_documents(tmp_path / "photo.png", Limits())
    assert isinstance(found.error, InvalidDocument)


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.log").touch()
    with pytest.raises(DocumentTooLarge):
        list(find_documents(tmp_path, Limits(files=3)))


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        resolve(tmp_path / "absent")


def test_sentences_end_where_people_end_them() -> None:
    text = 'Dr. Smith came at 3.15 p.m. today. "Really?" Yes! One\nline.\n\nNo mark\n\n你好。再见。'
    assert list(sentences(text)) == [
        "Dr. Smith came at 3.15 p.m.",
        "today.",
        '"Really?"',
        "Yes!",
        "One line.",
        "No mark",
        "你好。",
        "再见。",
    ]


def test_passages_overlap_and_carry_heading_and_page() -> None:
    text = "One two three. Four five six. Seven eight nine."
    made = passages([Section(text=text, heading="H", page=7)], "a.pdf", Words(), 8, 3)
    assert [each.text for each in made] == [
        "H\nOne two three. Four five six.",
        "H\nFour five six. Seven eight nine.",
    ]
    assert {each.source for each in made} == {"a.pdf#page=7"}


def test_a_passage_never_spans_two_sections() -> None:
    made = passages([Section(text="One."), Section(text="Two.")], "a.md", Words(), 50, 10)
    assert [each.text for each in made] == ["One.", "Two."]


def test_text_without_any_mark_is_cut_between_words() -> None:
    made = passages([Section(text="word " * 5_000)], "a.txt", Words(), 40, 10)
    assert all(0 < len(each.text.split()) <= 40 for each in made)
    assert max(len(sentence) for sentence in sentences("x" * 20_000)) <= LONGEST


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
    st.integers(4, 40),
    st.integers(0, 39),
)
def test_passages_hold_every_sentence_and_keep_their_size(
    lengths: list[int], size: int, overlap: int
) -> None:
    words = iter(range(10_000))
    told = [" ".join(f"w{next(words)}" for _ in range(length)) + "." for length in lengths]
    made = passages([Section(text=" ".join(told))], "a.txt", Words(), size, min(overlap, size - 1))
    assert all(len(each.text.split()) <= size for each in made)
    seen = dict.fromkeys(word for each in made for word in each.text.split())
    assert list(seen) == " ".join(told).split()
