"""Which files are imported: those given, and those in directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.source import crontabs_in
from taskman_cli.jobfile.crontab.spool import crontabs_of_users, is_spool
from taskman_cli.jobfile.foreign.kinds import PARTS, SUFFIXES, kind_of
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import read_bytes

#: Suffixes of crontabs that are not in a directory of cron's.
_CRONTABS = frozenset({".crontab", ".cron"})


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to convert: a file with its content, or a directory of scripts."""

    path: Path
    data: bytes = b""
    is_scripts: bool = False
    #: Found in a directory, so not every file has to be one of ours.
    is_found: bool = False
    #: It is standard input, and `path` only how that is shown.
    is_piped: bool = False


def inputs(path: Path, dialect: Dialect | None) -> tuple[list[Input], list[Problem]]:
    """Return what a path stands for, and notes on files that are passed over."""
    try:
        return [Input(path, read_bytes(path))], []
    except IsADirectoryError:
        pass
    try:
        return _in_directory(path, dialect)
    except OSError as error:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise JobFileError([Problem(str(path), 1, 1, "", reason)]) from None


def _in_directory(directory: Path, dialect: Dialect | None) -> tuple[list[Input], list[Problem]]:
    if is_spool(directory):
        return [Input(path, read_bytes(path), is_found=True) for path in crontabs_of_users(directory)], []
    if PARTS.fullmatch(directory.absolute().name):
        return [Input(directory, is_scripts=True)], []
    crontabs, ignored = crontabs_in(directory, dialect)
    files = sorted(path for path in directory.iterdir() if path.name[0] != "." and path.is_file())
    others = [path for path in files if path.suffix in SUFFIXES | _CRONTABS or path.name == "anacrontab"]
    found = [Input(path, read_bytes(path), is_found=True) for path in dict.fromkeys([*crontabs, *others])]
    found = [one for one in found if one.path in crontabs or kind_of(one.path, one.data)]
    taken = {one.path for one in found}
    notes = [
        Problem(str(path), 1, 1, "", "passed over: cron does not read files of such names")
        for path in ignored
        if path not in taken
    ]
    if not found:
        message = (
            "no crontab, anacrontab, timer or other file of a scheduler is in this directory; scripts are "
            "taken from cron.hourly, cron.daily, cron.weekly and cron.monthly"
        )
        raise JobFileError([Problem(str(directory), 1, 1, "", message)])
    return found, notes
