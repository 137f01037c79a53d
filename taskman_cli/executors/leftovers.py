"""What an attempt that is lost has left on this machine: the children of a worker whose process was killed.

They are found by the variables TASKMAN_RUN_ID, TASKMAN_TASK and TASKMAN_ATTEMPT of their environment, and
must belong to the user of the attempt.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.supervisor.procstat import processes, read_environ, read_stat

if TYPE_CHECKING:
    from taskman_cli.executors.base import Order

#: /proc may be slow: the memory of a process is its user's.
_PATIENCE_S = 5.0
#: Those that fork faster than they are found are left.
_MOST_LOOKS = 10


async def end_left(order: Order) -> None:
    """Kill what is left of an attempt, if that is found in time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(_end_all, order), _PATIENCE_S)


def _end_all(order: Order) -> None:
    names = ("TASKMAN_RUN_ID", "TASKMAN_TASK", "TASKMAN_ATTEMPT")
    marks = {f"{name}={order.env[name]}".encode() for name in names if name in order.env}
    if len(marks) < len(names):
        return
    uid = os.geteuid() if order.user is None else order.user[0]
    for _ in range(_MOST_LOOKS):
        found = [pid for pid, _ in processes() if pid != os.getpid() and _is_of(pid, uid, marks)]
        killed = [_kill(pid, uid, marks) for pid in found]
        if not any(killed):
            return


def _is_of(pid: int, uid: int, marks: set[bytes]) -> bool:
    try:
        if os.stat(f"/proc/{pid}").st_uid != uid or read_stat(pid).is_dead:  # noqa: PTH116
            return False
        return marks <= set(read_environ(pid).split(b"\0"))
    except (OSError, IndexError):
        return False


def _kill(pid: int, uid: int, marks: set[bytes]) -> bool:
    """Kill a process that is still the one that was found: a pidfd does not change whom it means."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _is_of(pid, uid, marks):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True
