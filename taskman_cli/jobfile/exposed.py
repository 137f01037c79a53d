"""Job files that anybody on the machine can change: root runs none of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from taskman_cli.jobfile.problems import Problem


def exposed(paths: Iterable[Path]) -> Iterator[Problem]:
    """Yield a problem for each file that others can write, or replace in its directory, if this is root."""
    if os.geteuid() != 0:
        return
    for path in paths:
        try:
            # A link can be replaced where it is, and what it leads to where that is.
            mode, real = path.stat().st_mode, Path(os.path.realpath(path))
            directories = {str(path.absolute().parent): path.absolute().parent, str(real.parent): real.parent}
            modes = {name: directory.stat().st_mode for name, directory in directories.items()}
        except (OSError, ValueError):
            continue
        if not stat.S_ISREG(mode):
            continue
        if mode & stat.S_IWOTH:
            yield _problem(path, f"anybody can write it, and root would run it: chmod o-w {path}")
        for name, directory_mode in modes.items():
            # In a sticky one, such as /tmp, only its owner can replace a file.
            if directory_mode & stat.S_IWOTH and not directory_mode & stat.S_ISVTX:
                yield _problem(path, f"anybody can replace it, and root would run it: chmod o-w {name}")


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, "", message)
