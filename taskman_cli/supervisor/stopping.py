"""How the supervisor alone stops all commands: TERM, after a while KILL, and then without what is left."""

from __future__ import annotations

import signal

from taskman_cli.supervisor import limits
from taskman_cli.supervisor.voice import say
from taskman_cli.supervisor.waitstatus import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.supervisor.children import Children


class StopAlone:
    """What is done where no scheduler carries out a stop. The ends of the commands come to no ledger."""

    def __init__(
        self, children: Children, after: Callable[[int, Callable[[], None]], None], leave: Callable[[], None]
    ) -> None:
        self._children = children
        self._after = after
        self._leave = leave
        #: No scheduler will be started again; exit when nothing runs any more.
        self.has_begun = False

    def begin(self, *, is_urgent: bool) -> None:
        """End all commands; `is_urgent`: kill them at once."""
        if self.has_begun:
            return
        self.has_begun = True
        if is_urgent:
            self.kill()
            return
        if count := self._children.running_count():
            patience = f"{limits.STOP_PATIENCE_NS / 1e9:g} s"
            say(f"there is no scheduler: ending {commands(count)} (TERM, and KILL after {patience})")
        self._children.signal_all(signal.SIGTERM)
        self._after(limits.STOP_PATIENCE_NS, self.kill)

    def kill(self) -> None:
        """Kill all commands."""
        self._children.signal_all(signal.SIGKILL)
        self._after(limits.KILL_PATIENCE_NS, self._leave_stuck)

    def _leave_stuck(self) -> None:
        """Exit without the commands that KILL does not end; the next `taskman run` adopts them."""
        say(f"leaving {commands(self._children.running_count())} behind: KILL does not end what is left")
        self._leave()
