"""A stand-in for the ssh program: the remote command runs on this machine.

As with the real one, what runs there is in another session and hangs on the connection by its pipes only, and
has nothing of this side's environment and signals. It ends with what runs there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SSH = """#!/bin/sh
echo "$*" >>{log}
{before}
while [ "$1" != -- ]; do shift; done
shift 2
trap : PIPE
cat | {{
    setsid env -i --default-signal HOME={home} PATH="$PATH" LANG=C.UTF-8 {run} {shell} -c "$*" | cat
    kill -PIPE 0
}}
"""
#: Another program is /bin/sh for what runs there.
_OTHER_SH = """unshare --mount sh -c 'mount --bind {sh} "$(readlink -f /bin/sh)"; exec "$@"' sh"""


def write_stand_in(
    program: Path, *, home: Path, log: Path, before: str = "", shell: str = "/bin/sh", sh: str | None = None
) -> None:
    """Write the program: `before` comes first in it, `shell` is the login shell there, `sh` the /bin/sh."""
    run = _OTHER_SH.format(sh=sh) if sh else ""
    new = program.with_suffix(".new")
    new.write_text(_SSH.format(log=log, before=before, home=home, shell=shell, run=run))
    new.chmod(0o755)
    new.rename(program)
