"""What a service manager such as systemd is told of this scheduler, through the supervisor.

Only what is new is told, and the status at most every few seconds: it is for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.statusline import status_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.requests.service import RequestService

#: The status is told at most this often.
STATUS_EVERY_NS = 2 * SECOND_NS


class ManagerReports:
    """What the service manager knows of this scheduler."""

    def __init__(
        self,
        driver: EngineDriver,
        requests: RequestService | None,
        timezone: tzinfo,
        tell: Callable[[str, str], None],
    ) -> None:
        self._driver, self._requests, self._timezone, self._tell = driver, requests, timezone, tell
        #: Somebody listens.
        self.is_wanted = False
        self._status = ""
        self._is_reading = self._is_stopping = False
        #: Before this, on the elapsed clock, no other status is told.
        self._quiet_until_ns = 0
        #: What it depends on, as that was when the status was last put together.
        self._seen: tuple[object, ...] = ()

    def next_timer(self) -> int | None:
        """Return when a turn is wanted for a status that is not told yet, on the elapsed clock, or None."""
        return self._quiet_until_ns if self.is_wanted and self._seen != self._state() else None

    def look(self) -> None:
        """Tell what is new at the end of a turn."""
        if not self.is_wanted:
            return
        if self._requests and self._is_reading != self._requests.is_reading:
            self._is_reading = not self._is_reading
            self._tell("reloading" if self._is_reading else "reloaded", "")
        is_urgent = False
        if self._driver.engine.is_stopping and not self._is_stopping:
            self._is_stopping = is_urgent = True
            self._tell("stopping", "")
        now, state = self._driver.now, self._state()
        if state == self._seen or (now.elapsed_ns < self._quiet_until_ns and not is_urgent):
            return
        self._seen, self._quiet_until_ns = state, now.elapsed_ns + STATUS_EVERY_NS
        status = status_line(
            self._driver.engine,
            now,
            self._timezone,
            trouble=self._driver.trouble,
            has_bad_files=self._has_bad_files,
        )
        if status != self._status:
            self._status = status
            self._tell("status", status)

    def _state(self) -> tuple[object, ...]:
        return self._driver.steps, self._driver.trouble, self._is_reading, self._has_bad_files

    @property
    def _has_bad_files(self) -> bool:
        files = self._requests.files_note() if self._requests else None
        return files is not None and files.is_bad
