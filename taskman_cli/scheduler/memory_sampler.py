"""How much memory running commands use, with all processes of their groups: found out beside the loop.

To find a group's processes, all of /proc is read, which takes milliseconds on a busy machine. So it is done
in a thread, which is started when it is first needed and sleeps until it is asked. All that was asked
meanwhile is answered by the next reading.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.scheduler.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Fields of /proc/PID/stat after the name: the process group, the session, and pages in memory.
_GROUP, _SESSION, _RESIDENT = 2, 3, 21


class MemorySampler:
    """Answers with what each process group uses; `fileno` is readable when there is an answer."""

    def __init__(self) -> None:
        self._bell, self._rope = socket.socketpair()
        for end in (self._bell, self._rope):
            end.setblocking(False)
        self._condition = threading.Condition()
        self._asked: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._bell.fileno()

    def ask(self, attempts: Iterable[tuple[str, int]]) -> None:
        """Ask for the memory of attempts, each with the pid of its first process."""
        with self._condition:
            self._asked.update(attempts)
            self._condition.notify()
        if self._thread is None:
            self._thread = start_thread(self._work, name="memory")  # None: asked again at the next look

    def take(self) -> dict[str, int]:
        """Return what was found since the last time, by key."""
        with suppress(BlockingIOError):
            self._bell.recv(4096)
        with self._condition:
            found, self._found = self._found, {}
        return found

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(1)
        for end in (self._bell, self._rope):
            end.close()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._asked and not self._is_closed:
                    self._condition.wait()
                if self._is_closed:
                    return
                asked, self._asked = self._asked, {}
            used = resident_of(set(asked.values()))
            with self._condition:
                self._found.update((key, used[pid]) for key, pid in asked.items())
            with suppress(OSError):  # closed, or it rings already
                self._rope.send(b"!")


def resident_of(leaders: set[int], proc: str = "/proc") -> dict[int, int]:
    """Return how many bytes the processes of each session or group have in memory, by its leader's pid."""
    used = dict.fromkeys(leaders, 0)
    with suppress(OSError), os.scandir(proc) as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            # It may end meanwhile; and what it is called may contain anything.
            with suppress(OSError, ValueError, IndexError):
                fields = _read(f"{proc}/{entry.name}/stat").rpartition(b")")[2].split()
                group, session = int(fields[_GROUP]), int(fields[_SESSION])
                leader = session if session in used else group
                if leader in used:
                    used[leader] += int(fields[_RESIDENT]) * _PAGE_BYTES
    return used


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
