"""The executor's end of the socket to a worker: frames of JSON, with descriptors beside them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK_BYTES = 1 << 16
#: A worker sends little; a call that writes to the socket by itself must not fill our memory.
_MOST_FRAME_BYTES = 1 << 20
#: How many may wait to be asked for.
_MOST_FRAMES = 8
_MOST_WORDS = 1000


class WorkerLine:
    """Sends frames to a worker, and keeps those that come from it."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._out = bytearray()
        self._frames: deque[dict[str, Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_writing = False
        #: Nothing comes any more.
        self.has_ended = False
        #: What was wrong with what came, in words.
        self.trouble = ""
        self.on_progress: Callable[[float | None, str], None] | None = None
        self._loop.add_reader(end, self.read)

    @classmethod
    def pair(cls) -> tuple[WorkerLine, int]:
        """Return our end of a new line, and the descriptor of the worker's."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours), theirs.detach()

    def send(self, frame: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a frame; what does not fit into the socket follows by and by."""
        data = json.dumps(frame).encode("ascii")
        self.send_bytes(struct.pack("!I", len(data)) + data, fds)

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes as they are, with these descriptors."""
        if self._socket.fileno() < 0:
            return
        told = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        if not self._out:
            try:
                data = data[self._socket.sendmsg([data], told) :]
            except BlockingIOError:
                if fds:  # it has answered without having read all before
                    self.close()
                    return
            except OSError:  # it is gone, which `read` finds out
                return
        elif fds:
            self.close()
            return
        self._out += data
        if self._out and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._socket, self._write)

    async def next(self) -> dict[str, Any] | None:
        """Return the next frame but reports of progress; None: there are no more."""
        while not self._frames and not self.has_ended:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft() if self._frames else None

    def is_open(self) -> bool:
        """Tell if the worker is there: it may have died just now."""
        if not self.has_ended:
            self.read()
        return not self.has_ended

    def read(self) -> None:
        """Take in what has come."""
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._in += data
        try:
            self._parse()
        except ValueError as error:
            self.trouble = f"the call has written to the connection of its worker: {error}"
            data = b""
        if not data:
            self.close()

    def close(self) -> None:
        """End the line: whoever waits for a frame gets None."""
        self.has_ended = True
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            if self._is_writing:
                self._loop.remove_writer(self._socket)
            self._socket.close()
        self._wake()

    def _parse(self) -> None:
        while len(self._in) >= 4:
            (length,) = struct.unpack_from("!I", self._in)
            if length > _MOST_FRAME_BYTES:
                raise ValueError("a frame that is too long")
            if len(self._in) < 4 + length:
                return
            try:
                frame = json.loads(self._in[4 : 4 + length].decode())
            except RecursionError:
                raise ValueError("a frame that is nested too deeply") from None
            del self._in[: 4 + length]
            if not isinstance(frame, dict):
                raise ValueError("a frame that is no object")
            if frame.get("type") == "progress":
                self._progress(frame)
            else:
                self._frames.append(frame)
                if len(self._frames) > _MOST_FRAMES:
                    raise ValueError("frames that nobody has asked for")
                self._wake()

    def _progress(self, frame: dict[str, Any]) -> None:
        part, words = frame.get("part"), frame.get("words")
        is_part = isinstance(part, int | float) and 0 <= part <= 1
        if self.on_progress is not None:
            self.on_progress(float(part) if is_part else None, printable(str(words or "")[:_MOST_WORDS]))  # type: ignore[arg-type]

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self) -> None:
        with suppress(BlockingIOError):
            try:
                del self._out[: self._socket.send(self._out)]
            except BlockingIOError:
                raise
            except OSError:
                self._out.clear()
        if not self._out:
            self._is_writing = False
            self._loop.remove_writer(self._socket)
