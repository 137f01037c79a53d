"""A keeper by itself, spoken to as a Dask worker does."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process_table import cpu_s, is_alive
from wait import wait_until

from taskman_cli.supervisor.wire import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator


class Keeper:
    """One of the test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.doors: list[Channel] = []
        read_end, write_end = os.pipe()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(100)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "taskman_cli.executors.keeper", str(path)],
                stdin=listener.fileno(), stdout=subprocess.DEVNULL, stderr=write_end,
            )  # fmt: skip
        os.close(write_end)
        os.close(read_end)  # as when what took the worker's messages has ended before it

    def door(self) -> Channel:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        self.doors.append(Channel(sock))
        return self.doors[-1]

    def ask(self, door: Channel, *requests: tuple[Any, ...]) -> Any:
        """Ask, as owner "o", and return the replies."""
        door.send([("ask", 1, "o", 60.0, list(requests))])
        heard: list[Any] = []

        def hear() -> bool:
            heard.extend(door.receive() or [])
            return bool(heard)

        wait_until(hear, what="an answer of the keeper")
        return heard[0][2]


@contextmanager
def a_keeper(path: Path) -> Iterator[Keeper]:
    keeper = Keeper(path)
    try:
        yield keeper
    finally:
        for door in keeper.doors:
            door.close()
        keeper.process.send_signal(signal.SIGCONT)
        keeper.process.terminate()
        keeper.process.wait(30)


def sleeper(**more: Any) -> dict[str, Any]:
    spec = {"argv": [b"sleep", b"1000"], "env": [], "cwd": None, "stdin": None, "umask": None, "nice": 0}
    return {**spec, **more}


def test_a_worker_that_is_gone_before_it_is_answered_takes_no_keeper_with_it(tmp_path: Path) -> None:
    with a_keeper(tmp_path / "k") as keeper:
        stays, goes = keeper.door(), keeper.door()
        assert keeper.ask(stays, ("start", "h", 1, sleeper())) == [("started",)]
        keeper.process.send_signal(signal.SIGSTOP)
        goes.send([("ask", 1, "o", 60.0, [("stand", "h", 0)])])
        goes.close()
        keeper.process.send_signal(signal.SIGCONT)
        assert keeper.ask(stays, ("stand", "h", 0)) == [("running",)]


def test_nonsense_is_told_where_nobody_listens_and_nothing_ends_of_it(tmp_path: Path) -> None:
    with a_keeper(tmp_path / "k") as keeper:
        stays, odd = keeper.door(), keeper.door()
        assert keeper.ask(stays, ("start", "h", 1, sleeper())) == [("started",)]
        odd.send([("ask", 1, "o", "soon", [])])
        wait_until(lambda: odd.receive() is None, what="the end of that connection")
        assert keeper.ask(stays, ("stand", "h", 0)) == [("running",)]


def test_a_stopped_keeper_ends_what_runs_and_itself(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with a_keeper(tmp_path / "k") as keeper:
        argv = [b"sh", b"-c", b'echo $$ >"$0"; exec sleep 1000', os.fsencode(pid_file)]
        assert keeper.ask(keeper.door(), ("start", "h", 1, sleeper(argv=argv))) == [("started",)]
        pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text().strip()))
    assert not is_alive(pid)


def test_who_comes_while_there_are_no_descriptors_waits_and_costs_nothing(tmp_path: Path) -> None:
    with a_keeper(tmp_path / "k") as keeper:
        first = keeper.door()
        assert keeper.ask(first, ("stand", "h", 0)) == [("absent",)]
        pid = keeper.process.pid
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, most[1]))
        second = keeper.door()
        before_s = cpu_s(pid)
        time.sleep(1)
        assert cpu_s(pid) - before_s < 0.2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, most)
        assert keeper.ask(second, ("stand", "h", 0)) == [("absent",)]
