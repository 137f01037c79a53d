"""What another user does to his processes and files, in processes of his own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from people import Person

#: Becomes a user, then runs a script with the rest of the arguments.
BECOME = """
import fcntl, os, signal, sys  # before the interpreter's own files may be out of reach
_, uid, gid, script, *rest = sys.argv
os.setgroups([])
os.setresgid(int(gid), int(gid), int(gid))
os.setresuid(int(uid), int(uid), int(uid))
sys.argv[1:] = rest
exec(script)
"""

#: Stops all processes of its user but itself, again and again.
STOPPER = """
import os, signal
print("ready", flush=True)
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError:
        pass
"""

#: Holds a lease on a file, and does not let go of it.
LEASER = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_WRONLY)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
signal.pause()
"""


@contextmanager
def attacking(person: Person, script: str, *arguments: str) -> Iterator[None]:
    """Run an attack as a user until the block is over; it has begun when this returns."""
    who = map(str, (person.uid, person.gid))
    attacker = subprocess.Popen(
        [sys.executable, "-Ic", BECOME, *who, script, *arguments], stdout=subprocess.PIPE
    )
    try:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        yield
    finally:
        attacker.kill()
        attacker.communicate()
