"""The native protocol of systemd's journald: fields in a datagram, or in a sealed file if they are large.

See https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Both processes use this; it is standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Where journald listens. The directory is root's: nobody else can put a socket there.
PATH = "/run/systemd/journal/socket"
#: The name under which `journalctl -t` finds our lines.
IDENTIFIER = "taskman"

#: Levels of the standard library's `logging`, and ours between info and warning, as those of syslog(3).
_PRIORITIES = ((50, 2), (40, 3), (30, 4), (25, 5), (20, 6))
_DEBUG = 7

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
#: Too large for a datagram.
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)


def priority(level: int) -> int:
    """Return the priority of syslog(3) for a level of `logging`."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def leads_to_journald(fd: int, environ: Mapping[str, str]) -> bool:
    """Tell if what is written to a descriptor goes to journald, as systemd.exec(5) says to find out."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(fd)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (OSError, ValueError):
        return False


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """Encode fields; a value may have any characters, and what is not UTF-8 must be escaped before."""
    return b"".join(
        b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
        if b"\n" in data
        else b"%b=%b\n" % (name.encode(), data)
        for name, value in fields
        for data in (value.encode("utf-8", "backslashreplace"),)
    )


class JournalSocket:
    """Sends to journald, and never waits for it."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def fileno(self) -> int:
        """Return the descriptor that is writable when journald takes more; -1: there is none."""
        return self._socket.fileno() if self._socket else -1

    def send(self, data: bytes) -> bool:
        """Send encoded fields; return False if journald has too much to read. Raises OSError: it is gone."""
        try:
            return self._send(data)
        except (ConnectionError, FileNotFoundError):  # it was restarted: there is another socket
            self.close()
            return self._send(data)

    def _send(self, data: bytes) -> bool:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            return self._send_file(self._socket, data)
        return True

    def _send_file(self, to: socket.socket, data: bytes) -> bool:
        fd = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(to, [], [fd])
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def close(self) -> None:
        """Close the socket; the next `send` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
