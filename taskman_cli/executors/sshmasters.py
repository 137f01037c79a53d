"""Connections that many attempts share: masters of ssh, each in a private directory.

One connection after the other is opened, so that a server never sees a crowd of them, and each serves as many
attempts as a server lets through one by default. A master hangs on our end of its standard input, so none is
left when we die.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.executors import programs
from taskman_cli.executors.base import StartFailed
from taskman_cli.executors.farside import HOLD, IS_UP
from taskman_cli.executors.sshargs import arguments

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

#: MaxSessions of sshd is 10, and the master's own is one of them.
_MOST_SESSIONS = 9
#: How long a master without attempts stays.
_IDLE_S = 60.0
#: A path for a socket may have 108 bytes, and ssh adds some to its name while it makes it.
_LONGEST_PATH = 80
_MOST_NOISE_BYTES = 64 << 10
#: What is said of a connection that was never up.
NOTHING_CAME = "nothing came within"


class _Master:
    def __init__(self, process: Process, path: str) -> None:
        self.process = process
        self.path = path
        self.sessions = 0
        self.timer: asyncio.TimerHandle | None = None


class Masters:
    """The masters of one executor."""

    def __init__(
        self, settings: Mapping[str, Any], environment: Mapping[str, str], directory: Path, *, within_s: float
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._wanted = directory
        self._within_s = within_s
        self._directory: Path | None = None
        self._is_temporary = False
        self._masters: list[_Master] = []
        self._count = 0
        #: The connection that is being opened: those who wait for it share its end, also a bad one.
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[str]:
        """Give the path of a master that has room for a session, opened if need be; raises StartFailed."""
        while (master := self._with_room()) is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.ensure_future(self._open())
            await asyncio.shield(self._opening)
        master.sessions += 1
        if master.timer is not None:
            master.timer.cancel()
        try:
            yield master.path
        finally:
            master.sessions -= 1
            if master.sessions == 0:
                master.timer = asyncio.get_running_loop().call_later(_IDLE_S, self._retire, master)

    def _with_room(self) -> _Master | None:
        for master in [*self._masters]:
            if master.process.returncode is not None:
                self._retire(master)
        return next((master for master in self._masters if master.sessions < _MOST_SESSIONS), None)

    def _retire(self, master: _Master) -> None:
        if master in self._masters:
            self._masters.remove(master)
            task = asyncio.ensure_future(programs.end(master.process))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _open(self) -> None:
        self._count += 1
        path = str(self._place() / str(self._count))
        with suppress(OSError):
            Path(path).unlink()  # that of a process that was killed
        argv = arguments(self._settings, control_path=path, is_master=True)
        process = await programs.start((*argv, HOLD), self._environment)
        said = asyncio.ensure_future(programs.tail(_there(process.stderr)))
        try:
            async with asyncio.timeout(self._within_s):
                is_up = await _is_up(_there(process.stdout))
        except TimeoutError:
            is_up = False
        except BaseException:
            await programs.end(process)
            said.cancel()
            raise
        if not is_up:
            await programs.end(process)
            words = programs.in_words(await said) or f"{NOTHING_CAME} {self._within_s:g} s"
            raise StartFailed(words)
        master = _Master(process, path)
        # Ends by itself with the process; nobody needs what else it says.
        self._closing.add(said)  # type: ignore[arg-type]
        said.add_done_callback(self._closing.discard)
        self._masters.append(master)

    def _place(self) -> Path:
        """Return a directory for sockets that nobody else gets into."""
        if self._directory is None:
            self._is_temporary = len(str(self._wanted)) > _LONGEST_PATH or not self._wanted.is_dir()
            self._directory = (
                Path(tempfile.mkdtemp(prefix="taskman-ssh-")) if self._is_temporary else self._wanted
            )
        return self._directory

    async def close(self) -> None:
        """End all of them."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for master in [*self._masters]:
            if master.timer is not None:
                master.timer.cancel()
            self._retire(master)
        while self._closing:
            await asyncio.wait(self._closing)
        if self._directory is not None and self._is_temporary:
            shutil.rmtree(self._directory, ignore_errors=True)


def _there(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None
    return stream


async def _is_up(stdout: asyncio.StreamReader) -> bool:
    """Wait for the word of a master, behind whatever a login shell prints."""
    said = b""
    while piece := await stdout.read(4096):
        said = (said + piece)[-_MOST_NOISE_BYTES:]
        if IS_UP in said:
            return True
    return False
