"""Commands that outlived their supervisor: found again in the table of processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.launch.tokens import TOKEN_VARIABLE
from taskman_cli.supervisor.procstat import read_stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLES = ("TASKMAN_RUN_ID", "TASKMAN_TASK", "TASKMAN_ATTEMPT")
_TOKEN = TOKEN_VARIABLE.encode()


class Mark(NamedTuple):
    """What a process must have to be that of an attempt."""

    #: Whose it is.
    uid: int
    #: What proves that we started it; "" proves nothing.
    token: str


class Orphan(NamedTuple):
    """A process that says of itself which attempt it is."""

    pid: int
    #: When it came to be, on the clock since boot, to a hundredth of a second.
    started_elapsed_ns: int


def boot_id() -> str:
    """Return what names this start of the machine, or of the container: PID 1 is another then."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError, IndexError):
        text += f":{read_stat(1).started_ticks}"
    return text


def is_gone(pid: int) -> bool:
    """Tell whether there is surely no process of that number any more; a stranger may have it by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def find_orphans(wanted: Mapping[str, Mark]) -> dict[str, Orphan]:
    """Return the processes of attempts, by key, as far as there are any.

    For attempts whose pid never came to be known. The leader of a session counts, and of several the oldest:
    its children have its environment too. What a process says of itself counts for nothing unless it is its
    user's and has the token.
    """
    found: dict[str, Orphan] = {}
    for pid in _pids() if wanted else ():
        with suppress(OSError, IndexError, ValueError):
            key, token = _claim_of(pid)
            mark = wanted.get(key)
            if mark is None or not token or Mark(_uid(pid), token) != mark:
                continue
            if (stat := read_stat(pid)).session == pid:
                orphan = Orphan(pid, stat.started_ns)
                if key not in found or orphan.started_elapsed_ns < found[key].started_elapsed_ns:
                    found[key] = orphan
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208


def _uid(pid: int) -> int:
    """Return the real user of a process."""
    text = Path(f"/proc/{pid}/status").read_text("latin-1")  # its name may be any bytes
    return int(text.partition("\nUid:")[2].split(maxsplit=1)[0])


def _claim_of(pid: int) -> tuple[str, str]:
    """Return the key of the attempt that a process says to be, or "", and its token."""
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    if b"TASKMAN_RUN_ID=" not in environment:
        return "", ""
    values = dict(item.partition(b"=")[::2] for item in environment.split(b"\0"))
    key = ".".join(os.fsdecode(values.get(name.encode(), b"")) for name in _VARIABLES)
    return key, os.fsdecode(values.get(_TOKEN, b""))
