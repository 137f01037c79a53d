"""Sinks that run a program."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from process_table import is_alive
from unit.test_sink_messages import SCHEMA
from wait import wait_until

from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, check, check_failure, message
from taskman_cli.sinks.types import make

AROUND = Surroundings(
    environ={"PATH": os.environ["PATH"], "TOKEN": "hunter2", "HOME": "/"}, hidden=frozenset({"TOKEN"})
)


def command(given: str | list[str], *, format: str = "", **settings: Any) -> SinkDefinition:
    return SinkDefinition("run", "command", format=format, settings={"command": given, **settings})


def deliver(definition: SinkDefinition, timeout_s: float = 20.0) -> str:
    return make(definition, AROUND).deliver(message(), timeout_s)


def failure(definition: SinkDefinition, timeout_s: float = 20.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        deliver(definition, timeout_s)
    return caught.value


def test_it_stands_the_suite(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    check(command(f"cat >>{file}"), surroundings=AROUND)
    lines = file.read_text("ascii").splitlines()
    assert len(lines) == 2 * len(ODD)
    for line in lines:
        Draft202012Validator(SCHEMA).validate(json.loads(line))


def test_one_that_takes_nothing_stands_the_suite() -> None:
    assert str(check_failure(command(["false"]), surroundings=AROUND, timeout_s=30.0)) == "exit 1"
    words = str(check_failure(command("cat; sleep 600"), surroundings=AROUND))
    assert words.startswith("it took too long, and was killed: ")
    check_failure(command(["/nonexistent/program"]), surroundings=AROUND)


def test_it_finds_the_gist_in_its_environment_and_no_secret() -> None:
    words = "$TASKMAN_EVENT|$TASKMAN_JOB|$TASKMAN_RUN|$TASKMAN_EXIT_CODE|$TASKMAN_SINK|$MINE|$TOKEN|"
    answer = deliver(command(f'echo "{words}"', env={"MINE": "yes"}))
    assert answer == "exit 0: failed|backup|67ch8jhsxb|3|run|yes||"


def test_text_is_what_people_read() -> None:
    assert deliver(command("head -n 1", format="text")) == "exit 0: backup failed: exit 3"


@pytest.mark.parametrize(
    ("code", "is_final", "is_down"),
    [(1, False, False), (65, True, False), (69, False, True), (75, False, True), (127, False, False)],
)
def test_its_exit_code_says_whether_to_try_again(code: int, is_final: bool, is_down: bool) -> None:
    error = failure(command(f"echo no; exit {code}"))
    assert (str(error), error.is_final, error.is_down) == (f"exit {code}: no", is_final, is_down)


def test_a_signal_is_told_by_its_name() -> None:
    assert str(failure(command("kill -KILL $$"))) == "killed by SIGKILL"


def test_one_that_does_not_read_its_input_may_take_the_message() -> None:
    many = make(command(["true"]), AROUND)
    assert many.deliver(ODD["many lines"], 20.0) == "exit 0"
    assert many.deliver(ODD["one long line"], 20.0) == "exit 0"


def test_output_without_end_is_bounded() -> None:
    error = failure(command("yes secret-not | head -c 50000000; echo last; exit 1"))
    assert str(error).endswith("last")
    assert len(str(error)) < 300


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    failure(
        command(f"trap '' TERM; sleep 600 & echo $! >{pids}; echo $$ >>{pids}; wait; wait"), timeout_s=1.0
    )
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid))


def test_what_it_leaves_behind_does_not_hold_the_delivery(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    answer = deliver(command(f"sleep 600 & echo $! >{pid_file}; echo done"))
    assert answer == "exit 0: done"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_it_runs_as_the_user_that_is_named() -> None:
    answer = deliver(command('echo "$(id -un) $(id -Gn) $HOME $USER"', user="nobody", cwd="/"))
    assert answer == "exit 0: nobody nogroup /nonexistent nobody"
    assert str(failure(command("true", user="no-such-user"))) == "there is no user no-such-user"


def test_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    assert "No such file or directory" in str(failure(command(["true"], cwd=str(tmp_path / "none"))))
