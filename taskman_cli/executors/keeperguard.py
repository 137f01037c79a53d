"""`python -m taskman_cli.executors.keeperguard`: ends the commands of a keeper that was killed.

A command of which nobody knows any more would go on for ever, beside the one that is run again in its place.
The keeper notes what runs in memory that it shares with this process, so that a start wakes nobody; standard
input is a pipe that ends with the keeper. The standard library only.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from contextlib import suppress

#: So many commands at the same time are guarded.
_SLOTS = 8192
_SLOT_BYTES = 4
_SIZE = _SLOTS * _SLOT_BYTES


class Guard:
    """What a keeper notes; if it cannot be had, nothing is guarded."""

    def __init__(self) -> None:
        self._free = list(range(_SLOTS))
        self._slots: dict[int, int] = {}
        self._memory: mmap.mmap | None = None
        self._end = -1

    def begin(self) -> None:
        """Start the process that watches. Raises OSError."""
        memory = os.memfd_create("taskman-keeper", os.MFD_CLOEXEC)
        pipe, self._end = os.pipe2(os.O_CLOEXEC)
        try:
            os.ftruncate(memory, _SIZE)
            subprocess.Popen(
                [sys.executable, "-P", "-m", "taskman_cli.executors.keeperguard", str(memory)],
                stdin=pipe,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[memory],
                cwd="/",
                start_new_session=True,
            ).returncode = 0  # it outlives the keeper: nobody waits for it
            self._memory = mmap.mmap(memory, _SIZE)
        finally:
            os.close(pipe)
            os.close(memory)

    def add(self, pid: int) -> None:
        """Note a command, the leader of its group."""
        if self._free and self._memory is not None:
            slot = self._slots[pid] = self._free.pop()
            self._write(slot, pid)

    def remove(self, pid: int) -> None:
        """Note the end of a command."""
        slot = self._slots.pop(pid, None)
        if slot is not None:
            self._free.append(slot)
            self._write(slot, 0)

    def _write(self, slot: int, pid: int) -> None:
        assert self._memory is not None
        begin = slot * _SLOT_BYTES
        self._memory[begin : begin + _SLOT_BYTES] = pid.to_bytes(_SLOT_BYTES, sys.byteorder)


def main() -> None:
    """Wait for the end of the keeper, and end what it has left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with mmap.mmap(int(sys.argv[1]), _SIZE) as memory:
        while True:
            with suppress(InterruptedError):
                if not os.read(0, 1):
                    break
        for begin in range(0, _SIZE, _SLOT_BYTES):
            pid = int.from_bytes(memory[begin : begin + _SLOT_BYTES], sys.byteorder)
            # Another process may have its number by now, which would hardly lead a session.
            with suppress(OSError):
                if pid and os.getsid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
