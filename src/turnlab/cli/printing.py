"""What is printed while figures are to stand alone on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

_STDOUT, _STDERR = 1, 2


@contextmanager
def figures_alone() -> Iterator[None]:
    """What is printed meanwhile goes to stderr, also what libraries in C write to their stdout."""
    sys.stdout.flush()
    with redirect_stdout(sys.stderr), _moved():
        yield


@contextmanager
def _moved() -> Iterator[None]:
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # a process without a stdout
        yield
        return
    with suppress(OSError):  # or without a stderr
        os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)
