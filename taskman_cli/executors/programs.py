"""Runs the programs that executors are made of: in their own sessions, with little kept of what they say."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import StartFailed
from taskman_cli.executors.orders import is_want
from taskman_cli.trust import Untrusted, standing_trust

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: How much of what a program says is kept, from its end.
_MOST_BYTES = 64 << 10
#: How many characters of it a message has.
_MOST_WORDS = 400
PIPE = asyncio.subprocess.PIPE
_CHUNK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program that has ended left."""

    #: Negative: the number of the signal that killed it.
    code: int
    out: bytes
    err: bytes

    def words(self) -> str:
        """Return what it said of its trouble, on one line."""
        return in_words(self.err) or in_words(self.out) or f"exit {self.code}"


def in_words(data: bytes) -> str:
    """Return the end of what a program said as one printable line."""
    text = " ".join(data.decode("utf-8", "surrogateescape").split())
    return printable(text[-_MOST_WORDS:])


def check_program(program: str, environment: Mapping[str, str]) -> None:
    """Raise ValueError if root would run a program that another user can change."""
    path = shutil.which(program, path=environment.get("PATH"))
    try:
        if path is not None:  # otherwise its start says so
            standing_trust(environment).check(path)
    except Untrusted as error:
        raise ValueError(str(error)) from None


async def start(
    argv: Sequence[str], environment: Mapping[str, str], *, is_talking: bool = True, cwd: Path | None = None
) -> Process:
    """Start a program with pipes; `is_talking`: also for its standard input. Raises StartFailed."""
    try:
        making = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *map(os.fsencode, argv),
                stdin=PIPE if is_talking else asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                limit=_CHUNK_BYTES,
                cwd=cwd,
                env={os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # Cancelled halfway, asyncio waits for whoever holds the pipes, and never closes its own ends.
            await asyncio.wait([making])
            if not making.exception():
                await end(making.result())
            raise
    except BlockingIOError as error:
        raise StartFailed(f"cannot run {printable(argv[0])}: {error.strerror}", is_transient=True) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        words = f"cannot run {printable(argv[0])}: {reason}"
        raise StartFailed(words, is_transient=is_want(error)) from None


async def ask(
    argv: Sequence[str], environment: Mapping[str, str], *, within_s: float, data: bytes = b""
) -> Answer:
    """Run a program to its end, with this on its standard input; raises StartFailed, TimeoutError."""
    process = await start(argv, environment, is_talking=bool(data))
    try:
        async with asyncio.timeout(within_s):
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdin is not None:
                process.stdin.write(data)
                process.stdin.close()
            out, err = await asyncio.gather(tail(process.stdout), tail(process.stderr))
            code = await process.wait()
    finally:
        await end(process)
    return Answer(code, out, err)


async def tail(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end; return the last part."""
    kept = b""
    while piece := await stream.read(_CHUNK_BYTES):
        kept = (kept + piece)[-_MOST_BYTES:]
    return kept


def kill(process: Process) -> None:
    """Kill a program and what it has started, unless it has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


async def end(process: Process) -> None:
    """Kill a program and what it has started, unless it has ended; reap it, and close its pipes."""
    kill(process)
    # What it has left behind may hold its pipes open, and asyncio would wait for that. The whole transport is
    # closed last: before, it would reap the process, which the watcher of children does.
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    for number in range(3):
        pipe = transport.get_pipe_transport(number)
        if pipe is None or pipe.is_closing():
            continue
        if isinstance(pipe, asyncio.WriteTransport):
            pipe.abort()
        else:
            pipe.close()
    await asyncio.shield(process.wait())
    transport.close()
