"""An executor that runs commands in a shell here, to test the conformance suite itself; and broken ones."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

from taskman_cli.executors.base import Absent, Executor, Finding, Order, Result, Running, StartFailed, Work


class ShellExecutor(Executor):
    """Keeps the contract."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.subprocess.Process] = {}

    def environment(self, order: Order) -> dict[str, str]:
        return dict(order.local_env)

    async def run(self, work: Work) -> Result:
        order = work.order
        assert isinstance(order.command, str)
        variables = {os.fsencode(name): os.fsencode(value) for name, value in self.environment(order).items()}
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                "/bin/sh", "-c", os.fsencode(order.command),
                env=variables,
                stdin=asyncio.subprocess.PIPE if order.stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
                preexec_fn=_reset_signals,
            )
        )  # fmt: skip
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            raise StartFailed(str(error)) from error
        except asyncio.CancelledError:  # asyncio itself would end the shell, but not what that has started
            await self.end(await starting)
            raise
        self.running[order.handle] = process
        work.started()
        try:
            assert process.stdout is not None
            if process.stdin is not None:
                feeding = asyncio.create_task(self.feed(process.stdin, order.stdin or b""))
            while data := await process.stdout.read(1 << 16):
                self.write(work, data)
            if process.stdin is not None:
                await feeding
            return self.result(await process.wait())
        finally:
            await self.end(process)
            del self.running[order.handle]

    async def end(self, process: asyncio.subprocess.Process) -> None:
        self.kill(process)
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]

    async def feed(self, stdin: asyncio.StreamWriter, data: bytes) -> None:
        with suppress(ConnectionError):
            stdin.write(data)
            await stdin.drain()
        stdin.close()

    def write(self, work: Work, data: bytes) -> None:
        work.write(data)

    def result(self, code: int) -> Result:
        return Result(signal=-code) if code < 0 else Result(exit_code=code)

    def kill(self, process: asyncio.subprocess.Process, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    async def signal(self, work: Work, number: int) -> None:
        if (process := self.running.get(work.order.handle)) is not None:
            self.kill(process, number)

    async def probe(self, order: Order) -> Any:
        return Running() if order.handle in self.running else Absent()

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(True, "there is a shell"),)

    async def close(self) -> None:
        for process in self.running.values():
            self.kill(process)
        while self.running:
            await asyncio.sleep(0.01)


def _reset_signals() -> None:
    """Give a command its signals as the contract has it, whatever the process that runs the tests ignores."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class WrongCode(ShellExecutor):
    def result(self, code: int) -> Result:
        return Result(exit_code=abs(code) & 127)


class SignalAsCode(ShellExecutor):
    def result(self, code: int) -> Result:
        return Result(exit_code=128 - code) if code < 0 else Result(exit_code=code)


class Decoding(ShellExecutor):
    def write(self, work: Work, data: bytes) -> None:
        work.write(data.decode("utf-8", "replace").encode())


class Cutting(ShellExecutor):
    def write(self, work: Work, data: bytes) -> None:
        work.write(data[:1000])


class Late(ShellExecutor):
    """Writes all output at the end."""

    async def run(self, work: Work) -> Result:
        pieces: list[bytes] = []
        held = Work(
            work.order, on_started=work.started, on_output=pieces.append, on_progress=lambda part, words: None
        )
        result = await super().run(held)
        work.write(b"".join(pieces))
        return result


class Bare(ShellExecutor):
    """Forgets what the job sets."""

    def environment(self, order: Order) -> dict[str, str]:
        return {"PATH": os.environ["PATH"]}


class Deaf(ShellExecutor):
    async def feed(self, stdin: asyncio.StreamWriter, data: bytes) -> None:
        stdin.close()


class LeaderOnly(ShellExecutor):
    """Signals only the leader of the group."""

    def kill(self, process: asyncio.subprocess.Process, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


class Harsh(ShellExecutor):
    async def signal(self, work: Work, number: int) -> None:
        await super().signal(work, signal.SIGKILL)


class Believing(ShellExecutor):
    async def probe(self, order: Order) -> Any:
        return Running()


class Raising(ShellExecutor):
    async def signal(self, work: Work, number: int) -> None:
        self.kill(self.running[work.order.handle], number)


class Leaking(ShellExecutor):
    def __init__(self) -> None:
        super().__init__()
        os.open("/dev/null", os.O_RDONLY)


class Silent(ShellExecutor):
    """Never says that anything was started."""

    async def run(self, work: Work) -> Result:
        held = Work(
            work.order, on_started=lambda: None, on_output=work.write, on_progress=lambda part, words: None
        )
        return await super().run(held)


class Complaining(ShellExecutor):
    async def check(self) -> tuple[Finding, ...]:
        return (Finding(False, "not reachable"),)
