"""Functions and consumers as jobs, with the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line import call
from e2e.running import TASKMAN
from process_table import children, is_alive, kill
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


class Scheduler:
    """A `taskman run FILE` of a test."""

    def __init__(self, directory: Path, file: Path) -> None:
        self._directory = directory
        self._env = os.environ | {"STATE_DIRECTORY": str(directory / "state")}
        with (directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [TASKMAN, "run", str(file), "--no-live", "-v"], cwd=directory, env=self._env, stderr=log
            )
        wait_until(lambda: self.ask("status", check=False), what="the scheduler")

    def ask(self, *arguments: str, check: bool = True) -> str:
        done = call(arguments, env=self._env, cwd=self._directory, text=True, check=check)
        return str(done.stdout)

    def history(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("history", job, "--json"))
        return found

    def ended(self, job: str, state: str) -> dict[str, Any]:
        """Wait for the last run of a job to have a state."""
        rows = wait_until(
            lambda: [row for row in self.history(job)[:1] if row["state"] == state], what=f"{job} {state}"
        )
        return rows[0]


@contextmanager
def scheduler(directory: Path, file: Path) -> Iterator[Scheduler]:
    one = Scheduler(directory, file)
    try:
        yield one
    finally:
        kill(one.process.pid, signal.SIGTERM)
        one.process.wait(30)


JOBS = """
import os, subprocess, time
from taskman_cli.jobs import current, job

@job(every="1h")
def quick(days=7):
    print("quick", days, current().job)
    return [1, 2]

@job(every="1h", kill_timeout="5s")
def slow():
    print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)
    time.sleep(1000)

@job(every="1h")
def broken():
    raise ValueError("no such thing")
"""


def test_functions_run_are_cancelled_and_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "jobs.py"
    file.write_text(JOBS)
    with scheduler(tmp_path, file) as taskman:
        taskman.ask("trigger", "quick")
        taskman.ended("quick", "succeeded")
        assert taskman.ask("log", "quick") == "quick 7 quick\nreturn value: [1, 2]\n"
        taskman.ask("trigger", "broken")
        assert "ValueError: no such thing" in json.dumps(taskman.ended("broken", "failed"))
        taskman.ask("trigger", "slow")
        wait_until(lambda: taskman.ask("log", "slow", check=False).strip(), what="output of slow")
        taskman.ask("cancel", "slow")
        taskman.ended("slow", "cancelled")
        assert "Cancelled: asked to end by SIGTERM" in taskman.ask("log", "slow")

        file.write_text(JOBS.replace("days=7", "days=8"))
        taskman.ask("reload")
        taskman.ask("trigger", "quick")
        wait_until(lambda: len(taskman.history("quick")) == 2, what="a second run")
        taskman.ended("quick", "succeeded")
        assert taskman.ask("log", "quick").startswith("quick 8")

        file.write_text(JOBS + "\nraise OSError('half written')\n")
        refused = subprocess.run(
            [TASKMAN, "reload"],
            env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert refused.returncode == 2
        assert f"{file}:19:1: cannot be imported: OSError: half written" in refused.stderr
        assert taskman.ask("list").count("every 1h") == 3


def test_a_call_goes_on_while_the_scheduler_is_replaced_and_ends_with_taskman(tmp_path: Path) -> None:
    file = tmp_path / "jobs.py"
    file.write_text(JOBS)
    with scheduler(tmp_path, file) as taskman:
        taskman.ask("trigger", "slow")
        wait_until(lambda: taskman.ask("log", "slow", check=False).strip(), what="output of slow")
        child = int(taskman.ask("log", "slow"))
        kill(json.loads(taskman.ask("status", "--json"))["pid"], 0)
        taskman.ask("restart")
        assert is_alive(child)
        wait_until(lambda: taskman.history("slow")[0]["state"] == "running", what="it to be adopted")
        kill(taskman.process.pid, signal.SIGKILL)
        taskman.process.wait(30)
        wait_until(lambda: not is_alive(child), what="what the call had started")
    with scheduler(tmp_path, file) as taskman:
        taskman.ended("slow", "lost")
        taskman.ask("trigger", "quick")
        taskman.ended("quick", "succeeded")
        assert children(taskman.process.pid)


def test_the_example_of_a_consumer_carries_tasks_out(tmp_path: Path) -> None:
    with scheduler(tmp_path, EXAMPLES / "consumer" / "jobs.toml") as taskman:
        taskman.ask("trigger", "reverse")
        taskman.ended("reverse", "succeeded")
        assert taskman.ask("log", "reverse") == "stressed\ndesserts\nlevel\n"


def test_odd_lines_of_a_consumer_are_in_the_log(tmp_path: Path) -> None:
    program = tmp_path / "odd"
    program.write_text("#!/bin/sh\necho nonsense\nexec cat >/dev/null\n")
    program.chmod(0o755)
    file = tmp_path / "jobs.toml"
    file.write_text(
        f'[executors.odd]\ntype = "consumer"\ncommand = ["{program}"]\n'
        '[jobs.a]\nevery = "1h"\nexecutor = "odd"\ncommand = "x"\n'
    )
    with scheduler(tmp_path, file) as taskman:
        taskman.ask("trigger", "a")
        words = "executor odd: the consumer: a line is no JSON object: b'nonsense'"
        wait_until(lambda: words in (tmp_path / "log").read_text(), what="the line in the log")


def test_the_example_in_python_runs(tmp_path: Path) -> None:
    with scheduler(tmp_path, EXAMPLES / "jobs.py") as taskman:
        taskman.ask("trigger", "load")
        taskman.ended("load", "succeeded")
        assert "return value: " in taskman.ask("log", "load")
