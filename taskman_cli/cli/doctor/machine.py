"""Checks of the limits on processes, files and memory, and of the mailer."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from taskman_cli.cli.doctor.result import CheckResult, ok, warn, worst

#: So many workers are enough for most, and the least that they need.
_WORKERS = 64
_FILES = 4 * _WORKERS
_PROCESSES = 4 * _WORKERS
_MEMORY = 128 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a process; None: unlimited."""

    files: int | None = None
    processes: int | None = None
    cgroup_processes: int | None = None
    cgroup_memory: int | None = None
    #: The process, in words.
    whose: str = "of this shell"


def look_at_limits(pid: int | None, root: Path = Path("/")) -> Limits:
    """Look at the limits of a process; None: of this one."""
    process = root / "proc" / (str(pid) if pid else "self")
    files, processes = parse_limits((process / "limits").read_text())
    folder = _cgroup(process, root)
    return Limits(
        files,
        processes,
        _least(folder, "pids.max", root),
        _least(folder, "memory.max", root),
        f"of process {pid}" if pid else "of this shell",
    )


def parse_limits(text: str) -> tuple[int | None, int | None]:
    """Read the soft limits of open files and processes in /proc/PID/limits."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        for name in ("Max open files", "Max processes"):
            if line.startswith(name):
                word = line.removeprefix(name).split()[0]
                found[name] = int(word) if word.isdecimal() else None
    return found.get("Max open files"), found.get("Max processes")


def _cgroup(process: Path, root: Path) -> Path:
    """Return the directory of a process's control group (version 2)."""
    for line in (process / "cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return root / "sys/fs/cgroup" / line.removeprefix("0::").lstrip("/")
    return root / "sys/fs/cgroup"


def _least(folder: Path, name: str, root: Path) -> int | None:
    """Return the smallest limit of a control group and its parents: each limits all groups below it."""
    limits = []
    top = root / "sys/fs/cgroup"
    while folder.is_relative_to(top):
        try:
            word = (folder / name).read_text().strip()
        except OSError:
            word = ""
        if word.isdecimal():
            limits.append(int(word))
        folder = folder.parent
    return min(limits, default=None)


def judge_limits(seen: Limits) -> CheckResult:
    """Judge whether a full pool fits into the limits."""
    found = []
    if seen.files is not None and seen.files < _FILES:
        found.append(warn(f"{seen.files} open files", "raise LimitNOFILE= or ulimit -n"))
    if seen.processes is not None and seen.processes < _PROCESSES:
        found.append(warn(f"{seen.processes} processes", "raise LimitNPROC= or ulimit -u"))
    if seen.cgroup_processes is not None and seen.cgroup_processes < _PROCESSES:
        found.append(warn(f"{seen.cgroup_processes} processes in the control group", "raise TasksMax="))
    if seen.cgroup_memory is not None and seen.cgroup_memory < _MEMORY:
        words = f"{seen.cgroup_memory >> 20} MiB of memory in the control group"
        found.append(warn(words, "raise MemoryMax="))
    if found:
        few = worst(found, else_=found[0])
        return few._replace(words=f"too low for {_WORKERS} workers: {few.words} ({seen.whose})")
    return ok(
        f"files {_shown(seen.files)}, processes {_shown(seen.processes)}, control group "
        f"{_shown(seen.cgroup_processes)} processes and {_megabytes(seen.cgroup_memory)} ({seen.whose})"
    )


def _shown(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


def _megabytes(limit: int | None) -> str:
    return "unlimited memory" if limit is None else f"{limit >> 20:,} MiB"


def look_at_mailer() -> str | None:
    """Return the path of sendmail, or None."""
    path = "/usr/sbin:/usr/lib:/usr/local/sbin:/usr/bin:/sbin"
    return shutil.which("sendmail") or shutil.which("sendmail", path=path)


def judge_mailer(path: str | None) -> CheckResult:
    """Judge whether commands, and sinks of type "mail" without a host, can send mail."""
    if path is None:
        words = "there is no sendmail: commands that send mail fail, and so do sinks that mail without a host"
        return warn(words, "if you need it: apt install msmtp-mta, or another mailer")
    return ok(f"{path} (for commands, crontabs' mails and sinks that mail without a host)")
