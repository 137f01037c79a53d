"""A program that an executor keeps running: started as its user in its own session, ended with its group.

It is forked apart (`supervisor.asuser`), so that nobody who controls the program or its directory delays the
executor's loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import StartFailed
from taskman_cli.supervisor.asuser import (
    NotBecome,
    give_up_rights,
    hear_from_child,
    reset_signals,
    start_apart,
)
from taskman_cli.supervisor.numbers import DEFAULT_SIGNALS, TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1
#: Loaded before the fork, where nothing may be loaded any more.
_prctl = ctypes.CDLL(None).prctl
#: How long it may take until the program runs, in the hands of whoever controls its file.
_START_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started, and as whom."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str = "/"
    #: uid, gid and all groups; None: ourselves.
    user: tuple[int, int, tuple[int, ...]] | None = None
    nice: int = 0


class Program:
    """One running program."""

    def __init__(self, pid: int) -> None:
        """Watch over a child, which leads its own session."""
        self.pid = pid
        #: Its wait status, once it has ended. It is reaped only then, so until then `pid` is its own.
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        #: What it leaves in its process group is killed when it ends.
        self.ends_its_group = True
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(cls, launch: Launch, files: Iterable[tuple[int, int]]) -> Program:
        """Start a program with these descriptors, each as (ours, its number there, 0 to 2).

        Raises StartFailed.
        """
        ours = os.getpid()
        try:
            pid, told = start_apart(lambda: _become(launch, ours), files)
        except OSError as error:
            raise StartFailed(
                f"cannot be started: {error.strerror}", is_transient=error.errno in TRANSIENT
            ) from None
        program = cls(pid)
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                await _until_readable(told)
            hear_from_child(told)
        except NotBecome as error:
            await program.end()
            is_transient = error.errno in TRANSIENT
            is_users = is_transient and launch.user is not None
            raise StartFailed(printable(str(error)), is_transient=is_transient, is_users=is_users) from None
        except TimeoutError:
            await program.end()
            raise StartFailed(
                f"{printable(launch.argv[0])} did not start within {_START_LIMIT_S:g} s"
            ) from None
        except BaseException:
            program.signal(signal.SIGKILL)
            raise
        finally:
            os.close(told)
        return program

    def signal(self, number: int) -> None:
        """Send a signal to the program and its process group, unless it has ended."""
        if self.ended.done():
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end(self) -> int:
        """Kill it with its group, and return its wait status."""
        self.signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)

    def _reap(self) -> None:
        if self.ends_its_group:
            # Before it is reaped: until then, its number cannot be another group's.
            self.signal(signal.SIGKILL)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.ended.set_result(status)


async def _until_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _resolve, readable)
    try:
        await readable
    finally:
        loop.remove_reader(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _become(launch: Launch, parent: int) -> NoReturn:
    """Turn this process, a fork that leads its own session, into the program."""
    argv = [os.fsencode(word) for word in launch.argv]
    env = {os.fsencode(name): os.fsencode(value) for name, value in launch.env.items()}
    if launch.nice:
        os.setpriority(os.PRIO_PROCESS, 0, launch.nice)
    if launch.user is not None:
        uid, gid, groups = launch.user
        _explained(lambda: give_up_rights(uid, gid, list(groups)), f"cannot become user {uid}")
    # After the change of users, which resets it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)
    _explained(lambda: os.chdir(launch.cwd), f"cannot enter {launch.cwd}")
    reset_signals(DEFAULT_SIGNALS)
    _explained(lambda: os.execvpe(argv[0], argv, env), f"cannot run {launch.argv[0]}")  # noqa: S606
    raise AssertionError("a program that began came back")


class _Explained(Exception):
    """An OSError in words."""

    def __init__(self, words: str, number: int) -> None:
        super().__init__(words)
        self.errno = number


def _explained(do: Callable[[], object], what: str) -> None:
    try:
        do()
    except OSError as error:
        raise _Explained(f"{what}: {(error.strerror or str(error)).lower()}", error.errno or 0) from None
