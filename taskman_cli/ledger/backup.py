"""A consistent copy of a ledger, while a scheduler writes to it; and how a new file is made."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Path]:
    """Give the path of a private file to fill; it becomes `path` at the end, if all went well.

    Raises TaskmanError if `path` exists, unless `force` allows to replace a file.
    """
    if os.path.lexists(path) and (not force or path.is_dir()):
        what = "is a directory" if path.is_dir() else "already exists: --force replaces it"
        raise TaskmanError(f"{path} {what}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        yield part
        _sync(part)
        if force:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, it never replaces a file
        _sync(path.absolute().parent)
    except FileExistsError:
        raise TaskmanError(f"{path} already exists: --force replaces it") from None
    except OSError as error:
        raise TaskmanError(f"cannot write {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise TaskmanError(f"cannot write {path}: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                part.with_name(part.name + suffix).unlink()


def copy_to(ledger: sqlite3.Connection, path: Path) -> str:
    """Copy a ledger into an empty file; return "ok", or what is damaged in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # In one step, so that the writer need not wait; later writes are not in the copy.
        ledger.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, without a log beside it
        (finding,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    return str(finding).splitlines()[-1]


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
