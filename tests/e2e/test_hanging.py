"""A scheduler that hangs, in the real program: it is replaced, and commands and slots go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import call
from e2e.running import Running
from process_table import is_alive
from wait import wait_until

SITE = Path(__file__).with_name("hanging")

JOBS = """
    [taskman]
    hang_after = "2s"
    restart_delay = "10ms"
    [jobs.tick]
    every = "500ms"
    command = "echo >> ticks"
    [jobs.long]
    at = 2020-01-01T00:00:00Z
    run_on_start = true
    command = "echo begun >> long; until test -e go; do sleep 0.1; done; echo over >> long"
"""


def taskman(directory: Path, *arguments: str) -> str:
    """Run a command of taskman, and return what it prints."""
    return call(
        [*arguments], env=os.environ | {"STATE_DIRECTORY": str(directory / "state")}, cwd=directory, text=True
    ).stdout


def goes_on(running: Running, directory: Path, first: int, words: str) -> None:
    """Check that another scheduler has taken over, that it is told why, and that all goes on."""
    running.wait_for_log(f"the scheduler (process {first}) {words}")
    wait_until(lambda: not is_alive(first), what="the first to end")
    assert running.scheduler_pid() != first
    running.wait_for_log("taking over")
    count = len(running.lines("ticks"))
    running.wait_for("ticks", lines=count + 2)
    events = [json.loads(line) for line in taskman(directory, "events", "-n", "0", "--json").splitlines()]
    (hung,) = (event for event in events if event["kind"] == "scheduler_hung")
    assert hung["detail"].startswith("the last scheduler ")
    running.path("go").touch()
    wait_until(lambda: running.lines("long") == ["begun", "over"], what="the long command")
    wait_until(
        lambda: '"state": "succeeded"' in taskman(directory, "history", "long", "--json"), what="its end"
    )


def test_a_stopped_scheduler_is_replaced(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for("long")
        running.wait_for("ticks")
        first = running.scheduler_pid()
        os.kill(first, signal.SIGSTOP)
        goes_on(running, tmp_path, first, "does not answer")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("busy", "does not answer"),
        ("asleep", "does not answer"),
        ("lock", "does not answer"),
        ("timer", "does what is due only when it is asked"),
    ],
)
def test_a_scheduler_that_does_not_get_on_is_replaced(tmp_path: Path, how: str, words: str) -> None:
    environ = os.environ | {"PYTHONPATH": str(SITE), "TASKMAN_HANG": how}
    with Running(tmp_path, JOBS, environ=environ) as running:
        running.wait_for("long")
        running.wait_for("ticks")
        first = running.scheduler_pid()
        running.path("hang").touch()
        goes_on(running, tmp_path, first, words)


def test_one_that_hangs_at_what_is_due_when_it_has_begun_is_replaced_too(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(SITE), "TASKMAN_HANG": "lock"}
    with Running(tmp_path, JOBS, environ=environ) as running:
        running.wait_for("ticks")
        running.path("hang").write_text(str(running.process.pid))
        wait_until(lambda: running.log.count(": killing it") == 3, what="the third that hangs")
        running.path("hang").unlink()
        running.wait_for("ticks", lines=len(running.lines("ticks")) + 2)


def test_when_both_processes_were_stopped_nobody_is_replaced(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS.replace('"2s"', '"4s"')) as running:
        running.wait_for("ticks")
        first = running.scheduler_pid()
        stopped = [first, running.process.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        begin = len(running.lines("ticks"))
        # Longer than `hang_after`, by the clock of another process.
        subprocess.run(["sleep", "5"], check=True)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        running.wait_for("ticks", lines=begin + 3)
        assert running.scheduler_pid() == first
        assert "killing it" not in running.log
