"""Intervals of elapsed time: `every`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from taskman_cli.core.timespec import format_duration
from taskman_cli.errors import ScheduleError


@dataclass(frozen=True, slots=True)
class Interval:
    """Slots at anchor + k * every, for k = 1, 2, …"""

    every_ns: int
    #: The anchor is the end of the last run, not its slot; the caller passes it accordingly.
    from_finish: bool = False
    #: Name of the zone in which its slots are shown, or ""; it does not affect them.
    timezone: str = ""

    def __post_init__(self) -> None:
        if self.every_ns <= 0:
            raise ScheduleError("every must be longer than 0s")

    @property
    def text(self) -> str:
        """Return e.g. "every 15s"."""
        return _text(self.every_ns, from_finish=self.from_finish)

    def next_after(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the first slot strictly after `t_ns`."""
        count = max((t_ns - anchor_ns) // self.every_ns + 1, 1)
        return anchor_ns + count * self.every_ns

    def previous(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the last slot at or before `t_ns`, or None up to the first one."""
        count = (t_ns - anchor_ns) // self.every_ns
        return anchor_ns + count * self.every_ns if count >= 1 else None


@lru_cache(maxsize=1_024)
def _text(every_ns: int, *, from_finish: bool) -> str:
    return f"every {format_duration(every_ns)}{' from finish' if from_finish else ''}"
