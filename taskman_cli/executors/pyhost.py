"""A worker of type "python", seen from its executor: started, given calls, ended."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Result, StartFailed
from taskman_cli.executors.orders import Layers, since
from taskman_cli.executors.program import Program
from taskman_cli.executors.pyline import WorkerLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.executors.base import Work
    from taskman_cli.executors.program import Launch

#: How long an interpreter may take to be ready, and a worker to begin a call.
_START_LIMIT_S = 30.0
#: How long a worker may take to end by itself.
_END_LIMIT_S = 5.0
#: How long a worker whose connection has ended may take to be seen dead.
_DEATH_LIMIT_S = 1.0
#: What is left in a pipe after a call is read up to so much: another process may go on writing.
_MOST_LEFT_BYTES = 2 << 20
_CHUNK_BYTES = 1 << 16
#: How long the output of a call is left in its pipe.
_UNWATCHED_S = 0.02
_MOST_WORDS, _MOST_ERROR = 300, 1000
#: What a worker can tell of itself at the most.
_MOST_BYTES, _MOST_CPU_S = 1 << 60, 1e9


class Worker:
    """One interpreter that makes calls."""

    def __init__(self, program: Program, line: WorkerLine, lifeline: int) -> None:
        self.program = program
        #: What it has for life.
        self.key: tuple[object, ...] = ()
        self.version = ""
        self.calls = 0
        self.rss_bytes = 0
        #: It can have another call.
        self.is_sound = True
        self._line = line
        #: The environment of its last call.
        self._env: Mapping[str, str] = {}
        #: While this pipe is open, the worker and what it has started live: the kernel sees to it.
        self._lifeline = lifeline
        self._loop = asyncio.get_running_loop()
        #: Looks at it now and then, as long as it is sound; it is not set anew for each call.
        self._timer: asyncio.TimerHandle | None = None
        #: When it has rested for too long; None: it is at work.
        self._rests_to_s: float | None = None
        #: The pipe of the call that is made.
        self._output: _Output | None = None
        program.ended.add_done_callback(self._has_ended)

    @classmethod
    async def start(cls, python: str, text: bytes, launch: Launch) -> Worker:
        """Start an interpreter and wait until it is ready; raises StartFailed."""
        line, theirs = WorkerLine.pair()
        life_read, life_write = os.pipe2(os.O_CLOEXEC)
        said, say = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            program = await Program.start(launch, ((theirs, 0), (life_read, 1), (say, 2)))
        except BaseException:
            line.close()
            os.close(life_write)
            os.close(said)
            raise
        finally:
            for fd in (theirs, life_read, say):
                os.close(fd)
        worker = cls(program, line, life_write)
        try:
            line.send_bytes(text)
            hello = await worker._next(_START_LIMIT_S)
            if hello is None or hello.get("type") != "hello":
                has_ended = program.ended.done() or line.has_ended
                worker.kill()
                await asyncio.shield(program.ended)
                raise StartFailed(f"{printable(python)} {_why_not(said, has_ended=has_ended)}")
            worker.version = str(hello.get("version"))
        except BaseException:
            worker.kill()
            raise
        finally:
            os.close(said)
        return worker

    async def call(self, work: Work, frame: dict[str, Any]) -> Result | None:
        """Make one call; None: the worker was stale, or had just died. Raises StartFailed."""
        self.calls += 1
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        given = [write]
        try:
            os.set_blocking(write, True)
            if work.order.user is not None:
                with suppress(OSError):  # so that it can be opened again by its name
                    os.fchown(write, work.order.user[0], -1)
            if work.order.stdin is not None:
                given.append(_memory_file(work.order.stdin))
            self._line.send(frame | self._changed(work.order.local_env) | {"number": self.calls}, given)
            self._line.on_progress = work.progress
            work.started()
        except BaseException:
            os.close(read)
            raise
        finally:
            for fd in given:
                os.close(fd)
        self._output = output = _Output(read, work)
        self._look_in(_UNWATCHED_S)
        try:
            told = await self._answer(work)
        finally:
            self._output = None
            output.close()
        if isinstance(told, dict):
            self.rss_bytes = _number(told, "rss_bytes")
            if told.get("is_changed"):
                self.retire()
            if value := told.get("value"):
                work.write(f"return value: {value}\n".encode("utf-8", "backslashreplace"))
            return _result(told)
        return told

    async def _answer(self, work: Work) -> dict[str, Any] | Result | None:
        """Wait for the end of a call: what the worker says of it, or how the worker itself has ended."""
        told = await self._line.next()
        kind = None if told is None else told.get("type")
        if kind == "done":
            return told
        if kind == "refused":
            words = printable(str(told and told.get("words")))[:_MOST_WORDS]
            return Result(error=words)
        if kind == "stale":
            self.retire()
            return None
        # It has ended, or the call has closed or misused the connection.
        await asyncio.wait((self.program.ended,), timeout=_DEATH_LIMIT_S)
        words = ""
        if not self.program.ended.done():
            words = self._line.trouble or "the call has closed the connection of its worker"
            self.kill()
        return _broken(await asyncio.shield(self.program.ended), words)

    def signal(self, number: int) -> None:
        """Send a signal to the worker and to what the call has started."""
        # Beside it, so that it can tell for which call it is meant.
        self._line.send({"type": "cancel", "number": self.calls})
        self.program.signal(number)

    def _changed(self, env: Mapping[str, str]) -> dict[str, Any]:
        """Return what differs in the environment of a call from that of the one before."""
        before, self._env = self._env, env
        differs, gone = env.since(before) if isinstance(env, Layers) else since(env, before)
        return {"set": differs, "unset": gone}

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
        """Read the output of a call that takes its time; end a worker that has rested for too long."""
        self._timer = None
        now_s = self._loop.time()
        if self._output is not None:
            if (left_s := self._output.watch(now_s)) > 0:
                self._look_in(left_s)
        elif self._rests_to_s is not None and self._rests_to_s <= now_s:
            self.retire()
        elif self._rests_to_s is not None:
            self._look_in(self._rests_to_s - now_s)

    def wake(self) -> bool:
        """Tell if it can have a call now."""
        self._rests_to_s = None
        return self.is_sound and not self.program.ended.done() and self._line.is_open()

    def retire(self) -> None:
        """Have it end by itself; what its calls have left running goes on."""
        self.is_sound = False
        self.program.ends_its_group = False
        self._line.send({"type": "end"})
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

    async def _next(self, limit_s: float) -> dict[str, Any] | None:
        try:
            # Not wait_for, which forgets a cancellation that comes together with the frame.
            async with asyncio.timeout(limit_s):
                return await self._line.next()
        except TimeoutError:
            return None

    def _has_ended(self, _: object) -> None:
        self.is_sound = False
        self._set_no_timer()
        if not self._line.has_ended:
            self._line.read()
            self._line.close()
        os.close(self._lifeline)


class _Output:
    """The pipe of one call, read as it fills."""

    def __init__(self, fd: int, work: Work) -> None:
        self._fd = fd
        self._work = work
        self._has_ended = False
        self._is_watched = False
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    def close(self) -> None:
        """Read what is left, and let go of it: whatever the call has left running writes to nobody."""
        left = _MOST_LEFT_BYTES
        while not self._has_ended and left > 0:
            count = self._pass_on()
            if count < _CHUNK_BYTES:
                break
            left -= count
        self._unwatch()
        os.close(self._fd)

    def watch(self, now_s: float) -> float:
        """Read it as it fills from now on; or return how long to wait before that.

        Most calls are over before that: what they have written is read at their end.
        """
        left_s = self._began_s + _UNWATCHED_S - now_s
        if left_s <= 0 and not (self._is_watched or self._has_ended):
            self._is_watched = True
            self._loop.add_reader(self._fd, self._pass_on)
        return left_s

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._fd)

    def _pass_on(self) -> int:
        try:
            data = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._has_ended = True
            self._unwatch()
        self._work.write(data)
        return len(data)


def _result(told: dict[str, Any]) -> Result:
    """Return the end that a worker tells, which is only as honest as the call's user."""
    number = _number(told, "signal", most=signal.SIGRTMAX)
    cpu_s = told.get("cpu_s")
    return Result(
        exit_code=None if number else _number(told, "status", most=255),
        signal=number or None,
        error=printable(str(told.get("error") or "")[:_MOST_ERROR]),
        cpu_s=cpu_s if isinstance(cpu_s, float) and 0 <= cpu_s < _MOST_CPU_S else 0.0,
        peak_rss_bytes=_number(told, "peak_bytes"),
    )


def _broken(status: int, words: str) -> Result:
    """Return the end of a call that has ended its worker."""
    if os.WIFSIGNALED(status):
        return Result(signal=os.WTERMSIG(status), error=words)
    return Result(exit_code=os.WEXITSTATUS(status), error=words)


def _number(told: dict[str, Any], name: str, *, most: int = _MOST_BYTES) -> int:
    value = told.get(name)
    return value if isinstance(value, int) and 0 < value <= most else 0


def _why_not(said: int, *, has_ended: bool) -> str:
    """Say why an interpreter did not become a worker, with the last line that it has said."""
    how = "ended before it was ready" if has_ended else f"was not ready within {_START_LIMIT_S:g} s"
    with suppress(BlockingIOError):
        lines = os.read(said, _CHUNK_BYTES).decode("utf-8", "replace").split("\n")
        words = [printable(line.strip()) for line in lines if line.strip()]
        if words:
            return f"{how}: {words[-1][:_MOST_WORDS]}"
    return how


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
