"""A scheduler or supervisor that is stopped: every command says so, and what nobody waits for is not done."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from e2e.running import Running, one_ahead
from e2e.test_control_verbs import Terminal
from wait import wait_until

from taskman_cli.instance.silence import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = """
[jobs.job]
every = "1h"
command = "echo >> marks"
[jobs.long]
every = "1h"
run_on_start = true
command = "echo >> up; sleep 600"
"""


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Running]]:
    """Have the next scheduler start while a test goes on."""
    with one_ahead(lambda: Running(tmp_path_factory.mktemp("stopped"), JOBS)) as take:
        yield take


@pytest.fixture
def terminal(take: Callable[[], Running]) -> Iterator[Terminal]:
    """Return a second terminal beside a running scheduler."""
    with take() as running:
        wait_until(lambda: running.lines("up"), timeout_s=30, what=f"a command: {running.log}")
        yield Terminal(running)


def stop_process(pid: int) -> None:
    """Stop a process as `kill -STOP` does."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", what="a stopped process")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["trigger", "job"],
        ["once", "echo >> marks"],
        ["wait", "long"],
        ["cancel", "long"],
        ["stop"],
    ],
    ids=" ".join,
)
def test_a_stopped_scheduler_is_named_and_what_nobody_waits_for_is_not_done(
    terminal: Terminal, arguments: list[str]
) -> None:
    pid = terminal.running.scheduler_pid()
    stop_process(pid)
    said = terminal.ask(*arguments, code=3)
    assert f"the scheduler (process {pid}, state T) is stopped: continue it with kill -CONT {pid}" in said
    os.kill(pid, signal.SIGCONT)
    assert "long" in terminal.ask("status")
    assert terminal.running.lines("marks") == []
    kinds = {json.loads(line)["kind"] for line in terminal.ask("events", "--json").splitlines()}
    assert not kinds & {"triggered", "once", "cancelled", "stopping"}


def test_who_waits_for_a_run_hears_of_a_scheduler_that_is_stopped_meanwhile(terminal: Terminal) -> None:
    waiting = terminal.start("trigger", "long", "--force", "--wait")
    terminal.running.wait_for("up", lines=2)
    pid = terminal.running.scheduler_pid()
    stop_process(pid)
    _, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, f"kill -CONT {pid}" in said) == (3, True)
    os.kill(pid, signal.SIGCONT)


def test_a_scheduler_that_was_stopped_for_a_moment_is_waited_for(terminal: Terminal) -> None:
    pid = terminal.running.scheduler_pid()
    stop_process(pid)
    asking = terminal.start("trigger", "job")
    wait_until(lambda: state_of(asking.pid) == "S", what="a command that waits")
    os.kill(pid, signal.SIGCONT)
    said, _ = asking.communicate(timeout=60)
    assert (asking.returncode, "run" in said) == (0, True)
    terminal.running.wait_for("marks")


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_stopped_supervisor_is_named(terminal: Terminal, verb: str) -> None:
    pid = terminal.running.process.pid
    stop_process(pid)
    assert f"process {pid}, state T" in terminal.ask("status")
    said = terminal.ask(verb, code=3)
    assert f"the supervisor (process {pid}, state T) is stopped: continue it with kill -CONT {pid}" in said
    os.kill(pid, signal.SIGCONT)
