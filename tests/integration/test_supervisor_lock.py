"""The lock on the state directory, which the supervisor and the scheduler hold together, and nobody else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, start_sleep
from process_table import descriptors, is_alive, proc
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    Hold = Callable[..., tuple[Supervision, SchedulerEnd]]


@pytest.fixture
def hold(supervise: Callable[..., Supervision], tmp_path: Path) -> Hold:
    """Start a supervisor with a lock that it alone holds, at a descriptor of that number."""

    def hold(*, number: int = 7) -> tuple[Supervision, SchedulerEnd]:
        fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        moved = f"exec {number}<&{fd}; " + (f"exec {fd}<&-; " if fd != number else "")
        supervision = supervise(
            prefix=["bash", "-c", moved + 'exec "$@"', "bash"],
            arguments=["--lock", str(number)],
            pass_fds=(fd,),
        )
        os.close(fd)
        return supervision, supervision.accept()

    return hold


def is_locked(directory: Path) -> bool:
    fd = os.open(directory / "lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def lock_descriptors(pid: int, directory: Path) -> list[int]:
    """Return the descriptors at which a process has the lock's file open."""
    return [number for number, path in descriptors(pid).items() if path == str(directory / "lock")]


def environment(pid: int) -> list[str]:
    return proc(pid, "environ").decode().split("\0")


@pytest.mark.parametrize("number", [3, 4, 5, 9, 10])
def test_the_scheduler_has_it_at_its_place_and_commands_have_not(
    hold: Hold, tmp_path: Path, number: int
) -> None:
    supervision, scheduler = hold(number=number)
    assert lock_descriptors(scheduler.pid, tmp_path) == [4]
    assert "TASKMAN_LOCK_FD=4" in environment(scheduler.pid)
    assert len(lock_descriptors(supervision.pid, tmp_path)) == 1
    pid = start_sleep(scheduler, "a", tmp_path)
    assert lock_descriptors(pid, tmp_path) == []
    scheduler.kill()
    scheduler = supervision.accept()
    assert lock_descriptors(scheduler.pid, tmp_path) == [4]


def test_it_is_free_when_both_are_gone_and_commands_do_not_count(
    hold: Hold, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    supervision, scheduler = hold()
    pid = start_sleep(scheduler, "a", tmp_path)
    request.addfinalizer(lambda: os.kill(pid, 9))
    supervision.process.kill()
    supervision.wait()
    assert is_locked(tmp_path)
    scheduler.leave()
    wait_until(lambda: not is_locked(tmp_path))
    assert is_alive(pid)


def test_it_stays_while_there_is_no_scheduler(hold: Hold, tmp_path: Path) -> None:
    supervision, scheduler = hold()
    scheduler.kill()
    supervision.accept()
    assert is_locked(tmp_path)


def test_without_a_lock_none_is_told_of(supervise: Callable[..., Supervision], tmp_path: Path) -> None:
    supervision = supervise(env={**os.environ, "TASKMAN_LOCK_FD": "9"})  # of a taskman around this one
    scheduler = supervision.accept()
    assert not [word for word in environment(scheduler.pid) if word.startswith("TASKMAN_LOCK_FD=")]
    assert scheduler.run("a", make_spec(tmp_path, ["true"]))["status"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lock"], "usage: "),
        (["--lock", "x", "--", "true"], "usage: "),
        (["--lock", "9"], "usage: "),
        (["--lock", "9", "--"], "usage: "),
        (["--lock", "9", "--", "true"], "taskman: cannot keep the lock at descriptor 9: "),
        (["--lock", "9" * 30, "--", "true"], "taskman: cannot keep the lock at descriptor 999"),
    ],
)
def test_a_wrong_lock_is_refused_in_words(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "taskman_cli.supervisor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
