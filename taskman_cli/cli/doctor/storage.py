"""Checks of the state directory and the ledger."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.doctor.result import CheckResult, fail, ok, warn, worst
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_MB = 1_000_000
_LITTLE, _TOO_LITTLE = 200 * _MB, 10 * _MB
#: File systems that several machines share: SQLite's log and locks work on one machine only.
_SHARED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}
)
_FLEETING = frozenset({"tmpfs", "ramfs"})
_LONG_LOG = 256 * _MB
_SET_ASIDE = (
    "keep a copy, then stop taskman and run it again: it sets a damaged ledger aside and starts a new one"
)
#: Fixes, by a part of the message with which the reader refuses a ledger.
_FIXES = {
    "is damaged": _SET_ASIDE,
    "is not a ledger": _SET_ASIDE,
    "of another program": "move it elsewhere, or give taskman its own state directory (--state-dir)",
    "a newer taskman": "use the newer one, or give this one its own state directory (--state-dir)",
    "an older taskman": "run taskman run, which migrates it",
}
#: The longest time to check the ledger.
_CHECK_S = 2.0
#: How long rows that were set aside are reported: a month.
_LATELY_NS = 30 * 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Directory:
    """A state directory, or the nearest existing directory above it."""

    path: str
    #: The directory that was looked at.
    place: str
    is_there: bool
    owner: int
    mode: int
    is_writable: bool
    free_bytes: int
    file_system: str
    is_directory: bool = True


def look_at_directory(directory: Path) -> Directory:
    """Look at a state directory."""
    place = directory.absolute()
    while not _is_seen(place) and place != place.parent:
        place = place.parent
    status, space = place.stat(), os.statvfs(place)
    mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    return Directory(
        path=str(directory),
        place=str(place),
        is_there=place == directory.absolute(),
        owner=status.st_uid,
        mode=stat.S_IMODE(status.st_mode),
        is_writable=os.access(place, os.W_OK | os.X_OK, effective_ids=True),
        free_bytes=space.f_bavail * space.f_frsize,
        file_system=file_system_of(str(place.resolve()), mounts),
        is_directory=stat.S_ISDIR(status.st_mode),
    )


def _is_seen(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:  # without access it cannot be written either
        return False


def file_system_of(path: str, mountinfo: str) -> str:
    """Return the type of the file system of a path, from /proc/self/mountinfo; "" if it is unknown."""
    best, found = "", ""
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields = head.split()
        if len(fields) < 5 or not tail:
            continue
        point = fields[4].replace("\\040", " ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, found = point, tail.split()[0]
    return found


def judge_directory(seen: Directory, *, uid: int) -> CheckResult:
    """Judge whether the directory can hold the state."""
    if not seen.is_there:
        return worst(_faults(seen, uid), else_=ok(f"{seen.path} does not exist yet: taskman run creates it"))
    space = f"{seen.file_system or 'unknown'}, {seen.free_bytes // _MB:,} MB free"
    return worst(_faults(seen, uid), else_=ok(f"{seen.path}: mode {seen.mode:04o}, {space}"))


def _faults(seen: Directory, uid: int) -> Iterator[CheckResult]:
    elsewhere = "name another with --state-dir, or set STATE_DIRECTORY"
    if not seen.is_directory:
        yield fail(f"{seen.place} is not a directory", elsewhere)
        return
    if seen.is_there and seen.owner != uid:
        yield fail(f"{seen.path} belongs to uid {seen.owner}, not to uid {uid}", elsewhere)
    elif not seen.is_writable:
        yield fail(f"{seen.place} cannot be written", elsewhere)
    if seen.is_there and seen.mode & stat.S_IWOTH:
        yield fail(f"everybody can write to {seen.path}", f"chmod 700 {seen.path}")
    elif seen.is_there and seen.mode & 0o077:
        yield warn(f"{seen.path} is accessible to others (mode {seen.mode:04o})", f"chmod 700 {seen.path}")
    if seen.free_bytes < _LITTLE:
        words = f"{seen.free_bytes // _MB:,} MB are free at {seen.place}"
        level = fail if seen.free_bytes < _TOO_LITTLE else warn
        yield level(words, "free some space: nothing starts that cannot be recorded")
    if seen.file_system in _SHARED:
        words = f"{seen.place} is on {seen.file_system}, where locks and SQLite's log are not reliable"
        yield fail(words, "use a local disk")
    elif seen.file_system in _FLEETING:
        yield warn(f"{seen.place} is on {seen.file_system}: all of it is lost at a reboot", elsewhere)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The state of a ledger; `trouble` is why it could not be read."""

    is_there: bool = True
    trouble: str = ""
    version: int = 0
    #: The result of SQLite's check; None: it was stopped before its end.
    finding: str | None = "ok"
    size_bytes: int = 0
    log_bytes: int = 0
    broken: tuple[str, ...] = ()
    #: The number of unreadable rows that were set aside lately, and the reason of the latest.
    unreadable: int = 0
    unreadable_why: str = ""


def look_at_ledger(directory: Path) -> LedgerState:
    """Open the ledger for reading and check it, for a limited time."""
    from taskman_cli.ledger.queries.reader import NoLedger, reading
    from taskman_cli.ledger.store import NAME

    broken = tuple(
        sorted(path.name for path in directory.glob(f"{NAME}.broken-*") if path.suffix[-1].isdigit())
    )
    path, log = directory / NAME, directory / f"{NAME}-wal"
    until = time.monotonic() + _CHECK_S
    try:
        with reading(directory) as ledger:
            ledger.set_progress_handler(lambda: time.monotonic() > until, 10_000)
            (version,) = ledger.execute("PRAGMA user_version").fetchone()
            unreadable, why = _unreadable(ledger)
            finding = _quick_check(ledger, until)
    except NoLedger:
        return LedgerState(is_there=False, broken=broken)
    except TaskmanError as error:
        return LedgerState(trouble=str(error), broken=broken)
    log_bytes = log.stat().st_size if log.exists() else 0
    return LedgerState(True, "", version, finding, path.stat().st_size, log_bytes, broken, unreadable, why)


def _unreadable(ledger: sqlite3.Connection) -> tuple[int, str]:
    since_ns = time.time_ns() - _LATELY_NS
    (count,) = ledger.execute("SELECT count(*) FROM set_aside WHERE at_ns >= ?", (since_ns,)).fetchone()
    last = ledger.execute("SELECT source, job, why FROM set_aside ORDER BY id DESC LIMIT 1").fetchone()
    return count, "{}{}: {}".format(last[0], f" of {last[1]}" if last[1] else "", last[2]) if last else ""


def _quick_check(ledger: sqlite3.Connection, until: float) -> str | None:
    import sqlite3

    try:
        (finding,) = ledger.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        if time.monotonic() > until:
            return None
        raise
    # The first line only names the database.
    return str(finding).splitlines()[-1]


def judge_ledger(seen: LedgerState) -> CheckResult:
    """Judge whether the ledger is sound."""
    found = []
    if seen.trouble:
        fixes = (fix for words, fix in _FIXES.items() if words in seen.trouble)
        found.append(fail(seen.trouble, next(fixes, "run this as the user who runs taskman")))
    elif seen.is_there and seen.finding not in ("ok", None):
        found.append(fail(f"the ledger is damaged: {seen.finding}", _SET_ASIDE))
    if seen.log_bytes > _LONG_LOG:
        words = f"its log has {seen.log_bytes // _MB:,} MB: some process keeps it open for reading"
        found.append(warn(words, "end long-running taskman log, history and events, and other readers"))
    if seen.broken:
        ledgers = (
            "1 damaged ledger was" if len(seen.broken) == 1 else f"{len(seen.broken)} damaged ledgers were"
        )
        words = f"{ledgers} set aside before (the last: {seen.broken[-1]})"
        found.append(warn(words, "check the disk; delete them when you no longer need them"))
    if seen.unreadable:
        rows = "1 row" if seen.unreadable == 1 else f"{seen.unreadable:,} rows"
        words = f"{rows} set aside as unreadable within the last month (the latest: {seen.unreadable_why})"
        found.append(warn(words, "see taskman events; resume the jobs that were paused because of it"))
    if not seen.is_there:
        return worst(found, else_=ok("no ledger yet: nothing has run with this state directory"))
    checked = "not checked to its end" if seen.finding is None else "sound"
    return worst(found, else_=ok(f"version {seen.version}, {seen.size_bytes / _MB:,.1f} MB, {checked}"))
