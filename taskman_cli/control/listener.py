"""The listening socket: it is private from the start, and removed only if it is still ours."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.control.place import SUFFIX, address_of
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Clients that may wait for accept(2): as many as may be connected.
BACKLOG = 256
#: Only the owner may connect.
_MODE = 0o600


class Listener:
    """A listening socket at a path. The directory is locked, so no other taskman creates one there."""

    def __init__(self, path: Path, at: Path | None = None) -> None:
        """Listen. Raises TaskmanError if anything but the socket of a dead scheduler is at the path.

        `at`: where the socket itself is to be; a link at `path` leads there.
        """
        linked = path if at and not _is_same(at, path) else None
        self._link, self._path = linked, at or path
        path = self._path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if linked:
                with address_of(linked) as address:
                    _clear_way(address, linked)
            with address_of(path) as address:
                _clear_way(address, path)
                # bind(2) gives the file the mode of the unbound socket, so it is never open to others.
                os.fchmod(self.sock.fileno(), _MODE)
                self.sock.bind(address)
                self._identity = _identity(address)
                os.chmod(address, _MODE)  # noqa: PTH101 - the umask took what the owner needs
            self.sock.listen(BACKLOG)
            if linked:
                linked.symlink_to(path)
        except OSError as error:
            self.sock.close()
            raise TaskmanError(f"cannot listen on {path}: {error.strerror or error}") from error
        except TaskmanError:
            self.sock.close()
            raise

    def accept(self, most: int) -> Iterator[socket.socket]:
        """Yield waiting connections. Raises OSError if there is no free descriptor."""
        for _ in range(most):
            try:
                sock, _ = self.sock.accept()
            except ConnectionAbortedError:
                continue
            except BlockingIOError:
                return
            sock.setblocking(False)
            yield sock

    def unlink(self) -> None:
        """Remove the file if it is still this socket's. Clients stay connected."""
        with suppress(OSError):
            if self._link and self._link.readlink() == self._path:
                self._link.unlink()
        with suppress(OSError), address_of(self._path) as address:
            if _identity(address) == self._identity:
                os.unlink(address)  # noqa: PTH108


def _is_same(one: Path, other: Path) -> bool:
    """Tell whether both are the same name in the same directory: both variables may name one directory."""
    return one.name == other.name and one.parent.resolve() == other.parent.resolve()


def _clear_way(address: str, path: Path) -> None:
    """Remove the socket of a dead scheduler, or the link to it."""
    try:
        mode = os.lstat(address).st_mode
    except FileNotFoundError:
        return
    is_link = stat.S_ISLNK(mode) and os.readlink(address).endswith(SUFFIX)  # noqa: PTH115
    if not stat.S_ISSOCK(mode) and not is_link:
        raise TaskmanError(
            f"cannot listen on {path}: a file that is not a socket is in the way (move it away)"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            os.unlink(address)  # noqa: PTH108
            return
        except BlockingIOError:
            pass  # another program listens, and is busy
    raise TaskmanError(f"cannot listen on {path}: another program listens there")


def _identity(address: str) -> tuple[int, int]:
    status = os.lstat(address)
    return status.st_dev, status.st_ino
