"""What starts taskman for the other tests leaves nothing behind."""

from __future__ import annotations

import subprocess

from e2e.running import descendants


def test_processes_that_end_while_they_are_listed_are_left_out() -> None:
    shell = subprocess.Popen(["/bin/sh", "-c", "while :; do (:); /bin/true; done"])
    try:
        for _ in range(5_000):
            descendants(shell.pid)
    finally:
        shell.kill()
        shell.wait()
