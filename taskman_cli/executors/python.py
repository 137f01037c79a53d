"""Type "python": calls of functions, in warm workers of the job's own interpreter.

A worker (`pyworker`) belongs to one user, niceness and start-up environment. It makes one call at a time, and
is replaced after `max_calls` calls, when it has grown beyond `max_memory`, when a file that it has imported
has changed, and whenever a call has broken it.

Calls of functions that have taken next to no time of late are given to one worker ahead, a few at a time: to
wake another process for each would cost more than the calls. If one of them takes longer after all, those
behind it move to other workers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Executor, Finding, NoSeat, Result, StartFailed
from taskman_cli.executors.orders import is_want, short
from taskman_cli.executors.pycall import Call, Place, Plans
from taskman_cli.executors.pyhost import HARMLESS, Worker
from taskman_cli.executors.pystart import launch_of, start_text
from taskman_cli.trust import Untrusted, standing_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Work
    from taskman_cli.executors.program import Launch
    from taskman_cli.executors.pycall import Key

_SECOND_NS = 1_000_000_000
#: How often a call is given to another worker, because the first one was stale or cannot take it.
_MOST_TRIES = 3
#: Calls that a worker has at a time, if all are short; and with those that have no seat to begin at once.
_MOST_AHEAD, _MOST_BEHIND = 8, 72
#: A call that takes less costs less than to wake another worker for it.
_SHORT_US = 100
#: Workers that are on their way at a time, for each core. With few, other programs get most of a busy core.
_STARTS_A_CORE = 8
#: Pauses before a worker is started again whose user has no room for it.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
#: Functions that are known to be short.
_MOST_SHORT = 1000


class Lane:
    """The workers that are alike in what they have for life."""

    def __init__(self) -> None:
        self.idle: list[Worker] = []
        #: Calls that wait for a worker, and how many are on their way.
        self.waiting: deque[Call] = deque()
        self.coming = 0
        #: That was given a call last.
        self.last: Worker | None = None


class PythonExecutor(Executor):
    """Keeps workers, and gives them calls."""

    hears_early = True

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings that `jobfile.executortypes.python` has read."""
        self._python: str = settings.get("python") or sys.executable
        self._path = [*settings.get("path", ())]
        self._max_calls: int = settings.get("max_calls", 1000)
        self._max_memory_bytes: int | None = settings.get("max_memory_bytes")
        self._idle_s: float = settings.get("idle_timeout_ns", 300 * _SECOND_NS) / _SECOND_NS
        self._text = start_text(self._path)
        self._plans = Plans(Place(is_size_wanted=self._max_memory_bytes is not None))
        self._lanes: dict[Key, Lane] = {}
        self._all: set[Worker] = set()
        self._calls: dict[Work, Call] = {}
        #: Functions that took next to no time the last time.
        self._short: set[str] = set()
        #: Those that were given calls in this turn of the loop, and are told at its end.
        self._given: list[Worker] = []
        self._starts: set[asyncio.Task[None]] = set()
        self._most_starts = _STARTS_A_CORE * len(os.sched_getaffinity(0))

    def begin(self, work: Work, over: Callable[[Result | BaseException], None]) -> bool:
        """Have a worker make the call."""
        if not isinstance(work.order.keys.get("call"), str):
            return False
        self.again(Call(work, over, *self._plans.of(work.order), among=self._calls))
        return True

    def begin_behind(self, work: Work, over: Callable[[Result | BaseException], None]) -> bool:
        """Have the worker that was given a call last make this one after it, if all are short."""
        call = Call(work, over, *self._plans.of(work.order), among=self._calls)
        if not self._give_behind(call):
            call.give_up()
            return False
        return True

    def take_back(self, works: Collection[Work]) -> list[Work]:
        """Take calls back that no worker has begun."""
        taken: list[Work] = []
        for worker in {call.worker for work in works if (call := self._calls.get(work)) is not None}:
            assert worker is not None
            taken += worker.take_back(works)
        return taken

    async def run(self, work: Work) -> Result:
        """Do the same, and wait for its end."""
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def over(outcome: Result | BaseException) -> None:
            if ended.done():  # cancelled, in this turn of the loop
                return
            if isinstance(outcome, Result):
                work.started()
                ended.set_result(outcome)
            else:
                ended.set_exception(outcome)

        if not self.begin(work, over):
            raise StartFailed('there is no call: set call = "package.module:function"')
        try:
            return await ended
        except asyncio.CancelledError:
            self.give_up(work)
            raise

    def give_up(self, work: Work) -> None:
        """Let a call go that nobody waits for: it never begins, or is killed."""
        call = self._calls.get(work)
        if call is None:
            return
        call.give_up()
        if call.worker is not None:
            call.worker.give_up(call)
        elif call in (lane := self._lanes[call.plan.key]).waiting:
            lane.waiting.remove(call)

    async def signal(self, work: Work, number: int) -> None:
        """Send a signal to a worker that makes a call, and to all that the call has started."""
        call = self._calls.get(work)
        if call is None or self._heard(call).is_over:
            return
        if call.worker is not None:
            if call.worker.signal(call, number):
                return
        elif number in HARMLESS:
            return
        else:
            self._lanes[call.plan.key].waiting.remove(call)
        call.end(Result(signal=int(number)))

    @staticmethod
    def _heard(call: Call) -> Call:
        """Hear what has become of a call until now: it may have ended, or be with another worker."""
        worker = None
        while not call.is_over and call.worker is not worker:
            worker = call.worker
            if worker is not None:
                worker.hear()
        return call

    async def check(self) -> tuple[Finding, ...]:
        """Tell if the interpreter starts, and its version."""
        try:
            # What only another user's jobs use need not be safe to start as root.
            standing_trust(os.environ).check(self._python)
        except Untrusted as error:
            words = f"{printable(self._python)} is not started as root to find its version: {error}"
            return (Finding(is_good=True, words=words),)
        try:
            worker = await Worker.start(self._python, self._text, launch_of(self._python, os.environ), self)
        except StartFailed as error:
            advice = "set python to the path of an interpreter of version 3.8 or later"
            return (Finding(is_good=False, words=str(error), advice=advice),)
        worker.retire()
        return (Finding(is_good=True, words=f"{self._python} is Python {worker.version}"),)

    async def close(self) -> None:
        """Kill all workers."""
        for start in self._starts:
            start.cancel()
        if self._starts:
            await asyncio.wait([*self._starts])
        workers = [*self._all]
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.program.end()

    # --- what workers say ---

    def came(self, worker: Worker) -> None:
        """Note that a worker was started."""
        self._all.add(worker)

    def left(self, worker: Worker) -> None:
        """Note that a worker has ended."""
        self._all.discard(worker)
        lane = self._lanes.get(worker.key)
        if lane is None:
            return
        if worker in lane.idle:
            lane.idle.remove(worker)
        if lane.last is worker:
            lane.last = None
        if not (lane.idle or lane.waiting or lane.coming or lane.last):
            del self._lanes[worker.key]

    def free(self, worker: Worker) -> None:
        """Give a worker the next call, or keep it for later, unless it has done its share."""
        lane = self._lanes.setdefault(worker.key, Lane())
        if self._is_worn(worker):
            worker.retire()
        elif lane.waiting:
            self._give(lane, worker, lane.waiting.popleft())
        else:
            self._keep(lane, worker)

    def took(self, call: Call, worker: Worker, took_us: int) -> bool:
        """Note how long a function has taken; tell whether its worker has done its share."""
        if took_us >= _SHORT_US:
            self._short.discard(call.plan.call)
        elif len(self._short) < _MOST_SHORT:
            self._short.add(call.plan.call)
        return self._max_memory_bytes is not None and worker.rss_bytes > self._max_memory_bytes

    def again(self, call: Call) -> None:
        """Give a call to a worker, or let it wait for one."""
        if call.is_over:
            return
        if call.tries >= _MOST_TRIES:
            words = "a file that the call imports changed each time before it began"
            call.end(Result(error=words))
            return
        if not call.work.has_seat:
            if not self._give_behind(call):
                call.end(NoSeat())
            return
        key = call.plan.key
        lane = self._lanes.get(key) or self._lanes.setdefault(key, Lane())
        last = lane.last
        while lane.idle and not lane.idle[-1].is_sound:
            lane.idle.pop()
        if last is not None and last.calls and self._is_short(call, last, _MOST_AHEAD):
            self._give(lane, last, call)
        elif lane.idle:
            self._give(lane, lane.idle.pop(), call)
        else:
            lane.waiting.append(call)
            self._start_some(lane, key)

    # --- giving ---

    def _is_worn(self, worker: Worker) -> bool:
        limit = self._max_memory_bytes
        return worker.count >= self._max_calls or (limit is not None and worker.rss_bytes > limit)

    def _is_short(self, call: Call, worker: Worker, most: int) -> bool:
        """Tell whether a call can be given to a worker that has others."""
        return (
            worker.is_sound
            and call.plan.call in self._short
            and worker.calls[0].plan.call in self._short
            and len(worker.calls) < most
            and not self._is_worn(worker)
        )

    def _keep(self, lane: Lane, worker: Worker) -> None:
        lane.idle.append(worker)
        worker.rest(self._idle_s)

    def _give(self, lane: Lane, worker: Worker, call: Call) -> None:
        lane.last = worker
        try:
            worker.give(call)
        except OSError as error:
            if is_want(error):
                if not worker.calls:
                    self._keep(lane, worker)
                call.end(_unbegun(error))
            else:  # a call has broken what ties it to us
                worker.kill()
                call.tries += 1
                self.again(call)
        else:
            self._go_soon(worker)

    def _give_behind(self, call: Call) -> bool:
        """Give a call without a seat to the worker that was given one last; return False if it cannot be."""
        lane = self._lanes.get(call.plan.key)
        last = None if lane is None else lane.last
        if last is None or not last.calls or not self._is_short(call, last, _MOST_BEHIND):
            return False
        try:
            last.give(call)
        except OSError:
            return False
        self._go_soon(last)
        return True

    def _go_soon(self, worker: Worker) -> None:
        if not self._given:
            asyncio.get_running_loop().call_soon(self._go)
        self._given.append(worker)

    def _go(self) -> None:
        given, self._given = self._given, []
        for worker in given:
            worker.go()

    def _start_some(self, lane: Lane, key: Key) -> None:
        """Start workers for calls that wait: only some at a time.

        On a busy machine, one for each call would take so long that many more calls come meanwhile.
        """
        while lane.coming < min(len(lane.waiting), self._most_starts):
            lane.coming += 1
            order = lane.waiting[0].work.order
            start = asyncio.get_running_loop().create_task(self._start(lane, order, key))
            self._starts.add(start)
            start.add_done_callback(self._starts.discard)

    async def _start(self, lane: Lane, order: Order, key: Key) -> None:
        """Start a worker for the first call that waits by then."""
        try:
            launch = launch_of(self._python, order.local_env, user=order.user, nice=order.nice)
            worker = await self._started(lane, launch)
        except Exception as error:  # it is the call's failure
            if lane.waiting:
                lane.waiting.popleft().end(_unbegun(error))
        else:
            worker.key = key
            self.free(worker)
        finally:
            lane.coming -= 1
        self._start_some(lane, key)

    async def _started(self, lane: Lane, launch: Launch) -> Worker:
        """Start a worker. If what it needs has run out for its user, only the user's calls wait for that."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await Worker.start(self._python, self._text, launch, self)
            except StartFailed as error:
                if not error.is_users or not lane.waiting:
                    raise
                lane.waiting[0].work.progress(None, str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _unbegun(error: Exception) -> Exception:
    """Return what tells that a call has not begun, even if it was told before that it most likely had."""
    return StartFailed(short(error), is_transient=True) if is_want(error) else error


def make(definition: ExecutorDefinition, _around: object = None) -> PythonExecutor:
    """Make an executor of its definition."""
    return PythonExecutor(dict(definition.settings))
