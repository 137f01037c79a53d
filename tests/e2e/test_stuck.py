"""A command that the kernel holds, so that KILL does not end it: told of, and no stop waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from e2e.running import TASKMAN, Running, is_alive
from hung import HungFileSystem
from wait import wait_until

pytestmark = pytest.mark.real

JOBS = """
    [jobs.reader]
    every = "1h"
    timeout = "{timeout}"
    kill_timeout = "200ms"
    command = "echo $$ > pid; exec stat hung/file"
"""


def taskman(directory: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [TASKMAN, *arguments],
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
        cwd=directory,
        text=True,
        capture_output=True,
        check=False,
    )
    assert code == done.returncode, done.stderr
    return done.stdout


def begin(running: Running, hung: HungFileSystem) -> tuple[str, int]:
    """Let the command run into the file system; return its run and its process."""
    running.wait_for_log("1 job from")
    run = taskman(running.directory, "trigger", "reader").split()[2]
    hung.hold()
    return run, int(running.wait_for("pid")[0])


def last_run(directory: Path) -> tuple[str, str, str]:
    [row] = json.loads(taskman(directory, "history", "reader", "--json"))
    return row["run"], row["state"], row["detail"]


@pytest.mark.parametrize("how", ["stop --now", "INT, INT"])
def test_a_stop_leaves_without_a_command_that_kill_does_not_end(tmp_path: Path, how: str) -> None:
    with HungFileSystem(tmp_path / "hung") as hung, Running(tmp_path, JOBS.format(timeout="1h")) as running:
        run, pid = begin(running, hung)
        if how == "stop --now":
            taskman(tmp_path, "stop", "--now")
        else:
            running.send(signal.SIGINT)
            running.wait_for_log("stopping")
            running.send(signal.SIGINT)
        assert (130 if how == "INT, INT" else 0) == running.end()
        assert is_alive(pid)
        assert last_run(tmp_path) == (run, "lost", f"was killed and did not end (pid {pid})")


def test_while_nobody_stops_it_is_told_of_and_its_end_is_seen(tmp_path: Path) -> None:
    with HungFileSystem(tmp_path / "hung") as hung, Running(tmp_path, JOBS.format(timeout="1s")) as running:
        run, pid = begin(running, hung)
        running.wait_for_log(f"run {run} was killed, and its process {pid} does not end")
        assert "does not end after KILL" in taskman(tmp_path, "status")
        kinds = [json.loads(line)["kind"] for line in taskman(tmp_path, "events", "--json").splitlines()]
        assert kinds.count("stuck") == 1
        hung.let_go()
        wait_until(lambda: last_run(tmp_path)[1] == "timed_out", what="its end")
        taskman(tmp_path, "stop")
        assert running.end() == 0


def test_without_a_scheduler_a_stop_leaves_and_the_next_start_watches_the_command(tmp_path: Path) -> None:
    jobs = JOBS.format(timeout="1h")
    with HungFileSystem(tmp_path / "hung") as hung:
        with Running(
            tmp_path, '[taskman]\nrestart_delay = "1h"\nrestart_delay_max = "1h"\n' + jobs
        ) as running:
            run, pid = begin(running, hung)
            os.kill(running.scheduler_pid(), signal.SIGKILL)
            running.wait_for_log("starting it again")
            running.send(signal.SIGINT)
            running.send(signal.SIGQUIT)
            assert running.end() == 1
            assert "leaving 1 command behind" in running.log
        with Running(tmp_path, jobs) as running:
            running.wait_for_log(f"run {run} outlived its supervisor, watching {pid}")
            running.send(signal.SIGTERM)
            assert running.end() == 0
            assert is_alive(pid)
            assert last_run(tmp_path)[1] == "lost"
