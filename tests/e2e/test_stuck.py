"""A command that the kernel holds, so that KILL does not end it: it is reported, and no stop waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from e2e.running import TASKMAN, Running, hurried
from hung import HungFileSystem
from process_table import is_alive
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

JOBS = """
    [jobs.reader]
    every = "1h"
    timeout = "{timeout}"
    kill_timeout = "200ms"
    command = "echo $$ > pid; exec stat hung/file"
"""
#: Gives KILL up after a second, and not after ten.
IMPATIENT = hurried(
    {
        "taskman_cli.core.engine.attempts.KILL_PATIENCE_NS": 10**9,
        "taskman_cli.supervisor.limits.KILL_PATIENCE_NS": 10**9,
    }
)


def taskman(directory: Path, *arguments: str) -> str:
    with asking(directory, *arguments) as process:
        return process.communicate()[0]


@contextmanager
def asking(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, which is to succeed by the end."""
    process = subprocess.Popen(
        [TASKMAN, *arguments],
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
        cwd=directory,
        text=True,
        stdout=subprocess.PIPE,
    )
    with process:
        yield process
    assert process.returncode == 0


def last_run(directory: Path) -> tuple[str, str, str]:
    [row] = json.loads(taskman(directory, "history", "reader", "--json"))
    return row["run"], row["state"], row["detail"]


class Scene(NamedTuple):
    """A taskman whose command hangs, and has been told to end."""

    directory: Path
    hung: HungFileSystem
    running: Running
    run: str
    pid: int


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """Begin all of them at once: each test waits for the time after which KILL is given up."""
    with ExitStack() as stack:

        def begin(name: str, *, timeout: str = "1h", settings: str = "") -> Scene:
            directory = tmp_path_factory.mktemp("scene")
            hung = stack.enter_context(HungFileSystem(directory / "hung"))
            jobs = settings + JOBS.format(timeout=timeout)
            running = stack.enter_context(Running(directory, jobs, environ=IMPATIENT))
            running.wait_for_log("1 job from")
            run = taskman(directory, "trigger", "reader").split()[2]
            hung.hold()
            made[name] = Scene(directory, hung, running, run, int(running.wait_for("pid")[0]))
            return made[name]

        made: dict[str, Scene] = {}
        begin("timeout", timeout="1s")
        begin("stop --now")
        stack.enter_context(asking(made["stop --now"].directory, "stop", "--now"))
        interrupted = begin("INT, INT").running
        interrupted.send(signal.SIGINT)
        interrupted.wait_for_log("stopping")
        interrupted.send(signal.SIGINT)
        alone = begin("alone", settings='[taskman]\nrestart_delay = "1h"\nrestart_delay_max = "1h"\n').running
        alone.kill_scheduler()
        alone.wait_for_log("starting it again")
        alone.send(signal.SIGQUIT)  # it is too urgent to start a scheduler for it
        yield made


@pytest.mark.parametrize(("how", "code"), [("stop --now", 0), ("INT, INT", 130)])
def test_a_stop_leaves_without_a_command_that_kill_does_not_end(
    scenes: dict[str, Scene], how: str, code: int
) -> None:
    scene = scenes[how]
    assert scene.running.end() == code
    assert is_alive(scene.pid)
    assert last_run(scene.directory) == (
        scene.run,
        "lost",
        f"was killed and did not end (pid {scene.pid})",
    )


def test_while_nobody_stops_it_is_told_of_and_its_end_is_seen(scenes: dict[str, Scene]) -> None:
    directory, hung, running, run, pid = scenes["timeout"]
    running.wait_for_log(f"run {run} was killed, and its process {pid} does not end")
    assert "does not end after KILL" in taskman(directory, "status")
    kinds = [json.loads(line)["kind"] for line in taskman(directory, "events", "--json").splitlines()]
    assert kinds.count("stuck") == 1
    hung.let_go()
    wait_until(lambda: last_run(directory)[1] == "timed_out", what="its end")
    taskman(directory, "stop")
    assert running.end() == 0


def test_without_a_scheduler_a_stop_leaves_and_the_next_start_watches_the_command(
    scenes: dict[str, Scene],
) -> None:
    directory, _, running, run, pid = scenes["alone"]
    assert running.end() == 1
    assert "leaving 1 command behind" in running.log
    with Running(directory, JOBS.format(timeout="1h")) as heir:
        heir.wait_for_log(f"run {run} outlived its supervisor, watching {pid}")
        heir.send(signal.SIGTERM)
        assert heir.end() == 0
        assert is_alive(pid)
        assert last_run(directory)[1] == "lost"
