"""Debian's at, cron and libfaketime: installed, or unpacked in the directory that TASKMAN_DEBIAN names.

    mkdir DIR && cd DIR && apt-get download at cron libfaketime && for deb in *.deb; do dpkg -x $deb .; done

Tests run them in a mount namespace: they read and write nothing of the machine's, and no daemon is needed.
Of libfaketime only the library is used: its command fails on what a killed one with its pid left in /dev/shm.
Only at and cron run under it, since it hangs Python's waits.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

#: "" where nobody asks for unpacked ones.
UNPACKED = os.environ.get("TASKMAN_DEBIAN", "")
_ROOT = Path(UNPACKED or "/")
AT = _ROOT / "usr/bin/at"
CRON = _ROOT / "usr/sbin/cron"


def faketime() -> Path | None:
    """Return the library of libfaketime; None if it is not there."""
    return next(_ROOT.glob("usr/lib/*/faketime/libfaketime.so.1"), None)


def why_not(program: Path) -> str | None:
    """Return why a program cannot be run under another clock here; None if it can."""
    if os.geteuid() != 0:
        return f"{program.name}(1) is compared as root only"
    if not program.exists() or faketime() is None:
        return f"not installed: {program.name}, libfaketime"
    can_mount = (
        subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
    )
    return None if can_mount else "no mount namespace can be made here"
