"""The machine's time zone, which may be changed while taskman runs: noticed, told, and taken by a reload.

Jobs that name no zone keep the one that they were loaded with, as under supercronic: a slot must not move, or
come twice, because somebody has replaced a file. A reload takes the new zone as it takes other schedules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.jobfile.settings import local_zone, look_at_local_zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.jobfile import JobFile

#: The shortest time between two looks; there is none while nothing happens.
LOOK_NS = 60 * SECOND_NS


class MachineZone:
    """What the jobs go by, and what the machine says now."""

    def __init__(
        self,
        look: Callable[[], object] = look_at_local_zone,
        read: Callable[[], str] = lambda: local_zone(is_strict=True).key,
    ) -> None:
        self._look = look
        self._read = read
        #: The zone of jobs that name none; None: that is not the machine's.
        self._used: str | None = None
        self._seen: object = None
        self._due_ns: int | None = None
        #: What is different, in words; None: nothing.
        self.note: str | None = None

    def take(self, jobfile: JobFile) -> None:
        """Take what jobs go by from now on; the next look finds out if the machine agrees."""
        self._used = jobfile.timezone if jobfile.is_machine_zone else None
        self._seen = self._due_ns = self.note = None

    def is_due(self, elapsed_ns: int) -> bool:
        """Tell if another look is due; it is cheap to ask."""
        return self._used is not None and (self._due_ns is None or elapsed_ns >= self._due_ns)

    def check(self, elapsed_ns: int) -> str | None:
        """Look; return in words what is different, if that is news."""
        if self._used is None:
            return None
        self._due_ns = elapsed_ns + LOOK_NS
        seen = self._look()
        if seen is None or seen == self._seen:
            return None
        is_first, before = self._seen is None, self.note
        self._seen, self.note = seen, self._judge(self._used, is_first=is_first)
        return self.note if self.note != before else None

    def _judge(self, used: str, *, is_first: bool) -> str | None:
        try:
            zone = self._read()
        except Exception as error:  # whatever is in /etc, the jobs go on
            if is_first:  # it was so when the jobs were loaded, and is no news
                return None
            return f"the machine's time zone cannot be found out: {error}; jobs that name none keep {used}"
        if zone == used:
            return None
        return f"the machine's time zone is {zone} now; jobs that name none keep {used} until taskman reload"
