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

#: What `journalctl MESSAGE_ID=` selects, by event.
MESSAGE_IDS = {
    "succeeded": "0fbc81bab4b84e86a81ffcb079786c91",
    "failed": "d99688337a5f43319dd975c1219dc204",
    "timed_out": "8759bbf3be4b434eb614773ba634ae14",
    "cancelled": "1a046f8d78654c6a8de3904aed4cd98e",
    "lost": "7150cf82fc4e4556a87bbb0c872437c6",
    "skipped": "a07e199d2ac84ee8960dc914f42edf3a",
    "queued": "dc4c02ebcf6943ccb16d6ccca2b90a06",
    "begun": "692975f9a2c34d70b2845d0b551464ac",
    "finished": "b205f5dbb2584e6fb6d84475549df905",
    "adopted": "c1e5a2ff8de848b3a16365637da56a89",
    "stopped": "cd92a7cb71074a39b19e9b261b6166c6",
    "continued": "8652df3443704edeadd57e2511ac5051",
    "stuck": "168dc0c210d84a7787a79340447c765f",
    "survivors": "9eb8f7d837754384bb56b4001400d6a8",
    "parked": "095f6c54646e4a1397e5e9aa7ff1ed48",
    "unparked": "6e246a2e5db14f18b0015542f07b3f0e",
    "recovered": "ea2e8eb9ea1d4da3acd8c714ca66827b",
    "delayed": "cbc4526a704e46e3bc562c3b15e77298",
    "slow": "a234fefa0aff4d569310f5cb103bd871",
    "overdue": "eba0bedac75144ac8d12c71eb2a84ec1",
    "spawn_delayed": "b1597f02429549b8b8441617079dbeca",
    "clock_stepped": "8a2fc48617f74574afdc69fea0e66ad0",
    "suspended": "7f4917567d3a499a86b137c7b1d20db4",
    "jobs_loaded": "6fd07c2b806c45898fce5376befcbeeb",
    "reloaded": "ec80718cc2b2482e8be14de42e4da1e0",
    "reload_failed": "44fafd1ba4f6466cbd7f693aa59e78ab",
    "scheduler_started": "42fb56a9c2344f7fada5529a7279383c",
    "scheduler_stopped": "4d843e185a28485bb59b2b903feb1db0",
    "scheduler_died": "868583270dbf47d09d9796ef928ef5f6",
    "set_aside": "5db9f6bdeb2e47b5acac21404d2d49a2",
    "ledger_lost": "c775ba57afb94973a0fe93a190267419",
    "ledger_unwritable": "8ce3dbb3d4ff45ce825cdf9d819623d7",
    "ledger_writable": "ffcb8fceec69447e98f362c1ceff1fb9",
    "dropped": "c2b1856911134410ac59c909d5ab4620",
}

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
    short, long = [], []
    for name, value in fields:
        if "\n" in value:
            data = value.encode("utf-8", "backslashreplace")
            long.append(b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data))
        else:
            short.append(f"{name}={value}\n")
    return "".join(short).encode("utf-8", "backslashreplace") + b"".join(long)


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
