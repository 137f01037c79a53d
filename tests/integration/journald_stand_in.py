"""A socket that takes what is sent to journald, as journald does."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

#: Without these, journald refuses a file: it could be changed while it is read.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class JournaldStandIn:
    """Listens at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.path.unlink(missing_ok=True)

    def take(self) -> dict[str, str]:
        """Return the fields of the next entry."""
        data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 1)
        if fds:
            (fd,) = fds
            assert data == b""
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == _SEALS
            with os.fdopen(fd, "rb") as file:
                file.seek(0)
                data = file.read()
        return fields_in(data)

    def take_until(self, words: str) -> list[dict[str, str]]:
        """Return entries up to the one whose message has these words."""
        found = [self.take()]
        while words not in found[-1]["MESSAGE"]:
            found.append(self.take())
        return found


def fields_in(data: bytes) -> dict[str, str]:
    """Decode an entry, strictly as https://systemd.io/JOURNAL_NATIVE_PROTOCOL has it."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            (length,) = struct.unpack("<Q", data[:8])
            value, end, data = data[8 : 8 + length], data[8 + length : 9 + length], data[9 + length :]
            assert end == b"\n"
        assert name.decode().replace("_", "").isalnum()
        assert name.decode().isupper()
        fields[name.decode()] = value.decode("utf-8")
    return fields
