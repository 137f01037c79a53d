"""Clients that list thousands of jobs of a running scheduler: quick, silent and leaving ones."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from resource import RLIMIT_NOFILE, getrlimit
from typing import TYPE_CHECKING

import pytest
from command_line import call
from e2e.running import Running
from process_table import resident_bytes, status_of
from wait import wait_until

from taskman_cli.cli.support.scheduler_client import list_jobs
from taskman_cli.control.client import connect
from taskman_cli.control.place import address_of
from taskman_cli.core.protocol import ListJobs, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 3_000
JOBS = '[jobs.job]\nevery = "1h"\ncommand = "echo >> marks"\n' + "".join(
    f'[jobs.job-{number}]\nevery = "1h"\ncommand = "true"\ndescription = "{"x" * 200}"\n'
    for number in range(1, COUNT)
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("3,000 jobs")
        yield running


def ask(running: Running, *arguments: str) -> str:
    environ = os.environ | {"STATE_DIRECTORY": str(running.directory / "state")}
    return call([*arguments], env=environ, check=True, text=True).stdout


def connected(running: Running) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    with address_of(running.directory / "state" / "taskman.sock") as address:
        sock.connect(address)
    return sock


def test_many_clients_find_room_for_their_descriptors(running: Running) -> None:
    assert int(status_of(running.scheduler_pid())["FDSize"]) >= min(1024, getrlimit(RLIMIT_NOFILE)[0])


def test_clients_that_do_not_read_keep_neither_others_waiting_nor_memory(running: Running) -> None:
    names = [item["job"] for item in json.loads(ask(running, "list", "--json", "--fields", "job"))]
    assert names == ["job", *(f"job-{number}" for number in range(1, COUNT))]
    before = resident_bytes(running.scheduler_pid())
    mute = [connected(running) for _ in range(50)]
    for sock in mute:
        sock.sendall(encode(ListJobs()) * 3)
    ask(running, "trigger", "job", "--wait")
    assert len(running.lines("marks")) == 1
    assert len(json.loads(ask(running, "list", "--json"))) == COUNT
    # A whole list is over a megabyte, and they have asked for 150 of them.
    assert resident_bytes(running.scheduler_pid()) - before < 50_000_000
    # One that begins to read gets all three, and those that leave disturb nobody.
    for sock in mute[1:]:
        sock.close()
    with mute[0].makefile("rb") as replies:
        lists = [json.loads(replies.readline()) for _ in range(3)]
    mute[0].close()
    assert [(reply["ok"], [item["job"] for item in reply["jobs"]]) for reply in lists] == [(True, names)] * 3
    assert ask(running, "list", "--after", names[-2]).splitlines()[-1].split()[0] == names[-1]


def test_a_list_that_a_restart_interrupts_is_asked_for_again(running: Running) -> None:
    pid = running.scheduler_pid()
    # More patient than the commands: a busy machine takes longer to start a scheduler with so many jobs.
    with ThreadPoolExecutor(1) as pool, connect(running.directory / "state", patience_s=60) as connection:
        os.kill(pid, signal.SIGSTOP)
        running.send(signal.SIGUSR1)
        asked = pool.submit(list_jobs, connection, ListJobs(fields=["job"], brief=True), itemgetter("job"))
        os.kill(pid, signal.SIGCONT)
        names = asked.result(60)
    assert names == ["job", *(f"job-{number}" for number in range(1, COUNT))]
    wait_until(lambda: running.scheduler_pid() != pid, what="another scheduler")
