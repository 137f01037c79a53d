"""What another user can do to `taskman run` as root, played for real while it runs: he is late himself."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from e2e.running import Running
from integration.attacks import LEASER, STOPPER, attacking
from people import Person, named
from process_table import kill
from wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")

#: Root's own job, and one of mallory's.
JOBS = """
[pool]
admission = "fixed"  # on a busy machine "auto" lets each start wait, for seconds
[defaults]
overlap = "allow"
[jobs.root]
every = "100ms"
command = "echo >> {place}/ticks"
[jobs.his]
every = "100ms"
user = "{user}"
timeout = "2s"
kill_timeout = "1s"
command = {command}
"""


@pytest.fixture
def his(mallory: Person) -> Person:
    """Return an attacker with an account."""
    return named(mallory)


def ticks_go_on(running: Running, count: int) -> None:
    """Wait until root's job has so many more runs."""
    before = len(running.lines("ticks"))
    wait_until(
        lambda: len(running.lines("ticks")) >= before + count, what=lambda: f"root's runs: {running.log}"
    )


def test_who_stops_all_that_is_his_again_and_again_stops_nothing_else(public_path: Path, his: Person) -> None:
    jobs = JOBS.format(place=public_path, user=his.name, command='["true"]')
    with Running(public_path, jobs) as running, attacking(his, STOPPER):
        ticks_go_on(running, 40)
        # His own run into their time, and are ended.
        running.wait_for_log("his: timed out")
        ticks_go_on(running, 10)


def test_a_lease_on_a_program_keeps_its_owner_waiting(public_path: Path, his: Person) -> None:
    tool = public_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    his.owns(tool)
    jobs = JOBS.format(place=public_path, user=his.name, command=f'["{tool}"]')
    with attacking(his, LEASER, str(tool)), Running(public_path, jobs) as running:
        running.wait_for_log("his: timed out")
        ticks_go_on(running, 20)


def test_the_limit_of_a_user_s_processes_lets_his_starts_wait_and_no_others(
    public_path: Path, his: Person
) -> None:
    jobs = JOBS.format(place=public_path, user=his.name, command='["sleep", "600"]')
    jobs = jobs.replace('timeout = "2s"', 'timeout = "1h"')
    with Running(public_path, jobs, prefix=("prlimit", "--nproc=5")) as running:
        limit = f"cannot start a process as user {his.name} (cannot be started: "
        running.wait_for_log(limit)
        ticks_go_on(running, 40)
        waits = [line for line in running.log.splitlines() if "Resource temporarily unavailable" in line]
        assert [line for line in waits if limit not in line or "starts as this user wait" not in line] == []


def test_his_commands_have_nothing_of_root_s_environment_and_no_descriptor(
    public_path: Path, his: Person
) -> None:
    jobs = f"""
        [jobs.his]
        cron = "@reboot"
        user = "{his.name}"
        output = "inherit"
        command = "env; ls -l /proc/self/fd"
    """
    secrets = {"DB_PASSWORD": "hunter2", "LD_LIBRARY_PATH": "/root/lib", "SUDO_UID": "0"}
    with Running(public_path, jobs, "--until-idle", environ=os.environ | secrets) as running:
        assert running.end() == 0
    log = (public_path / "log").read_text()
    assert f"USER={his.name}\n" in log
    for name in (*secrets, "TASKMAN_SUPERVISOR_FD", "TASKMAN_LOCK_FD"):
        assert name not in log
    # The program looks at its own directory of descriptors.
    assert log.count(" -> ") == 4, log


def test_an_env_file_that_he_can_write_by_now_is_not_read_for_root(public_path: Path, his: Person) -> None:
    env = public_path / "env"
    env.write_text("WHO=root\n")
    jobs = f"""
        [jobs.root]
        every = "100ms"
        env_file = "{env}"
        command = "echo $WHO >> {public_path}/ticks"
    """
    with Running(public_path, jobs) as running:
        running.wait_for("ticks")
        env.chmod(0o666)
        his.does(lambda: env.write_text("WHO=mallory\nLD_PRELOAD=/tmp/his.so\n"))
        running.wait_for_log(f"anybody can write {env}, and so decide what root runs: chmod o-w {env}")
        count = len(running.lines("ticks"))
        wait_until(lambda: running.log.count("anybody can write") > 3, what="more starts")
        assert set(running.lines("ticks")) == {"root"}
        assert len(running.lines("ticks")) <= count + 1
        env.chmod(0o644)
        env.write_text("WHO=root again\n")
        wait_until(lambda: running.lines("ticks")[-1] == "root again", what="root's job goes on")


def test_a_directory_of_state_below_one_that_he_can_write_is_none(public_path: Path, his: Person) -> None:
    shared = public_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    his.does(lambda: (shared / "state").symlink_to(public_path / "elsewhere"))
    (public_path / "jobs.toml").write_text("[jobs.a]\nevery = '1h'\ncommand = 'true'\n")
    command = [sys.executable, "-m", "taskman_cli", "run", "jobs.toml", "--until-idle", "--state-dir"]
    done = subprocess.run(
        [*command, str(shared / "state")], cwd=public_path, check=False, capture_output=True, text=True
    )
    assert (done.returncode, f"anybody can write {shared}" in done.stderr) == (1, True), done.stderr
    assert not (public_path / "elsewhere").exists()


def test_a_process_that_says_to_be_root_s_run_is_not_adopted(public_path: Path, his: Person) -> None:
    """He copies what a run of root's was started with, but for its token, which nobody else can read."""
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        command = "env > env; echo $$ > pid; exec sleep 600"
    """
    with Running(public_path, jobs) as running:
        [pid] = map(int, running.wait_for("pid"))
        env = dict(line.split("=", 1) for line in running.lines("env") if line.startswith("TASKMAN_"))
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        kill(pid, signal.SIGKILL)
    # As where taskman was killed before it heard of the process: it looks for one that says to be the run.
    with closing(sqlite3.connect(public_path / "state" / "ledger.db")) as ledger:
        ledger.execute("UPDATE attempts SET pid = NULL, started_ns = NULL, started_elapsed_ns = NULL")
        ledger.commit()
    claim = env | {"TASKMAN_TOKEN": "0" * len(env["TASKMAN_TOKEN"])}
    with subprocess.Popen(
        ["sleep", "600"],
        env=os.environ | claim,
        user=his.uid,
        group=his.gid,
        extra_groups=[],
        start_new_session=True,
    ) as impostor:
        try:
            with Running(public_path, jobs) as again:
                again.wait_for_log("lost")
                assert str(impostor.pid) not in again.log
                again.send(signal.SIGTERM)
                again.end()
            assert impostor.poll() is None, "nobody has ended what is no run of ours"
        finally:
            impostor.kill()


def test_a_socket_of_metrics_that_was_opened_to_all_is_still_for_its_owner(
    public_path: Path, his: Person
) -> None:
    place = public_path / "metrics.sock"

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(place))
            with suppress(BrokenPipeError):  # who is refused is told at once, and not listened to
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(100)

    def is_answered() -> bool:
        with suppress(OSError):  # it is not there, or not listened on yet
            return ask().startswith(b"HTTP/1.1 200 ")
        return False

    def is_refused() -> None:
        assert ask().startswith(b"HTTP/1.1 403 ")

    jobs = f'[metrics]\nlisten = "{place}"\n[jobs]\nroot = "@daily true"\n'
    with Running(public_path, jobs):
        wait_until(is_answered, what="an answer")  # then nobody sets its mode any more
        place.chmod(0o666)
        his.does(is_refused)
        assert is_answered()
