"""Failures on a wire: a code and a message, and the error that they stand for."""

from __future__ import annotations

from turnlab import errors
from turnlab.errors import ModuleFailed, TurnlabError
from turnlab.wire.fields import MOST_NAME, MOST_TEXT

_CLASSES: dict[str, type[TurnlabError]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, TurnlabError)
}


def error_of(code: str, message: str, component: str) -> TurnlabError:
    """The error that was told of; ModuleFailed where nobody here knows its code."""
    cls = _CLASSES.get(code)
    if cls is None:
        return ModuleFailed(f"{code}: {message}", component=component or None)
    return cls(message, component=component or None)


def code_of(error: TurnlabError) -> str:
    """The code as a message takes it; a Module may define errors of its own."""
    code = str(error.code)[:MOST_NAME]
    return code if code.isprintable() and code else ModuleFailed.code


def shortened(text: str) -> str:
    """`text` as long as a message takes it."""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
