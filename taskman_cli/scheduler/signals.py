"""What the machine says of its load: read from files of the kernel that stay open, a few microseconds each.

Nothing here may break a start. A file that is missing, empty or odd (containers, sandboxes, other kernels)
says nothing, and what depends on it is left out of the decision.
"""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.core.engine.admission import Signals

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Limits change rarely; they are read again after this long.
LIMITS_NS = 10_000_000_000
#: No file that is read here is longer, as far as it is of interest.
_MOST_BYTES = 8192
#: A limit of this size is none.
_NO_LIMIT = 1 << 60
#: Descriptors of one running command in the supervisor, and those that it needs for itself.
_FILES_EACH, _OWN_FILES = 4, 64
#: Processes that a command may well have.
_PROCESSES_EACH = 2
_AVAILABLE = re.compile(rb"^MemAvailable: *(\d+) kB", re.MULTILINE)
_TOTAL = re.compile(rb"^MemTotal: *(\d+) kB", re.MULTILINE)
_STALLED = re.compile(rb"^some .*total=(\d+)", re.MULTILINE)
_RUNNABLE = re.compile(rb"^\S+ \S+ \S+ (\d+)/")
_INACTIVE = re.compile(rb"^(?:total_)?inactive_file (\d+)", re.MULTILINE)

#: What is known of the machine if nothing can be found out.
NOTHING_SAID = Signals(cpus=1.0)


class KernelFile:
    """A file of the kernel, read from its beginning each time."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        with suppress(OSError):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """Return what is in it; b"" if it cannot be read."""
        if self._fd is not None:
            with suppress(OSError):
                return os.pread(self._fd, _MOST_BYTES, 0)
        return b""

    def find(self, pattern: re.Pattern[bytes]) -> int | None:
        """Return the number that a pattern finds in it, or None."""
        match = pattern.search(self.read())
        return int(match[1]) if match and len(match[1]) < 20 else None

    def number(self) -> int | None:
        """Return the number that it consists of; None if it has something else, as in "max"."""
        text = self.read().strip()
        return int(text) if text.isdigit() and len(text) < 20 else None

    def close(self) -> None:
        """Close it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class SignalReader:
    """Reads the signals; `root` is where /proc and /sys are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._load = KernelFile(root / "proc/loadavg")
        self._memory = KernelFile(root / "proc/meminfo")
        groups = find_groups(root)
        stall = next((path for path in _existing(groups.get("", []), "memory.pressure")), None)
        self._stall = KernelFile(stall or root / "proc/pressure/memory")
        self._groups = [_MemoryGroup(path) for path in [*groups.get("memory", []), *groups.get("", [])]]
        self._cpu_groups = [*groups.get("cpu", []), *groups.get("", [])]
        self._pid_groups = [*groups.get("pids", []), *groups.get("", [])]
        self._limits_at_ns: int | None = None
        self._cpus = 1.0
        self._is_whole_machine = True
        self._most_workers: int | None = None

    def read(self, elapsed_ns: int) -> Signals:
        """Return what the machine says now."""
        if self._limits_at_ns is None or elapsed_ns - self._limits_at_ns >= LIMITS_NS:
            self._limits_at_ns = elapsed_ns
            self._read_limits()
        memory = self._memory.read()
        total, available = (_kib(pattern, memory) for pattern in (_TOTAL, _AVAILABLE))
        for group in self._groups:
            limit, free = group.read(elapsed_ns)
            if limit is not None and (total is None or limit < total):
                total = limit
            if free is not None and (available is None or free < available):
                available = free
        # Of the tasks of the whole machine, those that compete for a part of its CPUs are not known.
        runnable = self._load.find(_RUNNABLE) if self._is_whole_machine else None
        stalled_us = self._stall.find(_STALLED)
        return Signals(
            self._cpus,
            None if runnable is None else max(0, runnable - 1),
            total,
            available,
            None if stalled_us is None else stalled_us * 1000,
            self._most_workers,
        )

    def _read_limits(self) -> None:
        online = os.cpu_count() or 1
        granted: float = online
        with suppress(OSError):
            granted = len(os.sched_getaffinity(0))
        for quota in _quotas(self._cpu_groups):
            granted = min(granted, quota)
        self._cpus = max(granted, 0.1)
        self._is_whole_machine = granted >= online
        self._most_workers = self._allowed()

    def _allowed(self) -> int | None:
        """Return how many commands the limits allow; None: they do not say."""
        allowed = []
        with suppress(OSError, ValueError):
            files, _ = resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)
            if files != resource.RLIM_INFINITY:
                allowed.append((files - _OWN_FILES) // _FILES_EACH)
        processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        if os.geteuid() != 0 and processes != resource.RLIM_INFINITY:  # it does not bind root
            allowed.append(processes // _PROCESSES_EACH)
        for path in _existing(self._pid_groups, "pids.max"):
            most = _number(path)
            if most is not None:
                allowed.append(most // _PROCESSES_EACH)
        return max(1, min(allowed)) if allowed else None

    def close(self) -> None:
        """Close all files."""
        for file in (self._load, self._memory, self._stall):
            file.close()
        for group in self._groups:
            group.close()


class _MemoryGroup:
    """The memory of a control group, of either version."""

    def __init__(self, path: Path) -> None:
        is_new = (path / "memory.current").exists()
        self._limit = KernelFile(path / ("memory.max" if is_new else "memory.limit_in_bytes"))
        self._used = KernelFile(path / ("memory.current" if is_new else "memory.usage_in_bytes"))
        self._stat = KernelFile(path / "memory.stat")
        self._limit_bytes: int | None = None
        self._cache_bytes = 0
        self._at_ns: int | None = None

    def read(self, elapsed_ns: int) -> tuple[int | None, int | None]:
        """Return the limit and what is free of it; None: no limit."""
        # Statistics of a large tree take the kernel milliseconds.
        if self._at_ns is None or elapsed_ns - self._at_ns >= 1_000_000_000:
            self._at_ns = elapsed_ns
            limit = self._limit.number()
            self._limit_bytes = None if limit is None or limit >= _NO_LIMIT else limit
            self._cache_bytes = (self._stat.find(_INACTIVE) or 0) if self._limit_bytes else 0
        if self._limit_bytes is None:
            return None, None
        used = self._used.number()
        free = None if used is None else max(0, self._limit_bytes - max(0, used - self._cache_bytes))
        return self._limit_bytes, free

    def close(self) -> None:
        for file in (self._limit, self._used, self._stat):
            file.close()


def find_groups(root: Path) -> dict[str, list[Path]]:
    """Return the directories of our control groups, innermost first, by controller; "": version 2."""
    try:
        mounts = (root / "proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        groups = (root / "proc/self/cgroup").read_text("utf-8", "surrogateescape")
    except OSError:
        return {}
    places: dict[str, tuple[str, Path]] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        place = root / words[4].lstrip("/")
        for name in [""] if kind[0] == "cgroup2" else kind[2].split(","):
            places.setdefault(name, (words[3], place))
    found: dict[str, list[Path]] = {}
    for line in groups.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        for name in parts[1].split(","):
            if name in places:
                found[name] = list(_ancestors(parts[2], *places[name]))
    return found


def _ancestors(group: str, mounted: str, place: Path) -> Iterator[Path]:
    """Yield the directory of a group and those above it, up to what is mounted."""
    below = group if mounted == "/" else group.removeprefix(mounted)
    parts = [part for part in below.split("/") if part not in ("", "..")]
    while parts:
        yield place.joinpath(*parts)
        parts.pop()
    yield place


def _quotas(groups: list[Path]) -> Iterator[float]:
    """Yield how many CPUs each group may use, where it has a limit."""
    for group in groups:
        words = _text(group / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            yield int(words[0]) / int(words[1])
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if quota and period:
            yield quota / period


def _existing(groups: list[Path], name: str) -> Iterator[Path]:
    return (group / name for group in groups if (group / name).exists())


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")[:_MOST_BYTES]
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() and len(text) < 20 else None


def _kib(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    match = pattern.search(text)
    return int(match[1]) * 1024 if match and len(match[1]) < 17 else None
