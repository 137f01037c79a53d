"""A look at the process table in a process of its own: which processes belong to an attempt that has ended.

What /proc says of a process may be slow: its memory, where its environment is, is its user's, and may be on a
file system that does not answer. So a fork looks, and is killed if it takes too long.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import signal

from taskman_cli.supervisor.procstat import processes, read_environ, read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskman_cli.supervisor.procstat import ProcStat

#: At most so many are told of each attempt in one look.
MOST_FOUND = 500
#: The environment variable that proves where a process comes from; launch/tokens.py makes it.
_TOKEN = b"TASKMAN_TOKEN="
_NAME_BYTES = 64
_READ_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_RLIM = 1 << 16


class Wish:
    """What the scheduler said of the processes that an attempt may leave."""

    __slots__ = ("number", "patience_ns", "token", "uid")

    def __init__(self, token: str, uid: int, number: int, patience_ns: int) -> None:
        self.token, self.uid = str(token), int(uid)
        self.number, self.patience_ns = int(number), int(patience_ns)


class Sought:
    """What tells the processes of an attempt: the session of its leader, or the token; and their user."""

    __slots__ = ("leader", "token", "uid")

    def __init__(self, leader: int, token: str, uid: int) -> None:
        self.leader = leader
        self.token = os.fsencode(token)
        self.uid = uid


class Survivor:
    """A process that belongs to an attempt."""

    __slots__ = ("leads_group", "name", "pid", "started_ticks")

    def __init__(self, pid: int, started_ticks: int, leads_group: bool, name: str) -> None:
        self.pid = pid
        #: With the number, it identifies the process.
        self.started_ticks = started_ticks
        self.leads_group = leads_group
        self.name = name


class Survey:
    """One look that is being taken; `fd` becomes readable as it goes on."""

    def __init__(self, sought: dict[str, Sought]) -> None:
        """Fork. Raises OSError if that is not possible."""
        self.fd, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._data = bytearray()
        ours = os.getpid()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self.fd)
            os.close(told)
            raise
        if self.pid == 0:
            _be_surveyor(sought, told, ours)
        os.close(told)

    def read(self) -> dict[str, list[Survivor]] | None:
        """Return what was found, by attempt; None: not yet. Nothing, if the look was cut short."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return None
            if not data:
                break
            self._data += data
        try:
            found = marshal.loads(self._data)  # noqa: S302 - our own fork's
            return {key: [Survivor(*process) for process in processes] for key, processes in found.items()}
        except (EOFError, ValueError, TypeError, AttributeError):
            return {}

    def cut_short(self) -> None:
        """Kill the process that looks; it is reaped like any orphan."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.fd)


def _be_surveyor(sought: dict[str, Sought], told: int, parent: int) -> None:
    """Look, report and exit: none of the supervisor's own code may continue here."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.dup2(told, 3)
        # Above all the lock and the scheduler's socket, whose end must be seen when the supervisor is gone.
        os.closerange(4, _RLIM)
        os.set_blocking(3, True)
        left = memoryview(marshal.dumps(find(sought, besides={parent, os.getpid()})))
        while left and os.getppid() == parent:
            left = left[os.write(3, left) :]
    finally:
        os._exit(0)


def find(sought: dict[str, Sought], *, besides: set[int]) -> dict[str, list[tuple[int, int, bool, str]]]:
    """Return the processes of each attempt: pid, start in ticks, if it leads its group, and name.

    A process belongs to an attempt if it has its token, or none and is in the session of its leader, or if it
    descends from such a process. It must be of the attempt's user.
    """
    by_token = {one.token: key for key, one in sought.items() if one.token}
    by_session = {one.leader: key for key, one in sought.items()}
    uids = {one.uid for one in sought.values()}
    table = {pid: stat for pid, stat in processes() if pid not in besides and not _is_over(stat)}
    names = {pid: who for pid in table if (who := _uid_and_name(pid)) and who[0] in uids}
    #: The attempt of each process that was looked at, or None.
    owners: dict[int, str | None] = {}

    def evidence(pid: int) -> str | None:
        token = _token_of(pid) if pid in names else b""
        return by_token.get(token) if token else by_session.get(table[pid].session)

    def owner_of(pid: int) -> str | None:
        way = []
        while pid in table and pid not in owners:
            way.append(pid)
            owners[pid] = evidence(pid)
            if owners[pid] is not None:
                break
            pid = table[pid].parent
        owner = owners.get(pid)
        owners.update(dict.fromkeys(way, owner))
        return owner

    found: dict[str, list[tuple[int, int, bool, str]]] = {}
    for pid, (uid, name) in names.items():
        key = owner_of(pid)
        if key is not None and sought[key].uid == uid and len(found.get(key, ())) < MOST_FOUND:
            stat = table[pid]
            found.setdefault(key, []).append((pid, stat.started_ticks, stat.group == pid, name))
    return found


def _is_over(stat: ProcStat) -> bool:
    """Tell if a process has ended, or if the kernel does not say enough of it."""
    try:
        return stat.is_dead or stat.started_ticks < 0
    except IndexError:
        return True


def _token_of(pid: int) -> bytes:
    """Return the token in the environment of a process; b"" if it has none, or we may not read it."""
    try:
        data = read_environ(pid)
    except OSError:
        return b""
    for item in data.split(b"\0"):
        if item.startswith(_TOKEN):
            return item[len(_TOKEN) :]
    return b""


def _uid_and_name(pid: int) -> tuple[int, str] | None:
    """Return the real user of a process and its name, as proc_pid_status(5) has them; None: it is gone."""
    try:
        lines = read_proc(f"/proc/{pid}/status").split(b"\n")
        uid = next(line for line in lines if line.startswith(b"Uid:")).split()[1]
    except (OSError, StopIteration, IndexError):
        return None
    return int(uid), os.fsdecode(lines[0].partition(b"\t")[2][:_NAME_BYTES])
