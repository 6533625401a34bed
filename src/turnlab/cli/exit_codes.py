"""What a command of `turnlab` ends with, beside 0."""

from __future__ import annotations

FAILED = 1
"""It could not be done, or nothing that was run succeeded."""

OVER_BUDGET = 2
"""A budget is not kept, or something became worse."""

UNDECIDED = 3
"""There are too few turns to tell."""

INTERRUPTED = 130
"""By Ctrl-C or SIGTERM: 128 and the number of SIGINT, as shells have it."""
