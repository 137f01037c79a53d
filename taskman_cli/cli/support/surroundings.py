"""What a command finds around it: environment, directory, umask. The scheduler's, one's own, or bare ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.launch.environment import minimal
from taskman_cli.scheduler.options import Options
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.core.model import Job

#: What a supervisor starts as the scheduler: a module of this version, or of the one before.
SCHEDULER_MODULES = frozenset({b"taskman_cli.scheduler", b"taskman_cli.daemon"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command inherits."""

    environ: Mapping[str, str]
    cwd: str
    umask: int
    #: Whose these are, in words.
    whose: str


def own() -> Surroundings:
    """Return those of this process: the user's shell's."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        cwd = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        cwd = os.environ.get("PWD", "/")
    return Surroundings(dict(os.environ), cwd, umask, "your shell")


def bare() -> Surroundings:
    """Return such as a system unit of systemd has."""
    whose = "none runs: a bare environment, as under systemd"
    return Surroundings(minimal(os.geteuid()), "/", 0o022, whose)


def of_scheduler(pid: int, *, root: Path = Path("/proc")) -> Surroundings:
    """Return those that the taskman of this pid was started in, and gives to its commands.

    Raises TaskmanError where it is another user's, since its commands would not be ours.
    """
    process = root / str(pid)
    try:
        owner = process.stat().st_uid
        if owner != os.geteuid():
            raise TaskmanError(
                f"the scheduler (process {pid}) runs as {_user(owner)}, and so do its commands: "
                f"test as that user (sudo -u {_user(owner)} taskman test …)"
            )
        return Surroundings(
            parse_environ((process / "environ").read_bytes()),
            str((process / "cwd").readlink()),
            parse_umask((process / "status").read_text("utf-8", "replace")),
            f"process {pid}",
        )
    except OSError as error:
        raise TaskmanError(f"cannot look at the scheduler (process {pid}): {error.strerror}") from error


def options_of(pid: int, *, root: Path = Path("/proc")) -> Options:
    """Return what the taskman of this pid was asked for: these are the last words of its command line."""
    try:
        words = (root / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        at = next(at for at, word in enumerate(words) if word in SCHEDULER_MODULES) + 1
        return Options.from_json(os.fsdecode(b"".join(words[at:])))
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise TaskmanError(
            f"cannot tell which job files the scheduler (process {pid}) has: name them ({error})"
        ) from error


def jobs_of(pid: int, trust: Trust | None = None) -> tuple[Job, ...]:
    """Read the job files of the taskman of this pid, as they are now."""
    from taskman_cli.jobfile import load

    options = options_of(pid)
    return load(
        files_of(pid),
        user_crontabs=[_directory(pid) / name for name in options.user_crontabs],
        skip_bad=options.skip_bad,
        trust=trust or trust_of(pid),
    ).jobs


def trust_of(pid: int | None, named: Sequence[str] = (), *, root: Path = Path("/proc")) -> Trust:
    """Return whose files the taskman of this pid takes, and those of `named`; None: none runs.

    What it was told cannot be read of one that leaves: then it is what holds without.
    """
    if pid is None:
        return standing_trust(os.environ, named=named)
    process = root / str(pid)
    try:
        if process.stat().st_uid != 0:
            return Trust(is_checked=False)  # it takes what it is given, whoever asks
        environ = parse_environ((process / "environ").read_bytes())
        return standing_trust(environ, named=(*named, *options_of(pid, root=root).trusted))
    except (OSError, TaskmanError):
        return standing_trust(os.environ, named=named)


def files_of(pid: int) -> list[Path]:
    """Return the paths of its job files."""
    return [_directory(pid) / name for name in options_of(pid).files]


def _directory(pid: int) -> Path:
    if start := options_of(pid).start:
        return Path(start)  # what /proc has of it says "(deleted)" once it was removed
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError as error:
        raise TaskmanError(f"cannot look at the scheduler (process {pid}): {error.strerror}") from error


def parse_environ(data: bytes) -> dict[str, str]:
    """Read /proc/PID/environ; as in a process, of two of one name the first counts."""
    found: dict[str, str] = {}
    for item in data.split(b"\0"):
        name, equals, value = os.fsdecode(item).partition("=")
        if name and equals:
            found.setdefault(name, value)
    return found


def parse_umask(status: str) -> int:
    """Read the umask in /proc/PID/status; the usual one where a kernel does not tell."""
    for line in status.splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
