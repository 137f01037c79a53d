"""Control groups of attempts with limits: where they can be made, and what is written to and read from them.

Files of a control group may be slow: all but `find_place` runs in forks only, in which nobody waits for it.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from taskman_cli.supervisor.procstat import read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

#: What is limited, by the name of its controller.
CONTROLLERS = {"memory": "memory", "processes": "pids", "cpu": "cpu"}
#: The group of version 2 that our own processes move to: one with processes may have no limits below it.
MAIN = "taskman-main"
#: Where systemd runs.
SYSTEMD = "/run/systemd/system"
#: The time over which a share of the CPUs is counted.
PERIOD_US = 100_000
_READ_BYTES = 1 << 16
_NO_LIMIT_BYTES = 1 << 60
#: A group that another process is just leaving is busy for a moment.
_TRIES, _PAUSE_S = 50, 0.01


class Place:
    """Where groups can be made: `kind` is "v2", "v1", "systemd" (it makes them), or "": nowhere."""

    __slots__ = ("dirs", "kind", "works")

    def __init__(self, kind: str, dirs: Mapping[str, str], works: frozenset[str]) -> None:
        self.kind = kind
        #: The directory to make them in by controller; "" is the one of version 2.
        self.dirs = dirs
        #: Which of CONTROLLERS' keys they can limit.
        self.works = works

    def group(self, name: str) -> Group:
        """Return the group of this name."""
        if self.kind != "systemd":
            return Group([(kind, f"{parent}/{name}") for kind, parent in self.dirs.items()], is_ours=True)
        own = f"user.slice/user-{os.geteuid()}.slice/user@{os.geteuid()}.service"
        places = ("system.slice",) if os.geteuid() == 0 else (f"{own}/app.slice", own)
        tops = self.dirs.items()
        paths = [(kind, f"{top}/{place}/{name}.scope") for kind, top in tops for place in places]
        return Group(paths, is_ours=False)

    def leftovers(self, prefix: str) -> set[str]:
        """Return the names of the groups that begin with `prefix`."""
        if self.kind == "systemd":
            return set()  # it removes them itself
        names: set[str] = set()
        for parent in self.dirs.values():
            try:
                entries = os.listdir(parent)  # noqa: PTH208 - pathlib is 3 MB
            except OSError:
                continue
            names |= {name for name in entries if name.startswith(prefix)}
        return names


class Group:
    """The group of one attempt: its directory by controller, "" for version 2."""

    __slots__ = ("_paths", "is_ours")

    def __init__(self, paths: list[tuple[str, str]], *, is_ours: bool) -> None:
        self._paths = paths
        #: False: systemd makes it, in one of several places, and removes it when it is empty.
        self.is_ours = is_ours

    @property
    def dirs(self) -> dict[str, str]:
        """Return its directories by controller; of one that systemd makes, those that are there."""
        if self.is_ours:
            return dict(self._paths)
        return {kind: path for kind, path in self._paths if os.path.isdir(path)}  # noqa: PTH112 - 3 MB

    @property
    def exists(self) -> bool:
        """Tell if there is something of it."""
        return any(os.path.isdir(path) for _, path in self._paths)  # noqa: PTH112

    def members(self) -> list[int]:
        """Return the numbers of the processes in it and in the groups below it."""
        pids: set[int] = set()
        for top in self.dirs.values():
            for path in _tree(top):
                try:
                    pids.update(map(int, _read(f"{path}/cgroup.procs").split()))
                except OSError:
                    continue
        return sorted(pids)

    def memory_kills(self) -> tuple[int, int]:
        """Return how many of it the kernel killed for going over the memory limit, and the limit in bytes.

        The kernel's counter has also those for the limit of a group above it, or of the machine. Then version
        2 counts no `oom` here, and in version 1, its memory was never at its limit.
        """
        for kind, path in self.dirs.items():
            try:
                if kind == "memory":
                    limit, most = (_number(f"{path}/memory.{of}_in_bytes") for of in ("limit", "max_usage"))
                    counts = _counts(f"{path}/memory.oom_control") | {"oom": most >= limit // 10 * 9}
                else:
                    limit, counts = _number(f"{path}/memory.max"), _counts(f"{path}/memory.events")
            except (OSError, ValueError):  # another controller's, or no limit: "max"
                continue
            if limit < _NO_LIMIT_BYTES:
                return counts.get("oom_kill", 0) if counts.get("oom") else 0, limit
        return 0, 0

    def signal(self, number: int) -> None:
        """Signal all that is in it."""
        if number == signal.SIGKILL:
            dirs = self.dirs
            for kind, file, value in (("pids", "pids.max", "0"), ("", "cgroup.kill", "1")):
                try:
                    _write(f"{dirs[kind]}/{file}", value)
                except (KeyError, OSError):  # not limited so, or an older kernel: one by one
                    continue
        for pid in self.members():
            _signal_member(self, pid, number)

    def remove(self) -> bool:
        """Remove it if it is empty; tell if nothing of it is left."""
        is_gone = True
        if not self.is_ours:
            return is_gone
        for top in self.dirs.values():
            for path in sorted(_tree(top), key=len, reverse=True):
                try:
                    os.rmdir(path)  # noqa: PTH106 - pathlib is 3 MB
                except FileNotFoundError:
                    continue
                except OSError:
                    is_gone = False
        return is_gone


def group_of(pid: int, name: str) -> Group | None:
    """Return the group of this name if a process is in it."""
    try:
        mounts, own = _mounts("self"), _own(str(pid))
    except OSError:
        return None
    ends = (f"/{name}", f"/{name}.scope")
    paths = [(kind, path) for kind, path in _directories(mounts, own).items() if path.endswith(ends)]
    return Group(paths, is_ours=not paths[0][1].endswith(".scope")) if paths else None


def find_place(process: str = "self") -> Place:
    """Find out where a process can make groups."""
    try:
        dirs = _directories(_mounts(process), _own(process))
        mounts = _mounts(process)
    except OSError:
        return Place("", {}, frozenset())
    is_systemd = os.path.isdir(SYSTEMD)  # noqa: PTH112
    base = dirs.get("", "")
    if base.rpartition("/")[2] == MAIN:
        base = base.rpartition("/")[0]
    if base and _may_write(base) and (not is_systemd or _is_delegated(base)):
        there = _controllers(base)
        works = frozenset(what for what, name in CONTROLLERS.items() if name in there)
        if works:
            return Place("v2", {"": base}, works)
    if is_systemd:
        from taskman_cli.supervisor.scope import can_reach

        tops = {kind: point for kind, (top, point) in mounts.items() if top == "/"}
        works = _of_systemd(tops) if can_reach() else frozenset()
        return Place("systemd" if works else "", tops if works else {}, works)
    version_1 = {name: dirs[name] for name in CONTROLLERS.values() if name in dirs and _may_write(dirs[name])}
    works = frozenset(what for what, name in CONTROLLERS.items() if name in version_1)
    if version_1 and base and _may_write(base):
        version_1[""] = base
    return Place("v1" if works else "", version_1 if works else {}, works)


def _of_systemd(tops: Mapping[str, str]) -> frozenset[str]:
    """Return what the manager of our user can limit: a user's has no rights in version 1."""
    uid = os.geteuid()
    below = "" if uid == 0 else f"/user.slice/user-{uid}.slice/user@{uid}.service"
    there = _controllers(f"{tops.get('', '')}{below}") | (set(tops) if uid == 0 else set())
    return frozenset(what for what, name in CONTROLLERS.items() if name in there)


def _controllers(path: str) -> set[str]:
    """Return what a group of version 2 can limit; nothing if there is no such group."""
    try:
        return set(_read(f"{path}/cgroup.controllers").decode().split())
    except OSError:
        return set()


def join(place: Place, name: str, limits: Mapping[str, Any]) -> None:
    """Make a group with these limits, and bring this process into it. Raises OSError, in words."""
    wanted = {what: limits[what] for what in CONTROLLERS if limits.get(what) is not None}
    if place.kind == "systemd":
        from taskman_cli.supervisor.scope import become_scope

        become_scope(f"{name}.scope", wanted)
        return
    if place.kind == "v2":
        _open_below(place.dirs[""], [CONTROLLERS[what] for what in wanted if what in place.works])
    kinds = {"", *(CONTROLLERS[what] for what in wanted)}
    for kind, path in place.group(name).dirs.items():
        if kind in kinds:
            _enter(path, _settings(kind, wanted))


def _settings(kind: str, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield what is written to a group: file, value, and if it must succeed."""
    memory, processes, cpu = (wanted.get(what) for what in CONTROLLERS)
    is_unified = kind == ""
    if memory is not None and is_unified:
        yield "memory.max", str(memory), True
        yield "memory.swap.max", "0", False
        yield "memory.oom.group", "1", False
    elif memory is not None and kind == "memory":
        yield "memory.limit_in_bytes", str(memory), True
        yield "memory.memsw.limit_in_bytes", str(memory), False
    if processes is not None and kind in ("", "pids"):
        yield "pids.max", str(processes), True
    if cpu is not None and is_unified:
        yield "cpu.max", f"{int(cpu * PERIOD_US)} {PERIOD_US}", True
    elif cpu is not None and kind == "cpu":
        yield "cpu.cfs_period_us", str(PERIOD_US), True
        yield "cpu.cfs_quota_us", str(int(cpu * PERIOD_US)), True


def _enter(path: str, settings: Iterator[tuple[str, str, bool]]) -> None:
    """Make a directory with its settings, and go into it; it may be swept away before there is somebody."""
    values = list(settings)
    for left in reversed(range(_TRIES)):
        try:
            if not os.path.isdir(path):  # noqa: PTH112
                os.mkdir(path)  # noqa: PTH102
            for file, value, is_needed in values:
                _set(f"{path}/{file}", value, is_needed=is_needed)
            _write(f"{path}/cgroup.procs", "0")
        except OSError as error:
            number = error.errno
            is_swept = number == errno.ENOENT and not os.path.isdir(path)  # noqa: PTH112
            if not left or not (is_swept or number in (errno.EEXIST, errno.ENODEV, errno.EBUSY)):
                raise OSError(number, f"{error.strerror}: {error.filename or path}") from error
            time.sleep(_PAUSE_S)
        else:
            return


def _set(path: str, value: str, *, is_needed: bool) -> None:
    """Write a setting. On the group of version 2 beside version 1, there may be no such file."""
    try:
        _write(path, value)
    except OSError:
        if is_needed and os.path.exists(path):  # noqa: PTH110
            raise


def _open_below(base: str, controllers: list[str]) -> None:
    """Have version 2 limit what is below `base`; for that, its processes move to a group of their own."""
    path = f"{base}/cgroup.subtree_control"
    there = _read(path).decode().split()
    wanted = " ".join(f"+{name}" for name in controllers if name not in there)
    if not wanted:
        return
    for left in reversed(range(_TRIES)):
        try:
            _write(path, wanted)
        except OSError as error:
            if error.errno != errno.EBUSY or not left:
                raise OSError(error.errno, f"{error.strerror}: {path}") from error
        else:
            return
        main = f"{base}/{MAIN}"
        if not os.path.isdir(main):  # noqa: PTH112
            os.mkdir(main)  # noqa: PTH102
        for pid in _read(f"{base}/cgroup.procs").decode().split():
            try:
                _write(f"{main}/cgroup.procs", pid)
            except ProcessLookupError:
                continue


def _signal_member(group: Group, pid: int, number: int) -> None:
    """Signal a process of a group; a pidfd is the right process if it is in the group after it was opened."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if pid in group.members():
            signal.pidfd_send_signal(pidfd, number)
            if number != signal.SIGKILL:
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    except OSError:
        return
    finally:
        os.close(pidfd)


def _directories(mounts: Mapping[str, tuple[str, str]], own: Mapping[str, str]) -> dict[str, str]:
    """Return the directory of each group that a process is in, by controller."""
    found = {}
    for kind, path in own.items():
        if kind in mounts:
            top, point = mounts[kind]
            top = "" if top == "/" else top
            if path == top or path.startswith(f"{top}/"):
                found[kind] = (point + path[len(top) :]).rstrip("/")
    return found


def _own(process: str) -> dict[str, str]:
    """Return the group of a process by controller, as cgroups(7) has it in /proc/PID/cgroup."""
    found = {}
    for line in os.fsdecode(read_proc(f"/proc/{process}/cgroup")).splitlines():
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        for kind in [""] if number == "0" else kinds.split(","):
            found[kind] = path
    return found


def _mounts(process: str) -> dict[str, tuple[str, str]]:
    """Return where each hierarchy is mounted, as (its root there, mount point); proc_pid_mountinfo(5)."""
    found: dict[str, tuple[str, str]] = {}
    for line in os.fsdecode(_read(f"/proc/{process}/mountinfo")).splitlines():
        fields, _, rest = line.partition(" - ")
        words, after = fields.split(" "), rest.split(" ")
        if len(words) < 5 or len(after) < 3 or after[0] not in ("cgroup", "cgroup2"):
            continue
        for kind in [""] if after[0] == "cgroup2" else after[2].split(","):
            found.setdefault(kind, (words[3], words[4]))
    return found


def _tree(top: str) -> Iterator[str]:
    """Yield a directory and all below it."""
    return (path for path, _, _ in os.walk(top))


def _may_write(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def _is_delegated(path: str) -> bool:
    """Tell if systemd has left a group to us: `Delegate=` in a unit."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _number(path: str) -> int:
    return int(_read(path))


def _counts(path: str) -> dict[str, int]:
    """Return the counters of a file that has one a line."""
    lines = (line.split() for line in _read(path).decode().splitlines())
    return {name: int(value) for name, value in lines}


def _read(path: str) -> bytes:
    fd, data = os.open(path, os.O_RDONLY | os.O_CLOEXEC), bytearray()
    try:
        while piece := os.read(fd, _READ_BYTES):
            data += piece
    finally:
        os.close(fd)
    return bytes(data)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
