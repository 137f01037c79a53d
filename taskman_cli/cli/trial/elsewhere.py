"""Run one attempt in the foreground on its executor, with its output passed through."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.cli.render import note
from taskman_cli.cli.trial.attempt import Trial
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.policy import judge
from taskman_cli.core.model import Exit, State
from taskman_cli.executors.base import ConnectionLost, Executor, Result, StartFailed, Work
from taskman_cli.executors.orders import complete, order_of, result_values
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.types import make
from taskman_cli.supervisor.program import StartError

if TYPE_CHECKING:
    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.core.model import Execution

#: Passed on to the command; the second one kills it.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How long an executor may take to end what it holds.
_LEAVE_S = 10.0


def attempt_elsewhere(
    spec: dict[str, Any], execution: Execution, definition: ExecutorDefinition, hidden: frozenset[str]
) -> Trial:
    """Have an executor of this process carry out what `spec` describes. Raises StartError."""
    with tempfile.TemporaryDirectory(prefix="taskman-test-") as directory:
        place = Path(directory)
        around = Surroundings(instance="test", state_directory=place, directory=place, hidden=hidden)
        try:
            executor = make(definition, around)
        except ValueError as error:
            raise StartError(0, str(error)) from error
        order = spec["order"] | {"handle": f"test.{os.getpid()}.{time.time_ns()}"}
        return asyncio.run(_Trial(executor, order, execution).run())


class _Trial:
    """One attempt, and the signals on their way to it."""

    def __init__(self, executor: Executor, order: dict[str, Any], execution: Execution) -> None:
        self._executor = executor
        self._order = order
        self._execution = execution
        self._started = asyncio.Event()
        self._told: list[asyncio.Task[None]] = []
        self._work: Work | None = None
        self._is_shown = True

    async def run(self) -> Trial:
        """Carry it out to its end."""
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._pass_on, number)
        began_ns, is_timed_out = time.monotonic_ns(), False
        try:
            order = await complete(order_of(self._order, is_new=True), self._order)
            self._work = Work(
                order, on_started=self._started.set, on_output=self._show, on_progress=lambda *_: None
            )
            task = asyncio.ensure_future(self._executor.run(self._work))
            is_timed_out = await self._await_end(task)
            said = result_values(await task)
        except StartFailed as error:
            raise StartError(0, str(error)) from error
        except ConnectionLost as error:
            said = result_values(Result(error=f"the connection was lost: {error}"))
        except Exception as error:  # somebody else's code
            said = result_values(Result(error=f"{type(error).__name__}: {error}"))
        finally:
            await self._leave()
        end = Exit(
            said["exit_code"],
            said["signal"],
            cpu_s=said["cpu_s"],
            peak_rss_bytes=said["peak_rss_bytes"],
            error=said["error"],
        )
        state = State.TIMED_OUT if is_timed_out else judge(end, self._execution)
        return Trial(end, state, time.monotonic_ns() - began_ns, is_peak_ours=False)

    async def _await_end(self, task: asyncio.Future[Result]) -> bool:
        """Wait for the end; end it after `timeout`. Return whether that was necessary."""
        execution = self._execution
        begun = asyncio.ensure_future(self._started.wait())
        either: list[asyncio.Future[Any]] = [task, begun]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if task.done() or await _ends_within(task, execution.timeout_ns):
            return False
        self._pass_on(execution.kill_signal)
        if not await _ends_within(task, execution.kill_timeout_ns):
            self._pass_on(signal.SIGKILL)
            await _ends_within(task, None)
        return True

    def _pass_on(self, number: int) -> None:
        if self._told and number == signal.SIGINT:
            number = signal.SIGKILL
        self._told.append(asyncio.ensure_future(self._signal(number)))

    def _show(self, data: bytes) -> None:
        """Write output; when nobody reads it any more, end what writes it, as SIGPIPE would end it here."""
        view = memoryview(data)
        try:
            sys.stdout.flush()
            while view and self._is_shown:
                with suppress(BlockingIOError):
                    view = view[os.write(1, view) :]
                    continue
                select.select((), (1,), ())
        except OSError:
            self._is_shown = False
            self._pass_on(signal.SIGTERM)
            patience_s = self._execution.kill_timeout_ns / SECOND_NS
            asyncio.get_running_loop().call_later(patience_s, self._pass_on, signal.SIGKILL)

    async def _signal(self, number: int) -> None:
        await self._started.wait()
        assert self._work is not None
        try:
            await self._executor.signal(self._work, number)
        except Exception as error:  # it goes on: the next signal is KILL
            note(f"signal {number} did not arrive: {type(error).__name__}: {error}")

    async def _leave(self) -> None:
        with suppress(Exception):
            if self._work is not None:
                await asyncio.wait_for(self._executor.forget(self._work.order), _LEAVE_S)
        with suppress(Exception):
            await asyncio.wait_for(self._executor.close(), _LEAVE_S)


async def _ends_within(task: asyncio.Future[Result], patience_ns: int | None) -> bool:
    timeout_s = None if patience_ns is None else patience_ns / SECOND_NS
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    return bool(done)
