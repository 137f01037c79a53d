"""Where an instance keeps its state on disk, and that it is nobody else's."""

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
_MEND = "set STATE_DIRECTORY to a directory of yours"

#: Where the state of named instances is, in the state directory of the one without a name.
INSTANCES = "instances"
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def state_directory(
    environ: Mapping[str, str], *, is_root: bool, instance: str | None = None, given: str | None = None
) -> Path:
    """Return the state directory: the one given, or systemd's, the machine's for root, the user's own (XDG).

    That of a named instance is `instances/NAME` in there. Raises InstanceError for a name that none can have,
    and for a name beside a directory.
    """
    if given is not None:
        if instance is not None:
            raise InstanceError(
                "an instance has a state directory of its own: give --instance or --state-dir, not both"
            )
        return Path(given)
    base = _base(environ, is_root=is_root)
    if instance is None:
        return base
    if not _INSTANCE.fullmatch(instance):
        shown = ascii(instance[:80])[1:-1]
        raise InstanceError(
            f'"{shown}" is no name for an instance: use up to 64 letters, digits, "-" and "_"'
        )
    return base / INSTANCES / instance


def instance_names(base: Path) -> list[str]:
    """Return the names of all instances whose state is under `base`, sorted; none where it cannot be read."""
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
            f"nowhere to keep state: no HOME is set, and uid {os.geteuid()} is no user of this machine; "
            f"{_MEND}, or give --state-dir"
        )
    from platformdirs import user_state_path

    return user_state_path("taskman")


def make_state(directory: Path, trust: Trust | None = None) -> Path:
    """Make the state directory where it is missing, private, with `output` in it; return its full path.

    A directory that is there keeps its mode, but it must be the user's own, and none where everybody may
    write (`STATE_DIRECTORY=/tmp`): others could put things there under our names. It may be reached through
    links, as systemd's DynamicUser= has it. With root nobody else than `trust` has (None: as this process's
    environment has it) may be able to change what leads there. `output` is ours by name: it must be a real
    directory of the user's, and is made private whatever it was. What is made on the way there is private,
    too, and `instances` above it is no third person's. Raises TaskmanError where any of that is not so.
    """
    trust = standing_trust(os.environ) if trust is None else trust
    try:
        # All by descriptors: nothing can be swapped between the look and the deed.
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
    """Say what is wrong with a directory, and the fix."""


def _open_state(directory: Path, trust: Trust) -> int:
    """Open the state directory, made where it is missing, and what is missing above it."""
    try:
        return _open_made(directory, trust)
    except Untrusted as error:
        if error.path == os.path.realpath(directory):
            # Its own owner and mode are told as they are for any user.
            state_fd = os.open(directory, _DIRECTORY)
            try:
                _check_state(directory, state_fd)
            finally:
                os.close(state_fd)
        raise


def _open_made(directory: Path, trust: Trust) -> int:
    """Do the same; mkdir(parents=True) would leave the modes of what is above to the umask."""
    if directory.parent.name == INSTANCES and directory.parent.exists():
        # Whoever owns it, or may rename in it, could put another directory in the place of ours.
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
        with suppress(FileExistsError):  # somebody else was quicker, or it is a link that leads nowhere
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
        raise _Unfit(f"{output} is not a directory (move it away; a link to one will not do)") from None
    try:
        _check_own(str(output), output_fd)
        os.fchmod(output_fd, 0o700)
    finally:
        os.close(output_fd)
