"""The state directory of a scheduler that runs: that it is still the one whose lock we hold.

Somebody may remove it, or move it away, and what is written then is seen by nobody. A second taskman could
start there, too. So it is looked at now and then, and made anew, lock and all.
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


class Premises:
    """A state directory, and the lock on it; `moved` is called when another one was made in its place."""

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
        """Tell whether the lock that we hold is not that of the directory any more."""
        try:
            found = (self._directory / LOCK).stat()
        except OSError:
            return True
        held = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino)

    def restore(self) -> bool:
        """Make the directory and the lock anew if they are lost, and tell if they were.

        Raises TaskmanError where that cannot be: also when another taskman has the directory now.
        """
        if not self.is_lost():
            return False
        make_state(self._directory, self._trust)
        # The old one stays open: the supervisor holds it too, and nobody can take it from there.
        self._fd = take_lock(self._directory, patience_s=0, pid=self._pid)
        self._moved()
        return True
