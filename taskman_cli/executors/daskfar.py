"""What a Dask worker imports: it passes on what taskman asks of the keepers of commands on its machine.

A keeper is a process of its own (`keeper`), and the parent of commands. Each worker starts one, in its own
environment and directory, and reaches those of the user's other workers too, also of workers that have
ended: their sockets are in a directory that is the user's alone. Commands are no tasks of Dask, which would
run those of a lost worker again.

The standard library only: `install` is given the worker, and that is all that is needed of Dask.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.supervisor.wire import Channel, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The operation that this module adds to a worker.
OPERATION = "taskman"
#: Changes when a question or an answer means something else.
FAR_VERSION = 1
_SUFFIX = ".keeper"
#: How long a keeper may take to answer where it need not wait for anything.
_ANSWER_S = 20.0


async def install(dask_worker: Any) -> None:
    """Have a worker answer what taskman asks; where that is done already, nothing is changed."""
    if OPERATION not in dask_worker.handlers:
        dask_worker.handlers[OPERATION] = Door().answer


def version_of(package: str) -> str:
    """Return the version of an installed package; "" if it is not known."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class Door:
    """Passes on, to the keepers of this machine, what is asked of them."""

    def __init__(self) -> None:
        #: The keeper of this worker.
        self._own = ""
        self._lines: dict[str, _Line] = {}
        self._opening = asyncio.Lock()
        #: The keepers that were started here; those that end are reaped.
        self._started: list[subprocess.Popen[bytes]] = []

    async def answer(
        self, what: str, keeper: str = "", question: Sequence[Any] = (), wait_s: float = 0.0
    ) -> dict[str, Any]:
        """Answer one question of taskman, in plain values.

        "hello": who this is, and which keepers are here. "ask" and "poll", with the values that such a
        message has after its number, are for one keeper: {"answer": …}; {"unknown": words} if it is not here,
        and was not asked; {"gone": words} if it ended meanwhile. {"trouble": words}: no keeper can be had.
        """
        try:
            if what == "hello":
                return await self._hello()
            line = self._reach(keeper)
            if line is None:
                return {"unknown": "the keeper of its commands is not on that machine any more"}
            return {"answer": await line.ask(what, question, within_s=_ANSWER_S + wait_s)}
        except ConnectionError as error:
            return {"gone": _text(str(error))}
        except OSError as error:
            return {
                "trouble": _text(f"{error.strerror or error}: {error.filename or directory_of_keepers()}")
            }

    async def _hello(self) -> dict[str, Any]:
        async with self._opening:
            self._started = [one for one in self._started if one.poll() is None]
            if self._own not in self._lines:
                self._own = await self._begin()
        for name in await asyncio.to_thread(_names_in, directory_of_keepers()):
            self._reach(name)
        return {
            "version": FAR_VERSION,
            "taskman": version_of("taskman-scheduler"),
            "distributed": version_of("distributed"),
            "python": platform.python_version(),
            "machine": _text(socket.gethostname()),
            "keeper": self._own,
            "keepers": [*self._lines],
        }

    async def _begin(self) -> str:
        """Start the keeper of this worker, and return its name. Raises OSError."""
        name = secrets.token_hex(8)
        path = str(directory_of_keepers() / f"{name}{_SUFFIX}")
        argv = [sys.executable, "-P", "-m", "taskman_cli.executors.keeper", path]
        with socket.socket(socket.AF_UNIX) as listener:
            with _opened_directory(is_made=True) as place:
                listener.bind(f"{place}/{name}{_SUFFIX}")
            listener.listen(100)
            process = await asyncio.to_thread(
                subprocess.Popen, argv, stdin=listener.fileno(), stdout=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        if self._reach(name) is None:
            raise OSError(0, "the keeper of its commands cannot be reached", path)
        return name

    def _reach(self, name: str) -> _Line | None:
        """Return the connection to a keeper; None if there is none of this name."""
        if name in self._lines:
            return self._lines[name]
        if not name.isalnum():
            return None
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            with _opened_directory() as place:
                sock.connect(f"{place}/{name}{_SUFFIX}")
            _check_peer(sock)
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectionRefusedError):  # it was killed, and left its socket
                with suppress(OSError):
                    (directory_of_keepers() / f"{name}{_SUFFIX}").unlink()
            return None
        line = self._lines[name] = _Line(sock, lambda: self._lines.pop(name, None))
        return line


class _Line:
    """The connection to one keeper."""

    def __init__(self, sock: socket.socket, on_end: Callable[[], object]) -> None:
        self._channel = Channel(sock)
        self._fd = sock.fileno()
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loop.add_reader(self._fd, self._hear)

    async def ask(self, kind: str, values: Sequence[Any], *, within_s: float) -> Any:
        """Send a message with a number, and return the answer. Raises ConnectionError."""
        self._number += 1
        number, answer = self._number, self._loop.create_future()
        self._waiting[number] = answer
        try:
            self._channel.send([(kind, number, *_plain(values))])
            if self._channel.wants_write:
                self._loop.add_writer(self._fd, self._flush)
            async with asyncio.timeout(within_s):
                return await answer
        except WireError as error:
            raise ConnectionError(str(error)) from None
        except TimeoutError:
            raise ConnectionError(f"the keeper did not answer within {within_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def _flush(self) -> None:
        self._channel.flush()
        if not self._channel.wants_write:
            self._loop.remove_writer(self._fd)

    def _hear(self) -> None:
        try:
            messages = self._channel.receive()
        except WireError:
            messages = None
        if messages is None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._channel.close()
            self._on_end()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the keeper has ended"))
            return
        for _, number, value in messages:
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(value)


def _plain(value: Any) -> Any:
    """Return a value as a keeper takes it: what arrives over the network may have views of bytes."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def _text(words: str) -> str:
    """Return text that Dask can send: bytes in it that are no UTF-8 are written out."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def directory_of_keepers() -> Path:
    """Return where the sockets of this user's keepers are."""
    return Path(tempfile.gettempdir()) / f"taskman-keepers-{os.geteuid()}"


@contextmanager
def _opened_directory(*, is_made: bool = False) -> Iterator[str]:
    """Give a short path of that directory: that of a socket has at most 107 bytes.

    Raises OSError if somebody else could get in, or it is not there and is not to be made.
    """
    path = directory_of_keepers()
    if is_made:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OSError(0, "not a directory of this user alone, with mode 700", str(path))
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _check_peer(sock: socket.socket) -> None:
    """Raise PermissionError if the other end is another user's."""
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
        raise PermissionError("it is another user's")


def _names_in(path: Path) -> list[str]:
    try:
        return sorted(file.name.removesuffix(_SUFFIX) for file in path.iterdir() if file.suffix == _SUFFIX)
    except OSError:
        return []
