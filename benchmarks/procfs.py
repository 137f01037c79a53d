"""What /proc tells about a process: CPU time, wakeups, memory, children. Linux only, like the program."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since its start, over all its threads."""

    cpu_ns: int
    #: Times a thread went to sleep of its own accord, and so had to be woken.
    wakeups: int

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(cpu_ns=self.cpu_ns - earlier.cpu_ns, wakeups=self.wakeups - earlier.wakeups)

    def __add__(self, other: Usage) -> Usage:
        return Usage(cpu_ns=self.cpu_ns + other.cpu_ns, wakeups=self.wakeups + other.wakeups)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds now."""

    #: All its pages, those it shares with others included.
    rss_bytes: int
    #: The same with each shared page divided by the number of processes that share it.
    pss_bytes: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(rss_bytes=self.rss_bytes + other.rss_bytes, pss_bytes=self.pss_bytes + other.pss_bytes)


@dataclass(frozen=True, slots=True)
class MachineTime:
    """Where the time of all processors has gone since the machine started, in seconds."""

    total_s: float
    busy_s: float
    #: Of the busy time, that of this process and of all that it has started and reaped.
    own_s: float

    def others_share(self, earlier: MachineTime) -> float:
        """Return the part of the machine that others have used since `earlier`, from 0 to 1."""
        others_s = (self.busy_s - earlier.busy_s) - (self.own_s - earlier.own_s)
        return max(0.0, others_s) / max(1e-3, self.total_s - earlier.total_s)


def read_usage(pid: int) -> Usage:
    """Return what process `pid` has used."""
    total = Usage(cpu_ns=0, wakeups=0)
    for thread in (PROC / str(pid) / "task").iterdir():
        schedstat, status = (thread / "schedstat").read_text(), (thread / "status").read_text()
        total += Usage(cpu_ns=int(schedstat.split()[0]), wakeups=parse_wakeups(status))
    return total


def read_reaped_cpu_s(pid: int) -> float:
    """Return the CPU time of the children that process `pid` has reaped, and of theirs."""
    return parse_reaped_cpu_s((PROC / str(pid) / "stat").read_text(), ticks_a_second=os.sysconf("SC_CLK_TCK"))


def parse_reaped_cpu_s(stat: str, *, ticks_a_second: int) -> float:
    """Return the CPU time of reaped children from the text of /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / ticks_a_second


def read_memory(pid: int) -> Memory:
    """Return what process `pid` holds."""
    return parse_memory((PROC / str(pid) / "smaps_rollup").read_text())


def read_children(pid: int) -> list[int]:
    """Return the children of process `pid`, over all its threads; none once it is gone."""
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
        return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_command_line(pid: int) -> list[str]:
    """Return the arguments of process `pid`, or nothing once it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_machine_time() -> MachineTime:
    """Return where the processors' time has gone so far."""
    ours = os.times()
    return parse_machine_time(
        (PROC / "stat").read_text(),
        own_s=ours.user + ours.system + ours.children_user + ours.children_system,
        ticks_a_second=os.sysconf("SC_CLK_TCK"),
    )


def parse_machine_time(stat: str, *, own_s: float, ticks_a_second: int) -> MachineTime:
    """Return the processors' time in the text of /proc/stat, of which `own_s` is known to be ours."""
    # user, nice, system, idle, iowait, irq, softirq, steal; the two after them are contained in these.
    ticks = [int(value) for value in stat.split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return MachineTime(
        total_s=sum(ticks) / ticks_a_second, busy_s=(sum(ticks) - idle) / ticks_a_second, own_s=own_s
    )


def parse_wakeups(status: str) -> int:
    """Return the voluntary context switches in the text of /proc/PID/status."""
    return int(_fields(status)["voluntary_ctxt_switches"])


def parse_memory(smaps_rollup: str) -> Memory:
    """Return the memory in the text of /proc/PID/smaps_rollup."""
    fields = _fields(smaps_rollup)
    return Memory(rss_bytes=_kilobytes(fields["Rss"]), pss_bytes=_kilobytes(fields["Pss"]))


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _kilobytes(field: str) -> int:
    number, unit = field.split()
    if unit != "kB":
        raise ValueError(f"{field!r} is not in kB")
    return int(number) * 1024
