"""The options of a running taskman: its job files and whose files it trusts, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.support.start_context import parse_environ
from taskman_cli.errors import TaskmanError
from taskman_cli.scheduler.options import Options
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.model import Job
    from taskman_cli.jobfile import JobFile

#: The module that a supervisor starts as the scheduler: in this version, and in the one before.
SCHEDULER_MODULES = frozenset({b"taskman_cli.scheduler", b"taskman_cli.daemon"})


def options_of(pid: int, *, root: Path = Path("/proc")) -> Options:
    """Return the options of the taskman with this pid: they are the last words of its command line."""
    try:
        words = (root / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        at = next(at for at, word in enumerate(words) if word in SCHEDULER_MODULES) + 1
        return Options.from_json(os.fsdecode(b"".join(words[at:])))
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise TaskmanError(
            f"cannot find out which job files the scheduler (process {pid}) uses: name them ({error})"
        ) from error


def jobs_of(pid: int, trust: Trust | None = None) -> tuple[Job, ...]:
    """Read the jobs of the taskman with this pid, as its files define them now."""
    return job_file_of(pid, trust).jobs


def job_file_of(pid: int, trust: Trust | None = None) -> JobFile:
    """Read the job files of the taskman with this pid, as they are now."""
    from taskman_cli.jobfile import load

    options = options_of(pid)
    return load(
        files_of(pid),
        user_crontabs=[_directory(pid) / name for name in options.user_crontabs],
        skip_bad=options.skip_bad,
        dialect=options.dialect,
        trust=trust or trust_of(pid),
    )


def trust_of(pid: int | None, named: Sequence[str] = (), *, root: Path = Path("/proc")) -> Trust:
    """Return which files the taskman with this pid trusts, and those of `named`; None: none runs.

    If its process ends meanwhile, its options are unknown and only the default trust and `named` count.
    """
    if pid is None:
        return standing_trust(os.environ, named=named)
    process = root / str(pid)
    try:
        if process.stat().st_uid != 0:
            return Trust(is_checked=False)  # only root checks whose files it is given
        environ = parse_environ((process / "environ").read_bytes())
        return standing_trust(environ, named=(*named, *options_of(pid, root=root).trusted))
    except (OSError, TaskmanError):
        return standing_trust(os.environ, named=named)


def files_of(pid: int) -> list[Path]:
    """Return the paths of its job files."""
    return [_directory(pid) / name for name in options_of(pid).files]


def _directory(pid: int) -> Path:
    if start := options_of(pid).start:
        return Path(start)  # /proc would append " (deleted)" if it was removed
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError as error:
        raise TaskmanError(f"cannot inspect the scheduler (process {pid}): {error.strerror}") from error
