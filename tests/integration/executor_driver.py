"""Drives an executor in a test as its host does, without the supervisor and the host."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.base import Absent, Ended, Order, Result, Running, Unknown, Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from taskman_cli.executors.base import Executor

#: No conversation of a test takes longer.
_PATIENCE_S = 60.0


@dataclass
class Attempt:
    """One attempt in a test, with what was said of it."""

    executor: Executor
    order: Order
    output: bytearray = field(default_factory=bytearray)
    starts: int = 0

    def __post_init__(self) -> None:
        self.has_started = asyncio.Event()
        self.work = self._work()
        self._task: asyncio.Task[Result] | None = None

    def _work(self) -> Work:
        return Work(
            self.order,
            on_started=self._started,
            on_output=self.output.extend,
            on_progress=lambda part, words: None,
        )

    def _started(self) -> None:
        self.starts += 1
        self.has_started.set()

    def begin(self, *, is_attached: bool = False) -> asyncio.Task[Result]:
        if is_attached:
            self.has_started.clear()
            self.work = self._work()
        way = self.executor.attach if is_attached else self.executor.run
        self._task = asyncio.ensure_future(way(self.work))
        return self._task

    async def started(self) -> None:
        """Wait until it has started; raise what `run` raised if it ended before."""
        assert self._task is not None
        waiter = asyncio.ensure_future(self.has_started.wait())
        await asyncio.wait({waiter, self._task}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not self.has_started.is_set():
            waiter.cancel()
            await self._task
        assert self.has_started.is_set()

    async def printed(self, data: bytes) -> None:
        """Wait until this is in its output."""
        await until(lambda: data in self.output, what=f"{data!r} in the output")

    async def result(self) -> Result:
        assert self._task is not None
        return await asyncio.wait_for(self._task, _PATIENCE_S)

    async def signal(self, number: int) -> None:
        await asyncio.wait_for(self.executor.signal(self.work, number), _PATIENCE_S)

    async def settled(self) -> Result | Absent:
        """Ask how it stands until that is known to be over."""
        for _ in range(300):
            match await self.executor.probe(self.order):
                case Ended(result=result):
                    return result
                case Absent() as absent:
                    return absent
                case Running() | Unknown():
                    await asyncio.sleep(0.1)
        raise AssertionError("it does not end")


async def until(condition: Callable[[], Any], *, what: str = "") -> Any:
    """Wait in a loop of asyncio for a condition."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while not (result := condition()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {_PATIENCE_S:g} s: {what or condition}")
        await asyncio.sleep(0.01)
    return result


def driven(executor_of: Callable[[], Executor], play: Callable[[Executor], Awaitable[None]]) -> None:
    """Make an executor in a loop of its own, play with it, and close it."""

    async def main() -> None:
        executor = executor_of()
        try:
            await play(executor)
        finally:
            await asyncio.wait_for(executor.close(), _PATIENCE_S)

    asyncio.run(main())


def outcome_on(executor_of: Callable[[], Executor], order: Order) -> tuple[Result, bytes]:
    """Run one attempt, which begins once, and have it forgotten; return its result and its output."""
    found: list[tuple[Result, bytes]] = []

    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order)
        attempt.begin()
        found.append((await attempt.result(), bytes(attempt.output)))
        assert attempt.starts == 1
        await executor.forget(order)

    driven(executor_of, play)
    return found[0]
