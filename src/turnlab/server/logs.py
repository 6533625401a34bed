"""What `turnlab serve` logs, and what is left out since the client is told."""

from __future__ import annotations

import logging

_REFUSED = "ASGI callable returned without completing handshake."
_SECURITY = "django.security"


def set_up_logs(verbose: bool) -> None:
    """Warnings and worse to stderr; with `verbose`, every request and all that clients do wrong."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    if not verbose:  # what clients do wrong is told to them
        logging.getLogger("django.request").setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(without_traceback)
    logging.getLogger("uvicorn.error").addFilter(is_failure)


def without_traceback(record: logging.LogRecord) -> bool:
    """Leave one line of what Django tells of requests that it suspects: nothing has failed."""
    if record.name.startswith(_SECURITY):
        record.exc_info = record.exc_text = None
    return True


def is_failure(record: logging.LogRecord) -> bool:
    """Whether it is one: uvicorn's websockets-sansio takes a refused handshake for one.

    Mended by https://github.com/Kludex/uvicorn/pull/3138, which is not in 0.54.
    """
    return record.getMessage() != _REFUSED
