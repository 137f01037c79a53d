"""The executor's end of what ties a worker to it: the line, the queue and the answers (`pywire`)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK_BYTES = 1 << 16
#: A worker sends little; a call that writes to the line by itself must not fill our memory.
_MOST_FRAME_BYTES = 1 << 20
#: What is longer travels as a file of its own.
#: That many calls ahead fit into a queue, as long as the kernel makes it by default.
_MOST_PACKET_BYTES = 1 << 12
#: How often the answers are read at a time: a call that writes there by itself may go on for ever.
_MOST_READS = 4
_ROOM = socket.CMSG_SPACE(4 * 8)
_HEAD = struct.Struct("!?Q")
_CANCEL = struct.Struct("!IQ")
_ANSWER = struct.Struct("!IcQ")
_GO, _END = b"\0\0\0\0", b"\0\0\0\1e"
#: What a worker says most: it waits for calls; it has answered some, and goes on.
_RESTS, _ANSWERED = b"\0\0\0\0", b"\0\0\0\1a"
_FROM_CALL = "the call has written to the connection of its worker: "

#: A kind, the number of the call, and what the kind says.
Answer = tuple[bytes, int, bytes]


class WorkerLine:
    """Gives a worker calls, takes them back, and hears of it."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        """`on_news` is called when there may be answers, or the line has ended."""
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        with ExitStack() as made:  # one of them may be more than we can have open
            self._line, theirs = map(made.enter_context, socket.socketpair())
            #: The queue: we keep the worker's end too, to take back what it has not read.
            self._give, self._taken = map(
                made.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            )
            self._answers, self._answer = os.pipe2(os.O_CLOEXEC)
            made.pop_all()
        self._line.setblocking(False)
        #: The worker's end of the line, until it has it.
        self._theirs = theirs.detach()
        self._give.setblocking(False)
        os.set_blocking(self._answers, False)
        self._in = bytearray()
        self._out = bytearray()
        self._answered = bytearray()
        self._is_writing = self._is_watched = False
        #: It waits for calls, and has to be told that there are some.
        self.is_resting = False
        #: What came as answers is none: nothing more of it is read.
        self._is_garbled = False
        self._hello: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        #: Nothing comes any more.
        self.has_ended = False
        #: What was wrong with what came, in words.
        self.trouble = ""
        #: Takes the number of a call, how far it is, and words.
        self.on_progress: Callable[[int, Any, Any], None] = lambda *_: None
        self._loop.add_reader(self._line, self.read)

    def take_theirs(self) -> int:
        """Return the descriptor of the worker's end, which is the caller's from now on."""
        theirs, self._theirs = self._theirs, -1
        return theirs

    async def hello(self, text: bytes) -> dict[str, Any] | None:
        """Send the worker its program; return the first thing that it says, or None if it says nothing."""
        self._send(text)
        fds = struct.pack("2i", self._taken.fileno(), self._answer)
        if self._out:
            return None  # the program is larger than a socket holds
        with suppress(OSError):
            self._line.sendmsg([b"-"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(self._answer)
        self._answer = -1
        return await self._hello

    # --- calls ---

    def put(self, number: int, text: bytes, fds: Sequence[int]) -> None:
        """Put a call into the queue; `go` tells the worker. Raises OSError if it cannot be."""
        file = None
        if len(text) > _MOST_PACKET_BYTES:
            file = memory_file(text)
            fds, text = [*fds, file], b""
        try:
            told = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))
            self._give.sendmsg((_HEAD.pack(file is not None, number), text), (told,))
        finally:
            if file is not None:
                os.close(file)

    def go(self) -> None:
        """Tell the worker that there are calls."""
        self.is_resting = False
        self._send(_GO)

    def take_back(self) -> list[int]:
        """Take the calls that the worker has not begun out of the queue; return their numbers."""
        numbers = []
        with suppress(OSError):
            while True:
                data, told, _, _ = self._taken.recvmsg(_MOST_PACKET_BYTES * 2, _ROOM, socket.MSG_DONTWAIT)
                if not data:  # a call has shut the queue down
                    break
                numbers.append(_HEAD.unpack_from(data)[1])
                for level, kind, content in told:  # a call can have others come, as by SO_PASSCRED
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        for (fd,) in struct.iter_unpack("i", content):
                            os.close(fd)
        return numbers

    def cancel(self, number: int) -> None:
        """Tell the worker for which call a signal is meant that comes now."""
        self._send(_CANCEL.pack(_CANCEL.size - 4, number))

    def end(self) -> None:
        """Have the worker end by itself."""
        self._send(_END)

    def answers(self) -> list[Answer]:
        """Return what the worker has answered meanwhile."""
        is_at_end = False
        with suppress(BlockingIOError):
            for _ in range(_MOST_READS if self._answers >= 0 and not self._is_garbled else 0):
                data = os.read(self._answers, _CHUNK_BYTES)
                self._answered += data
                is_at_end = not data
                if len(data) < _CHUNK_BYTES:
                    break
        found, begin, left = [], 0, len(self._answered)
        while left - begin >= _ANSWER.size:
            length, kind, number = _ANSWER.unpack_from(self._answered, begin)
            if not _ANSWER.size - 4 <= length <= _MOST_FRAME_BYTES:
                self._is_garbled = is_at_end = True
                break
            end = begin + 4 + length
            if left < end:
                break
            found.append((kind, number, bytes(self._answered[begin + _ANSWER.size : end])))
            begin = end
        del self._answered[: left if is_at_end else begin]  # nobody is there to say the rest
        self._watch_answers(is_partial=bool(self._answered))
        if self._is_garbled:
            self._fail("what is no answer")
        return found

    def _watch_answers(self, *, is_partial: bool) -> None:
        """Wait for the rest of an answer that the pipe did not hold."""
        is_watched = is_partial and not self._is_garbled
        if self._is_watched != is_watched:
            self._is_watched = is_watched
            if is_watched:
                self._loop.add_reader(self._answers, self._on_news)
            else:
                self._loop.remove_reader(self._answers)

    # --- the line ---

    def _send(self, data: bytes) -> None:
        """Send bytes; what does not fit into the socket follows by and by."""
        if self._line.fileno() < 0:
            return
        if not self._out:
            try:
                data = data[self._line.send(data) :]
            except BlockingIOError:
                pass
            except OSError:  # it is gone, which reading finds out
                return
        self._out += data
        if self._out and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._line, self._write)

    def _write(self) -> None:
        with suppress(BlockingIOError):
            try:
                del self._out[: self._line.send(self._out)]
            except BlockingIOError:
                raise
            except OSError:
                self._out.clear()
        if not self._out:
            self._is_writing = False
            self._loop.remove_writer(self._line)

    def read(self) -> None:
        """Take what has come on the line."""
        try:
            data = self._line.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish()
            return
        if data in (_RESTS, _ANSWERED) and not self._in:
            self.is_resting = data == _RESTS
            self._on_news()
            return
        self._in += data
        try:
            self._parse()
        except ValueError as error:
            self._fail(str(error))
        self._on_news()

    def _parse(self) -> None:
        while len(self._in) >= 4:
            (length,) = struct.unpack_from("!I", self._in)
            if length > _MOST_FRAME_BYTES:
                raise ValueError("a frame that is too long")
            if len(self._in) < 4 + length:
                return
            data = bytes(self._in[4 : 4 + length])
            del self._in[: 4 + length]
            if not data or data == _ANSWERED[4:]:
                self.is_resting = not data  # progress, of a thread that a call has left, says nothing of that
                continue
            try:
                frame = json.loads(data.decode())
            except RecursionError:
                raise ValueError("a frame that is nested too deeply") from None
            if not isinstance(frame, dict):
                raise ValueError("a frame that is no object")
            if not self._hello.done():
                self._hello.set_result(frame)
            elif "part" in frame and isinstance(frame.get("number"), int):
                self.on_progress(frame["number"], frame["part"], frame.get("words"))
            else:
                raise ValueError("a frame that nobody has asked for")

    def _fail(self, words: str) -> None:
        """Hear nothing more of a worker whose call has misused what ties it to us."""
        self.trouble = self.trouble or _FROM_CALL + words
        self._finish()

    def _finish(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._loop.remove_reader(self._line)
            if not self._hello.done():
                self._hello.set_result(None)
            self._on_news()

    def close(self) -> None:
        """Let go of all of it."""
        self._finish()
        self._watch_answers(is_partial=False)
        if self._is_writing:
            self._loop.remove_writer(self._line)
            self._is_writing = False
        for end in (self._line, self._give, self._taken):
            end.close()
        for fd in (self._theirs, self._answers, self._answer):
            if fd >= 0:
                os.close(fd)
        self._theirs = self._answers = self._answer = -1


def memory_file(data: bytes) -> int:
    """Return a file of its own with these bytes, to be read from the begin."""
    fd = os.memfd_create("call", os.MFD_CLOEXEC)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
