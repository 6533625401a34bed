"""Text that came from outside, made safe for a terminal, a page or a picture."""

from __future__ import annotations

import html
import re
import unicodedata

# Control characters would steer a terminal or make SVG ill-formed; lone surrogates cannot be
# encoded; bidirectional overrides can make a text read as something else.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-"}  # noqa: RUF001
    | {"…": "...", "·": "-", "×": "x", "→": "->"}  # noqa: RUF001
)


def clean(text: str) -> str:
    """The text on one line, without characters that no reader should be sent."""
    return _UNSAFE.sub("\ufffd", " ".join(text.split()))


def so_many(number: int, what: str) -> str:
    """Such as `1 turn` and `2,000 turns`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def escaped(text: object, *, most: int = 20_000) -> str:
    """The text for HTML and SVG, in content and in attributes, of at most `most` characters."""
    return html.escape(shortened(clean(str(text)), most), quote=True)


def shortened(text: str, most: int) -> str:
    """The text cut to `most` characters, of which the last then is an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def plain_ascii(text: str) -> str:
    """The nearest ASCII text: accents dropped, dashes and quotes simplified, `?` otherwise."""
    spelled = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(each for each in spelled if not unicodedata.combining(each))
    return bare.encode("ascii", "replace").decode("ascii")
