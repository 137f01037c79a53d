"""`taskman test`: a job in the foreground, in the very surroundings that the scheduler's commands have."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

DUMP = (
    "pwd; umask; id -u; env | grep -v -e ^TASKMAN_ -e ^_= | sort; "
    "test -t 1 || echo no tty; readlink /proc/self/fd/0"
)
JOBS = f"""
[jobs.dump]
every = "1h"
run_on_start = true
env = {{ MINE = "yes" }}
command = '{DUMP}'
[jobs.code]
every = "1h"
command = 'exit 3'
[jobs.killed]
every = "1h"
command = 'kill -USR1 $$'
[jobs.slow]
every = "1h"
command = 'trap "exit 0" TERM; echo up; while :; do sleep 0.02; done'
timeout = "1s"
[jobs.deaf]
every = "1h"
command = 'trap "" TERM; while :; do sleep 0.02; done'
timeout = "1s"
kill_timeout = "100ms"
[jobs.patient]
every = "1h"
command = 'trap "echo caught; exit 7" INT; echo up; while :; do sleep 0.02; done'
[jobs.missing]
every = "1h"
command = ["no-such-program"]
[jobs.nowhere]
every = "1h"
cwd = "/nowhere"
command = "true"
[jobs.group]
every = "1h"
mode = "sequence"
tasks = {{ one = "echo 1", two = "exit 5", three = "echo 3" }}
[jobs.both]
every = "1h"
tasks = {{ one = "exit 5", two = "echo 2" }}
[jobs.place]
every = "1h"
cwd = "/tmp"
umask = "027"
command = 'pwd; umask; echo "$TASKMAN_JOB $TASKMAN_TASK $TASKMAN_TRIGGER $TASKMAN_ATTEMPT $X"'
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "jobs.toml").write_text(JOBS)
    return tmp_path


def trial(there: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"STATE_DIRECTORY": str(there / "state")} | options.pop("env", {})  # type: ignore[operator]
    return subprocess.run(
        [TASKMAN, "test", *arguments],
        check=False, capture_output=True, text=True, timeout=60, cwd=there, env=env, **options,
    )  # type: ignore[call-overload]  # fmt: skip


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        ("code", 3, "main failed: exit 3 after "),
        ("killed", 128 + signal.SIGUSR1, "main failed: killed by SIGUSR1 after "),
        ("slow", 124, "main timed out: exit 0 after "),
        ("deaf", 128 + signal.SIGKILL, "main timed out: killed by SIGKILL after "),
        ("missing", 127, "main could not be started: not found: no-such-program"),
        ("nowhere", 126, "main could not be started: no such directory: /nowhere (cwd)"),
        ("group", 5, "not run after that: three"),
        ("both", 5, "two succeeded: exit 0 after "),
        ("group.three", 0, "three succeeded: exit 0 after "),
    ],
)
def test_it_exits_with_the_commands_code_and_says_how_it_went(
    job: str, code: int, words: str, there: Path
) -> None:
    result = trial(there, job, "jobs.toml")
    assert code == result.returncode
    assert words in result.stderr
    assert "it is not recorded" in result.stderr
    assert not (there / "state").exists()


def test_differences_are_printed_once_for_all_tasks(there: Path) -> None:
    told = trial(there, "both", "jobs.toml").stderr
    assert [
        line.removeprefix("taskman: ").partition(";")[0] for line in told.splitlines() if "test of" in line
    ] == ["test of both.one", "test of both.two"]
    assert told.count("different from your shell:") == 1


def test_it_says_if_the_shell_is_left_out(there: Path) -> None:
    line = f"cd {there} && A=1 printenv A >>log"
    for number, (command, runs) in enumerate(((line, line), (f"{line};", f"/bin/sh -c '{line};'"))):
        (there / "one.toml").write_text(f'[jobs.one]\nevery = "1h"\ncommand = "{command}"\n')
        told = trial(there, "one", "one.toml").stderr
        assert f"  runs       {runs}" in told.splitlines()
        assert (there / "log").read_text() == "1\n" * (number + 1)


def test_quiet_leaves_nothing_but_what_the_command_prints(there: Path) -> None:
    result = trial(there, "place", "jobs.toml", "--quiet", "--env", "X=a b")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["/tmp", "0027", "place main manual 1 a b"]


def test_a_command_finds_what_it_finds_under_the_scheduler(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS, "--no-live") as running:
        running.wait_for_log("dump: succeeded")
        (output,) = (tmp_path / "state" / "output" / "dump").iterdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        result = subprocess.run(
            [TASKMAN, "test", "dump", "--state-dir", str(tmp_path / "state")],
            check=False, capture_output=True, text=True, timeout=60, cwd=elsewhere,
            env={"PATH": "/nowhere", "HOME": "/nowhere"}, umask=0o077,
        )  # fmt: skip
        assert output.read_text() == result.stdout
        assert f"process {running.process.pid}" in result.stderr
        assert f"directory  {tmp_path} (yours: {elsewhere})" in result.stderr


def test_without_a_scheduler_its_surroundings_are_bare(there: Path) -> None:
    result = trial(there, "dump", "jobs.toml", env={"SSH_AUTH_SOCK": "x"})
    lines = result.stdout.splitlines()
    assert lines[:2] == ["/", "0022"]
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= {"PATH", "HOME", "SHELL", "USER", "LOGNAME", "PWD", "MINE"}
    assert {"PATH", "HOME", "PWD", "MINE"} <= names
    assert lines[-2:] == ["no tty", "/dev/null"]
    assert "not running: using a minimal environment" in result.stderr


def test_ctrl_c_goes_to_the_command(there: Path) -> None:
    env = os.environ | {"STATE_DIRECTORY": str(there / "state")}
    with subprocess.Popen(
        [TASKMAN, "test", "patient", "jobs.toml", "--quiet"], cwd=there, env=env, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"caught\n"
    assert process.returncode == 7


def on_terminal(there: Path, job: str) -> str:
    """Run a job with `taskman test` on a terminal, and return what that shows."""
    main, terminal = pty.openpty()
    env = os.environ | {"STATE_DIRECTORY": str(there / "state")}
    process = subprocess.Popen(
        [TASKMAN, "test", job, "jobs.toml"],
        cwd=there,
        env=env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = bytearray()

    def is_over() -> bool:
        try:
            seen.extend(os.read(main, 65536))
        except OSError:
            return True
        return False

    wait_until(is_over, what="the end of the terminal")
    os.close(main)
    assert process.wait(30) == 0
    return seen.decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
def test_another_user_s_command_does_not_steer_our_terminal(public_path: Path) -> None:
    printed = "printf '\\\\033[2J\\\\033[31mred\\\\n'"
    command = f'every = "1h"\ncwd = "/"\ncommand = "{printed}"\n'
    (public_path / "jobs.toml").write_text(f'[jobs.own]\n{command}[jobs.other]\nuser = "games"\n{command}')
    assert "\x1b[2J\x1b[31mred\r\n" in on_terminal(public_path, "own")
    shown = on_terminal(public_path, "other")
    assert "\\x1b[2J\x1b[31mred\r\n\x1b[0m" in shown
    assert "\x1b[2J" not in shown


def test_on_a_terminal_the_command_has_none_and_what_it_prints_comes_through(there: Path) -> None:
    text = on_terminal(there, "dump")
    assert "no tty" in text
    assert "terminal   none" in text
    assert text.index("not recorded") < text.index("no tty") < text.index("main succeeded: exit 0")


def test_without_a_scheduler_and_a_job_file_it_says_that_it_needs_one(tmp_path: Path) -> None:
    result = trial(tmp_path, "code")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no scheduler runs: give a job file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["cod", "jobs.toml"], 4, 'there is no job "cod" (did you mean "code"?)'),
        (["group.four", "jobs.toml"], 4, "its tasks are: one, two, three"),
        (["code", "nowhere.toml"], 2, "nowhere.toml"),
        (["code", "jobs.toml", "--env", "X"], 2, "X"),
        ([], 2, "JOB"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, words: str, there: Path) -> None:
    result = trial(there, *arguments)
    assert (code, "") == (result.returncode, result.stdout)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
