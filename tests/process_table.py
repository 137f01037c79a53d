"""Looking at other processes, each of which may end at any moment.

What has ended has no arguments, children or descriptors: nothing here raises because a process is gone. The
kernel has several errors for that, depending on how far it has got: tests read /proc/PID by nothing else.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path


def proc(pid: int, name: str) -> bytes:
    """Return what is in a file of /proc/PID; nothing if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
    except PermissionError:  # what is left of a process may be root's
        if is_alive(pid):
            raise
        return b""


def pids() -> list[int]:
    """Return all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def arguments(pid: int) -> list[bytes]:
    """Return a process's arguments; none for one that is gone or a zombie."""
    return proc(pid, "cmdline").split(b"\0")[:-1]


def command_line(pid: int) -> str:
    """Return a process's arguments as a line; "" for one that is gone or a zombie."""
    return os.fsdecode(b" ".join(arguments(pid)))


def with_arguments(*words: bytes) -> list[int]:
    """Return the processes that have all of these somewhere in their arguments."""
    return [pid for pid in pids() if all(word in proc(pid, "cmdline") for word in words)]


def with_environment(*words: bytes) -> list[int]:
    """Return the processes that have all of these in an environment that may be read."""
    found = []
    for pid in pids():
        with suppress(PermissionError):  # root, too, may not read that of a process outside of its namespaces
            environ = proc(pid, "environ")
            if all(word in environ for word in words) and is_alive(pid):
                found.append(pid)
    return found


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status as a table; empty if the process is gone."""
    lines = os.fsdecode(proc(pid, "status")).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def name_of(pid: int) -> str:
    """Return the name of a process's program; "" if it is gone."""
    return os.fsdecode(proc(pid, "comm")).strip()


def state_of(pid: int) -> str:
    """Return the letter for how a process is; "X" if it is gone."""
    return next(iter(_stat(pid)), "X")


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return state_of(pid) not in "ZX"


def is_gone(pid: int) -> bool:
    """Tell whether nothing is left of a process: its parent knows of its end."""
    return state_of(pid) == "X"


def cpu_s(pid: int) -> float:
    """Return how much processor time a process has used; 0 if it is gone."""
    return sum(map(int, _stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, which may be any bytes; none if it is gone."""
    return os.fsdecode(proc(pid, "stat")).rpartition(")")[2].split()


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has; 0 if it is gone."""
    return sum(map(int, proc(pid, "statm").split()[1:2])) * os.sysconf("SC_PAGE_SIZE")


def threads(pid: int) -> list[int]:
    """Return the threads of a process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []


def descriptors(pid: int) -> dict[int, str]:
    """Return what a process has open, by its numbers."""
    found = {}
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile, as is what lists them
                found[int(entry.name)] = str(entry.readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        if is_alive(pid):
            raise
    return found


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies too, whichever of its threads started them.

    While one of them ends, the kernel may leave out another: two looks have to agree.
    """
    before, found = None, _children(pid)
    while found != before:
        before, found = found, _children(pid)
    return found


def _children(pid: int) -> list[int]:
    return [int(word) for thread in threads(pid) for word in proc(pid, f"task/{thread}/children").split()]


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def kill(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signal a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def kill_whole(pid: int) -> None:
    """Kill a process, and wait until nothing of it holds a file or a socket any more.

    Its first thread may be a zombie while others have not ended yet.
    """
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGKILL)
            assert select.select([fd], [], [], 60)[0], f"process {pid} does not end"
        finally:
            os.close(fd)


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signal a group that may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signum)


def kill_tree(pid: int) -> None:
    """Kill a process and all that came of it."""
    for one in (*descendants(pid), pid):
        kill(one)
