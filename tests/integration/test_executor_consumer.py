"""A long-running program of the user's own, which is given tasks as lines of JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.executing import Attempt, begin, order, with_executor
from process_table import is_alive
from wait import wait_until

from taskman_cli.executors.base import Absent, CannotStop, ConnectionLost, Result, StartFailed
from taskman_cli.executors.consumer import ConsumerExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

CONSUMER = r"""
import base64, json, os, signal, sys, time

def say(type, **fields):
    print(json.dumps({"type": type, **fields}), flush=True)

def output(id, data):
    say("output", id=id, data=base64.b64encode(data).decode())

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
held = {}
for line in sys.stdin:
    message = json.loads(line)
    id = message["id"]
    if message["type"] == "cancel":
        if held.get(id) == "wait":
            output(id, ("cancelled by " + message["signal"]).encode())
            say("done", id=id, exit_code=130)
        continue
    command = message["command"]
    word, _, rest = command.partition(" ") if isinstance(command, str) else ("array", "", "")
    held[id] = word
    if word == "silent":
        continue
    if word != "hasty":
        say("accepted", id=id)
    if word == "echo":
        output(id, rest.encode())
        say("done", id=id, exit_code=0)
    elif word == "hasty":
        say("done", id=id)
    elif word == "exit":
        say("done", id=id, exit_code=int(rest), error="as told")
    elif word == "error":
        say("done", id=id, error="it broke")
    elif word == "signal":
        say("done", id=id, signal=json.loads(rest))
    elif word == "odd":
        say("done", id=id, exit_code=json.loads(rest))
    elif word == "show":
        output(id, json.dumps(message).encode())
        say("done", id=id, exit_code=0)
    elif word == "pid":
        output(id, str(os.getpid()).encode())
        say("done", id=id, exit_code=0)
    elif word == "whoami":
        output(id, json.dumps([os.getresuid(), os.getgroups(), os.environ.get("HOME"), os.getcwd()]).encode())
        say("done", id=id, exit_code=0)
    elif word == "die":
        print("out of ideas", file=sys.stderr, flush=True)
        os._exit(int(rest))
    elif word == "mute":
        if rest:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1)
        while True:
            time.sleep(1)
    elif word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        output(id, b"ready")
        while True:
            time.sleep(1)
    elif word == "wait":
        output(id, b"ready\n")
    elif word == "stop":
        output(id, b"ready\n")
        os.kill(os.getpid(), signal.SIGSTOP)
    elif word == "progress":
        say("progress", id=id, part=0.25, words="a quarter")
        say("progress", id=id, part="much", words=7)
        say("done", id=id, exit_code=0)
    elif word == "garbage":
        print("not json\n[]\n{\"type\": \"done\"}\n" + "[" * 100000)
        sys.stdout.buffer.write(b"\xff\xfe\n")
        say("output", id="nobody", data="")
        say("output", id=id, data="not base64!")
        say("output", id=id, data=7)
        say("dance", id=id)
        sys.stdout.flush()
        os.write(1, b"x" * (3 << 20) + b"\n")
        say("done", id=id, exit_code=0)
        say("done", id=id, exit_code=1)
    elif word == "much":
        for _ in range(100):
            output(id, b"x" * 500000)
        say("done", id=id, exit_code=0)
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    return {"command": [sys.executable, "-u", str(script)]}


def executor_of(settings: dict[str, Any]) -> ConsumerExecutor:
    return ConsumerExecutor("mine", settings, dict(os.environ))


def outcomes(
    settings: dict[str, Any], *commands: Any, scribe: Callable[[str], None] | None = None, **fields: Any
) -> list[tuple[Result, Attempt]]:
    """Have commands carried out one after the other."""

    async def body(executor: ConsumerExecutor) -> list[tuple[Result, Attempt]]:
        executor.scribe = scribe
        found = []
        for number, command in enumerate(commands):
            attempt = begin(executor, order(f"r{number}.main.1", command=command, **fields))
            found.append((await attempt.task, attempt))
        return found

    made: list[tuple[Result, Attempt]] = with_executor(lambda: executor_of(settings), body)
    return made


@pytest.mark.parametrize(
    ("command", "expected", "text"),
    [
        ("echo hello\nworld", Result(exit_code=0), "hello\nworld"),
        ("hasty", Result(exit_code=0), ""),
        ("exit 3", Result(exit_code=3, error="as told"), ""),
        ("error", Result(error="it broke"), ""),
        ('signal "TERM"', Result(signal=15, error=""), ""),
        ("signal 9", Result(signal=9, error=""), ""),
        (
            'signal "NONE"',
            Result(error="the consumer answered with signal 'NONE': there is no such signal"),
            "",
        ),
        ("signal 0", Result(error="the consumer answered with signal 0: there is no such signal"), ""),
        ("signal [1]", Result(error="the consumer answered with signal [1]: there is no such signal"), ""),
        (
            'odd "3"',
            Result(error="the consumer answered with exit_code '3': it must be a number from 0 to 255"),
            "",
        ),
        (
            "odd 256",
            Result(error="the consumer answered with exit_code 256: it must be a number from 0 to 255"),
            "",
        ),
        (
            "odd true",
            Result(error="the consumer answered with exit_code True: it must be a number from 0 to 255"),
            "",
        ),
    ],
)
def test_the_end_of_a_task_is_what_the_consumer_says(
    settings: dict[str, Any], command: str, expected: Result, text: str
) -> None:
    ((result, attempt),) = outcomes(settings, command)
    assert (result, attempt.text, attempt.started.is_set()) == (expected, text, True)


def test_one_process_carries_out_all_tasks(settings: dict[str, Any]) -> None:
    (_, first), (_, second) = outcomes(settings, "pid", "pid")
    assert first.text == second.text


def test_a_task_line_has_all_that_the_job_says(settings: dict[str, Any]) -> None:
    ((_, attempt),) = outcomes(
        settings,
        "show",
        env={"A": "\udcff", "TASKMAN_JOB": "load"},
        cwd="/srv",
        stdin=b"\xff",
        resources={"db": 2},
        deadline_ns=4_000_000_000 * 1_000_000_000,
    )
    assert json.loads(attempt.text) == {
        "type": "task",
        "id": "r0.main.1",
        "job": "load",
        "task": "main",
        "run": "r1",
        "attempt": 1,
        "command": "show",
        "env": {"A": "\udcff", "TASKMAN_JOB": "load"},
        "cwd": "/srv",
        "stdin": base64.b64encode(b"\xff").decode(),
        "resources": {"db": 2},
        "deadline": "2096-10-02T07:06:40+00:00",
    }


def test_progress_is_passed_on(settings: dict[str, Any]) -> None:
    ((_, attempt),) = outcomes(settings, "progress")
    assert attempt.told == [(0.25, "a quarter"), (None, "")]


def test_odd_lines_harm_nobody_and_are_told(settings: dict[str, Any]) -> None:
    told: list[str] = []
    (first, attempt), (second, _) = outcomes(settings, "garbage", "echo on", scribe=told.append)
    assert (first.exit_code, second.exit_code, attempt.text) == (0, 0, "")
    for words in (
        "a line is no JSON object: b'not json'",
        "about no task that it has: id None",
        "about no task that it has: id 'nobody'",
        "is not base64",
        "'dance' is no type of line",
        "a line is longer than 1 MiB",
        "a line of type 'done' is about no task that it has: id 'r0.main.1'",
    ):
        assert any(line.startswith("the consumer: ") and words in line for line in told), words


def test_only_the_first_odd_lines_are_told(settings: dict[str, Any]) -> None:
    told: list[str] = []
    outcomes(settings, *["garbage"] * 4, scribe=told.append)
    assert len(told) == 20
    assert [line.endswith("; more such lines are not told") for line in told] == [False] * 19 + [True]


@pytest.mark.parametrize("is_stubborn", [False, True], ids=["ends by TERM", "stubborn"])
def test_a_consumer_that_closes_its_output_is_ended(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, is_stubborn: bool
) -> None:
    """It cannot answer any more: what it has would run for ever."""
    monkeypatch.setattr("taskman_cli.executors.consumer._GRACE_S", 0.2)
    command = "mute stubborn" if is_stubborn else "mute"

    async def body(executor: ConsumerExecutor) -> int | None:
        attempt = begin(executor, order(command=command))
        with pytest.raises(ConnectionLost, match="the consumer has closed its standard output"):
            await attempt.task
        assert await executor.probe(attempt.order) == Absent("the consumer has closed its standard output")
        return (await begin(executor, order("r2.main.1", command="echo on")).task).exit_code

    assert with_executor(lambda: executor_of(settings), body) == 0


def test_much_output_passes(settings: dict[str, Any]) -> None:
    ((result, attempt),) = outcomes(settings, "much")
    assert (result.exit_code, len(attempt.output)) == (0, 50_000_000)


def test_tasks_of_a_consumer_that_dies_are_lost_and_the_next_one_has_a_new_consumer(
    settings: dict[str, Any],
) -> None:
    async def body(executor: ConsumerExecutor) -> int | None:
        attempts = [
            begin(executor, order(f"r{number}.main.1", command=command))
            for number, command in enumerate(["wait", "die 3", "echo later"])
        ]
        for attempt in attempts[:2]:
            with pytest.raises(ConnectionLost, match="the consumer ended: exit 3: out of ideas"):
                await attempt.task
        why = "the consumer ended: exit 3: out of ideas"
        assert await executor.probe(attempts[0].order) == Absent(why)
        return (await attempts[2].task).exit_code

    assert with_executor(lambda: executor_of(settings | {"concurrency": 2}), body) == 0


def test_no_more_tasks_than_its_concurrency_are_in_its_hands(settings: dict[str, Any]) -> None:
    async def body(executor: ConsumerExecutor) -> list[bool]:
        attempts = [begin(executor, order(f"r{number}.main.1", command="wait")) for number in range(3)]
        await attempts[0].until(lambda: attempts[0].text and attempts[1].text)
        before = [attempt.started.is_set() for attempt in attempts]
        for attempt in attempts[:2]:
            await executor.signal(attempt.work, signal.SIGTERM)
        await attempts[2].until(lambda: attempts[2].text)
        await executor.signal(attempts[2].work, signal.SIGTERM)
        return before

    assert with_executor(lambda: executor_of(settings | {"concurrency": 2}), body) == [True, True, False]


def signalled(settings: dict[str, Any], command: str, *numbers: int) -> tuple[Result, Attempt]:
    async def body(executor: ConsumerExecutor) -> tuple[Result, Attempt]:
        attempt = begin(executor, order(command=command))
        await attempt.until(lambda: "ready" in attempt.text)
        for number in numbers:
            await executor.signal(attempt.work, number)
        return await attempt.task, attempt

    made: tuple[Result, Attempt] = with_executor(lambda: executor_of(settings), body)
    return made


def test_a_cancel_line_comes_first(settings: dict[str, Any]) -> None:
    result, attempt = signalled(settings, "wait", signal.SIGTERM)
    assert result.exit_code == 130
    assert attempt.text == "ready\ncancelled by TERM"


def test_a_task_cannot_be_stopped_and_that_is_told(settings: dict[str, Any]) -> None:
    async def body(executor: ConsumerExecutor) -> str:
        attempt = begin(executor, order(command="wait"))
        await attempt.until(lambda: "ready" in attempt.text)
        with pytest.raises(CannotStop, match="a consumer's task cannot be stopped"):
            await executor.signal(attempt.work, signal.SIGSTOP)
        for number in (signal.SIGCONT, signal.SIGINT):
            await executor.signal(attempt.work, number)
        await attempt.task
        return attempt.text

    assert with_executor(lambda: executor_of(settings), body) == "ready\ncancelled by INT"


@pytest.mark.parametrize("command", ["stubborn", "stop"])
def test_a_consumer_that_does_not_listen_is_killed(
    settings: dict[str, Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskman_cli.executors.consumer._GRACE_S", 0.2)
    result, _ = signalled(settings, command, signal.SIGTERM, signal.SIGKILL)
    assert result.signal == signal.SIGKILL


def test_a_task_that_is_never_accepted_is_lost(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskman_cli.executors.consumer._ACCEPT_LIMIT_S", 0.3)
    with pytest.raises(ConnectionLost, match=r"did not accept the task within 0.3 s"):
        outcomes(settings, "silent")


def test_a_task_that_is_given_up_is_cancelled_and_its_consumer_goes_on(settings: dict[str, Any]) -> None:
    async def body(executor: ConsumerExecutor) -> tuple[int | None, str]:
        attempt = begin(executor, order(command="wait"))
        await attempt.until(lambda: attempt.text)
        attempt.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt.task
        return (await begin(executor, order("r2.main.1", command="echo on")).task).exit_code, attempt.text

    assert with_executor(lambda: executor_of(settings), body) == (0, "ready\n")


def test_a_program_that_is_not_there_is_no_start() -> None:
    with pytest.raises(StartFailed, match="cannot run /nowhere/consumer: no such file or directory"):
        outcomes({"command": ["/nowhere/consumer"]}, "echo x")


def test_a_user_that_is_not_there_is_no_start(settings: dict[str, Any]) -> None:
    with pytest.raises(StartFailed, match="there is no user nosuchuser"):
        outcomes(settings | {"user": "nosuchuser"}, "echo x")


def test_a_string_is_run_by_the_shell_and_closing_ends_all_of_it(settings: dict[str, Any]) -> None:
    words = " ".join(settings["command"])
    ((_, attempt),) = outcomes({"command": f"{words}; exit 0"}, "pid")
    wait_until(lambda: not is_alive(int(attempt.text)), what="the consumer of a shell")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_runs_as_its_user_in_its_directory(settings: dict[str, Any]) -> None:
    account = pwd.getpwnam("nobody")
    command = ["/usr/bin/python3", "-u", "-c", CONSUMER]
    ((_, attempt),) = outcomes({"command": command, "user": "nobody", "cwd": "/usr"}, "whoami")
    ids, groups, home, cwd = json.loads(attempt.text)
    assert (ids, home, cwd) == ([account.pw_uid] * 3, account.pw_dir, "/usr")
    assert 0 not in groups


def test_the_check_finds_the_program_without_starting_it(settings: dict[str, Any]) -> None:
    async def body(executor: ConsumerExecutor) -> bool:
        (finding,) = await executor.check()
        assert executor._line is None
        return finding.is_good

    assert with_executor(lambda: executor_of(settings), body)
    assert not with_executor(lambda: executor_of({"command": ["no-such-program"]}), body)
