"""How other tests look at processes, which may end meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
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
    kill_whole,
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
    from pathlib import Path

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


def test_processes_are_found_by_their_environment_whatever_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = f"MARK-{os.getpid()}=odd".encode()
    read, refused = process_table.proc, os.getpid()

    def proc_or_refuse(pid: int, name: str) -> bytes:
        if pid == refused:
            raise PermissionError(13, "Permission denied")
        return read(pid, name)

    monkeypatch.setattr(process_table, "proc", proc_or_refuse)
    environ = {**os.environ, os.fsdecode(mark.partition(b"=")[0]): "odd"}
    with subprocess.Popen(["sleep", "1000"], env=environ) as marked:
        try:
            wait_until(lambda: process_table.with_environment(mark) == [marked.pid], what="it to have begun")
        finally:
            marked.kill()
    assert process_table.with_environment(mark) == []


def test_nothing_holds_a_file_any_more_after_the_end_of_the_whole(tmp_path: Path) -> None:
    program = (
        "import os, socket, sys, threading, time\n"
        "for _ in range(50): threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)\n"
    )
    for number in range(5):
        place = str(tmp_path / str(number))
        with subprocess.Popen([sys.executable, "-c", program, place], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            kill_whole(process.pid)
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(place)
    kill_whole(process.pid)


def test_processes_that_end_while_they_are_listed_are_left_out() -> None:
    shell = subprocess.Popen(["/bin/sh", "-c", "while :; do (:); /bin/true; done"])
    try:
        for _ in range(1_000):
            descendants(shell.pid)
    finally:
        shell.kill()
        shell.wait()
