"""Where the socket is, and how to use it when its path is too long for a socket address.

It is in the state directory, or in the runtime directory of the service (RUNTIME_DIRECTORY), which systemd
removes when the service has ended: then a link in the state directory leads to it.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The socket's name in the state directory.
SOCKET = "taskman.sock"
#: How the names of sockets in a runtime directory end.
SUFFIX = ".sock"
#: The size of `sun_path` in unix(7), with its final NUL.
_SUN_PATH_BYTES = 108


def runtime_place(environ: Mapping[str, str], instance: str) -> Path | None:
    """Return where the socket of an instance ("": the unnamed one) is in the runtime directory.

    None: there is none, or it is not ours alone: the variable may come from a service around this one.
    """
    directory = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    try:
        status = os.stat(directory)  # noqa: PTH116 - it may be ""
    except OSError:
        return None
    is_private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    if not directory.startswith("/") or not stat.S_ISDIR(status.st_mode) or not is_private:
        return None
    return Path(directory) / (f"{instance}{SUFFIX}" if instance else SOCKET)


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Yield an address for a path of any length. It is valid inside the `with` block.

    A long path is reached through an open descriptor of the directory. Changing the working directory would
    affect all threads.
    """
    if len(os.fsencode(path)) < _SUN_PATH_BYTES:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
