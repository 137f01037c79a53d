"""The socket on which the scheduler listens: made private, and taken away again only if it is still ours."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.control.place import address_of
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Clients that may wait to be let in, all at once; as many as may be in.
BACKLOG = 256
#: Nobody but the owner may even connect.
_MODE = 0o600


class Listener:
    """A listening socket at a path. The directory is locked: nobody else makes one there meanwhile."""

    def __init__(self, path: Path) -> None:
        """Listen; raises TaskmanError if something is there that is no socket of a dead scheduler."""
        self._path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with address_of(path) as address:
                _clear_way(address, path)
                # The mode of the unbound socket becomes that of its name, so it is never open to others.
                os.fchmod(self.sock.fileno(), _MODE)
                self.sock.bind(address)
                self._identity = _identity(address)
                os.chmod(address, _MODE)  # noqa: PTH101 - the umask took what the owner needs
            self.sock.listen(BACKLOG)
        except OSError as error:
            self.sock.close()
            raise TaskmanError(f"cannot listen on {path}: {error.strerror or error}") from error
        except TaskmanError:
            self.sock.close()
            raise

    def accept(self, most: int) -> Iterator[socket.socket]:
        """Yield connections that wait to be let in; raises OSError where no descriptor can be had."""
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
        """Take the name away, if it is still this socket's; who has connected stays connected."""
        with suppress(OSError), address_of(self._path) as address:
            if _identity(address) == self._identity:
                os.unlink(address)  # noqa: PTH108


def _clear_way(address: str, path: Path) -> None:
    """Remove the socket of a dead scheduler."""
    try:
        mode = os.lstat(address).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise TaskmanError(f"cannot listen on {path}: something else is there, no socket (move it away)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(address)  # noqa: PTH108
            return
        except BlockingIOError:
            pass  # somebody listens, and is busy
    raise TaskmanError(f"cannot listen on {path}: another program listens there")


def _identity(address: str) -> tuple[int, int]:
    status = os.lstat(address)
    return status.st_dev, status.st_ino
