"""A directory of scripts that cron runs with run-parts(8), such as /etc/cron.daily, as jobs."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from taskman_cli.jobfile.crontab.names import unique
from taskman_cli.jobfile.foreign.imported import Imported, Table, job_name

if TYPE_CHECKING:
    from pathlib import Path

#: When Debian's /etc/crontab runs them.
_TIMES = {
    "hourly": "17 * * * *", "daily": "25 6 * * *", "weekly": "47 6 * * 7", "monthly": "52 6 1 * *",
    "yearly": "7 7 1 1 *", "15min": "*/15 * * * *",
}  # fmt: skip
#: What is in the PATH of Debian's /etc/crontab.
_PATH = "/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_WAYS = (
    "Under cron, run-parts runs these scripts one after the other; here each is a job of its own, at the",
    "time that Debian's /etc/crontab has for the directory.",
)


def from_scripts(directory: Path, *, taken: dict[str, int]) -> Imported:
    """Convert a directory."""
    imported = Imported(str(directory), ways=_WAYS)
    period = directory.absolute().name.removeprefix("cron.")
    for path in sorted(directory.iterdir()):
        if path.name[0] == "." or path.is_dir():
            continue
        if not _NAME.fullmatch(path.name):
            imported.note(0, f"{path.name}: run-parts takes no files of such names: left out")
            continue
        if not os.access(path, os.X_OK):
            imported.note(0, f"{path.name} is not executable: left out, as run-parts does")
            continue
        name = unique(job_name(f"{path.name}-{period}" if path.name in taken else path.name), taken)
        table: Table = {
            "cron": _TIMES[period],
            "command": shlex.quote(str(path.absolute())),
            "user": "root",
            "overlap": "allow",
            "timeout": "none",
            "on_missed": "skip",
            "cwd": "/",
            "inherit_env": False,
            "env": {"PATH": _PATH},
        }
        imported.add(name, 1, table)
    if not imported.jobs:
        imported.problem(0, "there is no script that run-parts would run")
    return imported
