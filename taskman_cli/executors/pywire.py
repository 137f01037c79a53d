"""The worker's end of the socket to its executor: runs in the interpreter of the job, like `pyworker`.

A frame is a length of 4 bytes and JSON; descriptors may come beside it.
"""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: For the descriptors beside a frame.
_ROOM = socket.CMSG_SPACE(4 * 8)


class Line:
    """The socket to the executor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._data = b""
        self._fds: list[int] = []
        #: The number of the last call that was asked to end.
        self._cancelled = 0

    def send(self, frame: dict[str, Any]) -> None:
        data = json.dumps(frame).encode("ascii")
        self._socket.sendall(struct.pack("!I", len(data)) + data)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Return the next call and the descriptors that came with it; raises EOFError at the end."""
        while True:
            frame = self._next()
            while frame is None:
                self._read(0)
                frame = self._next()
            if frame["type"] == "cancel":
                self._cancelled = frame["number"]
                continue
            fds, self._fds = self._fds, []
            return frame, fds

    def is_cancelled(self, number: int) -> bool:
        """Tell, without waiting, if a call should end. Nothing else comes while one is made."""
        with suppress(OSError, EOFError):
            self._read(socket.MSG_DONTWAIT)
        frame = self._next()
        while frame is not None:
            self._cancelled = frame.get("number", self._cancelled)
            frame = self._next()
        return self._cancelled == number

    def _next(self) -> Any:
        if len(self._data) < 4:
            return None
        end = 4 + struct.unpack_from("!I", self._data)[0]
        if len(self._data) < end:
            return None
        frame, self._data = json.loads(self._data[4:end].decode("ascii")), self._data[end:]
        return frame

    def _read(self, flags: int) -> None:
        data, told, _flags, _address = self._socket.recvmsg(1 << 16, _ROOM, flags)
        for level, kind, content in told:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds += struct.unpack("%di" % (len(content) // 4), content)  # noqa: UP031
        if not data:
            raise EOFError
        self._data += data

    def close(self) -> None:
        self._socket.close()
