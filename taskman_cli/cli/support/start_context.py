"""What a command inherits at its start: environment, directory and umask.

It comes from the running scheduler, from the user's shell, or is the minimal one of a systemd unit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.launch.environment import minimal
from taskman_cli.trust import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class StartContext:
    """What a command inherits."""

    environ: Mapping[str, str]
    cwd: str
    umask: int
    #: Where it comes from, in words.
    whose: str


def own() -> StartContext:
    """Return the context of this process, which has it from the user's shell."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        cwd = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        cwd = os.environ.get("PWD", "/")
    return StartContext(dict(os.environ), cwd, umask, "your shell")


def bare() -> StartContext:
    """Return the context of a system unit of systemd."""
    whose = "not running: using a minimal environment, as under systemd"
    return StartContext(minimal(os.geteuid()), "/", 0o022, whose)


def of_scheduler(pid: int, *, root: Path = Path("/proc")) -> StartContext:
    """Return the context of the taskman with this pid, which its commands inherit.

    Raises TaskmanError if it belongs to another user: its commands would run as that user.
    """
    process = root / str(pid)
    try:
        owner = process.stat().st_uid
        if owner != os.geteuid():
            raise TaskmanError(
                f"the scheduler (process {pid}) runs as {user_name(owner)}, and so do its commands: "
                f"test as that user (sudo -u {user_name(owner)} taskman test …)"
            )
        return StartContext(
            parse_environ((process / "environ").read_bytes()),
            str((process / "cwd").readlink()),
            parse_umask((process / "status").read_text("utf-8", "replace")),
            f"process {pid}",
        )
    except OSError as error:
        raise TaskmanError(f"cannot inspect the scheduler (process {pid}): {error.strerror}") from error


def parse_environ(data: bytes) -> dict[str, str]:
    """Read /proc/PID/environ; of two variables with one name the first counts, as in a process."""
    found: dict[str, str] = {}
    for item in data.split(b"\0"):
        name, equals, value = os.fsdecode(item).partition("=")
        if name and equals:
            found.setdefault(name, value)
    return found


def parse_umask(status: str) -> int:
    """Read the umask in /proc/PID/status; 022 if the kernel does not report it."""
    for line in status.splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
