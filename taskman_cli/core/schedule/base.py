"""The interface of all schedules."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """What the engine needs of a schedule. Implementations are effectively immutable, and shared by jobs."""

    @property
    def text(self) -> str:
        """Return the schedule as a person would write it, e.g. "30 2 * * *" or "every 15s"."""

    def __hash__(self) -> int: ...

    def next_after(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the first slot strictly after `t_ns`, or None; intervals count from `anchor_ns`."""

    def previous(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the last slot at or before `t_ns`, or None."""
