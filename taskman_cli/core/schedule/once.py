"""Schedules without repetition: `at` an instant, and `@reboot`, which has no times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskman_cli.errors import ScheduleError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Once:
    """A single slot; `zone` is used for its text."""

    at_ns: int
    zone: ZoneInfo
    #: It was requested as a duration ("in 2 hours"), so it moves when the clock is set.
    is_elapsed: bool = False

    def __post_init__(self) -> None:
        try:
            self._local()
        except OverflowError:
            raise ScheduleError("at is outside the years 1 to 9999") from None

    def _local(self) -> datetime:
        return (_EPOCH + timedelta(microseconds=self.at_ns // 1000)).astimezone(self.zone)

    def moved(self, delta_ns: int) -> Once:
        """Return it moved by a clock step; unchanged if it would leave the calendar."""
        try:
            return replace(self, at_ns=self.at_ns + delta_ns) if self.is_elapsed else self
        except ScheduleError:
            return self

    @property
    def text(self) -> str:
        """Return e.g. "at 2026-12-24T15:00:00+01:00", to the second."""
        return f"at {self._local().isoformat(timespec='seconds')}"

    def next_after(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the slot if it is still to come."""
        return self.at_ns if self.at_ns > t_ns else None

    def previous(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the slot if it is over."""
        return self.at_ns if self.at_ns <= t_ns else None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Reboot:
    """No slots at all: the job runs when the scheduler starts."""

    timezone: str

    @property
    def text(self) -> str:
        """Return "@reboot"."""
        return "@reboot"

    def next_after(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return None."""
        return None

    def previous(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return None."""
        return None
