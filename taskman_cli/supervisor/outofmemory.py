"""Whether the kernel killed a command for want of memory: it counts such kills, but does not say whom.

The counter of our own control group counts what is in it. Without one there is the machine's, which counts
the processes of all others too: then it is likely, and not sure.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 1 << 16
#: The counter is read again at a start if this has passed: what was killed before is of no command after it.
FRESH_NS = 1_000_000_000
#: What it is called in each of the files.
_NAME = b"oom_kill"


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)


def count_in(text: bytes) -> int | None:
    """Return the number of kills that a file of the kernel has; None: it has none."""
    for line in text.splitlines():
        name, _, value = line.partition(b" ")
        if name == _NAME and value.strip().isdigit():
            return int(value)
    return None


def _files() -> list[tuple[str, str]]:
    """Return the files with such a counter, as (scope, path), the narrowest first."""
    found = []
    try:
        lines = _read("/proc/self/cgroup").decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if number == "0" and path != "/":
            found.append(("cgroup", f"/sys/fs/cgroup{path}/memory.events"))
        elif "memory" in kinds.split(",") and path != "/":
            found.append(("cgroup", f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
    # In a container, the root of what it sees is its own group.
    found.append(("cgroup", "/sys/fs/cgroup/memory.events"))
    found.append(("machine", "/proc/vmstat"))
    return found


def machine_kills() -> int:
    """Return how many processes of this machine the kernel has killed for want of memory."""
    try:
        return count_in(_read("/proc/vmstat")) or 0
    except OSError:
        return 0


class OutOfMemory:
    """Tells of each command that was killed whether the counter has risen for it."""

    def __init__(
        self,
        files: Callable[[], list[tuple[str, str]]] = _files,
        read: Callable[[str], bytes] = _read,
    ) -> None:
        self._read = read
        #: Where the counter is, and whose kills it counts; "": there is none.
        self.scope = self._path = ""
        self._count = self._unclaimed = 0
        self._read_ns = 0
        for scope, path in files():
            count = self._look(path)
            if count is not None:
                self.scope, self._path, self._count = scope, path, count
                return

    def _look(self, path: str) -> int | None:
        try:
            return count_in(self._read(path))
        except OSError:
            return None

    def note_start(self, now_ns: int) -> None:
        """Count from here, if the counter was not read for a while."""
        if self._path and now_ns - self._read_ns >= FRESH_NS:
            self._read_ns = now_ns
            self._count = self._look(self._path) or self._count
            self._unclaimed = 0

    def claim(self) -> str:
        """Return of a command that was killed whose counter has risen for it: "cgroup", "machine"; or ""."""
        if not self._path:
            return ""
        count = self._look(self._path)
        if count is not None:
            self._unclaimed += max(0, count - self._count)
            self._count = count
        if not self._unclaimed:
            return ""
        self._unclaimed -= 1
        return self.scope
