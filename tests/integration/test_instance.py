"""One taskman at a time works with a state directory: the lock, with real processes that hold it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_table import status_of
from wait import wait_until

from taskman_cli.errors import TaskmanError
from taskman_cli.instance.lock import holder, take_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Takes the lock, hands it on to a child where that is wanted, says so and stays.
HOLDER = """
import subprocess, sys
from pathlib import Path
from taskman_cli.instance.lock import take_lock
fd = take_lock(Path(sys.argv[1]))
if len(sys.argv) > 2:
    print(subprocess.Popen(["sleep", sys.argv[2]], pass_fds=(fd,), stdout=subprocess.DEVNULL).pid)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that hold the lock; all are ended with the test."""
    made = []

    def hold(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path), *words]
        made.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield hold
    for process in made:
        process.kill()
        process.communicate()


def wait_for_held(process: subprocess.Popen[str]) -> list[str]:
    """Return what it printed before it said that it holds the lock."""
    assert process.stdout is not None
    lines = []
    while (line := process.stdout.readline()) != "held\n":
        assert line
        lines.append(line)
    return lines


def refusal(who: str, directory: Path) -> str:
    return (
        f"{who} is running with the state in {directory}: stop it first, or use another state directory "
        "(--state-dir, -i)"
    )


def assert_refused(directory: Path, who: str, *, patience_s: float = 3.0) -> None:
    with pytest.raises(TaskmanError) as raised:
        take_lock(directory, patience_s=patience_s)
    assert str(raised.value) == refusal(who, directory)


def test_the_lock_names_its_holder_and_cannot_be_taken_twice(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234567890, and more of what a file may hold\n")
    fd = take_lock(tmp_path)
    try:
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        assert not os.get_inheritable(fd)
        assert holder(tmp_path) == os.getpid()
        assert_refused(tmp_path, f"another taskman (process {os.getpid()})")
    finally:
        os.close(fd)
    assert holder(tmp_path) is None
    os.close(take_lock(tmp_path))


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    os.close(take_lock(tmp_path))
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_an_unused_directory_has_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert holder(tmp_path / "nothing") is None
    assert list(tmp_path.iterdir()) == []


def test_a_process_holds_the_lock_until_it_is_killed(
    hold: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = hold()
    wait_for_held(process)
    assert holder(tmp_path) == process.pid
    assert_refused(tmp_path, f"another taskman (process {process.pid})")
    process.kill()
    wait_until(lambda: status_of(process.pid)["State"][0] == "Z")  # nobody has reaped it yet
    os.close(take_lock(tmp_path))


def test_a_scheduler_that_is_exiting_is_waited_for(
    hold: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = hold("0.3")
    wait_for_held(process)
    process.kill()
    process.wait()
    assert holder(tmp_path) == process.pid
    os.close(take_lock(tmp_path))


def test_waiting_for_a_scheduler_that_does_not_exit_ends(
    hold: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = hold("60")
    scheduler = int(wait_for_held(process)[0])
    process.kill()
    process.wait()
    try:
        assert_refused(tmp_path, f"another taskman (process {process.pid})", patience_s=0.1)
    finally:
        os.kill(scheduler, signal.SIGKILL)


def test_a_lock_without_a_pid_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_refused(tmp_path, "another taskman", patience_s=0.1)
        with pytest.raises(TaskmanError, match="contains no pid"):
            holder(tmp_path)


def test_a_process_that_is_about_to_write_its_pid_is_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found: list[int | None] = []
        thread = threading.Thread(target=lambda: found.append(holder(tmp_path)))
        thread.start()
        file.write("123\n")
        file.flush()
        thread.join()
    assert found == [123]


def test_a_process_that_only_asks_does_not_prevent_taking_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{os.getpid()}\n")  # a number of old that somebody has again
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        unlock = "taskman_cli.instance.lock.time.sleep"
        monkeypatch.setattr(unlock, lambda _: fcntl.flock(file, fcntl.LOCK_UN))
        os.close(take_lock(tmp_path, patience_s=0))


def test_many_processes_that_ask_do_not_prevent_taking_the_lock(tmp_path: Path) -> None:
    """The file names a process that lives, as after a reboot it may."""
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    is_done = threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            holder(tmp_path)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            os.close(take_lock(tmp_path))
    finally:
        is_done.set()
        for thread in threads:
            thread.join()


def test_of_many_processes_at_once_exactly_one_gets_the_lock(
    hold: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    processes = [hold() for _ in range(6)]
    wait_until(lambda: sum(process.poll() is None for process in processes) == 1)
    (winner,) = [process for process in processes if process.poll() is None]
    wait_for_held(winner)
    assert holder(tmp_path) == winner.pid


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_path_that_cannot_be_a_lock_file_is_an_error(tmp_path: Path, kind: str) -> None:
    if kind == "directory":
        (tmp_path / "lock").mkdir()
    else:
        (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TaskmanError, match=f"^cannot lock {tmp_path}/lock: "):
        take_lock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
