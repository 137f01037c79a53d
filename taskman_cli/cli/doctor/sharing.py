"""Check of whether commands begin promptly while all CPUs compute.

A command has a session of its own, which the kernel makes a group of its own (an autogroup, sched(7)) for
sharing the CPUs: it begins behind all that computes. In a CPU control group there are no autogroups.
"""

from __future__ import annotations

from pathlib import Path

from taskman_cli.cli.doctor.files import text_of
from taskman_cli.cli.doctor.result import CheckResult, ok

_GROUPS = "sys/fs/cgroup"


def has_autogroups(pid: int | None, root: Path = Path("/")) -> bool:
    """Tell whether the commands of a process, None: of this one, begin in autogroups."""
    if text_of(root / "proc/sys/kernel/sched_autogroup_enabled").strip() != "1":
        return False
    groups = text_of(root / "proc" / (str(pid) if pid else "self") / "cgroup")
    return not any(_is_cpu_group(line, root / _GROUPS) for line in groups.splitlines())


def _is_cpu_group(line: str, top: Path) -> bool:
    """Tell whether a line of /proc/PID/cgroup names a control group for CPUs that is not the machine's."""
    _, names, path = [*line.split(":", 2), "", ""][:3]
    if not names:  # version 2, where only other groups than the first one have a weight
        folder = top / path.strip("/")
        return any(
            (one / "cpu.weight").exists() for one in (folder, *folder.parents) if one.is_relative_to(top)
        )
    if "cpu" not in names.split(","):
        return False
    # To a container of version 1 its own group is the first one, which lacks what the machine's has.
    return path.strip("/") != "" or (path == "/" and not (top / names / "release_agent").exists())


def judge_sharing(*, is_behind: bool) -> CheckResult:
    """Say when commands begin while all CPUs compute."""
    if not is_behind:
        return ok("starts: commands begin promptly while all CPUs compute")
    return ok(
        "starts: while all CPUs compute, commands begin some milliseconds late, behind what computes (to have"
        " them begin promptly: CPUWeight=100 in a systemd unit, or sysctl kernel.sched_autogroup_enabled=0)"
    )
