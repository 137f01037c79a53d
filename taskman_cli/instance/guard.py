"""Checks that the state directory of a running scheduler is still the one whose lock we hold.

If the directory is removed or moved, nobody sees what is written to it, and a second taskman could start in
its place. So it is checked now and then, and created again together with its lock.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from taskman_cli.instance.directory import make_state
from taskman_cli.instance.lock import LOCK, take_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskman_cli.trust import Trust


class StateGuard:
    """A state directory and its lock; `moved` is called after it was created again."""

    def __init__(
        self,
        directory: Path,
        lock_fd: int,
        *,
        pid: int,
        moved: Callable[[], None],
        trust: Trust | None = None,
    ) -> None:
        self._directory = directory
        self._fd = lock_fd
        self._pid = pid
        self._moved = moved
        self._trust = trust

    def is_lost(self) -> bool:
        """Tell whether the lock that we hold is no longer the lock of the directory."""
        try:
            found = (self._directory / LOCK).stat()
        except OSError:
            return True
        held = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino)

    def restore(self) -> bool:
        """Create the directory and the lock again if they are lost, and tell if they were.

        Raises TaskmanError if that is not possible, or if another taskman uses the directory now.
        """
        if not self.is_lost():
            return False
        make_state(self._directory, self._trust)
        # The old lock stays open: the supervisor holds it too, so no other taskman can take it.
        self._fd = take_lock(self._directory, patience_s=0, pid=self._pid)
        self._moved()
        return True
