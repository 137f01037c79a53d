"""Where an instance keeps its state on disk, and the check that it belongs to the user alone."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import InstanceError, TaskmanError
from taskman_cli.trust import Trust, Untrusted, standing_trust, user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MEND = "set STATE_DIRECTORY to a directory of your own"

#: The directory of named instances, in the state directory of the unnamed one.
INSTANCES = "instances"
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def state_directory(
    environ: Mapping[str, str], *, is_root: bool, instance: str | None = None, given: str | None = None
) -> Path:
    """Return the state directory: as given, or systemd's, or the system's for root, or the user's (XDG).

    A named instance has `instances/NAME` in it. Raises InstanceError for an invalid name, and for a name
    together with a directory.
    """
    if given is not None:
        if instance is not None:
            raise InstanceError(
                "an instance has its own state directory: give --instance or --state-dir, not both"
            )
        return Path(given)
    base = _base(environ, is_root=is_root)
    if instance is None:
        return base
    if not _INSTANCE.fullmatch(instance):
        shown = ascii(instance[:80])[1:-1]
        raise InstanceError(
            f'"{shown}" is not a valid instance name: use up to 64 letters, digits, "-" and "_"'
        )
    return base / INSTANCES / instance


def instance_names(base: Path) -> list[str]:
    """Return the names of all instances under `base`, sorted; none if it cannot be read."""
    with suppress(OSError):
        return sorted(
            entry.name
            for entry in os.scandir(base / INSTANCES)
            if _INSTANCE.fullmatch(entry.name) and entry.is_dir()
        )
    return []


def _base(environ: Mapping[str, str], *, is_root: bool) -> Path:
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if is_root:
        return Path("/var/lib/taskman")
    if not environ.get("XDG_STATE_HOME", "").strip() and os.path.expanduser("~") == "~":  # noqa: PTH111
        raise InstanceError(
            "no place for the state: HOME is not set, "
            f"and uid {os.geteuid()} has no account on this machine; "
            f"{_MEND}, or give --state-dir"
        )
    from platformdirs import user_state_path

    return user_state_path("taskman")


def make_state(directory: Path, trust: Trust | None = None) -> Path:
    """Create a private state directory if it is missing, with `output` in it; return its full path.

    An existing directory keeps its mode. It must belong to the user and must not be writable by everybody
    (`STATE_DIRECTORY=/tmp`): others could create our files there. Symbolic links may lead to it, as with
    systemd's DynamicUser=. For root, only users in `trust` (None: from this process's environment) may be
    able to change the path. `output` must be a real directory of the user's; it is made private. Parents that
    are created are private too, and `instances` must be the user's or root's. Raises TaskmanError otherwise.
    """
    trust = standing_trust(os.environ) if trust is None else trust
    try:
        # Through descriptors only: nothing can be replaced between the check and the use.
        state_fd = _open_state(directory.absolute(), trust)
        try:
            _check_state(directory, state_fd)
            _make_output(directory / "output", state_fd)
        finally:
            os.close(state_fd)
        return directory.resolve()
    except OSError as error:
        raise TaskmanError(f"cannot keep state in {directory}: {error.strerror} ({_MEND})") from error
    except (_Unfit, Untrusted) as unfit:
        raise TaskmanError(f"cannot keep state in {directory}: {unfit}") from None


class _Unfit(Exception):
    """Raised for a directory that cannot be used: what is wrong, and the fix."""


def _open_state(directory: Path, trust: Trust) -> int:
    """Open the state directory; create it and its parents if they are missing."""
    try:
        return _open_made(directory, trust)
    except Untrusted as error:
        if error.path == os.path.realpath(directory):
            # What is wrong with the directory itself is reported as for any user.
            state_fd = os.open(directory, _DIRECTORY)
            try:
                _check_state(directory, state_fd)
            finally:
                os.close(state_fd)
        raise


def _open_made(directory: Path, trust: Trust) -> int:
    """Do the same. mkdir(parents=True) would create the parents with the umask's mode."""
    if directory.parent.name == INSTANCES and directory.parent.exists():
        # Its owner, and anybody who can rename in it, could replace our directory.
        status = directory.parent.stat()
        if status.st_uid not in (0, os.geteuid()):
            raise _Unfit(f"{directory.parent} belongs to {user_name(status.st_uid)} ({_MEND})")
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise _Unfit(f"everybody may write in {directory.parent} (chmod o-w {directory.parent})")
    try:
        return trust.open(directory, refuse=_need_directory)
    except FileNotFoundError:
        if directory == directory.parent:
            raise
    parent_fd = _open_made(directory.parent, trust)
    try:
        with suppress(FileExistsError):  # another process created it first, or it is a dangling link
            os.mkdir(directory.name, 0o700, dir_fd=parent_fd)
        return os.open(directory.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def _need_directory(status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _check_state(directory: Path, state_fd: int) -> None:
    _check_own("it", state_fd)
    if os.fstat(state_fd).st_mode & stat.S_IWOTH:
        raise _Unfit(f"everybody may write there ({_MEND}, as in {directory / 'taskman'})")


def _check_own(name: str, fd: int) -> None:
    owner, uid = os.fstat(fd).st_uid, os.geteuid()
    if owner != uid:
        raise _Unfit(f"{name} belongs to {user_name(owner)}, not to {user_name(uid)} ({_MEND})")


def _make_output(output: Path, state_fd: int) -> None:
    with suppress(FileExistsError):
        os.mkdir("output", 0o700, dir_fd=state_fd)
    try:
        output_fd = os.open("output", _DIRECTORY | os.O_NOFOLLOW, dir_fd=state_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise _Unfit(f"{output} is not a directory (move it away; a symbolic link is not accepted)") from None
    try:
        _check_own(str(output), output_fd)
        os.fchmod(output_fd, 0o700)
    finally:
        os.close(output_fd)
