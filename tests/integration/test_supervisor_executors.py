"""The real supervisor and processes of executors: those that hang, die, or say what is no message."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, make_spec, start_sleep
from process_table import children, command_line, is_alive
from stand_in_executor import installed
from wait import wait_until

from taskman_cli.supervisor import wire
from taskman_cli.supervisor.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGV = [sys.executable, "-P", "-m", "taskman_cli.executors.process"]
SECOND_NS = 1_000_000_000
META = ("run", "job", "main", 1, None, "slot", "far/x")


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    constants = {
        "PING_NS": SECOND_NS // 2,
        "BEGIN_PATIENCE_NS": SECOND_NS // 2,
        "STOP_PATIENCE_NS": SECOND_NS,
    }
    environ = installed(tmp_path / "plug", os.environ)
    supervision = Supervision(tmp_path, constants=constants, env=environ)
    yield supervision
    supervision.close()
    for file in (tmp_path / "far").glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


@pytest.fixture
def scheduler(supervision: Supervision, tmp_path: Path) -> SchedulerEnd:
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS), executors(tmp_path))
    return scheduler


def executors(directory: Path, argv: list[str] | None = None, *, lost_after_s: int = 60) -> Any:
    definition = {
        "name": "far", "type": "stand-in", "settings": {"directory": str(directory / "far")},
        "max_workers": None, "lost_after_ns": lost_after_s * SECOND_NS,
    }  # fmt: skip
    facts = {"instance": "", "ledger": "id", "state_directory": str(directory), "hidden": []}
    return "executors", {"far": {"argv": argv or ARGV, "definition": definition, "facts": facts}}


def spec(directory: Path, command: str, name: str = "x") -> dict[str, Any]:
    order = {
        "handle": name, "job": "job", "task": "main", "run": "run", "attempt": 1, "command": command,
        "env": {}, "local_env": {"PATH": os.defpath},
    }  # fmt: skip
    return {
        "executor": "far", "order": order, "path": str(directory / f"out.{name}"), "max_output": 1000,
        "error": "too old",
    }  # fmt: skip


def test_an_attempt_starts_ends_and_is_forgotten(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", spec(tmp_path, "echo hello; exit 3"), meta=META)
    assert scheduler.wait_for("started", "a")[2] == 0
    end = scheduler.wait_for("ended", "a")[2]
    assert (end["status"], end["output_bytes"]) == (3 << 8, 6)
    assert (tmp_path / "out.x").read_text() == "hello\n"
    scheduler.send(("forget", ["a"]))
    wait_until((tmp_path / "far" / "forgotten").exists)


def test_clean_ups_that_fail_are_told_once_until_one_succeeds(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    kept, forgotten = tmp_path / "far" / "kept", tmp_path / "far" / "forgotten"
    for name in "abcd":
        scheduler.start(name, spec(tmp_path, "true", name), meta=META)
        scheduler.wait_for("ended", name)
        if name == "c":
            kept.unlink()
        else:
            kept.touch()
        scheduler.send(("forget", [name]))
        if name == "c":
            wait_until(forgotten.exists)
    told = "executor far: what is kept of {} cannot be removed: RuntimeError: nothing can be removed"
    wait_until(lambda: told.format("d") in supervision.stderr())
    assert [name for name in "abcd" if told.format(name) in supervision.stderr()] == ["a", "d"]


def test_the_next_scheduler_hears_of_it(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("a", spec(tmp_path, "while [ ! -e go ]; do sleep 0.01; done; exit 3"), meta=META)
    wait_until((tmp_path / "far" / "started").exists)
    scheduler.kill()
    another = supervision.accept()
    [(key, meta, pid, _, _, end, ending)] = another.hello["attempts"]
    assert (key, meta, pid, end, ending) == ("a", META, 0, None, "")
    another.send(executors(tmp_path))
    another.signal("a", 9, "cancelled")
    assert another.wait_for("ended", "a")[2]["status"] == 9


def test_what_was_surely_not_begun_before_a_crash_waits_to_begin_anew(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "unbegun").touch()
    scheduler.send(("attach", "a", META, spec(tmp_path, "echo hello"), 1, 2))
    failed = scheduler.wait_for("failed", "a")
    assert (failed[3], failed[4]) == ("executor far: no trace of it", True)
    scheduler.start("a", spec(tmp_path, "echo hello"), meta=META)
    assert scheduler.wait_for("ended", "a")[2]["status"] == 0
    assert (tmp_path / "out.x").read_text() == "hello\n"


def test_an_order_that_cannot_be_read_fails_its_attempt_and_no_other(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    odd = spec(tmp_path, "true") | {"order": {"of": "another version"}}
    good = spec(tmp_path, "echo hello", "y")
    scheduler.send(("start", "a", META, odd), ("attach", "b", META, odd, 1, 2), ("start", "c", META, good))
    failed = scheduler.wait_for("failed", "a")
    assert (failed[3].partition(":")[0], failed[4]) == ("cannot take the message start a", False)
    assert "cannot take the message adopt b" in scheduler.wait_for("ended", "b")[2]["lost"]
    assert scheduler.wait_for("ended", "c")[2]["status"] == 0


def test_an_executor_that_nobody_defines_fails_its_attempts(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    odd = spec(tmp_path, "true") | {"executor": "near"}
    assert scheduler.fail("a", odd) == (0, "cannot be started: there is no executor near", False)
    scheduler.send(("attach", "b", META, odd, 1, 2))
    assert scheduler.wait_for("gone", "b")[2] == "executor near is not defined any more"


def test_a_process_that_hangs_is_replaced(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("a", spec(tmp_path, "while [ ! -e go ]; do sleep 0.01; done; exit 3"), meta=META)
    wait_until((tmp_path / "far" / "started").exists)
    scheduler.start("b", spec(tmp_path, "block", "y"), meta=META)
    scheduler.wait_for("unheard", "a")
    assert "does not answer: killing it" in supervision.stderr()
    end = scheduler.wait_for("ended", "b")[2]
    assert (end["lost"], end["is_over"]) == ("no trace of it", True)
    scheduler.signal("a", 15, "cancelled")
    assert scheduler.wait_for("ended", "a")[2]["status"] == 9  # nobody was left to say 15


def test_a_want_of_files_is_no_failure_of_the_job(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", spec(tmp_path, "want"), meta=META)
    failed = scheduler.wait_for("failed", "a")
    assert failed[3] == "executor far: OSError: [Errno 24] Too many open files"
    assert (failed[4], failed[7]) == (True, True)


def test_what_is_never_begun_counts_as_started_after_a_while_and_can_be_killed(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("a", spec(tmp_path, "unstarted"), meta=META)
    scheduler.wait_for("started", "a")
    scheduler.signal("a", 15, "cancelled")
    scheduler.signal("a", 9)
    end = scheduler.wait_for("ended", "a")[2]
    assert end["status"] == 9
    assert "killed before it was known to have begun" in end["error"]


def test_a_start_that_is_asked_for_early_waits_for_a_seat(tmp_path: Path) -> None:
    environ = installed(tmp_path / "plug", os.environ)
    supervision = Supervision(tmp_path, constants={"EARLY_PATIENCE_NS": 3600 * SECOND_NS}, env=environ)
    try:
        scheduler = supervision.accept()
        scheduler.send(("seats", 1), ("configure", NUMBERS), executors(tmp_path))
        scheduler.start("a", spec(tmp_path, "while [ ! -e go ]; do sleep 0.01; done", "x"), meta=META)
        scheduler.send(*(("start", name, META, spec(tmp_path, "true", name), True) for name in "bc"))
        scheduler.wait_for("started", "a")
        started = tmp_path / "far" / "started"
        assert started.read_text() == "x\n"
        scheduler.signal("c", signal.SIGTERM, "cancelled")
        scheduler.wait_for("returned", "c")
        scheduler.signal("a", signal.SIGKILL)
        scheduler.wait_for("ended", "b")
        assert started.read_text() == "x\nb\n"
    finally:
        supervision.close()


def test_a_program_that_is_not_there_holds_only_its_own_starts_up(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.send(executors(tmp_path, ["/no/such/program"]))
    scheduler.start("a", spec(tmp_path, "true"), meta=META)
    failed = scheduler.wait_for("failed", "a")
    assert failed[3] == "executor far cannot be started: No such file or directory"
    assert (failed[4], failed[7]) == (True, True)


@pytest.mark.parametrize("program", ["exit 1", "printf garbage >&0; sleep 9"], ids=["ends", "garbage"])
def test_an_executor_that_never_comes_up_loses_its_attempts_in_the_end(
    scheduler: SchedulerEnd, tmp_path: Path, program: str
) -> None:
    scheduler.send(executors(tmp_path, ["/bin/sh", "-c", program], lost_after_s=1))
    scheduler.start("a", spec(tmp_path, "true"), meta=META)
    assert scheduler.wait_for("ended", "a")[2]["lost"] == "executor far has not known of it for too long"


def test_a_stop_without_a_scheduler_ends_what_executors_carry_out(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("a", spec(tmp_path, "sleep 60"), meta=META)
    wait_until((tmp_path / "far" / "started").exists)
    scheduler.kill()
    supervision.signal(signal.SIGTERM)
    supervision.accept().kill()
    assert supervision.wait() == 1
    [code] = (tmp_path / "far").glob("*.pid")
    wait_until(lambda: not is_alive(int(code.read_text())), what="the end of what ran")


def test_kill_waits_for_no_signal_that_does_not_get_through(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/numb").touch()
    scheduler.start("a", spec(tmp_path, "exec sleep 1000"), meta=META)
    scheduler.wait_for("started", "a")
    scheduler.signal("a", 15, "cancelled")
    scheduler.signal("a", 9, "cancelled")
    assert scheduler.wait_for("ended", "a")[2]["status"] == 9


def test_a_call_fails_where_its_executor_is_of_another_type_by_now(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    call = spec(tmp_path, "true")
    call["order"] |= {"command": None, "keys": {"call": "package:function"}}
    _, words, is_transient = scheduler.fail("a", call)
    assert words == (
        "executor far: its type is stand-in now, which can make no call: the run began with another one"
    )
    assert not is_transient


def test_what_sigstop_does_not_reach_goes_on(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", spec(tmp_path, "deaf"), meta=META)
    scheduler.wait_for("started", "a")
    scheduler.signal("a", signal.SIGSTOP)
    assert scheduler.wait_for("unstoppable", "a")[2] == "RuntimeError: nobody hears this"


def test_how_an_executor_stands_is_told_when_it_changes_and_to_the_next_scheduler(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    assert scheduler.wait_for("executor", "far")[2] == {"restarts": 0, "condition": None}
    scheduler.start("a", spec(tmp_path, "exec sleep 1000"), meta=META)
    told = scheduler.wait_for("executor", "far")[2]
    assert (told["restarts"], told["condition"]["reach"]) == (0, "up")
    assert told["condition"]["workers"] is None
    scheduler.kill()
    another = supervision.accept()
    another.send(executors(tmp_path))
    assert another.wait_for("executor", "far")[2] == told
    [helper] = (pid for pid in children(supervision.pid) if "executors.process" in command_line(pid))
    os.kill(helper, signal.SIGKILL)
    assert another.wait_for("executor", "far")[2] == {"restarts": 1, "condition": None}
    assert another.wait_for("executor", "far")[2]["condition"]["reach"] == "up"
    another.signal("a", 9, "cancelled")
    another.wait_for("ended", "a")


@pytest.mark.parametrize("is_lossy", [False, True], ids=["keeps", "loses"])
def test_where_output_was_lost_with_a_connection_a_line_says_so(
    scheduler: SchedulerEnd, tmp_path: Path, is_lossy: bool
) -> None:
    _, defined = executors(tmp_path)
    defined["far"]["definition"]["settings"] |= {"lossy": True} if is_lossy else {}
    scheduler.send(("executors", defined))
    scheduler.start(
        "a", spec(tmp_path, f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.01; done"), meta=META
    )
    scheduler.wait_for("started", "a")
    down = tmp_path / "far" / "down"
    output = tmp_path / "out.x"
    wait_until(lambda: output.exists() and output.read_text() == "one\n")
    down.touch()
    assert scheduler.wait_for("unheard", "a")[2] == "the line is down"
    down.unlink()
    assert scheduler.wait_for("unheard", "a")[2] == ""
    (tmp_path / "go").touch()
    assert scheduler.wait_for("ended", "a")[2]["status"] == 0
    words = output.read_text()
    gap = "\n[taskman: the connection broke, and is back: what was printed in between is missing here]\n"
    assert words == "one\n" + (gap if is_lossy else "")


def test_one_that_is_away_says_so_and_when_it_is_back(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.wait_for("executor", "far")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "away").touch()
    scheduler.start("a", spec(tmp_path, "true"), meta=META)
    told = scheduler.wait_for("executor", "far")[2]["condition"]
    assert (told["reach"], told["words"]) == ("down", "nobody is there")
    failed = scheduler.wait_for("failed", "a")
    assert (failed[3], failed[4], failed[7]) == ("executor far: nobody is there", True, True)
    (tmp_path / "far" / "away").unlink()
    told = scheduler.wait_for("executor", "far")[2]["condition"]
    assert (told["reach"], told["words"], told["workers"]["count"]) == ("up", "", 1)


def test_an_executor_that_says_nonsense_of_itself_fails_its_attempt_alone(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", _NONSENSE, str(Path(__file__).parents[2])]
    scheduler.send(executors(tmp_path, argv))
    scheduler.start("a", spec(tmp_path, "true"), meta=META)
    wait_until(lambda: "executor far says what is no message" in supervision.stderr())
    assert scheduler.wait_for("ended", "a")[2]["status"] == 0
    # Nor does it count as one less from then on: all seats are taken by the next command.
    scheduler.send(("seats", 1))
    start_sleep(scheduler, "busy", tmp_path)
    scheduler.send(("start", "early", b"meta", make_spec(tmp_path, ["true"]), True))
    scheduler.wait_for("returned", "early")


#: A process of an executor that says of itself, and of an end, what nobody can read, and does its work.
_NONSENSE = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from taskman_cli.supervisor.wire import Channel
channel = Channel(socket.socket(fileno=0))
while True:
    import select; select.select([0], [], [])
    for message in channel.receive() or sys.exit():
        if message[0] == "start":
            channel.send([("condition", 3), ("condition",), ("ended", message[1], {"exit_code": "x"})])
            channel.send([("ended", message[1], {"exit_code": 0})])
"""


def test_an_order_that_cannot_be_passed_on_fails_and_the_others_of_its_turn_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It never happens: what has come by the same wire can go on. But this process must not end for it."""
    told: list[Any] = []
    attempts: dict[str, Any] = {}
    with select.epoll() as epoll:
        hosts = Hosts(epoll, lambda *_: None, told.append, attempts, lambda *_: None)
        what = {"argv": ["cat"], "definition": {"lost_after_ns": SECOND_NS}, "facts": {}}
        hosts.take({"one": what})
        for key, size in (("short", 1), ("long", 5000), ("another", 1)):
            order = {"command": "x" * size}
            spec = {"executor": "one", "order": order, "path": None, "max_output": 1}
            hosts.start(key, b"meta", spec, 1, 1)
        monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 2000)
        hosts.flush()
        assert [message[:2] for message in told if message[0] != "executor"] == [("failed", "long")]
        assert [key for key, remote in attempts.items() if remote.end is None] == ["short", "another"]
        (pid,) = hosts.pids
        hosts.close()
    os.waitpid(pid, 0)
