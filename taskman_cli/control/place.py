"""Where the socket is, and how to reach it when its path is longer than the address of a socket may be."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The socket's name in the state directory.
SOCKET = "taskman.sock"
#: unix(7): so long is `sun_path`, with a NUL at its end.
_SUN_PATH_BYTES = 108


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Give an address for a path of any length; good only until the `with` is left.

    A long one leads through the directory, opened: no change of the working directory, which is all threads'.
    """
    if len(os.fsencode(path)) < _SUN_PATH_BYTES:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
