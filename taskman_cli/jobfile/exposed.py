"""Job files that anybody on the machine can change: root runs none of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from taskman_cli.jobfile.problems import Problem


def directories_of(path: Path) -> set[str]:
    """Return the directories in which a file can be replaced, if this is root, who would run it.

    A link can be replaced where it is, and what it leads to where that is.
    """
    if os.geteuid() != 0:
        return set()
    try:
        return {str(path.absolute().parent), str(Path(os.path.realpath(path)).parent)}
    except (OSError, ValueError):
        return set()


def exposed(path: Path) -> Iterator[Problem]:
    """Yield a problem if others can write a file, or replace it in its directory, and this is root."""
    try:
        modes = {name: Path(name).stat().st_mode for name in directories_of(path)}
        mode = path.stat().st_mode if modes else 0
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        return
    if mode & stat.S_IWOTH:
        yield _problem(path, f"anybody can write it, and root would run it: chmod o-w {path}")
    for name, directory_mode in modes.items():
        # In a sticky one, such as /tmp, only its owner can replace a file.
        if directory_mode & stat.S_IWOTH and not directory_mode & stat.S_ISVTX:
            yield _problem(path, f"anybody can replace it, and root would run it: chmod o-w {name}")


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, "", message)
