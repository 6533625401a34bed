"""What tests of Turnlab and of its plugins need: a clock, a recorder, Modules that do as told.

`turnlab.testing.contract` holds the tests that any Module must pass; it alone needs pytest.
"""

from turnlab.testing.clock import FakeClock
from turnlab.testing.recorder import MemoryRecorder
from turnlab.testing.rig import Rig, cluster_of
from turnlab.testing.scripted import (
    Block,
    Each,
    Hang,
    Pause,
    Read,
    ScriptedTurn,
    scripted,
)

__all__ = [
    "Block",
    "Each",
    "FakeClock",
    "Hang",
    "MemoryRecorder",
    "Pause",
    "Read",
    "Rig",
    "ScriptedTurn",
    "cluster_of",
    "scripted",
]
