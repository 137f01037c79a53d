"""Finds out whether the scheduler hangs: it has not made the progress that was due, or does not answer.

A scheduler says when it will next do something. If it has not said anything new well after that, or does not
answer what it was told, it is asked; only one that does not answer in time, or answers that it is still
behind, hangs. Time is that of the machine awake, and nobody is judged by time that the supervisor itself did
not get, so that neither a suspend nor a stopped container counts. A scheduler that is traced, or that the
kernel holds for a disk, is not replaced: a debugger would lose it, and KILL would not end it.

It also tells whether all is well, for the watchdog of the service manager: the progress that was due has been
made. It is not well if replacing has not helped: then the next scheduler has to show progress first.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SECOND_NS = 1_000_000_000
_STATUS_BYTES = 4096
#: A look that comes later than this after its time proves nothing: the supervisor did not run either.
LATE_NS = _SECOND_NS
#: A scheduler that was found behind this often in a row hangs: one that was stopped may be so once.
MOST_IDLED = 2
#: After this many in a row that died or hung, without progress in between, another one does not help.
MOST_DEATHS = 2
#: How far it may be behind where nobody is replaced.
UNREPLACED_NS = 60 * _SECOND_NS
#: The longest time from one look to the next.
FAR_NS = 3600 * _SECOND_NS


def awake_ns() -> int:
    """Read the clock that stands still while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def hindrance(pid: int) -> str:
    """Return why a process cannot be replaced now, in words; "": nothing hinders."""
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        text = os.read(fd, _STATUS_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    if fields.get("TracerPid", "0").strip() != "0":
        return "a debugger traces it"
    if fields.get("State", "").startswith("D"):
        return "the kernel holds it, mostly for a disk or file system that does not answer"
    return ""


class Watchdog:
    """Watches the scheduler that there is."""

    def __init__(
        self,
        after: Callable[[int, Callable[[], None]], None],
        *,
        ask: Callable[[int], None],
        replace: Callable[[str], None],
        say: Callable[[str], None],
        clock: Callable[[], int] = awake_ns,
        hindrance: Callable[[int], str] = hindrance,
    ) -> None:
        #: How long it may be behind; 0: nobody is replaced.
        self.patience_ns = 0
        self._after, self._ask, self._replace, self._say = after, ask, replace, say
        self._clock, self._hindrance = clock, hindrance
        self._number = 0
        #: When the next look is planned; None: it is not.
        self._look_ns: int | None = None
        #: How many schedulers in a row have died or hung without progress.
        self._deaths = 0
        self.begin(0)

    def begin(self, pid: int) -> None:
        """Watch another scheduler, from its first word on: it may take long to start."""
        self._pid = pid
        self._is_known = self._is_told = False
        #: When it said its first word.
        self._known_ns = 0
        #: When it will do something next; when it was told something, and asked, without an answer yet.
        self._due_ns: int | None = None
        self._sent_ns: int | None = None
        self._asked_ns: int | None = None
        #: How many questions in a row found it behind, though it answered.
        self._idled = 0

    def configure(self, patience_ns: int | None) -> None:
        """Set how long it may be behind; None: for ever."""
        self.patience_ns = patience_ns or 0
        self._plan()

    def note_due(self, in_ns: int | None, number: int, behind_ns: int = 0) -> None:
        """Take from it in how long it will do something next, and which question it has answered.

        `behind_ns`: how far it was behind when it heard the question.
        """
        now = self._clock()
        if not self._is_known:
            self._is_known, self._known_ns = True, now
        before_ns, self._due_ns = self._due_ns, None if in_ns is None else now + in_ns
        if number == 0 and not self._is_past(before_ns, now):
            self._idled = 0
        if number == 0 and before_ns is not None and 0 <= now - before_ns < self._far_behind_ns:
            self._deaths = 0  # it has done what was due, in time and by itself
        if self._asked_ns is not None and number == self._number:
            self._asked_ns = None
            self._idled = self._idled + 1 if behind_ns >= self._half_ns else 0
            if self._idled >= MOST_IDLED:
                self._found("does what is due only when it is asked", now)
            elif self._is_past(self._due_ns, now):
                assert self._due_ns is not None
                behind_s = (now - self._due_ns) / _SECOND_NS
                self._found(f"answers, but has not done what was due {behind_s:.0f} s ago", now)
        self._plan()

    def note_heard(self) -> None:
        """Note that it has said something."""
        self._sent_ns = None

    def note_sent(self) -> None:
        """Note that it was told something, which it has to hear."""
        if self._sent_ns is None:
            self._sent_ns = self._clock()
            if self._look_ns is None or self._sent_ns + self.patience_ns // 2 < self._look_ns:
                self._plan()

    def note_death(self) -> None:
        """Note that the scheduler has died, by itself or because it hung."""
        self._deaths += 1

    def is_well(self) -> bool:
        """Tell whether all progress that was due has been made, and more of it can be expected."""
        now = self._clock()
        if not self._is_known or self._is_told:
            return False
        since = [since_ns for since_ns in (self._due_ns, self._asked_ns) if since_ns is not None]
        behind_ns = now - min(since, default=now)
        if self._deaths and behind_ns <= LATE_NS and now - self._known_ns >= 4 * self._far_behind_ns:
            self._deaths = 0  # nothing was due, and it has lived longer than one that hangs
        return self._deaths < MOST_DEATHS and behind_ns < self._far_behind_ns

    @property
    def _far_behind_ns(self) -> int:
        return (self.patience_ns or UNREPLACED_NS) // 2

    @property
    def _half_ns(self) -> int:
        # One half until it is asked, the other for the answer.
        return self.patience_ns // 2

    def _is_past(self, since_ns: int | None, now: int) -> bool:
        return since_ns is not None and now - since_ns >= self._half_ns

    def _plan(self) -> None:
        """Plan the next look."""
        if not self._is_known or not self.patience_ns:
            return
        waits = (self._due_ns, self._sent_ns) if self._asked_ns is None else (self._asked_ns,)
        begun = [since_ns for since_ns in waits if since_ns is not None]
        if not begun:
            return
        now = self._clock()
        at_ns = min(max(min(begun) + self._half_ns, now), now + FAR_NS)
        if self._look_ns is None or at_ns < self._look_ns:
            self._look_ns = at_ns
            self._after(at_ns - now, self._look)

    def _look(self) -> None:
        now = self._clock()
        planned_ns, self._look_ns = self._look_ns, None
        if planned_ns is not None and now < planned_ns:  # the machine slept, or an earlier look was planned
            self._look_ns = planned_ns
            self._after(planned_ns - now, self._look)
            return
        if not self._is_known or not self.patience_ns:
            return
        is_late = planned_ns is not None and now - planned_ns > LATE_NS
        if self._asked_ns is not None:
            if is_late:
                self._question(now)
            elif self._is_past(self._asked_ns, now):
                self._found("does not answer", now)
        elif self._is_past(self._due_ns, now) or self._is_past(self._sent_ns, now):
            self._question(now)
        self._plan()

    def _question(self, now: int) -> None:
        self._number += 1
        self._asked_ns = now
        self._ask(self._number)

    def _found(self, words: str, now: int) -> None:
        """Replace a scheduler that hangs, unless something hinders that: then ask again."""
        why = self._hindrance(self._pid)
        if not why:
            self._is_known = False
            self._replace(words)
            return
        if not self._is_told:
            self._is_told = True
            self._say(f"the scheduler (process {self._pid}) {words}, and is not replaced: {why}")
        self._question(now)
