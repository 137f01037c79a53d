"""Which kills for want of memory are told as those for the limit of a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.supervisor.closing import close_here
from taskman_cli.supervisor.groups import Group, find_place

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = find_place()
MIB = 1 << 20


@pytest.fixture
def top() -> Iterator[Path]:
    """Return a group of version 1 that has a group `own` in it."""
    path = Path(PLACE.dirs["memory"]) / f"taskman-top-{os.getpid()}"
    (path / "own").mkdir(parents=True)
    yield path
    close_here(Group([("memory", str(path))], is_ours=True))


@pytest.mark.skipif(
    PLACE.kind != "v1" or "memory" not in PLACE.works, reason="no version 1 of control groups"
)
@pytest.mark.parametrize(("own", "above", "expected"), [(50, 200, 1), (200, 50, 0)], ids=["own", "above"])
def test_who_was_killed_for_a_limit_above_its_own_is_not_told_to_be_over_that(
    top: Path, own: int, above: int, expected: int
) -> None:
    (top / "memory.limit_in_bytes").write_text(str(above * MIB))
    (top / "own" / "memory.limit_in_bytes").write_text(str(own * MIB))
    enters = ["sh", "-c", f'echo $$ > {top}/own/cgroup.procs; exec "$@"', "sh"]
    killed = subprocess.run([*enters, sys.executable, "-IS", "-c", f"x = b'x' * {100 * MIB}"], check=False)
    assert killed.returncode == -signal.SIGKILL
    group = Group([("memory", str(top / "own"))], is_ours=True)
    assert group.memory_kills() == (expected, own * MIB)


def test_in_version_2_only_kills_for_its_own_limit_count(tmp_path: Path) -> None:
    group = Group([("", str(tmp_path))], is_ours=True)
    assert group.memory_kills() == (0, 0)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 0\noom_kill 2\noom_group_kill 0\n")
    assert group.memory_kills() == (0, 0)
    (tmp_path / "memory.max").write_text(f"{MIB}\n")
    assert group.memory_kills() == (0, MIB)
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert group.memory_kills() == (2, MIB)
