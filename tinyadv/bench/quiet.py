"""Is anyone else at work on this machine? Timings taken next to other work are not worth much.

Read from `/proc/stat`, where it exists; elsewhere nobody knows, and every turn counts as undisturbed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
TICK = 0.01  # seconds; what the kernel counts in


def busy() -> float | None:
    """Seconds that all processors together were at work, or taken away by a hypervisor, since the start; or None."""
    try:
        with _STAT.open(encoding="utf-8") as file:
            user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + stolen) * TICK


class Patience:
    """So many seconds may be spent on waiting for a quiet machine; when they are gone, nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def wait(self, window: float = 0.15) -> None:
        """Sleep until the machine has been idle for one window: less than 6 % of its processors' time in use."""
        allowed = 0.06 * window * (os.cpu_count() or 1) + 1.5 * TICK
        while self.left > 0 and (before := busy()) is not None:
            time.sleep(window)
            if (busy() or 0.0) - before <= allowed:
                return
            time.sleep(window)
            self.left -= 2 * window


def disturbed(others: float, wall: float) -> bool:
    """Whether others took more of a turn than rounding to ticks explains: `others` CPU seconds in `wall` seconds."""
    return others > 0.05 * wall + 2 * TICK
