"""Room for descriptors, made while there is one thread.

With several, the kernel makes more room only when all cores have let go of the table: that may take 0.1 s, at
64 descriptors, 128, 256 and so on, in whatever call has opened the next one.
"""

from __future__ import annotations

import fcntl
import os
import resource
from contextlib import suppress

#: So many take 8 KiB.
_MANY = 1024


def make_room(fd: int) -> None:
    """Have the kernel make room for many descriptors; `fd` is any that is open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MANY if limit == resource.RLIM_INFINITY else min(limit, _MANY)
    with suppress(OSError):
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, most - 1))
