"""One executor under test on an event loop: orders, what is said of them, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.base import Executor, Order, Result, Work

if TYPE_CHECKING:
    from taskman_cli.executors.testing.acts import Act, Say

_PAUSE_S = 0.02
_numbers = count(1)


class Failure(AssertionError):
    """An executor that does not keep its contract."""


@dataclass
class Attempt:
    """One order that is being carried out, and all that was said of it."""

    work: Work
    output: bytearray
    task: asyncio.Task[Result] | None = None

    async def end(self, timeout_s: float) -> Result:
        """Wait for its end, at most so long; its exception is raised."""
        assert self.task is not None
        done, _ = await asyncio.wait({self.task}, timeout=timeout_s)
        if not done:
            raise Failure(f"no end within {timeout_s:g} s")
        return self.task.result()

    async def outcome(self, timeout_s: float) -> Result | BaseException:
        """Wait for its end, and return its result or exception."""
        assert self.task is not None
        done, _ = await asyncio.wait({self.task}, timeout=timeout_s)
        if not done:
            raise Failure(f"no end within {timeout_s:g} s")
        if self.task.cancelled():
            return asyncio.CancelledError()
        return self.task.exception() or self.task.result()


class Bench:
    """An executor, and how to say what it shall do."""

    def __init__(
        self,
        executor: Executor,
        say: Say,
        *,
        timeout_s: float,
        sever: Callable[[Executor], None] | None = None,
    ) -> None:
        self.executor = executor
        self.timeout_s = timeout_s
        self.sever = sever
        self._say = say

    def order(self, act: Act, **changes: Any) -> Order:
        """Return an order that no other has the handle of."""
        said, number = self._say(act), next(_numbers)
        run = f"conform{os.getpid()}x{time.time_ns()}x{number}"
        told = {"TASKMAN_JOB": "conformance", "TASKMAN_RUN_ID": run} | changes.pop("env", {})
        order = Order(
            handle=f"test-{run}-main-1",
            job="conformance",
            task="main",
            run=run,
            attempt=1,
            command=said.command,
            keys=said.keys,
            env=told,
            local_env=dict(os.environ) | told,
        )
        return replace(order, **changes)

    def begin(self, act: Act, **changes: Any) -> Attempt:
        """Begin to carry out an act."""
        return self.begin_order(self.order(act, **changes))

    def begin_order(self, order: Order, *, attach: bool = False) -> Attempt:
        """Begin to carry out an order, or to follow one that runs."""
        output = bytearray()

        work = Work(
            order,
            on_started=lambda: None,
            on_output=output.extend,
            on_progress=lambda part, words: None,
        )
        attempt = Attempt(work, output)
        follow = self.executor.attach if attach else self.executor.run
        attempt.task = asyncio.create_task(follow(work))
        return attempt

    async def run(self, act: Act, **changes: Any) -> tuple[Result, bytes]:
        """Carry out an act to its end; return the result and the output."""
        attempt = self.begin(act, **changes)
        result = await attempt.end(self.timeout_s)
        if not attempt.work.is_started:
            raise Failure("it ended, and was never said to have been started")
        await self.executor.forget(attempt.work.order)
        return result, bytes(attempt.output)

    async def run_each(self, acts: Iterable[Act], **changes: Any) -> list[tuple[Result, bytes]]:
        """Carry out acts at the same time, each to its end; return the result and the output of each."""
        runs = [asyncio.create_task(self.run(act, **changes)) for act in acts]
        try:
            return [await run for run in runs]
        finally:
            for run in runs:  # those beside one that failed
                run.cancel()
            await asyncio.wait(runs)

    async def begin_ready(self, act: Act, **changes: Any) -> Attempt:
        """Begin an act, and wait until it has said "ready"."""
        attempt = self.begin(act, **changes)
        assert attempt.task is not None
        await self.until(lambda: b"ready" in attempt.output or _is_done(attempt), "its first output")
        if b"ready" not in attempt.output:
            raise Failure(f"it ended before its first output: {await attempt.outcome(0)!r}")
        if not attempt.work.is_started:
            raise Failure("there was output before it was said to have been started")
        return attempt

    async def kill(self, attempt: Attempt) -> Result:
        """Send KILL, and return the end."""
        await self.signal(attempt, 9)
        return await attempt.end(self.timeout_s)

    async def signal(self, attempt: Attempt, number: int) -> None:
        """Send a signal; that does not take for ever."""
        try:
            await asyncio.wait_for(self.executor.signal(attempt.work, number), self.timeout_s)
        except TimeoutError:
            raise Failure(f"signal {number} did not return within {self.timeout_s:g} s") from None

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        until = time.monotonic() + self.timeout_s
        while not is_so():
            if time.monotonic() > until:
                raise Failure(f"waited {self.timeout_s:g} s for {what}")
            await asyncio.sleep(_PAUSE_S)


def _is_done(attempt: Attempt) -> bool:
    return attempt.task is not None and attempt.task.done()


def processes_with(mark: int) -> list[int]:
    """Return the processes of this machine, those in containers too, that have a number as an argument."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(mark).encode() in words:
                found.append(int(path.name))
    return found


class Traces:
    """What a process has open and has started, to compare before and after."""

    def __init__(self) -> None:
        self._files = _files()
        self._children = _children()
        self._threads = set(threading.enumerate())

    def left(self) -> str:
        """Say what is there now and was not before; "" if there is nothing."""
        files = _files().items() - self._files.items()
        children = _children() - self._children
        threads = {one.name for one in set(threading.enumerate()) - self._threads if one.is_alive()}
        left = {
            "descriptors": sorted(f"{number}: {name}" for number, name in files),
            "processes": [f"{pid} {_words_of(pid)}" for pid in sorted(children)],
            "threads": sorted(threads),
        }
        return "; ".join(f"{what}: {', '.join(which)}" for what, which in left.items() if which)


def _files() -> dict[str, str]:
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            found[path.name] = str(path.readlink())
        except OSError:
            continue
    return {number: name for number, name in found.items() if not name.startswith("/proc/")}


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:  # that thread has just ended
            continue
    return found


def _words_of(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        )
    except OSError:
        return ""
