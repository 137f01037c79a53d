"""A running consumer: its process, and the lines of JSON that go in and out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.executors.program import Launch

_CHUNK_BYTES = 1 << 16
#: The longest line that it may write; base64 makes 3/4 of it output.
_MOST_LINE_BYTES = 1 << 20
#: How much of what it says on standard error is kept, to tell why it has ended.
_MOST_ERROR_BYTES = 4096
#: How much it may write after its last line was due: it has ended, and something else holds its output.
_MOST_LEFT_BYTES = 4 << 20
_MOST_WORDS = 200


class ConsumerLine:
    """Sends messages to a consumer, and passes on those that it writes."""

    def __init__(
        self,
        program: Program,
        fds: tuple[int, int, int],
        *,
        hear: Callable[[dict[str, Any]], None],
        note: Callable[[str], None],
        mute: Callable[[ConsumerLine], None],
    ) -> None:
        """Take our ends of its standard input, output and error; `mute` hears if it closes its output."""
        self.program = program
        #: It was told to end.
        self.is_ending = False
        #: Why, if that was not because nobody needs it any more.
        self.trouble = ""
        self._input, self._output, self._error = fds
        self._hear = hear
        self._note = note
        self._mute = mute
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._in = bytearray()
        self._said = b""
        self._is_skipping = False
        self._is_writing = False
        self._reading = {self._output: self._read_output, self._error: self._read_error}
        for fd, read in self._reading.items():
            self._loop.add_reader(fd, read)
        program.ended.add_done_callback(self._has_ended)

    @classmethod
    async def start(
        cls,
        launch: Launch,
        *,
        hear: Callable[[dict[str, Any]], None],
        note: Callable[[str], None],
        mute: Callable[[ConsumerLine], None],
    ) -> ConsumerLine:
        """Start a consumer; raises StartFailed."""
        theirs, ours = [], []
        try:
            for number in range(3):
                read, write = os.pipe2(os.O_CLOEXEC)
                theirs.append((read, number) if number == 0 else (write, number))
                ours.append(write if number == 0 else read)
                os.set_blocking(ours[-1], False)
            if launch.user is not None:
                for fd, _ in theirs:
                    with suppress(OSError):  # so that it can be opened again by its name
                        os.fchown(fd, launch.user[0], -1)
            program = await Program.start(launch, theirs)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd, _ in theirs:
                os.close(fd)
        return cls(program, (ours[0], ours[1], ours[2]), hear=hear, note=note, mute=mute)

    @property
    def has_ended(self) -> bool:
        """Tell if its process has ended."""
        return self.program.ended.done()

    def send(self, message: dict[str, Any]) -> None:
        """Write a line; one that is read slowly gets it by and by."""
        if self._input < 0:
            return
        self._out += json.dumps(message).encode("ascii") + b"\n"
        if not self._is_writing:
            self._write()

    def end_input(self) -> None:
        """Tell it by the end of its input that no more comes."""
        self.is_ending = True
        if self._input >= 0:
            if self._is_writing:
                self._loop.remove_writer(self._input)
            os.close(self._input)
            self._input = -1

    def how_it_ended(self) -> str:
        """Say how it has ended, with the last line that it said on standard error."""
        if self.trouble:
            return self.trouble
        status = self.program.ended.result()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            with suppress(ValueError):
                number = signal.Signals(number).name  # type: ignore[assignment]
            how = f"was killed by {number}"
        else:
            how = f"ended: exit {os.WEXITSTATUS(status)}"
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").split("\n")]
        last = next((line for line in reversed(lines) if line), "")
        return f"{how}: {printable(last)[:_MOST_WORDS]}" if last else how

    def _write(self) -> None:
        try:
            del self._out[: os.write(self._input, self._out[:_CHUNK_BYTES])]
        except BlockingIOError:
            pass
        except OSError:  # it has closed its input, or ended
            self._out.clear()
        if bool(self._out) != self._is_writing:
            self._is_writing = bool(self._out)
            if self._is_writing:
                self._loop.add_writer(self._input, self._write)
            else:
                self._loop.remove_writer(self._input)

    def _read_error(self) -> int:
        data = self._read(self._error)
        self._said = (self._said + data)[-_MOST_ERROR_BYTES:]
        return len(data)

    def _read_output(self) -> int:
        data = self._read(self._output)
        self._in += data
        *lines, rest = self._in.split(b"\n")
        self._in = rest
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
            else:
                self._take(bytes(line))
        if len(self._in) > _MOST_LINE_BYTES:
            if not self._is_skipping:
                self._note(f"a line is longer than {_MOST_LINE_BYTES >> 20} MiB")
            self._is_skipping = True
            self._in.clear()
        return len(data)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError
        except (ValueError, RecursionError):
            self._note(f"a line is no JSON object: {printable(repr(line[:80]))}")
            return
        self._hear(message)

    def _read(self, fd: int) -> bytes:
        """Return what has come; at its end, nothing is waited for any more."""
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not data and fd in self._reading:
            del self._reading[fd]
            self._loop.remove_reader(fd)
            if fd == self._output and not self.has_ended:
                self._mute(self)
        return data

    def _has_ended(self, _: object) -> None:
        """Take in what it has written before its end, and let go of all."""
        for fd, read in [*self._reading.items()]:
            left = _MOST_LEFT_BYTES
            while left > 0 and (count := read()):
                left -= count
            self._loop.remove_reader(fd)
        os.close(self._output)
        os.close(self._error)
        is_ending = self.is_ending
        self.end_input()
        self.is_ending = is_ending
