"""A file system that never answers: whoever looks up a name in it cannot even be killed.

It is a FUSE mount whose server, the test, reads each request and leaves it at that. Before it is read, a
request can still be given up; after that its caller waits without end, as for a dead NFS server.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_FORCE, _MNT_DETACH = 1, 2
_INIT, _LOOKUP = 26, 1
_MOST_BYTES = 1 << 20


class HungFileSystem:
    """Mounted at `path`, as root, as long as this context lasts; what waits for it is let go at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            pytest.skip(f"no /dev/fuse to play a hung file system with: {error.strerror}")
        self.path.mkdir()
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        if _LIBC.mount(b"hung", os.fsencode(self.path), b"fuse", 0, options):
            number = ctypes.get_errno()
            self._close()
            pytest.skip(f"this user may mount no file system: {os.strerror(number)}")
        try:
            self._greet()
        except BaseException:
            self.let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def let_go(self) -> None:
        """End it, and with it the wait of all who wait for it."""
        if self._fd >= 0:
            _LIBC.umount2(os.fsencode(self.path), _MNT_FORCE | _MNT_DETACH)
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _greet(self) -> None:
        """Answer the kernel's first request: version, and sizes."""
        request, unique = self._read()
        assert request == _INIT
        body = struct.pack("<IIIIHHI", 7, 31, 0, 0, 0, 0, 1 << 16).ljust(64, b"\0")
        os.write(self._fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)

    def hold(self) -> None:
        """Wait until somebody looks up a name in here, and never answer."""
        request = None
        while request != _LOOKUP:
            request, _ = self._read()

    def _read(self) -> tuple[int, int]:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        assert poll.poll(20_000), "nobody asks for anything"
        _, request, unique = struct.unpack("<IIQ", os.read(self._fd, _MOST_BYTES)[:16])
        return request, unique
