"""What is set before any thread of a Module begins."""

from __future__ import annotations

import os

THREADS = "turnlab-module"
"""What the names of the threads of Modules begin with."""


def share_cores() -> None:
    """Have OpenMP threads spin only briefly while they wait, unless the environment says more.

    GNU OpenMP's default spins for long, which keeps the other stages off their cores: beside
    one busy core of two, llama.cpp did not write 40 words in 40 s. Not to spin at all costs
    2.5 times the time of a word when nothing else runs (21 against 8.4 ms); 200 rounds cost
    nothing alone and 19 ms beside a busy core. It counts only before llama.cpp is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "200")
