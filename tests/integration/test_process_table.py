"""How other tests look at processes, which may end meanwhile."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import process_table
import pytest
from process_table import (
    arguments,
    children,
    command_line,
    cpu_s,
    descendants,
    descriptors,
    is_alive,
    is_gone,
    kill,
    kill_group,
    kill_tree,
    name_of,
    pids,
    proc,
    resident_bytes,
    state_of,
    status_of,
    threads,
    with_arguments,
)
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What is said of a process that is gone.
NOTHING: dict[Callable[[int], object], object] = {
    arguments: [],
    children: [],
    command_line: "",
    cpu_s: 0,
    descendants: [],
    descriptors: {},
    is_alive: False,
    is_gone: True,
    name_of: "",
    resident_bytes: 0,
    state_of: "X",
    status_of: {},
    threads: [],
}


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        wait_until(lambda: arguments(process.pid) == [b"sleep", b"1000"], what="its start")
        yield process
        process.kill()


def test_a_process_is_seen() -> None:
    with sleeper() as process:
        pid = process.pid
        assert (command_line(pid), name_of(pid), is_alive(pid)) == ("sleep 1000", "sleep", True)
        assert pid in pids()
        assert pid in with_arguments(b"sleep", b"1000")
        assert pid in children(os.getpid())
        assert status_of(pid)["PPid"] == str(os.getpid())
        assert threads(pid) == [pid]
        assert {0, 1, 2} <= descriptors(pid).keys()
        assert resident_bytes(pid) > 0
        kill_tree(pid)
        wait_until(lambda: state_of(pid) == "Z", what="its end")
        # What is left of it says nothing more.
        assert (arguments(pid), is_alive(pid), is_gone(pid), descriptors(pid)) == ([], False, False, {})
        assert pid in children(os.getpid())


@pytest.mark.parametrize("look", NOTHING, ids=lambda look: look.__name__)
def test_what_is_gone_has_nothing(look: Callable[[int], object]) -> None:
    with sleeper() as process:
        pass
    assert look(process.pid) == NOTHING[look]
    kill(process.pid)
    kill_group(process.pid)
    kill_tree(process.pid)


@pytest.mark.parametrize("name", ["stat", "status", "cmdline", "environ", "comm", "statm", "cgroup"])
def test_a_process_that_ends_between_the_look_for_its_file_and_the_read_has_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Late:
        def __init__(self, path: str) -> None:
            self.path = path

        def read_bytes(self) -> bytes:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - one read
                process.kill()
                process.wait()
                return file.read()

    with sleeper() as process:
        assert proc(process.pid, name)
        monkeypatch.setattr(process_table, "Path", Late)
        assert proc(process.pid, name) == b""


def test_processes_that_end_while_they_are_listed_are_left_out() -> None:
    shell = subprocess.Popen(["/bin/sh", "-c", "while :; do (:); /bin/true; done"])
    try:
        for _ in range(1_000):
            descendants(shell.pid)
    finally:
        shell.kill()
        shell.wait()
