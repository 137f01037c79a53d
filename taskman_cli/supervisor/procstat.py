"""What /proc/PID/stat says of a process: proc_pid_stat(5)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 4096
#: No process gets a longer environment from execve(2). But it may tell the kernel that its environment is any
#: part of its memory, also one of terabytes.
MOST_ENVIRON_BYTES = 8 << 20


class ProcStat:
    """The fields of one process. Each raises IndexError if the kernel leaves it out, as in some sandboxes."""

    __slots__ = ("_fields",)

    def __init__(self, text: bytes) -> None:
        # The name, in parentheses, may contain anything, also blanks and parentheses.
        self._fields = text.rpartition(b")")[2].split()

    @property
    def state(self) -> str:
        """Return the letter of its state, as ps(1) has it."""
        return self._fields[0].decode()

    @property
    def is_dead(self) -> bool:
        """Tell if it has ended, reaped or not."""
        return self.state in ("Z", "X")

    @property
    def parent(self) -> int:
        """Return its parent's process number."""
        return int(self._fields[1])

    @property
    def group(self) -> int:
        """Return its process group."""
        return int(self._fields[2])

    @property
    def session(self) -> int:
        """Return its session."""
        return int(self._fields[3])

    @property
    def spent_ticks(self) -> int:
        """Return how much CPU time it has had, in clock ticks."""
        return int(self._fields[11]) + int(self._fields[12])

    @property
    def started_ticks(self) -> int:
        """Return when it started, in clock ticks since boot."""
        return int(self._fields[19])

    @property
    def started_ns(self) -> int:
        """Return when it started since boot, rounded down to a clock tick."""
        return self.started_ticks * _TICK_NS


def read_stat(pid: int) -> ProcStat:
    """Read the fields of a process. Raises OSError if there is none, or we may not see it."""
    return ProcStat(read_proc(f"/proc/{pid}/stat"))


def processes() -> Iterator[tuple[int, ProcStat]]:
    """Yield every process that we may see, with its number."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is 3 MB
        if name.isdecimal():
            try:
                stat = read_stat(int(name))
            except OSError:
                continue
            yield int(name), stat


def own_children() -> set[int] | None:
    """Return the numbers of our children, zombies included; None if the kernel does not list them."""
    pid, data = os.getpid(), bytearray()  # we have one thread
    try:
        fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(fd, _STAT_BYTES):
                data += piece
        finally:
            os.close(fd)
    except OSError:
        return None
    return set(map(int, data.split()))


def read_proc(path: str) -> bytes:
    """Read a short file of /proc."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _STAT_BYTES)
    finally:
        os.close(fd)


def read_environ(pid: int) -> bytes:
    """Read the environment of a process, and no more of it than it can have been started with."""
    fd, data = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC), bytearray()
    try:
        while len(data) < MOST_ENVIRON_BYTES and (
            piece := os.read(fd, min(1 << 16, MOST_ENVIRON_BYTES - len(data)))
        ):
            data += piece
    finally:
        os.close(fd)
    return bytes(data)
