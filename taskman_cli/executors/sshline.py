"""One connection to another machine through the `ssh` program, and the conversation with the guard on it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.executors import programs
from taskman_cli.executors.farside import BOOTSTRAP
from taskman_cli.executors.markedlines import MarkedLines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK_BYTES = 256 << 10
#: How long the last words of ssh may take after the end of its output.
_LAST_WORDS_S = 1.0


class Line:
    """A conversation. Not for two readers."""

    def __init__(self, process: asyncio.subprocess.Process, marker: str) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdout = process.stdout
        self._said = asyncio.ensure_future(programs.tail(process.stderr))
        self._lines = MarkedLines(marker)
        self._ready: list[bytes | str] = []

    @classmethod
    async def open(cls, argv: Sequence[str], environment: Mapping[str, str], marker: str) -> Line:
        """Start `ssh` with these arguments; raises StartFailed if there is none."""
        return cls(await programs.start((*argv, BOOTSTRAP), environment), marker)

    def send(self, data: bytes) -> None:
        """Send without waiting. What the other side does not take is kept; nothing is said if it is gone."""
        stdin = self._process.stdin
        assert stdin is not None
        if not stdin.is_closing():
            stdin.write(data)

    async def receive(self) -> bytes | str | None:
        """Return the next piece of output or line of the guard; None: nothing comes any more."""
        while not self._ready:
            piece = await self._stdout.read(_CHUNK_BYTES)
            if not piece:
                return self._lines.finish() or None
            self._ready.extend(self._lines.feed(piece))
        return self._ready.pop(0)

    async def reply(self) -> str | None:
        """Return the guard's next line, without the output before it; None: nothing comes any more."""
        while isinstance(item := await self.receive(), bytes):
            pass
        return item

    async def words(self) -> str:
        """Return why nothing comes any more, in the words of ssh."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.shield(self._said)
                await self._process.wait()
        said = programs.in_words(self._said.result()) if self._said.done() else ""
        code = self._process.returncode
        return said or (f"ssh ended with exit code {code}" if code is not None else "it says nothing")

    def cut(self) -> None:
        """End it here and now: the guard on the other side kills what it runs."""
        programs.kill(self._process)

    async def close(self) -> None:
        """End it, and let go of all that it holds."""
        await programs.end(self._process)
        self._said.cancel()
        await asyncio.gather(self._said, return_exceptions=True)
