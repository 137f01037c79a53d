"""A service manager as sd_notify(3) sees it: a socket that keeps what it is told."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class Listening:
    """The socket that NOTIFY_SOCKET names, and all that came through it."""

    def __init__(self, directory: Path, *, is_abstract: bool = False) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"taskman-test-{os.getpid()}-{id(self)}"
        self.address = f"@{name}" if is_abstract else str(directory / "notify")
        self.sock.bind(f"\0{name}" if is_abstract else self.address)
        self._heard: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def heard(self) -> list[str]:
        """Return all messages so far, in order."""
        while True:
            try:
                self._heard.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return self._heard

    def kinds(self) -> list[str]:
        """Return the first name of each message so far."""
        return [text.partition("=")[0] for text in self.heard()]

    def wait_for(self, beginning: str, *, count: int = 1) -> str:
        """Wait until messages that begin like this have come, and return the last of them."""

        def found() -> list[str]:
            return [text for text in self.heard() if text.startswith(beginning)]

        wait_until(lambda: len(found()) >= count, what=f"{count} × {beginning}: {self.heard()}")
        return found()[-1]
