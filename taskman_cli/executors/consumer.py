"""Type "consumer": a long-running program of the user's own, which is given tasks as lines of JSON.

There is one, started at the first task and started again, after a pause that grows, when it has died. Of the
tasks that it held then, nobody knows how they stand.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import pwd
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import (
    Absent,
    CannotStop,
    ConnectionLost,
    Executor,
    Finding,
    Result,
    StartFailed,
)
from taskman_cli.executors.consumerline import ConsumerLine
from taskman_cli.executors.program import Launch

if TYPE_CHECKING:
    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Standing, Work

_SECOND_NS = 1_000_000_000
#: How long it may take to accept a task.
_ACCEPT_LIMIT_S = 30.0
#: How long it has to end after TERM, and a task that was given up after `cancel`; less than an executor has.
_GRACE_S = 2.0
#: The pauses before it is started again; a program that has lived for the longest one begins anew.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
#: How many of its odd lines are told, before the rest is only counted.
_MOST_NOTES = 20
_MOST_WORDS = 300
#: So many of the tasks that were lost are remembered.
_MOST_LOST = 1000
_SHELL = "/bin/sh"


class _Task:
    """One order in the hands of the program."""

    def __init__(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        self.work = work
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.result: asyncio.Future[Result] = loop.create_future()
        #: KILL was sent: the program ends for its sake.
        self.is_killed = False
        #: Nobody wants to hear of it any more.
        self.is_given_up = False

    def accept(self) -> None:
        """It was begun."""
        if not self.accepted.done():
            self.work.started()
            self.accepted.set_result(None)

    def end(self, result: Result) -> None:
        """It is over."""
        self.accept()
        if not self.result.done():
            self.result.set_result(result)

    def lose(self, words: str) -> None:
        """Its program has ended."""
        if self.is_killed:
            self.end(Result(signal=signal.SIGKILL))
            return
        for future in (self.accepted, self.result):
            if not future.done():
                future.set_exception(ConnectionLost(words))
                future.exception()  # seen: whoever waits for the other one hears of it


class ConsumerExecutor(Executor):
    """Gives tasks to the program, and keeps it running."""

    def __init__(self, name: str, settings: dict[str, Any], environment: dict[str, str]) -> None:
        """Take the settings that `jobfile.executortypes.consumer` has read."""
        self._name = name
        self._settings = settings
        self._environment = environment
        self._seats = asyncio.Semaphore(settings.get("concurrency", 1))
        self._starting = asyncio.Lock()
        self._line: ConsumerLine | None = None
        self._tasks: dict[str, _Task] = {}
        self._pause_s = 0.0
        self._not_before_s = 0.0
        self._notes = 0
        #: Why tasks are lost, by handle.
        self._lost: dict[str, str] = {}
        self._enders: set[asyncio.Task[None]] = set()

    async def run(self, work: Work) -> Result:
        """Give the task to the program, once it has a seat free, and wait for its end."""
        async with self._seats:
            line = await self._running()
            handle = work.order.handle
            task = self._tasks[handle] = _Task(work)
            line.send(_task_line(work.order))
            try:
                try:
                    # Not wait_for, which forgets a cancellation that comes together with the line.
                    async with asyncio.timeout(_ACCEPT_LIMIT_S):
                        await asyncio.shield(task.accepted)
                except TimeoutError:
                    words = f"the consumer did not accept the task within {_ACCEPT_LIMIT_S:g} s"
                    self._end_in_background(line)
                    raise ConnectionLost(words) from None
                return await asyncio.shield(task.result)
            except ConnectionLost as error:
                # `probe` comes next, and tells it.
                self._lost[handle] = str(error)
                while len(self._lost) > _MOST_LOST:
                    del self._lost[next(iter(self._lost))]
                raise
            except asyncio.CancelledError:
                task.is_given_up = True
                line.send({"type": "cancel", "id": handle, "signal": "TERM"})
                asyncio.get_running_loop().call_later(_GRACE_S, self._end_unless_done, line, task)
                raise
            finally:
                if task.result.done() or line.has_ended:
                    self._tasks.pop(handle, None)

    async def signal(self, work: Work, number: int) -> None:
        """Send a `cancel` line; for KILL, end the program: TERM, then KILL.

        There is no line that stops a task, or lets it continue.
        """
        line, task = self._line, self._tasks.get(work.order.handle)
        if line is None or task is None:
            return
        if number == signal.SIGKILL:
            task.is_killed = True
            self._end_in_background(line)
        elif number == signal.SIGSTOP:
            raise CannotStop("a consumer's task cannot be stopped")
        elif number == signal.SIGCONT:
            pass
        else:
            line.send({"type": "cancel", "id": work.order.handle, "signal": _signal_name(number)})

    async def probe(self, order: Order) -> Standing:
        """Tell that a task is lost with its program, and how that has ended."""
        words = self._lost.pop(order.handle, "its consumer has ended with an earlier process of the executor")
        return Absent(words)

    async def check(self) -> tuple[Finding, ...]:
        """Tell if the program can be started, without starting it: it may begin to work at once."""
        try:
            launch = self._launch()
        except StartFailed as error:
            return (Finding(is_good=False, words=str(error), advice="correct user"),)
        program = launch.argv[0]
        paths = [program] if "/" in program else _candidates(program, launch.env.get("PATH", os.defpath))
        if any(os.access(os.path.join(launch.cwd, path), os.X_OK) for path in paths):  # noqa: PTH118
            return (Finding(is_good=True, words=f"{printable(program)} can be started"),)
        words = f"there is no program {printable(program)}"
        return (Finding(is_good=False, words=words, advice="correct command"),)

    async def close(self) -> None:
        """End the program: its input ends and TERM comes, then KILL."""
        if self._line is not None:
            await self._end(self._line)
        for ender in [*self._enders]:
            await ender

    async def _running(self) -> ConsumerLine:
        """Return the program, started if need be; raises StartFailed."""
        async with self._starting:
            if self._line is not None and self._line.is_ending:
                await asyncio.shield(self._line.program.ended)
            if self._line is not None and not self._line.has_ended:
                return self._line
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._not_before_s - loop.time()))
            line = await ConsumerLine.start(
                self._launch(), hear=self._hear, note=self._note, mute=self._has_closed_its_output
            )
            self._line = line
            started_at_s = loop.time()
            line.program.ended.add_done_callback(lambda _: self._has_ended(line, started_at_s))
            return line

    def _launch(self) -> Launch:
        command = self._settings["command"]
        environment = dict(self._environment)
        user = None
        if name := self._settings.get("user"):
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                raise StartFailed(f"there is no user {printable(name)}") from None
            environment |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
            if account.pw_uid != os.geteuid():
                groups = tuple(os.getgrouplist(account.pw_name, account.pw_gid))
                user = (account.pw_uid, account.pw_gid, groups)
        environment |= self._settings.get("env", {})
        argv = (_SHELL, "-c", command) if isinstance(command, str) else tuple(command)
        cwd = self._settings.get("cwd") or _own_directory()
        return Launch(argv=argv, env=environment, cwd=cwd, user=user)

    def _has_ended(self, line: ConsumerLine, started_at_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if line.is_ending and not line.trouble:
            self._pause_s = 0.0
        elif now_s - started_at_s >= _LONGEST_PAUSE_S:
            self._pause_s = _FIRST_PAUSE_S
        else:
            self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, self._pause_s * 2))
        self._not_before_s = now_s + self._pause_s
        words = f"the consumer {line.how_it_ended()}"
        for task in [*self._tasks.values()]:
            task.lose(words)
        self._tasks.clear()

    def _hear(self, message: dict[str, Any]) -> None:
        """Take in one line of the program."""
        handle, kind = message.get("id"), message.get("type")
        task = self._tasks.get(handle) if isinstance(handle, str) else None
        if task is None:
            self._note(f"a line of type {_shown(kind)} is about no task that it has: id {_shown(handle)}")
            return
        if kind != "done" and task.is_given_up:
            return
        if kind == "accepted":
            task.accept()
        elif kind == "output":
            try:
                task.work.write(base64.b64decode(message.get("data") or "", validate=True))
            except (binascii.Error, TypeError, ValueError):
                self._note("the data of a line of type output is not base64")
        elif kind == "progress":
            part, words = message.get("part"), message.get("words")
            is_part = isinstance(part, int | float) and 0 <= part <= 1
            words = printable(words[:_MOST_WORDS]) if isinstance(words, str) else ""
            task.work.progress(part if is_part else None, words)
        elif kind == "done":
            self._tasks.pop(str(handle))
            task.end(_result(message))
        else:
            self._note(f"{_shown(kind)} is no type of line")

    def _note(self, words: str) -> None:
        """Tell of something odd in the log, a few times."""
        self._notes += 1
        if self._notes <= _MOST_NOTES:
            end = "; more such lines are not told" if self._notes == _MOST_NOTES else ""
            self.note(f"the consumer: {printable(words)}{end}")

    def _has_closed_its_output(self, line: ConsumerLine) -> None:
        """End a program that can say nothing any more, unless it is about to end by itself."""
        asyncio.get_running_loop().call_later(_GRACE_S, self._end_mute, line)

    def _end_mute(self, line: ConsumerLine) -> None:
        if not line.has_ended and not line.is_ending:
            line.trouble = "has closed its standard output"
            self._end_in_background(line)

    def _end_unless_done(self, line: ConsumerLine, task: _Task) -> None:
        """End a program that goes on with a task that was given up."""
        if not task.result.done():
            self._end_in_background(line)

    def _end_in_background(self, line: ConsumerLine) -> None:
        ender = asyncio.get_running_loop().create_task(self._end(line))
        self._enders.add(ender)
        ender.add_done_callback(self._enders.discard)

    async def _end(self, line: ConsumerLine) -> None:
        line.end_input()
        line.program.signal(signal.SIGTERM)
        # A stopped one would not hear of it.
        line.program.signal(signal.SIGCONT)
        await asyncio.wait((line.program.ended,), timeout=_GRACE_S)
        await line.program.end()


def _task_line(order: Order) -> dict[str, Any]:
    deadline = None
    if order.deadline_ns is not None:
        with suppress(OverflowError, ValueError, OSError):
            deadline = datetime.fromtimestamp(order.deadline_ns / _SECOND_NS, UTC).isoformat()
    return {
        "type": "task",
        "id": order.handle,
        "job": order.job,
        "task": order.task,
        "run": order.run,
        "attempt": order.attempt,
        "command": list(order.command) if isinstance(order.command, tuple) else order.command,
        "env": dict(order.env),
        "cwd": order.cwd,
        "stdin": None if order.stdin is None else base64.b64encode(order.stdin).decode("ascii"),
        "resources": dict(order.resources),
        "deadline": deadline,
    }


def _result(message: dict[str, Any]) -> Result:
    code, error = message.get("exit_code"), message.get("error")
    words = "" if error is None else printable(str(error))[:_MOST_WORDS]
    if (number := message.get("signal")) is not None:
        known = _signal_number(number)
        if known is not None:
            return Result(signal=known, error=words)
        return Result(error=f"the consumer answered with signal {_shown(number)}: there is no such signal")
    if code is None:
        return Result(error=words) if words else Result(exit_code=0)
    if type(code) is not int or not 0 <= code <= 255:
        words = f"the consumer answered with exit_code {_shown(code)}: it must be a number from 0 to 255"
        return Result(error=words)
    return Result(exit_code=code, error=words)


def _shown(value: object) -> str:
    return printable(repr(value))[:80]


def _signal_number(told: object) -> int | None:
    """Return the number of a signal that is told by number or name; None: there is none."""
    if isinstance(told, str):
        found: Any = getattr(signal, f"SIG{told.removeprefix('SIG')}", None)
        return int(found) if isinstance(found, signal.Signals) else None
    return told if type(told) is int and 0 < told < signal.NSIG else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def _candidates(program: str, path: str) -> list[str]:
    return [f"{directory}/{program}" if directory else program for directory in path.split(":")]


def _own_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - as it is
    except FileNotFoundError:
        return "/"


def make(definition: ExecutorDefinition, around: Any = None) -> ConsumerExecutor:
    """Make an executor of its definition."""
    environment = dict(os.environ) if around is None else around.inherited()
    return ConsumerExecutor(definition.name, dict(definition.settings), environment)
