"""What receivers can hear, and `receiver`, which connects a function to it.

Every signal is sent once, after its row has been committed.

The end of a Task or Track is announced by the signal named for it: `completed_task`,
`failed_track` and so on; a completed Task also by `completed(task_name)`, which can be imported
by name: `from turnlab.server.signals import completed_rag`. `created_data_text` tells that a text
of the user was kept. A receiver gets `sender` (the model class), `data` (the row as a dict) and
`track_id`. It runs in the process that wrote the row, on the thread of all receivers, where it may
use the ORM and may be slow. One that raises is reported and stops nothing.
"""

from __future__ import annotations

from django.dispatch import Signal, receiver

__all__ = [
    "cancelled_task",
    "cancelled_track",
    "completed",
    "completed_task",
    "completed_track",
    "created_data_text",
    "failed_task",
    "failed_track",
    "receiver",
]

completed_task = Signal()
failed_task = Signal()
cancelled_task = Signal()
completed_track = Signal()
failed_track = Signal()
cancelled_track = Signal()
created_data_text = Signal()

_completed: dict[str, Signal] = {}


def completed(task_name: str) -> Signal:
    """The signal of completed Tasks of this task_name: the same object every time."""
    return _completed.setdefault(task_name, Signal())


def __getattr__(name: str) -> Signal:
    """`completed_<task_name>`, so that no Module has to be listed here."""
    prefix, _, task_name = name.partition("_")
    if prefix != "completed" or not task_name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return completed(task_name)
