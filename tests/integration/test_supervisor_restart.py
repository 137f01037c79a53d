"""A restart on purpose: USR1 has one scheduler make room for the next, and disturbs nothing else."""

from __future__ import annotations

import select
import signal
from typing import TYPE_CHECKING

from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, start_sleep
from process_table import is_alive, status_of
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESTARTING = "taskman: restarting the scheduler\n"
SIGNAL = ("signal", signal.SIGUSR1)


def is_pending(pid: int, number: int) -> bool:
    return bool(int(status_of(pid)["ShdPnd"], 16) & 1 << number - 1)


def test_the_next_scheduler_comes_at_once_and_hears_of_everything(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    # A pause would be an hour.
    delays = {"restart_delay_ns": 3600 * 10**9, "restart_delay_max_ns": 3600 * 10**9}
    scheduler.send(("configure", NUMBERS | delays), ("keep", "a", 1))
    pid = start_sleep(scheduler, "running", tmp_path)
    supervision.signal(signal.SIGUSR1)
    assert scheduler.wait_for("signal") == SIGNAL
    scheduler.leave()
    scheduler = supervision.accept()
    assert (scheduler.hello["generation"], scheduler.hello["kept"]) == (1, {"a": 1})
    assert [attempt[:3] for attempt in scheduler.hello["attempts"]] == [("running", b"meta", pid)]
    assert is_alive(pid)
    assert supervision.stderr() == RESTARTING
    supervision.signal(signal.SIGUSR1)
    assert scheduler.wait_for("signal") == SIGNAL
    scheduler.leave()
    assert supervision.accept().hello["generation"] == 2
    assert supervision.stderr() == 2 * RESTARTING


def test_asking_again_while_it_leaves_changes_nothing(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    for _ in range(2):
        supervision.signal(signal.SIGUSR1)
        wait_until(lambda: not is_pending(supervision.pid, signal.SIGUSR1))
    supervision.signal(signal.SIGHUP)
    assert scheduler.wait_for("signal") == SIGNAL
    assert scheduler.wait_for("signal") == ("signal", signal.SIGHUP)
    scheduler.leave()
    assert supervision.accept().find("signal") is None
    assert supervision.stderr() == RESTARTING


def test_a_scheduler_that_does_not_leave_is_killed_and_replaced(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    supervision = supervise(constants={"RESTART_PATIENCE_NS": 10**8})
    scheduler = supervision.accept()
    pid = start_sleep(scheduler, "running", tmp_path)
    supervision.signal(signal.SIGUSR1)
    attempts = supervision.accept().hello["attempts"]
    assert [attempt[2] for attempt in attempts] == [pid]
    assert not is_alive(scheduler.pid)
    assert supervision.stderr() == f"taskman: the scheduler does not exit; killing it\n{RESTARTING}"


def test_patience_with_one_scheduler_is_none_with_the_next(supervise: Callable[..., Supervision]) -> None:
    supervision = supervise(constants={"RESTART_PATIENCE_NS": 2 * 10**8})
    scheduler = supervision.accept()
    supervision.signal(signal.SIGUSR1)
    scheduler.wait_for("signal")
    scheduler.leave()
    scheduler = supervision.accept()
    assert select.select([scheduler.sock], [], [], 0.5) == ([], [], [])
    assert is_alive(scheduler.pid)


def test_a_scheduler_that_fails_in_leaving_has_died(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    supervision.signal(signal.SIGUSR1)
    scheduler.wait_for("signal")
    scheduler.leave(1)
    supervision.accept()
    died = "taskman: the scheduler died (exit code 1); starting it again in 0.01 s\n"
    assert supervision.stderr() == died


def test_a_scheduler_that_says_exit_is_not_replaced(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    supervision.signal(signal.SIGUSR1)
    scheduler.wait_for("signal")
    scheduler.send(("exit", 5))
    scheduler.leave()
    assert supervision.wait() == 5
    assert supervision.stderr() == ""


def test_while_all_stops_there_is_no_restart(supervise: Callable[..., Supervision]) -> None:
    supervision = supervise(constants={"RESTART_PATIENCE_NS": 0})
    scheduler = supervision.accept()
    supervision.signal(signal.SIGTERM)
    assert scheduler.wait_for("signal") == ("signal", signal.SIGTERM)
    supervision.signal(signal.SIGUSR1)
    wait_until(lambda: not is_pending(supervision.pid, signal.SIGUSR1))
    supervision.signal(signal.SIGHUP)
    assert scheduler.wait_for("signal") == ("signal", signal.SIGHUP)
    scheduler.send(("exit", 0))
    scheduler.leave()
    assert supervision.wait() == 0
    assert supervision.stderr() == ""


def test_a_stop_that_comes_while_one_leaves_is_told_to_the_next(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "running", tmp_path)
    supervision.signal(signal.SIGUSR1)
    scheduler.wait_for("signal")
    supervision.signal(signal.SIGTERM)
    scheduler.wait_for("signal")
    scheduler.leave()
    scheduler = supervision.accept()
    assert scheduler.wait_for("signal") == ("signal", signal.SIGTERM)
    assert is_alive(pid)
    scheduler.signal("running", signal.SIGTERM, "cancelled")
    scheduler.wait_for("ended", "running")
    scheduler.send(("exit", 0))
    scheduler.leave()
    assert supervision.wait() == 0
    assert supervision.stderr() == RESTARTING


def test_in_the_pause_before_the_next_one_it_comes_at_once_and_alone(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    delays = {"restart_delay_ns": 10**9, "restart_delay_max_ns": 10**9}
    scheduler.send(("configure", NUMBERS | delays))
    scheduler.kill()
    wait_until(lambda: "starting it again in 1 s" in supervision.stderr())
    supervision.signal(signal.SIGUSR1)
    scheduler = supervision.accept()
    # The start that waited finds it there.
    assert select.select([scheduler.sock, supervision.listener], [], [], 1.2) == ([], [], [])
    assert is_alive(scheduler.pid)
