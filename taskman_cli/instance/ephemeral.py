"""Throw-away state directories: made for `taskman run --ephemeral`, found by other commands, and removed.

They are made in a directory in which other users write too, mostly /tmp. Whoever looks for them believes
nothing but owner and mode: what belongs to us and is closed to all others was made by us. Its lock tells if
it is in use; the lock is held before the directory gets the name that others look for.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.instance.lock import LOCK, holder, take_lock
from taskman_cli.trust import Untrusted, standing_trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What their names begin with.
PREFIX = "taskman-ephemeral-"
#: And while they are being made.
_UNFINISHED = f".{PREFIX}"
#: One that was never finished is removed after this long.
_UNFINISHED_S = 24 * 3600
#: Somebody may fill the directory with other entries: no command reads more than these.
_MOST_ENTRIES = 100_000
#: Somebody may take a name that is just being made.
_TRIES = 5


def make_ephemeral(environ: Mapping[str, str]) -> tuple[Path, int]:
    """Make a private state directory; return its path and the descriptor of its lock, which is held.

    Raises TaskmanError if no directory for temporary files can be used.
    """
    import tempfile

    parent = _parents(environ)[0]
    try:
        if not _is_fit(parent):
            raise TaskmanError(
                f"cannot keep a throw-away state in {parent}: other users could replace it "
                f"(chmod +t {parent}, or set TMPDIR to a directory of your own)"
            )
        for left in reversed(range(_TRIES)):
            made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
            try:
                lock_fd = take_lock(made, patience_s=0)
            except BaseException:
                _remove(str(made))
                raise
            directory = parent / made.name.removeprefix(".")
            try:
                made.rename(directory)
            except OSError:
                os.close(lock_fd)
                _remove(str(made))
                if not left:
                    raise
            else:
                return directory, lock_fd
    except OSError as error:
        raise TaskmanError(
            f"cannot keep a throw-away state in {parent}: {error.strerror} (set TMPDIR to another directory)"
        ) from error
    raise AssertionError


def running_ephemeral(environ: Mapping[str, str]) -> list[Path]:
    """Return those of ours that are in use now, by name."""
    found = []
    for directory in _ours(environ, PREFIX):
        with suppress(TaskmanError):
            if holder(directory) is not None:
                found.append(directory)
    return sorted(found)


def tidy_ephemeral(environ: Mapping[str, str], *, now_s: float) -> None:
    """Remove those of ours that nobody uses any more: both processes were killed, or the machine went down.

    Their commands may still run: they end by themselves, and no later `taskman run` looks for them.
    """
    for directory in _ours(environ, PREFIX):
        if (directory / LOCK).exists():
            _remove_unused(directory)
    for directory in _ours(environ, _UNFINISHED):
        with suppress(OSError):
            if abs(now_s - directory.lstat().st_mtime) > _UNFINISHED_S:
                _remove_unused(directory)


def _remove_unused(directory: Path) -> None:
    """Remove a directory if its lock is free, and hold that meanwhile."""
    with suppress(TaskmanError, OSError):
        lock_fd = take_lock(directory, patience_s=0)
        _remove(str(directory))
        os.close(lock_fd)


def _parents(environ: Mapping[str, str]) -> list[Path]:
    """Return where they are made, which comes first, and where others of ours may be."""
    given = environ.get("TMPDIR", "")
    places = [Path(given)] if given.startswith("/") else []
    return list(dict.fromkeys([*places, Path("/tmp")]))  # noqa: S108 - see the module's docstring


def _is_fit(parent: Path) -> bool:
    """Tell if nobody else can replace in `parent` what is ours. Raises OSError if it cannot be opened."""
    try:
        fd = standing_trust(os.environ).open(parent)
    except Untrusted:
        return False
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return False
    is_open = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not is_open or bool(status.st_mode & stat.S_ISVTX)


def _ours(environ: Mapping[str, str], prefix: str) -> Iterator[Path]:
    """Yield the directories of ours whose names begin so."""
    for parent in _parents(environ):
        with suppress(OSError):
            if not _is_fit(parent):
                continue
            with os.scandir(parent) as entries:
                for entry, _ in zip(entries, range(_MOST_ENTRIES), strict=False):
                    if entry.name.startswith(prefix):
                        with suppress(OSError):
                            if _is_ours(entry.stat(follow_symlinks=False)):
                                yield parent / entry.name


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _remove(path: str) -> None:
    """Remove a directory that is ours, with all that is in it."""
    from taskman_cli.supervisor.process import remove_own  # it loads ctypes, and every client reads this file

    remove_own(path)
