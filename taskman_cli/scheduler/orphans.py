"""Commands that outlived their supervisor are found again in the process table."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.launch.tokens import TOKEN_VARIABLE
from taskman_cli.supervisor.procstat import read_environ, read_stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLES = ("TASKMAN_RUN_ID", "TASKMAN_TASK", "TASKMAN_ATTEMPT")
_TOKEN = TOKEN_VARIABLE.encode()


class Proof(NamedTuple):
    """What proves that a process belongs to an attempt."""

    uid: int
    #: Only taskman can make it; "" proves nothing.
    token: str


class Orphan(NamedTuple):
    """A process of an attempt."""

    pid: int
    #: When it was started, on the clock since boot, to a hundredth of a second.
    started_elapsed_ns: int


def boot_id() -> str:
    """Return an id of this boot of the machine or of the container, which has another PID 1 each time."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError, IndexError):
        text += f":{read_stat(1).started_ticks}"
    return text


def is_gone(pid: int) -> bool:
    """Tell whether no process has this pid. If one has, it may be another process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def find_orphans(wanted: Mapping[str, Proof]) -> dict[str, Orphan]:
    """Return the processes of attempts that are found, by key.

    For attempts whose pid was never recorded. Only leaders of sessions count, and of several the oldest,
    since children inherit the environment. A process counts only with the right user and token.
    """
    found: dict[str, Orphan] = {}
    uids = {proof.uid for proof in wanted.values()}
    for pid in _pids() if wanted else ():
        with suppress(OSError, IndexError, ValueError):
            uid = _uid(pid)
            if uid not in uids:  # its environment is whatever that user wants
                continue
            key, token = _claim_of(pid)
            proof = wanted.get(key)
            if proof is None or not token or Proof(uid, token) != proof:
                continue
            if (stat := read_stat(pid)).session == pid:
                orphan = Orphan(pid, stat.started_ns)
                if key not in found or orphan.started_elapsed_ns < found[key].started_elapsed_ns:
                    found[key] = orphan
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208


def _uid(pid: int) -> int:
    """Return the real user id of a process."""
    text = Path(f"/proc/{pid}/status").read_text("latin-1")  # its name may be any bytes
    return int(text.partition("\nUid:")[2].split(maxsplit=1)[0])


def _claim_of(pid: int) -> tuple[str, str]:
    """Return the key of the attempt in the environment of a process, or "", and its token."""
    environment = read_environ(pid)
    if b"TASKMAN_RUN_ID=" not in environment:
        return "", ""
    values = dict(item.partition(b"=")[::2] for item in environment.split(b"\0"))
    key = ".".join(os.fsdecode(values.get(name.encode(), b"")) for name in _VARIABLES)
    return key, os.fsdecode(values.get(_TOKEN, b""))
