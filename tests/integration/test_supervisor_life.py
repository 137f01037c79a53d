"""The supervisor outlives its schedulers, leaves no zombies, and nobody's nonsense ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, make_spec, sh, start_sleep
from process_table import children, cpu_s, descendants, is_alive, state_of, status_of
from wait import wait_until

from taskman_cli.supervisor.wire import GREETING

if TYPE_CHECKING:
    from collections.abc import Callable


def has_zombies(pid: int) -> bool:
    return any(state_of(child) == "Z" for child in children(pid))


# --- schedulers come and go ---


def test_the_first_greeting_is_empty(supervision: Supervision) -> None:
    hello = supervision.accept().hello
    assert hello["started_ns"] <= time.time_ns()
    del hello["started_ns"]
    assert hello == {
        **GREETING,
        "generation": 0,
        "scheduler_ended_ns": None,
        "is_complete": True,
        "kept": {},
        "attempts": [],
        "has_manager": False,
        "has_limits": True,
        "has_executors": True,
    }


def test_a_scheduler_that_is_killed_is_started_again_and_hears_of_everything(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.run("forgotten", make_spec(tmp_path, ["true"]))
    ended = scheduler.run("ended", make_spec(tmp_path, sh("exit 3")))
    scheduler.fail("failed", make_spec(tmp_path, ["no-such-program"]))
    pid = start_sleep(scheduler, "running", tmp_path)
    scheduler.send(
        ("forget", ["forgotten", "running", "unknown"]),
        ("keep", "a", 1),
        ("keep", "b", [2]),
        ("keep", "a", None),
    )
    before_ns = time.time_ns()
    scheduler.kill()
    hello = supervision.accept().hello
    assert (hello["generation"], hello["is_complete"]) == (1, True)
    assert hello["started_ns"] == scheduler.hello["started_ns"]
    assert before_ns < hello["scheduler_ended_ns"] < time.time_ns()
    assert hello["kept"] == {"b": [2]}
    attempts = {attempt[0]: attempt[1:] for attempt in hello["attempts"]}
    assert list(attempts) == ["ended", "failed", "running"]
    assert attempts["ended"][0] == b"meta"
    assert attempts["ended"][4] == ended
    assert attempts["failed"][1] is None
    failure = attempts["failed"][4]
    assert (failure["status"], failure["errno"], failure["message"]) == (
        None,
        2,
        "not found: no-such-program",
    )
    assert attempts["running"][1] == pid
    assert attempts["running"][4] is None
    assert is_alive(pid)
    assert (
        supervision.stderr()
        == "taskman: the scheduler died (killed by SIGKILL); starting it again in 0.01 s\n"
    )


def test_a_new_scheduler_hears_what_the_old_one_had_told_to_end_and_why(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = "trap : TERM; echo ready; while :; do read x; done"
    (tmp_path / "endless").symlink_to("/dev/zero")
    for key in ("timed_out", "untold", "cancelled"):
        scheduler.start(
            key, make_spec(tmp_path, sh(f"exec <{tmp_path}/endless; {script}"), path=f"{tmp_path}/{key}")
        )
        wait_until((tmp_path / key).exists)
    scheduler.signal("timed_out", signal.SIGTERM, "timed_out")
    scheduler.signal("timed_out", signal.SIGTERM, "cancelled")
    scheduler.signal("untold", signal.SIGTERM)
    scheduler.signal("cancelled", signal.SIGTERM)
    scheduler.signal("cancelled", signal.SIGKILL, "cancelled")
    scheduler.wait_for("ended", "cancelled")
    scheduler.signal("cancelled", signal.SIGKILL, "timed_out")
    scheduler.run("over", make_spec(tmp_path, ["true"]))
    scheduler.signal("over", signal.SIGTERM, "timed_out")
    scheduler.run("later", make_spec(tmp_path, ["true"]))
    scheduler.kill()
    endings = {attempt[0]: attempt[6] for attempt in supervision.accept().hello["attempts"]}
    assert endings == {
        "timed_out": "timed_out",
        "untold": "",
        "cancelled": "cancelled",
        "over": "",
        "later": "",
    }


def test_thousands_of_values_are_kept_and_do_not_take_long(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    count = 40_000
    before = cpu_s(supervision.pid)
    scheduler.send(*[("keep", f"name {number}", number) for number in range(count)])
    scheduler.send(*[("keep", f"name {number}", None) for number in range(1, count, 2)])
    scheduler.run("a", make_spec(tmp_path, ["true"]))
    assert cpu_s(supervision.pid) - before < 20  # and quadratic: minutes
    scheduler.kill()
    assert supervision.accept().hello["kept"] == {f"name {number}": number for number in range(0, count, 2)}


def test_what_is_too_much_to_keep_is_refused_and_the_rest_stays(
    supervise: Callable[..., Supervision],
) -> None:
    supervision = supervise(constants={"MAX_KEPT_BYTES": 1000})
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS), ("keep", "a", bytes(600)), ("keep", "b", bytes(600)))
    scheduler.send(("keep", "a", bytes(300)), ("keep", "c", bytes(600)), ("keep", "d", bytes(600)))
    scheduler.send(("keep", "c", None), ("keep", "c", None), ("keep", "d", bytes(500)))
    scheduler.kill()
    assert supervision.accept().hello["kept"] == {"a": bytes(300), "d": bytes(500)}
    assert supervision.stderr().count("too much to keep") == 2


def test_what_is_too_much_to_keep_does_not_leave_what_was_kept_before(
    supervise: Callable[..., Supervision],
) -> None:
    """The next scheduler would take it for what is in force, as it does the definitions of the jobs."""
    supervision = supervise(constants={"MAX_KEPT_BYTES": 1000})
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS), ("keep", "jobs", b"before"), ("keep", "other", bytes(300)))
    scheduler.send(("keep", "jobs", bytes(900)), ("keep", "more", bytes(600)))
    scheduler.kill()
    assert supervision.accept().hello["kept"] == {"other": bytes(300), "more": bytes(600)}


def test_a_greeting_that_cannot_be_sent_is_cut_to_what_runs(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "running", tmp_path)
    scheduler.run("ended", make_spec(tmp_path, ["true"]))
    scheduler.send(("keep", "deep", nested(1997)))
    scheduler.kill()
    hello = supervision.accept().hello
    assert [attempt[2] for attempt in hello["attempts"]] == [pid]
    assert (hello["is_complete"], hello["kept"]) == (False, {})
    assert "cannot tell the scheduler about all attempts" in supervision.stderr()


def test_a_scheduler_that_cannot_be_greeted_at_all_does_not_wait_for_ever(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("running", make_spec(tmp_path, ["sleep", "60"]), meta=nested(1996))
    pid = scheduler.wait_for("started")[2]
    scheduler.kill()
    wait_until(lambda: supervision.stderr().count("the scheduler died (killed by SIGKILL)") >= 3)
    assert is_alive(pid)


def test_what_a_scheduler_had_not_heard_when_it_died_is_told_once(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.send(("configure", NUMBERS | {"restart_delay_ns": 0, "restart_delay_max_ns": 0}))
    supervision.signal(signal.SIGSTOP)
    wait_until(lambda: status_of(supervision.pid)["State"][0] == "T")
    scheduler.start("a", make_spec(tmp_path, ["sleep", "60"]))
    scheduler.kill()
    supervision.signal(signal.SIGCONT)
    scheduler = supervision.accept()
    assert [attempt[0] for attempt in scheduler.hello["attempts"]] == ["a"]
    scheduler.run("b", make_spec(tmp_path, ["true"]))
    assert [message[1] for message in scheduler.poll() if message[0] == "started"] == ["b"]


def test_what_ends_and_is_printed_without_a_scheduler_is_not_lost(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.send(("configure", NUMBERS | {"restart_delay_ns": 3 * 10**8}))
    os.mkfifo(tmp_path / "fifo")
    scheduler.start("a", make_spec(tmp_path, sh(f"echo before; read x <{tmp_path}/fifo; seq 100000; exit 7")))
    wait_until((tmp_path / "out").exists)
    scheduler.kill()
    wait_until(lambda: "starting it again" in supervision.stderr())
    (tmp_path / "fifo").write_text("go on\n")
    (attempt,) = supervision.accept().hello["attempts"]
    end = attempt[5]
    assert os.waitstatus_to_exitcode(end["status"]) == 7
    assert end["output_bytes"] == 588_895 + 7
    assert (tmp_path / "out").stat().st_size == 588_895 + 7


def test_starts_that_were_received_are_carried_out_and_half_a_message_is_dropped(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    supervision.signal(signal.SIGSTOP)
    wait_until(lambda: status_of(supervision.pid)["State"][0] == "T")
    for number in range(40):
        scheduler.start(f"k{number}", make_spec(tmp_path, ["true"]))
    scheduler.sock.send(b"\0\0\1\0half a message")
    scheduler.kill()
    supervision.signal(signal.SIGCONT)
    attempts = supervision.accept().hello["attempts"]
    assert [attempt[0] for attempt in attempts] == [f"k{number}" for number in range(40)]


def test_a_scheduler_that_ends_without_saying_so_is_started_again(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    scheduler.send(("keep", "a", 1))
    scheduler.leave(3)
    assert supervision.accept().hello["kept"] == {"a": 1}
    assert "the scheduler died (exit code 3); starting it again in 0.01 s" in supervision.stderr()


def test_the_pause_grows_while_schedulers_die_at_once(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    scheduler.kill()
    for _ in range(5):
        supervision.accept().kill()
    supervision.accept()
    pauses = [line.rsplit(" in ", 1)[1] for line in supervision.stderr().splitlines()]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s", "0.08 s", "0.1 s", "0.1 s"]


def test_a_scheduler_that_never_comes_up_is_given_up(supervise: Callable[..., Supervision]) -> None:
    supervision = supervise(scheduler=[sys.executable, "-IS", "-c", "import no_such_module"])
    assert supervision.wait() == 1
    lines = [line for line in supervision.stderr().splitlines() if line.startswith("taskman: ")]
    assert len(lines) == 5
    assert lines[-1] == "taskman: the scheduler died (exit code 1); no scheduler has ever come up: giving up"


def test_a_scheduler_that_is_not_there_is_given_up(supervise: Callable[..., Supervision]) -> None:
    supervision = supervise(scheduler=["/no/such/scheduler"])
    assert supervision.wait() == 1
    last = supervision.stderr().splitlines()[-1]
    assert last.startswith(
        "taskman: the scheduler cannot be started (No such file or directory: /no/such/scheduler)"
    )


def test_a_wrong_call_says_how_it_is_done() -> None:
    done = subprocess.run([sys.executable, "-m", "taskman_cli.supervisor"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def test_after_exit_the_supervisor_leaves_with_that_code_and_running_commands_stay(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    request.addfinalizer(lambda: os.kill(pid, signal.SIGKILL))
    scheduler.send(("exit", 42))
    scheduler.leave()
    assert supervision.wait() == 42
    assert is_alive(pid)
    assert supervision.stderr() == ""


# --- nonsense ---


def nested(depth: int) -> Any:
    """Return a value so deep that few things can be done with it."""
    value: Any = 0
    for _ in range(depth):
        value = (value,)
    return value


NONSENSE: list[Any] = [
    *[nested(1998), (nested(1997),), ("start", nested(1997), 0, {}), ("signal", "a", nested(1997), "")],
    *["start", 7, None, (), (3,), ([],), ("unknown", 1)],
    *[("start",), ("start", []), ("start", {}, b"", {}), ("signal",), ("signal", "a", 99, "")],
    *[
        ("signal", [], 9, ""),
        ("signal", "a", 9),
        ("signal", "a", "TERM", ""),
        ("forget", 3),
        ("forget", [[]]),
        ("keep",),
        ("keep", [], 1),
        ("exit", "x"),
        ("adopt",),
        ("adopt", "x"),
        ("adopt", [], b"", 1, 1, 1, None, 1),
        ("adopt", 3, b"", 1, 1, 1, None, 1),
        ("adopt", "x", b"", "1", 1, 1, None, 1),
        ("adopt", "x", b"", 2**80, 1, 1, None, 1),
        ("adopt", "x", b"", -1, 1, 1, None, 1),
        ("adopt", "x", b"", os.getpid(), 1, "1", None, 1),
        ("settle",),
        ("settle", 3, 1),
        ("settle", "/dev/null", "x"),
        ("settle", "null\0byte", 1),
        ("settle", "/dev/null", 2**80),
        ("settle", "/dev/null", -(2**80)),
    ],
    *[("configure", None), ("configure", {}), ("configure", {"output_grace_ns": "x"})],
    ("configure", {"output_grace_ns": 2**80, "restart_delay_ns": -(2**80), "restart_delay_max_ns": 0}),
    ("keep", "much", bytes(17 << 20)),
]


def test_nonsense_from_the_scheduler_harms_nobody(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "a", tmp_path)
    scheduler.send(*NONSENSE)
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0
    scheduler.signal("a", signal.SIGTERM)
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGTERM


def test_a_scheduler_that_sends_garbage_is_replaced(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    scheduler.sock.send(b"\xff\xff\xff\xffgarbage")
    hello = supervision.accept().hello
    assert [attempt[2] for attempt in hello["attempts"]] == [pid]
    assert "which sent an invalid message" in supervision.stderr()
    assert not is_alive(scheduler.pid)


def test_a_scheduler_that_dies_of_the_garbage_it_sent_is_replaced(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    supervision.signal(signal.SIGSTOP)
    wait_until(lambda: status_of(supervision.pid)["State"][0] == "T")
    scheduler.start("a", make_spec(tmp_path, ["true"]))
    scheduler.sock.send(b"\xff\xff\xff\xffgarbage")
    scheduler.kill()
    supervision.signal(signal.SIGCONT)
    assert supervision.accept().run("b", make_spec(tmp_path, ["true"]))["status"] == 0


def test_a_standard_error_that_is_full_stops_nobody(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    try:
        scheduler = supervise(stderr=writer).accept()
        scheduler.send(("start",))
        assert scheduler.run("a", make_spec(tmp_path, ["true"]))["status"] == 0
        os.read(reader, 1 << 20)
        scheduler.send(("forget", 3))
        scheduler.run("b", make_spec(tmp_path, ["true"]))
        dropped, said = os.read(reader, 1 << 20).splitlines()
        assert dropped == b"taskman: 1 line dropped: the log was not read fast enough"
        assert said.startswith(b"taskman: cannot carry out forget: TypeError: ")
    finally:
        os.close(reader)
        os.close(writer)


# --- orphans ---


@pytest.fixture
def first_process() -> list[str]:
    """What makes the supervisor PID 1; nothing where that is not allowed."""
    for prefix in (
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"],
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"],
    ):
        if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return prefix
    return []


ORPHANS = "for i in 1 2 3; do setsid sh -c 'sleep 0.0$i & :' & done"


def test_orphans_come_to_the_supervisor_and_are_reaped(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.run("a", make_spec(tmp_path, sh(f"setsid sleep 60 & echo $!; {ORPHANS}; exit 0")))
    sleeper = int((tmp_path / "out").read_text())
    wait_until(lambda: sorted(children(supervision.pid)) == sorted([scheduler.pid, sleeper]))
    os.kill(sleeper, signal.SIGKILL)
    wait_until(lambda: children(supervision.pid) == [scheduler.pid])


def test_as_the_first_process_it_reaps_orphans_and_stops_on_a_signal(
    supervise: Callable[..., Supervision], first_process: list[str], tmp_path: Path
) -> None:
    supervision = supervise(prefix=first_process)
    scheduler = supervision.accept()
    pid = children(supervision.pid)[0] if first_process else supervision.pid
    assert scheduler.run("a", make_spec(tmp_path, sh(f"{ORPHANS}; exit 0")))["status"] == 0
    wait_until(lambda: len(children(pid)) == 1)
    os.kill(pid, signal.SIGTERM)
    scheduler.wait_for("signal")
    scheduler.send(("exit", 5))
    scheduler.leave()
    assert supervision.wait() == 5


def test_many_commands_leave_no_zombies(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    for number in range(60):
        scheduler.start(f"k{number}", make_spec(tmp_path, ["true"]))
    for number in range(60):
        scheduler.wait_for("ended", f"k{number}")
    assert not has_zombies(supervision.pid)
    assert descendants(supervision.pid) == [scheduler.pid]


def test_it_sleeps_when_there_is_nothing_to_do(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.run("a", make_spec(tmp_path, sh("sleep 60 & exit 0")))

    def switches() -> int:
        return int(status_of(supervision.pid)["voluntary_ctxt_switches"])

    wait_until(lambda: status_of(supervision.pid)["State"][0] == "S")
    before = switches()
    assert select.select([scheduler.sock], [], [], 0.5) == ([], [], [])
    assert switches() == before
