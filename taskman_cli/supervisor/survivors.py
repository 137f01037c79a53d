"""Processes that outlive an attempt which was told to end (`setsid`, daemons): they are ended too.

The end of such an attempt is told only after a look for them, so that what is found is on record before a
stop is complete. They get the attempt's signal, then KILL. No process that forks faster than we look holds
anything up: looks are bounded in number and time, and one is taken at a time, for all attempts together.
"""

from __future__ import annotations

import os
import signal

from taskman_cli.supervisor.adoption import is_over
from taskman_cli.supervisor.procstat import read_stat
from taskman_cli.supervisor.survey import Sought, Survey
from taskman_cli.supervisor.timers import elapsed_ns
from taskman_cli.supervisor.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from taskman_cli.supervisor.child import Child
    from taskman_cli.supervisor.survey import Survivor, Wish
    from taskman_cli.supervisor.wire import Message

_MS = 1_000_000
#: A look that takes longer is given up, and the end is told without it.
LOOK_PATIENCE_NS = 2_000 * _MS
#: From one look to the next: doubled each time.
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 50 * _MS, 1_000 * _MS
#: How long KILL may take to show.
KILL_PATIENCE_NS = 10_000 * _MS
#: The same after a second Ctrl-C.
HURRY_NS = 1_000 * _MS
#: At most so many messages about new ones, and so many names in each.
MOST_TOLD, MOST_NAMED = 5, 10


class Hunt:
    """The survivors of one attempt."""

    def __init__(self, child: Child, wish: Wish, now_ns: int) -> None:
        assert child.pid is not None
        self.child = child
        self.number = wish.number
        self.sought = Sought(child.pid, wish.token, wish.uid if child.user is None else child.user)
        self.patience_ns = wish.patience_ns
        #: When they get KILL: some time after the first of them got the signal.
        self.kill_at_ns = now_ns if wish.number == signal.SIGKILL else None
        self.until_ns = now_ns + wish.patience_ns + KILL_PATIENCE_NS
        #: Those that got the signal, with their start, and those that got KILL.
        self.told: set[tuple[int, int]] = set()
        self.killed: set[tuple[int, int]] = set()
        self.count_told = 0
        #: The end was told, and whether its group lived on then: it is killed now, and may leave more.
        self.is_end_told = self.had_group = False


class Survivors:
    """Hunts for all attempts that were told to end and left something behind."""

    def __init__(
        self,
        epoll: select.epoll,
        after: Callable[[int, Callable[[], None]], None],
        tell: Callable[[Message], None],
        tell_end: Callable[[Child], None],
    ) -> None:
        self._epoll = epoll
        self._after = after
        self._tell = tell
        self._tell_end = tell_end
        #: By the key of the attempt.
        self.hunts: dict[str, Hunt] = {}
        self._survey: Survey | None = None
        #: The hunts that the look that is being taken is for.
        self._looking: tuple[Hunt, ...] = ()
        self._pause_ns = FIRST_PAUSE_NS
        #: When the next look is due; None: none is wanted, or one is being taken.
        self._due_ns: int | None = None

    @property
    def is_hunting(self) -> bool:
        """Tell if something may still have to be ended."""
        return bool(self.hunts)

    def hunt(self, child: Child, wish: Wish) -> None:
        """Look for what an attempt left; its end is told afterwards."""
        self.hunts[child.key] = Hunt(child, wish, elapsed_ns())
        self._pause_ns = FIRST_PAUSE_NS
        self._look_after(0)

    def hurry(self) -> None:
        """Kill all that is left at once."""
        now = elapsed_ns()
        for hunt in self.hunts.values():
            hunt.kill_at_ns = now
            hunt.until_ns = min(hunt.until_ns, now + HURRY_NS)
        self._look_after(0)

    def note_reaped(self) -> None:
        """Look soon: one that was hunted may have ended."""
        if self.hunts:
            self._pause_ns = FIRST_PAUSE_NS
            self._look_after(FIRST_PAUSE_NS // 5)

    @property
    def fd(self) -> int:
        """Return the descriptor of the look that is being taken; -1 for none."""
        return -1 if self._survey is None else self._survey.fd

    def hear(self) -> None:
        """Read what the look has found."""
        survey = self._survey
        found = None if survey is None else survey.read()
        if survey is not None and found is not None:
            self._end_survey(survey)
            self._judge(found)

    # --- looks ---

    def _look_after(self, pause_ns: int) -> None:
        due_ns = elapsed_ns() + pause_ns
        if self._survey is None and self.hunts and (self._due_ns is None or due_ns < self._due_ns):
            self._due_ns = due_ns
            self._after(pause_ns, self._look)

    def _look(self) -> None:
        if self._due_ns is None or elapsed_ns() < self._due_ns or not self.hunts:
            return
        self._due_ns = None
        self._looking = tuple(self.hunts.values())
        try:
            survey = Survey({hunt.child.key: hunt.sought for hunt in self._looking})
        except OSError:  # no process or descriptor is left: the next look may have one
            self._judge(None)
            return
        self._survey = survey
        self._epoll.register(survey.fd)
        self._after(LOOK_PATIENCE_NS, lambda: self._give_up(survey))

    def _give_up(self, survey: Survey) -> None:
        if survey is self._survey:
            survey.cut_short()
            self._end_survey(survey)
            self._judge(None)

    def _end_survey(self, survey: Survey) -> None:
        self._epoll.unregister(survey.fd)
        survey.close()
        self._survey = None

    def _judge(self, found: dict[str, list[Survivor]] | None) -> None:
        """Signal those that were found, tell ends, and take another look if it is needed; None: no look."""
        now = elapsed_ns()
        for hunt in self._looking:
            survivors = [] if found is None else found.get(hunt.child.key, [])
            self._end(hunt, survivors, now)
            is_first = not hunt.is_end_told
            if is_first:
                hunt.is_end_told = True
                hunt.had_group = hunt.child.has_group_left()
                self._tell_end(hunt.child)
            is_clear = found is not None and not survivors and not (is_first and hunt.had_group)
            if not is_clear and now >= hunt.until_ns:
                if survivors:
                    self._report(hunt, "left", survivors)
                    say(f"{hunt.child.key}: {_counted(survivors)} of it cannot be ended")
                is_clear = True
            if is_clear:
                del self.hunts[hunt.child.key]
        self._looking = ()
        if self.hunts:
            pauses = [self._pause_ns]
            self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
            for hunt in self.hunts.values():
                if not hunt.is_end_told:  # it came while the look was taken
                    pauses.append(0)
                elif hunt.kill_at_ns is not None and hunt.kill_at_ns > now:
                    pauses.append(hunt.kill_at_ns - now)
            self._look_after(min(pauses))

    # --- signals ---

    def _end(self, hunt: Hunt, survivors: list[Survivor], now_ns: int) -> None:
        """Send each survivor what it has not got yet, and tell the scheduler of it."""
        is_kill = hunt.kill_at_ns is not None and now_ns >= hunt.kill_at_ns
        if survivors and hunt.kill_at_ns is None:
            hunt.kill_at_ns = now_ns + hunt.patience_ns
            hunt.until_ns = hunt.kill_at_ns + KILL_PATIENCE_NS
        number, got = (signal.SIGKILL, hunt.killed) if is_kill else (hunt.number, hunt.told)
        new = []
        for survivor in survivors:
            mark = (survivor.pid, survivor.started_ticks)
            if mark not in got or is_kill:
                if _send(survivor, number) and mark not in got:
                    new.append(survivor)
                got.add(mark)
        if new and hunt.count_told < MOST_TOLD:
            hunt.count_told += 1
            self._report(hunt, "signalled", new, number)

    def _report(self, hunt: Hunt, what: str, which: list[Survivor], number: int = 0) -> None:
        named = [(survivor.pid, survivor.name) for survivor in which[:MOST_NAMED]]
        child = hunt.child
        self._tell(("survivors", child.key, child.meta, what, int(number), len(which), named))


def _send(survivor: Survivor, number: int) -> bool:
    """Signal a process, and the group that it leads; tell if it was still the one that was found.

    A pidfd always means the same process: if the start is right after it was opened, it is the right one, and
    its group has its number as long as it lives.
    """
    try:
        pidfd = os.pidfd_open(survivor.pid)
    except OSError:
        return False
    try:
        if read_stat(survivor.pid).started_ticks != survivor.started_ticks or is_over(pidfd):
            return False
        signal.pidfd_send_signal(pidfd, number)
        if survivor.leads_group:
            os.killpg(survivor.pid, number)
        if number != signal.SIGKILL:
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            if survivor.leads_group:
                os.killpg(survivor.pid, signal.SIGCONT)
    except (OSError, IndexError):  # it is gone, or has become another user's
        return False
    finally:
        os.close(pidfd)
    return True


def _counted(survivors: list[Survivor]) -> str:
    return "1 process" if len(survivors) == 1 else f"{len(survivors)} processes"
