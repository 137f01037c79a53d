"""Tells the supervisor when the scheduler will next do something, so that it notices one that hangs.

It is told only what is new to it: something is due earlier than it knows, or the time that it knows has
passed. So an idle scheduler says nothing, and a busy one a few words with what it says anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.wakes import Wake

#: After a sleep longer than this, both processes wake `WARM_UP_NS` before the slot.
LONG_SLEEP_NS = 100_000_000
WARM_UP_NS = 1_500_000


class Pulse:
    """What the supervisor knows of the next thing to do."""

    def __init__(self, tell: Callable[[int | None, int, int], None]) -> None:
        self._tell = tell
        #: What it was told, on the elapsed clock; None: that nothing is due.
        self._told_ns: int | None = None
        self._has_told = False
        #: The question to be answered (0: none), and how far behind this was when it was heard.
        self._asked = 0
        self._behind_ns = 0

    def asked(self, number: int, wake: Wake, now: Now) -> None:
        """Answer a question at the end of this turn, when all that is due has been done."""
        due_ns = _due_ns(wake, now)
        self._asked = number
        self._behind_ns = 0 if due_ns is None else max(0, now.elapsed_ns - due_ns)

    def beat(self, wake: Wake, now: Now) -> None:
        """Tell when something is due next, if that is news or was asked for."""
        told_ns = self._told_ns
        due_ns = _due_ns(wake, now)
        is_over = told_ns is not None and told_ns <= now.elapsed_ns
        is_earlier = due_ns is not None and (told_ns is None or due_ns < told_ns - SECOND_NS)
        if not (self._asked or is_over or is_earlier or not self._has_told):
            return
        self._tell(None if due_ns is None else due_ns - now.elapsed_ns, self._asked, self._behind_ns)
        self._told_ns, self._has_told, self._asked = due_ns, True, 0
        self._behind_ns = 0


def _due_ns(wake: Wake, now: Now) -> int | None:
    """Return when something is due next, on the elapsed clock; None: nothing is."""
    due_ns, wall_ns = wake.elapsed_ns, wake.wall_ns
    if wall_ns is None:
        return due_ns
    wall_ns += now.elapsed_ns - now.wall_ns
    return wall_ns if due_ns is None or wall_ns < due_ns else due_ns


def wake_at(due_ns: int | None, wall_ns: int, warm_up: Callable[[], None]) -> int | None:
    """Return when to wake for a slot: after a long sleep, a moment before it, to `warm_up` then.

    The caches of both processes are cold after a sleep, which would delay the first start.
    """
    if due_ns is None:
        return None
    left_ns = due_ns - wall_ns
    if left_ns > LONG_SLEEP_NS:
        return due_ns - WARM_UP_NS
    if 0 < left_ns <= WARM_UP_NS:
        warm_up()
    return due_ns
