"""Where the socket is, and how to use it when its path is too long for a socket address."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The socket's name in the state directory.
SOCKET = "taskman.sock"
#: The size of `sun_path` in unix(7), with its final NUL.
_SUN_PATH_BYTES = 108


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
