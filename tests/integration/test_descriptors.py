"""Room for descriptors, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SCRIPT = """
import os, resource, sys
from pathlib import Path
from taskman_cli.launch.descriptors import make_room
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
make_room(0)
print("made", flush=True)
print(Path("/proc/self/status").read_text())
print(*[fd for fd in range(3, most) if os.path.exists(f"/proc/self/fd/{fd}")])
"""


@pytest.mark.parametrize(("limit", "room"), [(4096, 1024), (1024, 1024), (256, 256)])
def test_there_is_room_for_many_and_none_stays_open(limit: int, room: int) -> None:
    run = _run(limit)
    found = re.search(r"^FDSize:\s+(\d+)$", run.stdout, re.M)
    assert found is not None
    assert int(found[1]) >= room
    assert run.stdout.endswith("\n\n")  # no descriptor is named


def test_a_limit_that_is_reached_is_no_fault() -> None:
    assert _run(3).stdout == "made\n"


def _run(limit: int) -> subprocess.CompletedProcess[str]:
    """Run the script with a limit of open descriptors."""
    command = [sys.executable, "-c", SCRIPT, str(limit)]
    return subprocess.run(command, check=False, capture_output=True, text=True)
