"""Whatever signals are ignored or blocked when taskman is started, it works, and commands find defaults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: Ignores and blocks signals as told, then becomes what it is to start.
START = """
import os, signal, sys
ignored, blocked = ([int(number) for number in text.split()] for text in sys.argv[1:3])
for number in ignored:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
os.execv(sys.argv[3], sys.argv[3:])
"""
ALL = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
WAYS = [
    pytest.param({signal.SIGCHLD}, set(), id="CHLD-ignored"),
    pytest.param(set(), {signal.SIGCHLD}, id="CHLD-blocked"),
    pytest.param(
        {signal.SIGPIPE, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT}, set(), id="others-ignored"
    ),
    pytest.param(set(), ALL, id="all-blocked"),
    pytest.param(ALL - {signal.SIGHUP}, ALL, id="all-ignored-and-blocked"),
]
STATUS = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
JOBS = f"""
[jobs.status]
every = "1h"
run_on_start = true
command = ["sh", "-c", "{STATUS} > status"]
[jobs.kill]
every = "1h"
run_on_start = true
command = "sleep 600"
[jobs.code]
every = "1h"
command = "{STATUS}; exit 3"
"""
#: The C library's own, which nobody can set; some of its spawns leave them ignored.
INTERNAL = {32, 33}


def started_with(ignored: set[int], blocked: set[int]) -> list[str]:
    """Return what runs a program with these signals ignored and blocked."""
    lists = [" ".join(str(int(number)) for number in numbers) for numbers in (ignored, blocked)]
    return [sys.executable, "-c", START, *lists]


def found(lines: list[str]) -> tuple[set[int], set[int]]:
    """Return the signals that a command found blocked, and those that it found ignored."""
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in lines if line.startswith("Sig")}
    blocked, ignored = (
        {number for number in range(1, 65) if masks[name] >> (number - 1) & 1} - INTERNAL
        for name in ("SigBlk", "SigIgn")
    )
    return blocked, ignored


class Started(Running):
    """A `taskman run` that is started with signals ignored or blocked."""

    def __init__(self, directory: Path, ignored: set[int], blocked: set[int]) -> None:
        self.prefix = started_with(ignored, blocked)
        super().__init__(directory, JOBS)

    @property
    def argv(self) -> list[str]:
        """Return how taskman is called."""
        return [*self.prefix, TASKMAN]

    def wait_until_up(self) -> None:
        """Wait until a command has run, and its end was seen."""
        wait_until(lambda: "status: succeeded" in self.log, timeout_s=30, what=lambda: f"an end: {self.log}")


def call(directory: Path, prefix: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of taskman."""
    env = os.environ | {"STATE_DIRECTORY": str(directory / "state")}
    return subprocess.run(
        [*prefix, TASKMAN, *arguments], cwd=directory, env=env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(("ignored", "blocked"), WAYS)
def test_a_scheduler_sees_ends_and_hears_signals(
    tmp_path: Path, ignored: set[int], blocked: set[int]
) -> None:
    with Started(tmp_path, ignored, blocked) as running:
        running.wait_until_up()
        assert found(running.lines("status")) == (set(), set())
        before = running.scheduler_pid()
        running.send(signal.SIGUSR1)
        wait_until(lambda: running.scheduler_pid() != before, what="another scheduler")
        running.wait_for_log("taking over 1 run")
        (tmp_path / "jobs.toml").write_text("broken")
        running.send(signal.SIGHUP)
        running.wait_for_log("reload (SIGHUP): nothing was changed")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "kill: cancelled (killed by SIGTERM)" in running.log
        assert "Traceback" not in running.log


@pytest.mark.parametrize("target", ["supervisor", "scheduler"])
def test_under_nohup_a_hang_up_is_ignored_and_commands_find_the_default(tmp_path: Path, target: str) -> None:
    with Started(tmp_path, {signal.SIGHUP}, set()) as running:
        running.wait_until_up()
        assert found(running.lines("status")) == (set(), set())
        pid = running.process.pid if target == "supervisor" else running.scheduler_pid()
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGTERM)
        assert running.end() == 0
        assert "reload" not in running.log


class Restarted(Running):
    """A `taskman run` for which a restart waits from its first instruction on."""

    @property
    def argv(self) -> list[str]:
        """Return how taskman is called."""
        number = int(signal.SIGUSR1)
        code = START.replace("os.execv", f"os.kill(os.getpid(), {number})\nos.execv")
        return [sys.executable, "-c", code, "", str(number), TASKMAN]


def test_a_restart_that_comes_before_all_is_ready_ends_nothing(tmp_path: Path) -> None:
    with Restarted(tmp_path, JOBS) as running:
        running.wait_for("status")
        running.send(signal.SIGTERM)
        assert running.end() == 0


@pytest.mark.parametrize(("ignored", "blocked"), WAYS)
@pytest.mark.parametrize("way", [["once"], ["test", "code", "jobs.toml"]], ids=["once", "test"])
def test_a_command_in_the_foreground_ends_with_its_own_code(
    tmp_path: Path, way: list[str], ignored: set[int], blocked: set[int]
) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    command = [f"{STATUS}; exit 3"] if way == ["once"] else []
    done = call(tmp_path, started_with(ignored, blocked), *way, *command)
    assert done.returncode == 3, done.stderr
    assert found(done.stdout.splitlines()) == (set(), set())
    assert "Traceback" not in done.stderr


def test_under_nohup_a_command_of_once_is_under_it_too(tmp_path: Path) -> None:
    done = call(tmp_path, started_with({signal.SIGHUP}, set()), "once", STATUS)
    assert found(done.stdout.splitlines()) == (set(), {signal.SIGHUP})


def test_a_command_in_the_foreground_can_be_told_to_end_though_that_was_ignored(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*started_with({signal.SIGTERM}, {signal.SIGTERM}), TASKMAN, "once", "echo > up; exec sleep 600"],
        cwd=tmp_path, env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
    ) as process:  # fmt: skip
        wait_until((tmp_path / "up").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
