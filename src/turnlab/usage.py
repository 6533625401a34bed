"""What a turn takes of this process: processor time and memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Usage:
    """Processor time from its making on, and the peak of memory."""

    def __init__(self) -> None:
        self._began_s = time.process_time()

    def so_far(self) -> dict[str, float]:
        """`cpu_s` since the beginning, on all cores, and `peak_mib`, see `peak_mib`."""
        return {"cpu_s": round(time.process_time() - self._began_s, 6), "peak_mib": peak_mib()}


def peak_mib() -> float:
    """The most memory (resident, MiB) that this process has held since `forget_peak`.

    From VmHWM of proc(5) on Linux, else from getrusage(2), which cannot forget.
    """
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 1024), 1)


def forget_peak() -> bool:
    """Begin to look for the peak anew; False where the system cannot (all but Linux)."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True
