"""Signals: to commands, to the supervisor with a scheduler and without one, and the terminal's own."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision, make_spec, sh, start_sleep
from process_table import is_alive, status_of
from wait import wait_until

from taskman_cli.supervisor.children import Children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# --- signals to commands ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_reaches_the_whole_group(
    scheduler: SchedulerEnd, tmp_path: Path, number: signal.Signals
) -> None:
    scheduler.start("a", make_spec(tmp_path, sh("sleep 60 & echo $!; wait")))
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and path.read_text())
    scheduler.signal("a", number)
    assert os.WTERMSIG(scheduler.wait_for("ended", "a")[2]["status"]) == number
    wait_until(lambda: not is_alive(int(path.read_text())))


def test_a_stopped_command_can_be_terminated(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    scheduler.signal("a", signal.SIGSTOP)
    wait_until(lambda: status_of(pid)["State"][0] == "T")
    scheduler.signal("a", signal.SIGTERM)
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGTERM


def test_what_is_left_of_a_group_can_be_killed_after_its_leaders_end(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = "trap '' TERM; sleep 60 & echo $!; trap - TERM; wait"
    scheduler.start("a", make_spec(tmp_path, sh(script)))
    path = tmp_path / "out"
    wait_until(lambda: path.exists() and path.read_text())
    scheduler.signal("a", signal.SIGTERM)
    assert scheduler.wait_for("ended", "a")[2]["group_left"] is True
    left = int(path.read_text())
    assert is_alive(left)
    scheduler.signal("a", signal.SIGKILL)
    wait_until(lambda: not is_alive(left))
    scheduler.signal("a", signal.SIGKILL)  # now there is nobody
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0


def test_a_command_that_our_signals_do_not_reach_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(group: int, number: int) -> None:  # as for a command that has become another user
        raise PermissionError

    attempts = Children(select.epoll(), lambda *_: None)
    kind, _, pid, *_ = attempts.start("a", None, make_spec(tmp_path, ["sleep", "60"], output="discard"))
    assert kind == "started"
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", refuse)
            attempts.signal("a", signal.SIGSTOP, "")
            attempts.signal("a", signal.SIGTERM, "cancelled")
            attempts.signal("a", signal.SIGKILL, "cancelled")
            assert attempts.take_news() == [("unstoppable", "a", "it runs as another user")]
    finally:
        attempts.signal("a", signal.SIGKILL, "")
        os.waitpid(pid, 0)
    assert capfd.readouterr().err == (
        f"taskman: not allowed to signal a (process {pid}): it runs as another user\n"
    )


# --- signals to the supervisor ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on(
    supervision: Supervision, scheduler: SchedulerEnd, number: signal.Signals
) -> None:
    supervision.signal(number)
    assert scheduler.wait_for("signal") == ("signal", number)
    assert scheduler.run("a", make_spec(supervision.directory, ["true"]))["status"] == 0


def test_under_nohup_a_hangup_is_ignored(supervise: Callable[..., Supervision]) -> None:
    supervision = supervise(prefix=[*sh("trap '' HUP; exec \"$@\""), "sh"])
    scheduler = supervision.accept()
    supervision.signal(signal.SIGHUP)
    supervision.signal(signal.SIGTERM)
    assert scheduler.wait_for("signal") == ("signal", signal.SIGTERM)


def pause_of_restart(supervision: Supervision, scheduler: SchedulerEnd) -> None:
    """Bring the supervisor into a long pause without a scheduler."""
    scheduler.send(
        ("configure", NUMBERS | {"restart_delay_ns": 60 * 10**9, "restart_delay_max_ns": 60 * 10**9})
    )
    scheduler.kill()
    wait_until(lambda: "starting it again in 60 s" in supervision.stderr())


_LAST = "taskman: starting a scheduler to carry out the stop"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_scheduler_a_stop_terminates_all_commands(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, number: signal.Signals
) -> None:
    pids = [start_sleep(scheduler, key, tmp_path) for key in "ab"]
    pause_of_restart(supervision, scheduler)
    supervision.signal(number)
    last = supervision.accept()
    assert last.wait_for("signal") == ("signal", number)
    last.kill()
    assert supervision.wait() == 1
    assert not any(map(is_alive, pids))
    told = "taskman: there is no scheduler: ending 2 commands (TERM, and KILL after 10 s)"
    assert supervision.stderr().splitlines()[1:] == [_LAST, told]


def test_a_stop_without_a_scheduler_is_carried_out_by_another_which_hears_all_ends(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "over", tmp_path)
    start_sleep(scheduler, "a", tmp_path)
    pause_of_restart(supervision, scheduler)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not status_of(pid), what="the end of a command")
    supervision.signal(signal.SIGTERM)
    last = supervision.accept()
    assert [(attempt[0], bool(attempt[5])) for attempt in last.hello["attempts"]] == [
        ("over", True),
        ("a", False),
    ]
    assert last.wait_for("signal") == ("signal", signal.SIGTERM)
    supervision.signal(signal.SIGTERM)  # a second one is nothing new
    assert last.wait_for("signal") == ("signal", signal.SIGTERM)
    last.signal("a", signal.SIGTERM, "cancelled")
    assert last.wait_for("ended", "a")[2]["status"] == signal.SIGTERM
    last.send(("exit", 0))
    last.leave()
    assert supervision.wait() == 0
    assert supervision.stderr().splitlines()[1:] == [_LAST]


def test_a_second_stop_signal_before_that_scheduler_is_there_changes_nothing(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    start_sleep(scheduler, "a", tmp_path)
    pause_of_restart(supervision, scheduler)
    os.kill(supervision.pid, signal.SIGSTOP)  # so that it takes both at once
    supervision.signal(signal.SIGTERM)
    supervision.signal(signal.SIGINT)
    os.kill(supervision.pid, signal.SIGCONT)
    last = supervision.accept()
    told = {last.wait_for("signal")[1] for _ in range(2)}
    assert told == {signal.SIGTERM, signal.SIGINT}
    last.send(("exit", 0))
    last.leave()
    assert supervision.wait() == 0


def test_a_scheduler_that_says_nothing_when_it_is_to_carry_out_a_stop_is_given_up(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    supervision = supervise(constants={"LAST_PATIENCE_NS": 10**9})
    scheduler = supervision.accept()
    pid = start_sleep(scheduler, "a", tmp_path)
    pause_of_restart(supervision, scheduler)
    supervision.signal(signal.SIGTERM)
    last = supervision.accept()
    assert supervision.wait() == 1
    assert not is_alive(pid)
    assert not is_alive(last.pid)
    assert supervision.stderr().splitlines()[1:] == [
        _LAST,
        "taskman: the scheduler does not answer; killing it and stopping all commands",
        "taskman: there is no scheduler: ending 1 command (TERM, and KILL after 10 s)",
    ]


def test_a_stop_that_finds_neither_scheduler_nor_command_has_nothing_to_wait_for(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    pause_of_restart(supervision, scheduler)
    supervision.signal(signal.SIGTERM)
    assert supervision.wait() == 1
    assert "ending" not in supervision.stderr()


def test_without_a_scheduler_a_second_interrupt_kills_at_once(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    supervision = supervise(constants={"STOP_PATIENCE_NS": 10**12})
    scheduler = supervision.accept()
    path = tmp_path / "out"
    script = "trap 'echo deaf' TERM; echo ready; while :; do sleep 1; done"
    scheduler.start("a", make_spec(tmp_path, sh(script)))
    pid = scheduler.wait_for("started", "a")[2]
    wait_until(path.exists)
    pause_of_restart(supervision, scheduler)
    supervision.signal(signal.SIGINT)
    supervision.accept().kill()
    wait_until(lambda: "deaf" in path.read_text())
    supervision.signal(signal.SIGINT)
    assert supervision.wait() == 1
    assert not is_alive(pid)
    assert "ending 1 command (" in supervision.stderr()


def test_without_a_scheduler_quit_kills_at_once_and_announces_no_wait(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    pause_of_restart(supervision, scheduler)
    supervision.signal(signal.SIGQUIT)
    assert supervision.wait() == 1
    assert not is_alive(pid)
    assert "ending" not in supervision.stderr()


def test_a_command_that_is_abandoned_is_nobodys_any_more(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    ended = scheduler.run("b", make_spec(tmp_path, ["true"]))
    assert ended["status"] == 0
    try:
        scheduler.send(("abandon", "a"), ("abandon", "b"), ("abandon", "unknown"))
        scheduler.kill()
        heir = supervision.accept()
        assert [attempt[0] for attempt in heir.hello["attempts"]] == ["b"]
        heir.send(("forget", ["b"]))
        pause_of_restart(supervision, heir)
        supervision.signal(signal.SIGTERM)
        assert supervision.wait() == 1
        assert "ending" not in supervision.stderr()
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_scheduler_that_dies_while_it_stops_is_started_again_once(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    supervision.signal(signal.SIGTERM)
    scheduler.wait_for("signal")
    scheduler.kill()
    last = supervision.accept()
    last.wait_for("signal")
    last.kill()
    assert supervision.wait() == 1
    assert not is_alive(pid)


def test_a_second_interrupt_that_the_scheduler_does_not_answer_kills_everything(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    supervision.signal(signal.SIGINT)
    scheduler.wait_for("signal")
    supervision.signal(signal.SIGINT)
    assert supervision.wait() == 1
    assert not is_alive(pid)
    assert not is_alive(scheduler.pid)
    assert "does not answer" in supervision.stderr()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_scheduler_that_says_nothing_after_a_signal_to_stop_is_stopped_with_all_commands(
    supervise: Callable[..., Supervision], tmp_path: Path, number: signal.Signals
) -> None:
    patience_ns = 2 * 10**8
    supervision = supervise(constants={"STUCK_PATIENCE_NS": patience_ns, "STOP_PATIENCE_NS": patience_ns})
    scheduler = supervision.accept()
    pid = start_sleep(scheduler, "a", tmp_path)
    path = tmp_path / "out"
    deaf = sh("trap 'echo deaf' TERM; echo ready; while :; do sleep 1; done")
    scheduler.start("deaf", make_spec(tmp_path, deaf))
    wait_until(path.exists)
    supervision.signal(number)
    assert scheduler.wait_for("signal") == ("signal", number)
    assert supervision.wait() == 1
    assert not is_alive(pid)
    assert not is_alive(scheduler.pid)
    assert path.read_text().endswith("deaf\n")
    assert supervision.stderr() == (
        "taskman: the scheduler does not answer; killing it and stopping all commands\n"
        "taskman: there is no scheduler: ending 2 commands (TERM, and KILL after 0.2 s)\n"
    )


def test_a_scheduler_that_answers_has_all_the_time_it_wants(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    supervision = supervise(constants={"STUCK_PATIENCE_NS": 5 * 10**8})
    scheduler = supervision.accept()
    start_sleep(scheduler, "a", tmp_path)
    supervision.signal(signal.SIGTERM)
    scheduler.wait_for("signal")
    scheduler.signal("a", signal.SIGCONT, "cancelled")
    assert select.select([scheduler.sock], [], [], 1) == ([], [], [])
    scheduler.send(("exit", 0))
    scheduler.leave()
    assert supervision.wait() == 0
    assert supervision.stderr() == ""


def test_ctrl_z_is_for_the_scheduler_to_deal_with_and_stops_nothing(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    pid = start_sleep(scheduler, "a", tmp_path)
    supervision.signal(signal.SIGTSTP)
    assert scheduler.wait_for("suspend") == ("suspend",)
    assert status_of(pid)["State"][0] == "S"
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0
