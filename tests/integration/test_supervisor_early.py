"""Starts that the scheduler asks for early: the real supervisor holds them until a command ends."""

from __future__ import annotations

import os
import resource
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, make_spec, sh, start_sleep
from wait import wait_until

from taskman_cli.supervisor import early, limits
from taskman_cli.supervisor.ahead import Ahead
from taskman_cli.supervisor.environments import SharedEnvironments
from taskman_cli.supervisor.loop import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskman_cli.supervisor.wire import Message

#: So that nothing goes back in a test because the machine is busy.
PATIENT = {"EARLY_PATIENCE_NS": 3600 * 10**9}


@pytest.fixture
def patient(supervise: Callable[..., Supervision]) -> Supervision:
    """A supervisor that holds starts for as long as it takes."""
    return supervise(constants=PATIENT)


@pytest.fixture
def scheduler(patient: Supervision) -> SchedulerEnd:
    """Its scheduler, which has one seat."""
    return greeted(patient)


def greeted(supervision: Supervision, seats: int = 1) -> SchedulerEnd:
    scheduler = supervision.accept()
    scheduler.send(("seats", seats), ("configure", NUMBERS))
    return scheduler


def ask_early(
    scheduler: SchedulerEnd, directory: Path, *keys: str, script: str = "true", **spec: Any
) -> None:
    """Ask for commands that write down that they began."""
    for key in keys:
        words = sh(f"echo {key} >> {directory}/began; {script}")
        scheduler.send(
            ("start", key, b"meta", make_spec(directory, words, path=str(directory / key), **spec), True)
        )


def began(directory: Path) -> list[str]:
    """Return what has begun, in order."""
    path = directory / "began"
    return path.read_text().split() if path.exists() else []


def answer(scheduler: SchedulerEnd) -> None:
    """Wait until all that was sent is carried out: a start that fails is told at once."""
    scheduler.fail("probe", {"error": "asked to answer"})
    scheduler.send(("forget", ["probe"]))


def test_with_a_seat_free_one_starts_at_once(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    ask_early(scheduler, tmp_path, "a")
    scheduler.wait_for("ended", "a")
    assert began(tmp_path) == ["a"]


def test_while_all_seats_are_taken_they_wait_and_start_in_order_one_for_each_end(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b", "c")
    answer(scheduler)
    assert began(tmp_path) == []
    scheduler.signal("busy", signal.SIGTERM)
    for key in "abc":
        scheduler.wait_for("ended", key)
    assert began(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("key", [5, None, ["a"]], ids=["number", "nothing", "list"])
def test_a_start_without_a_key_ends_nothing(
    scheduler: SchedulerEnd, patient: Supervision, tmp_path: Path, key: Any
) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    scheduler.send(("start", key, b"meta", make_spec(tmp_path, ["true"]), True))
    ask_early(scheduler, tmp_path, "a")
    scheduler.signal("busy", signal.SIGTERM)
    scheduler.wait_for("ended", "a")
    assert "a key must be a string" in patient.stderr()


def test_what_was_not_asked_for_early_does_not_wait(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a")
    scheduler.run("now", make_spec(tmp_path, ["true"]))
    assert began(tmp_path) == []


def test_a_held_start_goes_back_after_a_moment(supervision: Supervision, tmp_path: Path) -> None:
    scheduler = greeted(supervision)
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b")
    assert scheduler.wait_for("returned") == ("returned", "a")
    assert scheduler.wait_for("returned") == ("returned", "b")
    scheduler.signal("busy", signal.SIGTERM)
    scheduler.wait_for("ended", "busy")
    answer(scheduler)
    assert began(tmp_path) == []


def test_what_is_too_old_goes_back_even_if_a_command_ends_before_anybody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = 0
    monkeypatch.setattr(early, "elapsed_ns", lambda: now_ns)
    began: list[str] = []
    children = SimpleNamespace(
        seated_count=lambda: 1, start=lambda key, *_: began.append(key), environments=SharedEnvironments(),
        hosts=SimpleNamespace(ahead=Ahead(), start_ahead=lambda *_: False),
    )  # fmt: skip
    outbox: list[Message] = []
    starts = early.EarlyStarts(children, lambda *_: None, outbox)  # type: ignore[arg-type]
    starts.set_seats(1)
    starts.start("old", b"meta", {}, True)
    now_ns = 15_000_000
    starts.start("young", b"meta", {}, True)
    now_ns = 20_000_000
    children.seated_count = lambda: 0
    starts.fill()
    assert outbox == [("returned", "old")]
    assert began == ["young"]


def test_what_came_back_can_be_asked_for_again(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a")
    scheduler.send(("recall",))
    scheduler.wait_for("returned", "a")
    ask_early(scheduler, tmp_path, "a")
    scheduler.signal("busy", signal.SIGTERM)
    scheduler.wait_for("ended", "a")
    assert began(tmp_path) == ["a"]


def test_with_fewer_seats_they_wait_until_fewer_run(patient: Supervision, tmp_path: Path) -> None:
    scheduler = greeted(patient, seats=2)
    start_sleep(scheduler, "first", tmp_path)
    start_sleep(scheduler, "second", tmp_path)
    ask_early(scheduler, tmp_path, "a")
    scheduler.send(("seats", 1))
    scheduler.signal("first", signal.SIGTERM)
    scheduler.wait_for("ended", "first")
    answer(scheduler)
    assert began(tmp_path) == []
    scheduler.signal("second", signal.SIGTERM)
    scheduler.wait_for("ended", "a")
    assert began(tmp_path) == ["a"]


def test_all_go_back_at_a_recall(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b")
    scheduler.send(("recall",))
    assert [scheduler.wait_for("returned")[1], scheduler.wait_for("returned")[1]] == ["a", "b"]


def test_one_more_seat_is_taken_at_once(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a")
    scheduler.send(("seats", 2))
    scheduler.wait_for("ended", "a")


def test_one_that_is_signalled_goes_back_and_never_starts(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b")
    scheduler.signal("a", signal.SIGTERM, "cancelled")
    assert scheduler.wait_for("returned") == ("returned", "a")
    scheduler.signal("busy", signal.SIGTERM)
    scheduler.wait_for("ended", "b")
    assert began(tmp_path) == ["b"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_at_a_signal_to_stop_nothing_held_starts_and_nothing_is_held_any_more(
    patient: Supervision, scheduler: SchedulerEnd, tmp_path: Path, number: signal.Signals
) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, *"abcdefghijklmnopqrst")
    answer(scheduler)
    patient.signal(number)
    scheduler.wait_for("signal", int(number))
    ask_early(scheduler, tmp_path, "late")
    scheduler.wait_for("returned", "late")
    assert [message[1] for message in scheduler.poll() if message[0] == "returned"] == [
        *"abcdefghijklmnopqrst"
    ]
    scheduler.signal("busy", signal.SIGTERM)
    scheduler.wait_for("ended", "busy")
    answer(scheduler)
    assert began(tmp_path) == []


def test_they_go_back_before_the_scheduler_hears_of_the_signal(
    patient: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a")
    answer(scheduler)
    patient.signal(signal.SIGTERM)
    wait_until(lambda: scheduler.find("signal"), what="the signal")
    kinds = [message[0] for message in scheduler.poll()]
    assert kinds.index("returned") < kinds.index("signal")


def test_a_shortage_sends_all_back(scheduler: SchedulerEnd, patient: Supervision, tmp_path: Path) -> None:
    start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b", "c")
    answer(scheduler)
    soft, hard = resource.prlimit(patient.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(patient.pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        scheduler.signal("busy", signal.SIGTERM)
        assert scheduler.wait_for("failed", "a")[4] is True
    finally:
        resource.prlimit(patient.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert [scheduler.wait_for("returned")[1], scheduler.wait_for("returned")[1]] == ["b", "c"]


def test_a_scheduler_that_dies_takes_them_along_and_the_next_one_is_not_told_of_them(
    patient: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "busy", tmp_path)
    ask_early(scheduler, tmp_path, "a", "b")
    answer(scheduler)
    scheduler.kill()
    successor = patient.accept()
    assert [attempt[0] for attempt in successor.hello["attempts"]] == ["busy"]
    successor.send(("configure", NUMBERS))
    os.kill(pid, signal.SIGTERM)
    successor.wait_for("ended", "busy")
    answer(successor)
    assert began(tmp_path) == []


def test_a_command_whose_processes_are_looked_for_keeps_its_seat(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    token = "0" * 16
    script = f"setsid sh -c 'echo $$ > {tmp_path}/left; exec sleep 60' & wait"
    scheduler.start(
        "busy", make_spec(tmp_path, sh(script), env={"TASKMAN_TOKEN": token, "PATH": "/bin:/usr/bin"})
    )
    wait_until(lambda: (tmp_path / "left").exists() and (tmp_path / "left").read_text(), what="a process")
    scheduler.send(("survivors", "busy", token, os.geteuid(), int(signal.SIGTERM), 10**9))
    ask_early(scheduler, tmp_path, "a")
    scheduler.signal("busy", signal.SIGTERM, "cancelled")
    scheduler.wait_for("ended", "a")
    kinds = [message[0] for message in scheduler.poll()]
    assert "survivors" in kinds
    assert kinds.index("ended") > kinds.index("survivors")


def test_with_many_held_ends_are_told_together(supervise: Callable[..., Supervision], tmp_path: Path) -> None:
    supervision = supervise(constants=PATIENT | {"HOLD_NS": 3600 * 10**9})
    scheduler = greeted(supervision)
    start_sleep_untold(scheduler, tmp_path)
    ask_early(scheduler, tmp_path, "a", "b", "c", "d")
    scheduler.wait_for("ended", "b")  # with two left, the first ends are told
    assert {message[1] for message in scheduler.poll() if message[0] == "ended"} >= {"busy", "a"}


def test_the_scheduler_hears_of_ends_before_more_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It records them and decides what comes next while this process starts what it has."""
    monkeypatch.setattr(limits, "MESSAGES_A_TURN", 1)
    done: list[str] = []
    supervisor = Supervisor(["true"])
    supervisor._scheduler = SimpleNamespace(  # type: ignore[assignment]
        fd=-1, send=lambda messages: done.append(f"told of {[message[1] for message in messages]}")
    )
    supervisor._kinds["start"] = done.append
    supervisor._inbox += [("start", "b"), ("start", "c")]
    supervisor._outbox += [("started", "a", 1, 2, 3), ("ended", "a", {})]
    supervisor._turn(-1)
    assert done == ["told of ['a', 'a']", "b"]


def start_sleep_untold(scheduler: SchedulerEnd, directory: Path) -> None:
    """Start a command that ends by itself after a moment."""
    scheduler.start("busy", make_spec(directory, ["sleep", "0.3"], path=str(directory / "busy")))
