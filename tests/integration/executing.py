"""Carries out orders of an executor in a test, without a supervisor."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.base import Order, Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from taskman_cli.executors.base import Executor, Result


@dataclass
class Attempt:
    """An order that is being carried out, and what was said of it."""

    order: Order
    output: bytearray = field(default_factory=bytearray)
    told: list[tuple[float | None, str]] = field(default_factory=list)
    work: Work = field(init=False)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Result] = field(init=False)

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "surrogateescape")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true; fails after 30 s."""
        for _ in range(6000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within 30 s; the output so far: {self.text!r}")


def order(handle: str = "r1.main.1", **fields: Any) -> Order:
    fields.setdefault("local_env", {"PATH": os.defpath, "HOME": "/"})
    return Order(handle=handle, job="load", task="main", run="r1", attempt=1, **fields)


def begin(executor: Executor, an_order: Order) -> Attempt:
    """Begin to carry out an order on the running loop."""
    attempt = Attempt(an_order)
    attempt.work = Work(
        an_order,
        on_started=attempt.started.set,
        on_output=attempt.output.extend,
        on_progress=lambda part, words: attempt.told.append((part, words)),
    )
    attempt.task = asyncio.get_running_loop().create_task(executor.run(attempt.work))
    return attempt


def with_executor(executor_of: Callable[[], Executor], body: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run `body` with an executor that is closed afterwards."""

    async def run() -> Any:
        executor = executor_of()
        try:
            async with asyncio.timeout(60):
                return await body(executor)
        finally:
            await executor.close()

    return asyncio.run(run())
