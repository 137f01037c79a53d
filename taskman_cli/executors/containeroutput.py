"""What a container prints on its way to the attempt's file, and what it gets on its standard input."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.executors.written import Written

if TYPE_CHECKING:
    from pathlib import Path

    from taskman_cli.executors.base import Work

_CHUNK_BYTES = 256 << 10
#: Output from before it is known whether a container has started.
_MOST_EARLY_BYTES = 16 << 20
_PAUSE_S = 0.05


class Output:
    """What a container prints on its way to the attempt's file, and how much of it has got there."""

    def __init__(self, work: Work, count_path: Path, *, skip: int) -> None:
        self._skip = skip
        self._written = Written(work, count_path, count=skip)
        self._is_released = work.is_started
        #: What came before it was known whether the container has started.
        self.early = bytearray()
        self.has_come = asyncio.Event()

    async def pump(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(_CHUNK_BYTES):
            if self._is_released:
                self._write(piece)
                continue
            self.early += piece
            self.has_come.set()
            while len(self.early) > _MOST_EARLY_BYTES and not self._is_released:
                await asyncio.sleep(_PAUSE_S)

    def release(self) -> None:
        """It has started: all that came and comes is its output."""
        if not self._is_released:
            self._is_released = True
            self._write(bytes(self.early))
            self.early.clear()

    def _write(self, data: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._written.write(data)

    def close(self) -> None:
        self._written.close()


async def feed(stdin: asyncio.StreamWriter, data: bytes) -> None:
    """Write its standard input, as fast as it takes it."""
    with suppress(ConnectionError, BrokenPipeError):
        for begin in range(0, len(data), _CHUNK_BYTES):
            stdin.write(data[begin : begin + _CHUNK_BYTES])
            await stdin.drain()
    stdin.close()
