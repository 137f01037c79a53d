"""`taskman run --ephemeral`: where its state is, who finds it, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from command_line import call
from e2e.running import TASKMAN, Running
from people import Person
from process_table import is_alive
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = '[jobs.hello]\nevery = "1h"\nrun_on_start = true\ncommand = "echo it is me"\n'


class Ephemeral(Running):
    """A `taskman run --ephemeral` whose temporary directory is the test's own."""

    #: Where taskman is not.
    PATH = "/usr/bin:/bin"

    @property
    def env(self) -> dict[str, str]:
        own = {"TMPDIR": self.tmp, "HOME": self.directory, "STATE_DIRECTORY": self.directory / "kept"}
        return self._environ | {name: str(path) for name, path in own.items()} | {"PATH": self.PATH}

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    @property
    def states(self) -> list[Path]:
        """Return the throw-away states that there are."""
        return sorted(self.tmp.glob("taskman-ephemeral-*"))

    def ask(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Return the result of a command that looks for an instance."""
        return call([*words], text=True, env=self.env | environ)


@pytest.fixture
def place(public_path: Path) -> Path:
    (public_path / "tmp").mkdir()
    (public_path / "tmp").chmod(0o1777)
    return public_path


@pytest.fixture
def running(place: Path) -> Iterator[Ephemeral]:
    with Ephemeral(place, JOBS, "--ephemeral") as running:
        running.wait_for_log("hello: succeeded")
        yield running


def test_the_state_is_private_told_and_removed_at_the_end(running: Ephemeral) -> None:
    (state,) = running.states
    assert (state.stat().st_mode & 0o777, state.stat().st_uid) == (0o700, os.geteuid())
    assert f"the state is kept in a temporary directory, removed at the end: {state}" in running.log
    # The shell does not find this one by its name.
    commands = [f"{TASKMAN} {words}" for words in ("status", "why hello", "log hello")]
    assert f"next, in another terminal: {', '.join(commands)}" in running.log
    running.send(signal.SIGTERM)
    assert running.end() == 0
    assert list(running.tmp.iterdir()) == []


def test_commands_find_it_and_read_its_ledger(running: Ephemeral) -> None:
    assert "hello" in running.ask("list").stdout
    assert running.ask("log", "hello").stdout == "it is me\n"
    assert "succeeded" in running.ask("history").stdout
    assert running.ask("why", "hello").returncode == 0
    assert running.ask("events", "--json").returncode == 0
    assert running.ask("restart").returncode == 0
    wait_until(lambda: running.ask("status").returncode == 0)
    assert running.ask("stop").returncode == 0
    assert running.end() == 0
    assert running.ask("status").returncode == 3


def test_a_kept_instance_that_runs_wins(running: Ephemeral, tmp_path: Path) -> None:
    jobs = JOBS.replace("hello", "kept")
    with Running(tmp_path, jobs) as kept:
        kept.wait_for_log("kept: succeeded")
        place = str(tmp_path / "state")
        assert "kept" in running.ask("list", STATE_DIRECTORY=place).stdout
        assert "kept" in running.ask("history", STATE_DIRECTORY=place).stdout
        kept.send(signal.SIGTERM)
        assert kept.end() == 0
    # Now the other one is all that runs; but the ledger was chosen.
    assert "hello" in running.ask("list", STATE_DIRECTORY=place).stdout
    assert "kept" in running.ask("history", STATE_DIRECTORY=place).stdout


def test_a_kept_ledger_that_is_only_the_default_is_named(running: Ephemeral) -> None:
    environ = {"STATE_DIRECTORY": "", "XDG_STATE_HOME": str(running.directory / "xdg")}
    default = running.directory / "xdg" / "taskman"
    default.mkdir(parents=True)
    (default / "ledger.db").touch()
    told = running.ask("log", "hello", **environ)
    assert told.stdout == "it is me\n"
    if os.geteuid() != 0:  # root's default is not the test's own
        assert f"for the kept ledger: --state-dir {default}" in told.stderr


def test_of_two_one_has_to_be_chosen(running: Ephemeral) -> None:
    with Ephemeral(running.directory, JOBS, "--ephemeral") as other:
        other.wait_for_log("hello: succeeded")
        told = running.ask("status")
        assert (told.returncode, "choose one with --state-dir" in told.stderr) == (2, True)
        first, second = running.states
        for state in (first, second):
            assert str(state) in told.stderr
            assert running.ask("status", "--state-dir", str(state)).returncode == 0
        # What the second one says to type next is about itself.
        assert any(f" status --state-dir {state}, " in other.log for state in (first, second))


def test_beside_an_instance_that_is_named_it_says_where_it_is(place: Path) -> None:
    environ = {**os.environ, "TASKMAN_INSTANCE": "office"}
    # The example is a job that has something to show.
    late = '[jobs.late]\ncron = "0 0 1 1 *"\ncommand = "true"\n'
    with Ephemeral(place, late + JOBS, "--ephemeral", environ=environ) as running:
        running.wait_for_log("hello: succeeded")
        (state,) = running.states
        commands = [
            f"{TASKMAN} {words} --state-dir {state}" for words in ("status", "why hello", "log hello")
        ]
        assert f"next, in another terminal: {', '.join(commands)}" in running.log
        assert "hello" in running.ask("list", "--state-dir", str(state)).stdout


def test_one_that_was_killed_is_tidied_up_by_the_next_start(running: Ephemeral) -> None:
    (left,) = running.states
    scheduler = running.scheduler_pid()
    running.send(signal.SIGKILL)
    running.end()
    wait_until(lambda: not is_alive(scheduler))
    assert running.states == [left]
    assert running.ask("status").returncode == 3
    with Ephemeral(running.directory, JOBS, "--ephemeral", "-q") as other:
        wait_until(lambda: running.ask("status").returncode == 0)
        assert left not in other.states
        other.send(signal.SIGTERM)
        assert (other.end(), other.log) == (0, "")


def test_one_in_use_is_not_tidied_up(running: Ephemeral) -> None:
    (state,) = running.states
    with Ephemeral(running.directory, JOBS, "--ephemeral", "--for", "1ms") as other:
        assert other.end() == 0
    assert running.states == [state]
    assert running.ask("log", "hello").stdout == "it is me\n"


def test_the_state_outlives_a_scheduler_that_is_killed(running: Ephemeral) -> None:
    running.kill_scheduler()
    running.wait_for_log("starting it again")
    wait_until(lambda: running.ask("status").returncode == 0)
    assert running.ask("log", "hello").stdout == "it is me\n"
    assert running.log.count("the state is kept") == 1


def test_nothing_is_left_of_a_start_that_fails(place: Path) -> None:
    with Ephemeral(place, "nonsense", "--ephemeral") as running:
        assert running.end() == 2
    assert list((place / "tmp").iterdir()) == []


def test_a_given_instance_contradicts_it_and_the_environment_does_not(place: Path) -> None:
    with Ephemeral(place, JOBS, "--ephemeral", "-i", "a") as running:
        assert running.end() == 2
        assert "leave out -i and --state-dir" in running.log
    environ = os.environ | {"TASKMAN_INSTANCE": "a"}
    with Ephemeral(place, JOBS, "--ephemeral", "--for", "1ms", environ=environ) as running:
        assert running.end() == 0


def test_a_temporary_directory_that_others_rule_is_refused(place: Path) -> None:
    (place / "tmp").chmod(0o777)
    with Ephemeral(place, JOBS, "--ephemeral") as running:
        assert running.end() == 1
        assert "other users could replace it (chmod +t" in running.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_another_user_makes_there_is_not_looked_at(place: Path, mallory: Person) -> None:
    trap = place / "tmp" / "taskman-ephemeral-mine"

    def set_trap() -> None:
        trap.mkdir(mode=0o700)
        (trap / "lock").write_text(f"{os.getpid()}\n")
        (place / "tmp" / "taskman-ephemeral-link").symlink_to("/etc")

    mallory.does(set_trap)
    with Ephemeral(place, JOBS, "--ephemeral", "--for", "1ms") as running:
        assert running.end() == 0
        assert running.ask("status").returncode == 3
    assert sorted(path.name for path in (place / "tmp").iterdir()) == [
        "taskman-ephemeral-link",
        "taskman-ephemeral-mine",
    ]
