"""What is printed while figures are to stand alone on stdout."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

_STDOUT, _STDERR = 1, 2


@contextmanager
def figures_alone() -> Iterator[None]:
    """What is printed meanwhile goes to stderr, also what libraries in C write to their stdout."""
    if sys.stdout is None:  # closed by whoever began this process
        yield
        return
    sys.stdout.flush()
    with redirect_stdout(sys.stderr), _moved():
        yield


@contextmanager
def _moved() -> Iterator[None]:
    _flush_c()
    kept = os.dup(_STDOUT)
    with suppress(OSError):  # a process without a stderr
        os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        _flush_c()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush_c() -> None:
    """What C has printed and not yet written, which it keeps back where nobody looks on."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
