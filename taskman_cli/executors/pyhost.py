"""A worker of type "python", seen from its executor: started, given calls, ended.

It may be given calls ahead, which it makes one after the other. What it has not begun can be taken back: that
is how a call moves to another worker if one takes its time, and how a signal reaches only the call that it is
meant for. The last call that the worker has taken is the only one that may run.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Result, StartFailed
from taskman_cli.executors.program import Program
from taskman_cli.executors.pycall import close
from taskman_cli.executors.pyend import SHORTEST_END, broken, read_end, value_of
from taskman_cli.executors.pyline import WorkerLine

if TYPE_CHECKING:
    from collections.abc import Collection

    from taskman_cli.executors.base import Work
    from taskman_cli.executors.program import Launch
    from taskman_cli.executors.pycall import Call, Plan

#: How long an interpreter may take to be ready.
_START_LIMIT_S = 30.0
#: How long a worker may take to end by itself.
_END_LIMIT_S = 5.0
#: How long a worker whose line has ended may take to be seen dead.
_DEATH_LIMIT_S = 1.0
#: How long calls wait behind others that were thought to be short.
_BEHIND_S = 0.002
#: How long the output of a call is left in its pipe.
_UNWATCHED_S = 0.02
#: When calls are looked at; a worker that has not begun one at the last look was stopped, most likely.
_LOOKS_S = (_BEHIND_S, _UNWATCHED_S, 1.0)
_CHUNK_BYTES = 1 << 16
_MOST_WORDS = 300
#: Signals that end no process.
HARMLESS = {
    0, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT, signal.SIGCHLD,
    signal.SIGURG, signal.SIGWINCH,
}  # fmt: skip


class Keeper(Protocol):
    """Who gives the calls."""

    def came(self, worker: Worker) -> None:
        """Note that a worker was started."""

    def left(self, worker: Worker) -> None:
        """Note that a worker has ended."""

    def free(self, worker: Worker) -> None:
        """Note that a worker has no call any more."""

    def again(self, call: Call) -> None:
        """Take a call that a worker has not begun."""

    def took(self, call: Call, worker: Worker, took_us: int) -> bool:
        """Note how long a function has taken; tell whether its worker has done its share."""


class Worker:
    """One interpreter that makes calls."""

    def __init__(self, program: Program, line: WorkerLine, lifeline: int, keeper: Keeper) -> None:
        self.program = program
        #: What it has for life.
        self.key: tuple[object, ...] = ()
        self.version = ""
        #: How many calls it was given.
        self.count = 0
        self.rss_bytes = 0
        #: It can have another call.
        self.is_sound = True
        #: Those that it has, in order.
        self.calls: deque[Call] = deque()
        self._keeper = keeper
        self._line = line
        line.on_progress = self._progress
        #: That of the last call that it was given; None: not known.
        self._plan: Plan | None = None
        #: While this pipe is open, the worker and what it has started live: the kernel sees to it.
        self._lifeline = lifeline
        self._loop = asyncio.get_running_loop()
        #: Looks at it now and then, as long as it is sound; it is not set anew for each call.
        self._timer: asyncio.TimerHandle | None = None
        #: When it has rested for too long; None: it is at work.
        self._rests_to_s: float | None = None
        #: When its first call was the first.
        self._since_s = 0.0
        self._count_at_look = 0
        #: Why it was killed, in words.
        self._words = ""
        program.ended.add_done_callback(self._has_ended)
        keeper.came(self)

    @classmethod
    async def start(cls, python: str, text: bytes, launch: Launch, keeper: Keeper) -> Worker:
        """Start an interpreter and wait until it is ready; raises StartFailed."""
        found: list[Worker] = []
        line = WorkerLine(lambda: found[0].hear() if found else None)
        with ExitStack() as ours, ExitStack() as theirs:  # any of them may be more than we can have open
            ours.callback(line.close)
            life_read, life_write = os.pipe2(os.O_CLOEXEC)
            theirs.callback(os.close, life_read)
            ours.callback(os.close, life_write)
            said, say = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            theirs.callback(os.close, say)
            ours.callback(os.close, said)
            begin = line.take_theirs()
            theirs.callback(os.close, begin)
            program = await Program.start(launch, ((begin, 0), (life_read, 1), (say, 2)))
            ours.pop_all()
        worker = cls(program, line, life_write, keeper)
        found.append(worker)
        try:
            hello = None
            with suppress(TimeoutError):
                # Not wait_for, which forgets a cancellation that comes together with the frame.
                async with asyncio.timeout(_START_LIMIT_S):
                    hello = await line.hello(text)
            if hello is None or "version" not in hello:
                has_ended = program.ended.done() or line.has_ended
                worker.kill()
                await asyncio.shield(program.ended)
                raise StartFailed(f"{printable(python)} {_why_not(said, has_ended=has_ended)}")
            worker.version = str(hello["version"])
        except BaseException:
            worker.kill()
            raise
        finally:
            os.close(said)
        return worker

    # --- calls ---

    def give(self, call: Call) -> None:
        """Put a call behind those that it has; `go` tells it. Raises OSError."""
        given = call.open()
        try:
            self._line.put(self.count + 1, call.text(is_known=self._plan is call.plan), given)
        except BaseException:
            call.close()
            raise
        finally:
            close(given)
        self.count += 1
        call.worker, call.number = self, self.count
        self._plan, self._rests_to_s = call.plan, None
        self.calls.append(call)
        if len(self.calls) == 1:
            self._since_s = self._loop.time()
        self._look_in(_BEHIND_S)

    def go(self) -> None:
        """Tell it that it has calls, unless it is going to look for them anyway."""
        if self._line.is_resting and self.calls:
            self._line.go()

    def hear(self) -> None:
        """Take what it has answered, and see whether it is still there."""
        for kind, number, words in self._line.answers():
            if not self.calls or self.calls[0].number != number:
                self._misused("an answer that nobody has asked for")
                break
            self._take(self.calls[0], kind, words)
        self.go()  # it may have looked before it was given the last ones
        if self._line.has_ended and not self.program.ended.done():
            if self.is_sound:
                self.is_sound = False
                self._set_no_timer()
                self._again(self._take_back())
                self._timer = self._loop.call_later(_DEATH_LIMIT_S, self._be_dead)
        elif self.is_sound and self.count and not self.calls and self._rests_to_s is None:
            self._keeper.free(self)

    def _be_dead(self) -> None:
        self._words = self._line.trouble or "the call has closed the connection of its worker"
        self.kill()

    def _misused(self, words: str) -> None:
        self._words = f"the call has written to the connection of its worker: {words}"
        self.kill()

    def _take(self, call: Call, kind: bytes, words: bytes) -> None:
        """Take the answer to the first call."""
        result = None
        if kind == b"d" and len(words) >= SHORTEST_END:
            result = self._done(call, words)
        elif kind == b"r":
            result = Result(error=printable(words.decode("utf-8", "replace"))[:_MOST_WORDS])
        elif kind != b"s":
            self._misused("an answer that is none")
            return
        self.calls.popleft()
        if kind == b"s":  # its imports are stale: it has not begun, and the worker is of no more use
            self.retire()
            call.tries += 1
            self._again([call, *self._take_back()])
            return
        if self.calls:
            self._since_s = self._loop.time()
            if not self.calls[0].work.has_seat:
                call.work.heir = self.calls[0].work
        if kind == b"d" and (value := value_of(words)):
            call.close(is_read=True)
            call.work.write(b"return value: " + value + b"\n")
        assert result is not None
        call.end(result)

    def _done(self, call: Call, words: bytes) -> Result:
        """Return the end that a worker tells, and see to what follows for itself."""
        end = read_end(words)
        self.rss_bytes = end.rss_bytes
        has_done_its_share = self._keeper.took(call, self, end.took_us)
        if end.is_last and self.is_sound:
            self.retire()
        if end.is_last or has_done_its_share:
            self._again(self._take_back())
        return end.result

    def give_up(self, call: Call) -> None:
        """Let a call go that nobody waits for: it never begins, or the worker is killed."""
        taken = self._take_back()
        if call not in taken:
            self.hear()  # maybe it has ended, and is not the one that is made
            if call in self.calls:
                self.kill()
        self._again(taken)

    def take_back(self, works: Collection[Work]) -> list[Work]:
        """Take back what has not begun and has no seat."""
        taken = self._take_back()
        self.hear()  # what has begun has the seat of what has ended
        found = [call for call in taken if call.work in works and not call.work.has_seat]
        for call in found:
            call.give_up()
        self._again([call for call in taken if call not in found])
        return [call.work for call in found]

    def _take_back(self) -> list[Call]:
        numbers = set(self._line.take_back())
        taken = [call for call in self.calls if call.number in numbers]
        for call in taken:
            self.calls.remove(call)
            call.worker = None
            call.close()
        if taken:
            self._plan = None
        return taken

    def _again(self, calls: list[Call]) -> None:
        for call in calls:
            call.worker = None
            call.close()
            self._keeper.again(call)

    def signal(self, call: Call, number: int) -> bool:
        """Send a signal to a call and what it has started; False: it was not begun, and is the caller's."""
        taken = self._take_back()
        is_taken = call in taken and number not in HARMLESS
        if is_taken:
            if taken[0] is call and not self.calls and self._loop.time() - self._since_s >= _UNWATCHED_S:
                self.retire()  # it was stopped, most likely
            taken.remove(call)
        elif self.calls and self.calls[-1] is call:
            # Beside it, so that it can tell for which call it is meant.
            self._line.cancel(call.number)
            self.program.signal(number)
            self.is_sound = self.is_sound and number != signal.SIGKILL
        self._again(taken)  # not before: one of them could be begun, and get the signal
        return not is_taken

    def _progress(self, number: int, part: Any, words: Any) -> None:
        if self.calls and self.calls[0].number != number:
            self.hear()  # of those before it
        if self.calls and self.calls[0].number == number:
            is_part = isinstance(part, int | float) and 0 <= part <= 1
            told = printable(str(words or "")[:_MOST_WORDS])
            self.calls[0].work.progress(float(part) if is_part else None, told)

    # --- looks ---

    def rest(self, most_s: float) -> None:
        """Be idle for so long at the most."""
        self._rests_to_s = self._loop.time() + most_s
        self._look_in(most_s)

    def _look_in(self, after_s: float) -> None:
        """Look at the worker then, or earlier if that is to be done anyway."""
        if self._timer is None:
            self._timer = self._loop.call_later(after_s, self._look)
        elif self._timer.when() > self._loop.time() + after_s:
            self._timer.cancel()
            self._timer = self._loop.call_later(after_s, self._look)

    def _look(self) -> None:
        """See whether its calls get on; end a worker that has rested for too long."""
        self._timer = None
        self._line.read()  # ahead of the answers, which may be later
        self.hear()
        now_s = self._loop.time()
        if self.calls and self.is_sound:
            self._look_at_calls(now_s)
        elif self.is_sound and self.count != self._count_at_look:
            self._count_at_look = self.count
            self._look_in(_BEHIND_S)  # as long as it is at work, no timer is set for each call
        elif self._rests_to_s is not None and self._rests_to_s <= now_s:
            self.retire()
        elif self._rests_to_s is not None:
            self._look_in(self._rests_to_s - now_s)

    def _look_at_calls(self, now_s: float) -> None:
        """Read the output of a call that takes its time; let what waits behind it move on."""
        first, waited_s = self.calls[0], now_s - self._since_s
        first.work.started()
        if waited_s >= _UNWATCHED_S:
            first.watch()
        if coming := [at_s for at_s in _LOOKS_S if at_s > waited_s]:
            self._look_in(coming[0] - waited_s)
        is_late = not coming
        if is_late or (len(self.calls) > 1 and waited_s >= _BEHIND_S):
            self._keeper.took(first, self, int(waited_s * 1e6))
            since_s, taken = self._since_s, self._take_back()
            if first in taken and is_late:
                self.retire()
            elif first in taken:  # it has not come to any of them: it is the machine that is slow
                taken.remove(first)
                self._give_back(first)
                self._since_s = since_s
            self._again(taken)

    def _give_back(self, call: Call) -> None:
        try:
            self.give(call)
        except OSError:
            self._again([call])
        else:
            self.go()

    # --- the end ---

    def retire(self) -> None:
        """Have it end by itself; what its calls have left running goes on."""
        self.is_sound = False
        self.program.ends_its_group = False
        self._line.end()
        self._set_no_timer()
        self._timer = self._loop.call_later(_END_LIMIT_S, self.kill)

    def _set_no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        self.is_sound = False
        self.program.signal(signal.SIGKILL)

    def _has_ended(self, ended: asyncio.Future[int]) -> None:
        """Conclude the call that it was making; what it has not begun is for others."""
        self.is_sound = False
        self._set_no_timer()
        for _ in range(len(self.calls) + 1):
            self.hear()
        taken = self._take_back()
        self._line.close()
        os.close(self._lifeline)
        self._keeper.left(self)
        while self.calls:
            call = self.calls.popleft()
            call.end(broken(ended.result(), self._words))
        self._again(taken)


def _why_not(said: int, *, has_ended: bool) -> str:
    """Say why an interpreter did not become a worker, with the last line that it has said."""
    how = "ended before it was ready" if has_ended else f"was not ready within {_START_LIMIT_S:g} s"
    with suppress(BlockingIOError):
        lines = os.read(said, _CHUNK_BYTES).decode("utf-8", "replace").split("\n")
        words = [printable(line.strip()) for line in lines if line.strip()]
        if words:
            return f"{how}: {words[-1][:_MOST_WORDS]}"
    return how
