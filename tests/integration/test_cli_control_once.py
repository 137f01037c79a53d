"""`taskman once`: what it hands to a scheduler, and what it does where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from integration.fake_scheduler import NOW_NS, SECOND_NS, FakeScheduler, end
from integration.following import TASKMAN, Following
from integration.ledger_builder import LedgerBuilder
from wait import wait_until

from taskman_cli.__main__ import main
from taskman_cli.cli.trial import foreground
from taskman_cli.control.client import connect
from taskman_cli.core.limits import MOST_ARGUMENT_BYTES
from taskman_cli.core.protocol import Wait
from taskman_cli.instance.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

RUN = "67aw64ddpp"
REPLY = {"job": "once-1", "at_ns": NOW_NS, "run": RUN, "state": "running"}
FINAL = {"final": True}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "Europe/Stockholm")
    time.tzset()
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeScheduler]:
    """A scheduler, on a morning in November."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    scheduler = FakeScheduler(tmp_path / "state")
    scheduler.answers["once"] = [REPLY]
    yield scheduler
    scheduler.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start `taskman once` as a process of its own."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following(tmp_path / f"out{len(started)}", "once", *arguments))
        return started[-1]

    yield start
    for following in started:
        following.close()


# --- with a scheduler ---


def test_it_hands_over_the_callers_circumstances(
    scheduler: FakeScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ODD", "\udcff=x")
    before = os.umask(0o027)
    try:
        assert main(["once", "make all", "--env", "A=1", "--name", "build"]) == 0
    finally:
        os.umask(before)
    request = scheduler.request
    assert ("make all", "build", str(tmp_path), 0o027) == (
        request.command,
        request.name,
        request.cwd,
        request.umask,
    )
    assert dict(os.environ) | {"A": "1"} == request.env
    assert (request.at_ns, request.wait, request.batch) == (None, False, False)
    assert capsys.readouterr().out == f"once-1  Tue 2026-11-24 05:00:00+01:00  running now, run {RUN}\n"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        pytest.param(["echo hi; echo ho"], "echo hi; echo ho", id="one string"),
        pytest.param(["--", "echo", "-n", "a b"], ["echo", "-n", "a b"], id="words"),
        pytest.param(["--", "ls", "--", "-x"], ["ls", "--", "-x"], id="words with --"),
        pytest.param(["--", "ls", "--at", "5pm"], ["ls", "--at", "5pm"], id="words like our options"),
    ],
)
def test_one_string_is_for_the_shell_and_words_are_run_as_they_stand(
    words: list[str], command: str | list[str], scheduler: FakeScheduler
) -> None:
    assert main(["once", "--batch", *words]) == 0
    assert (command, True) == (scheduler.request.command, scheduler.request.batch)


@pytest.mark.parametrize(
    ("options", "at_s"),
    [
        pytest.param(["--in", "90s"], 90, id="in"),
        pytest.param(["--at", "now + 2 hours"], 7_200, id="a shift"),
        pytest.param(["--at", "06:30"], 5_400, id="a time of day in the machine's zone"),
        pytest.param(["--at", "2026-11-24T06:00:00+00:00"], 7_200, id="iso 8601"),
    ],
)
def test_it_is_for_the_time_that_was_given(options: list[str], at_s: int, scheduler: FakeScheduler) -> None:
    assert main(["once", "true", *options]) == 0
    assert NOW_NS + at_s * SECOND_NS == scheduler.request.at_ns


def test_now_is_now(scheduler: FakeScheduler) -> None:
    assert main(["once", "true", "--at", "now"]) == 0
    assert None is scheduler.request.at_ns


def test_it_says_when_a_later_one_will_run(scheduler: FakeScheduler, capsys: Captured) -> None:
    at_ns = NOW_NS + 7_200 * SECOND_NS + 5
    scheduler.answers["once"] = [REPLY | {"at_ns": at_ns, "run": None, "state": "waiting"}]
    assert main(["once", "true", "--in", "2h"]) == 0
    assert capsys.readouterr().out == "once-1  Tue 2026-11-24 07:00:00+01:00  in 2h 00m\n"


def test_waiting_exits_with_the_commands_code(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["once"] = [REPLY, end(state="failed", job="once-1", exit_code=42) | FINAL]
    assert main(["once", "exit 42", "--wait"]) == 42
    assert scheduler.request.wait


def test_a_scheduler_that_is_restarted_meanwhile_is_waited_for_on(scheduler: FakeScheduler) -> None:
    scheduler.answers["once"] = [REPLY | {"run": None, "state": "waiting"}]
    scheduler.leaves_after = {"once"}
    scheduler.answers["wait"] = [{"runs": []}, {"runs": [end(state="failed")], "timed_out": False} | FINAL]
    assert main(["once", "true", "--in", "1h", "--wait"]) == 3
    assert Wait(target="once-1") == scheduler.request


def test_another_directory_is_the_commands_and_its_pwd(
    scheduler: FakeScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("PWD", str(tmp_path))
    assert main(["once", "true", "--cwd", "sub/../sub"]) == 0
    assert (str(tmp_path / "sub"),) * 2 == (scheduler.request.cwd, scheduler.request.env["PWD"])


def test_a_command_is_read_from_standard_input(scheduler: FakeScheduler) -> None:
    result = subprocess.run([TASKMAN, "once"], input=b"cd /tmp\necho hi\n", capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert scheduler.request.command == "cd /tmp\necho hi"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(b"", "no command", id="nothing"),
        pytest.param(b"\n \n", "no command", id="blanks"),
        pytest.param(b"echo \0", "contains a NUL character", id="nul"),
        pytest.param(b"x" * (MOST_ARGUMENT_BYTES + 1), "put it into a script", id="too long"),
    ],
)
def test_an_invalid_command_from_standard_input_is_refused(
    given: bytes, said: str, scheduler: FakeScheduler
) -> None:
    result = subprocess.run([TASKMAN, "once"], input=given, capture_output=True, check=False)
    assert result.returncode in (1, 2)
    assert said in result.stderr.decode()
    assert scheduler.requests == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["echo", "hi there"], "taskman once -- echo 'hi there'", id="several words"),
        pytest.param(["echo", "hi there"], "taskman once 'echo hi there'", id="several words, for the shell"),
        pytest.param(["echo", "-n", "x"], "in quotes, or after --", id="an option of the command's"),
        pytest.param(["echo", "--", "x"], "not both", id="before and after --"),
        pytest.param(["--"], "there is no command after --", id="nothing after --"),
        pytest.param(["  "], "the command is empty", id="blanks"),
        pytest.param(["true", "--at", "5pm", "--in", "1h"], "give --at or --in, not both", id="two times"),
        pytest.param(["true", "--in", "1"], 'add a unit to the number: "1s"', id="no unit"),
        pytest.param(["true", "--at", "25:00"], "--at", id="no such time"),
        pytest.param(["true", "--at", "2020-01-01T00:00"], "--at", id="a time that is over"),
        pytest.param(["true", "--name", "a.b"], "is not a valid job name", id="name"),
        pytest.param(["true", "--cwd", "nowhere"], "nowhere is not a directory", id="directory"),
        pytest.param(["true", "--env", "X"], "write NAME=value", id="variable"),
    ],
)
def test_wrong_usage_is_an_error_that_says_what_to_do(
    words: list[str], said: str, scheduler: FakeScheduler, capsys: Captured
) -> None:
    assert main(["once", *words]) == 2
    assert said in capsys.readouterr().err
    assert scheduler.requests == []


# --- without a scheduler ---


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["exit 42"], 42, id="exit code"),
        pytest.param(["true"], 0, id="success"),
        pytest.param(["kill -9 $$"], 137, id="signal"),
        pytest.param(["--", "sh", "-c", "exit 7"], 7, id="without a shell"),
        pytest.param(["--", "./there-is-no-such-program"], 127, id="not found"),
        pytest.param(["--", "/etc/passwd"], 126, id="not executable"),
    ],
)
def test_without_a_scheduler_it_runs_here_and_exits_with_the_commands_code(
    words: list[str], code: int, start: Any
) -> None:
    assert (lambda ended: (ended[0], b"running the command in the foreground" in ended[1]))(
        start(*words).end()
    ) == (
        code,
        True,
    )


def test_without_a_scheduler_the_command_has_the_callers_circumstances(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    before = os.umask(0o027)
    try:
        running = start(
            "--cwd", "sub", "--env", "A=1 2", 'pwd; umask; echo "$A"; cat; ps -o pgid= -p $$; echo $$'
        )
    finally:
        os.umask(before)
    assert running.end()[0] == 0
    lines = running.output.decode().splitlines()
    assert lines[:3] == [str(tmp_path / "sub"), "0027", "1 2"]
    assert lines[3].strip() == lines[4].strip(), "it leads a process group of its own"


def test_without_a_scheduler_it_waits_for_its_time(start: Any, tmp_path: Path) -> None:
    before = time.monotonic()
    running = start("--in", "700ms", "--name", "x", "true")
    code, err = running.end()
    assert code == 0
    assert time.monotonic() - before >= 0.7
    assert b"waiting until " in err
    assert b"the name has no effect: without a scheduler" in err
    assert b"\x1b" not in err


def test_ctrl_c_while_it_waits_gives_it_up(start: Any) -> None:
    running = start("--in", "1h", "touch made")
    wait_until(lambda: b"waiting until" in os.read(running.process.stderr.fileno(), 4096))
    assert running.interrupt() == 130


def test_a_command_does_not_run_beside_a_scheduler_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "state").mkdir()
    monkeypatch.setattr("taskman_cli.cli.commands.once.connect", partial(connect, patience_s=0))
    lock_fd = take_lock(tmp_path / "state")
    try:
        assert main(["once", "touch made"]) == 3
    finally:
        os.close(lock_fd)
    assert "runs with the state in" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_signals_are_passed_on_to_the_command(signum: int, start: Any) -> None:
    name = signal.Signals(signum).name.removeprefix("SIG")
    running = start(f"trap 'echo caught; exit 5' {name}; echo ready; while :; do sleep 0.05; done")
    running.wait_for(b"ready")
    running.process.send_signal(signum)
    assert running.end()[0] == 5
    assert b"caught" in running.output


def test_batch_waits_until_the_load_is_low(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    loads = iter([50.0, 50.0, 50.0, 0.8 * 4, 0.8 * 4 - 0.01])
    slept: list[float] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (next(loads), 0.0, 0.0))
    monkeypatch.setattr(foreground.time, "sleep", slept.append)
    assert main(["once", "--batch", "exit 3"]) == 3
    assert slept == [5.0, 5.0]
    assert "waiting for a load below 3.2 (now 50.0)" in capfd.readouterr().err


def test_a_terminal_shows_a_countdown(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [TASKMAN, "once", "--in", "1500ms", "echo done"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = b""
        while b"done" not in screen:
            screen += os.read(ours, 4096)
        assert process.wait(30) == 0
    os.close(ours)
    assert b"\rin 1." in screen
    assert b"\rin 1.0s" in screen


# --- --follow, --json ---


def test_follow_prints_the_output_alone_and_exits_with_the_code(
    scheduler: FakeScheduler, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("once-1")
    builder.attempt(run, output_bytes=6)
    builder.output_path("once-1", run).write_text("hello\n")
    builder.close()
    ended = end(run, "failed", job="once-1", exit_code=42)
    scheduler.answers["once"] = [REPLY | {"run": run}, ended | FINAL]
    assert main(["once", "--follow", "echo hello; exit 42"]) == 42
    assert scheduler.request.wait
    out, err = capfd.readouterr()
    assert out == "hello\n"
    assert [line.split(" ", 1)[0] for line in err.splitlines()] == ["taskman:", "taskman:"]


def test_follow_of_a_later_one_prints_the_output_of_its_run(
    scheduler: FakeScheduler, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    builder.run("note", at=-500)  # an earlier one of the same name
    run = builder.run("note")
    builder.attempt(run, output_bytes=6)
    builder.output_path("note", run).write_text("hello\n")
    builder.close()
    waiting = REPLY | {"job": "note", "run": None, "state": "waiting"}
    scheduler.answers["once"] = [waiting, end(run, job="note") | FINAL]
    assert main(["once", "--name", "note", "--in", "1h", "--follow", "true"]) == 0
    assert capfd.readouterr().out == "hello\n"


def test_without_a_scheduler_follow_is_what_happens_anyway_and_json_is_refused(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["once", "--follow", "echo hi; exit 3"]) == 3
    assert capfd.readouterr().out == "hi\n"
    assert main(["once", "--json", f"touch {tmp_path}/mark"]) == 3
    out, err = capfd.readouterr()
    assert (out, (tmp_path / "mark").exists()) == ("", False)
    assert "with --json the command is not run in the foreground" in err
