"""The worker's end of what ties it to its executor: runs in the interpreter of the job, like `pyworker`.

Three things come with descriptor 0:

- the line, a stream: frames with a length of 4 bytes. To the worker: empty, there may be calls; 8 bytes, the
  number of a call that should end; 1 byte, end yourself. From it: empty, it waits for calls, and looks for
  some when it hears that there are; 1 byte, it has answered some, and goes on; JSON, news.
- the queue, where each packet is a call with its descriptors. A call is the worker's once it is read; until
  then the executor may take it back.
- the answers, a pipe: a length of 4 bytes, a kind, the number of the call, and what the kind says. They are
  there before the next call is read, and are looked for a few at a time, or when the worker waits. A long
  one is looked for at once.
"""

from __future__ import annotations

import fcntl
import json
import marshal
import os
import socket
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The lowest number that our own descriptors get, out of the way of calls that close a few.
_OWN_FDS = 100
#: For the descriptors beside a packet.
_ROOM = socket.CMSG_SPACE(4 * 8)
_MOST_BYTES = 1 << 16
#: A call that is longer comes in a file of its own.
_PACKET_BYTES = 1 << 13
# As plain numbers: what `socket` has are enums, and slow to compare.
_RIGHTS, _DONTWAIT, _CUT = int(socket.SCM_RIGHTS), int(socket.MSG_DONTWAIT), int(socket.MSG_CTRUNC)
_LEVEL = int(socket.SOL_SOCKET)
#: Some answers of this length fit into a pipe, while the executor does not look for them.
_MOST_QUIET_BYTES = 2048
#: After so many answers the executor is told to look, if there are more calls meanwhile.
_A_FEW = 8
_RESTS, _ANSWERED = b"\0\0\0\0", b"\0\0\0\1a"
_LENGTH = struct.Struct("!I")
_NUMBER = struct.Struct("!Q")
_ANSWER = struct.Struct("!IcQ")
#: Ahead of a call: whether it is in a file of its own, and its number.
_HEAD = struct.Struct("!?Q")
_FD = struct.Struct("i")


class Line:
    """The line, the queue and the answers."""

    def __init__(self, fd: int) -> None:
        self._line = socket.socket(fileno=fd)
        queue, answers = self._fds(self._line.recvmsg(1, _ROOM)[1])
        self._queue = socket.socket(fileno=moved(queue))
        self._answers = moved(answers)
        self._data = b""
        #: It has waited since that was made false: the calls from then on may have come later.
        self.has_rested = True
        #: How many answers the executor was not told to look for.
        self._untold = 0
        #: The number of the last call that was asked to end.
        self._cancelled = 0
        self._is_over = False

    def tell(self, news: dict[str, Any]) -> None:
        """Say what cannot wait."""
        data = json.dumps(news).encode("ascii")
        self._line.sendall(_LENGTH.pack(len(data)) + data)

    def answer(self, kind: bytes, number: int, words: bytes) -> None:
        data = _ANSWER.pack(9 + len(words), kind, number) + words
        self._untold += 1
        if self._untold == _A_FEW or len(data) > _MOST_QUIET_BYTES:  # the pipe may not hold more
            self._untold = 0
            self._line.sendall(_ANSWERED)
        written = os.write(self._answers, data)
        while written < len(data):
            data = data[written:]
            written = os.write(self._answers, data)

    def next_call(self) -> tuple[int, tuple[Any, ...] | None, list[int]]:
        """Wait for a call; return its number, what it says and descriptors. Raises EOFError at the end.

        It says None if we have no room for its descriptors.
        """
        while True:
            try:
                data, told, flags, _address = self._queue.recvmsg(_PACKET_BYTES, _ROOM, _DONTWAIT)
                break
            except BlockingIOError:
                self.rest()
        if not data:
            raise EOFError
        is_long, number = _HEAD.unpack_from(data)
        fds = self._fds(told)
        if flags & _CUT:
            for fd in fds:
                os.close(fd)
            return number, None, []
        text = _read(fds.pop()) if is_long else data[_HEAD.size :]
        return number, marshal.loads(text), fds  # noqa: S302 - of the executor

    def rest(self) -> None:
        """Wait until something is said; raises EOFError at the end."""
        self._untold, self.has_rested = 0, True
        self._line.sendall(_RESTS)
        self._read_line(0)
        if self._is_over:
            raise EOFError

    def is_cancelled(self, number: int) -> bool:
        """Tell, without waiting, if a call should end."""
        with suppress(OSError, EOFError):
            self._read_line(_DONTWAIT)
        return self._cancelled == number

    def _read_line(self, flags: int) -> None:
        data = self._line.recv(_MOST_BYTES, flags)
        if not data:
            raise EOFError
        self._data += data
        while len(self._data) >= 4:
            end = 4 + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            frame, self._data = self._data[4:end], self._data[end:]
            if len(frame) == 8:
                (self._cancelled,) = _NUMBER.unpack(frame)
            elif frame:
                self._is_over = True

    @staticmethod
    def _fds(told: Any) -> list[int]:
        fds: list[int] = []
        for level, kind, content in told:
            if level == _LEVEL and kind == _RIGHTS:
                fds += [fd for (fd,) in _FD.iter_unpack(content)]
        return fds

    @staticmethod
    def open(path: str, flags: int) -> Any:
        """Open a file under a number out of the way of calls; None: it is not there."""
        with suppress(OSError):
            return moved(os.open(path, flags))
        return None

    def close(self) -> None:
        for fd in (self._line.detach(), self._queue.detach(), self._answers):
            with suppress(OSError):  # a call has closed it
                os.close(fd)


def _read(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def moved(fd: int) -> int:
    """Move a descriptor out of the way of calls; programs that they start do not have it."""
    number = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OWN_FDS)
    os.close(fd)
    return number
