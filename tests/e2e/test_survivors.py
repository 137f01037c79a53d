"""What a job's command leaves behind, through the real program: timeouts, cancels, stops and daemons."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running
from process_table import is_alive, kill
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: A job whose command starts a daemon in a session of its own, and stays.
JOB = """
[jobs.hung]
every = "1h"
run_on_start = true
command = "setsid sh -c 'echo $$ >> daemon; exec sleep 600' & exec sleep 600"
"""


def daemon_of(running: Running) -> int:
    return int(running.wait_for("daemon")[0])


def taskman(running: Running, *words: str) -> str:
    done = call([*words], check=True, env=running.env, text=True)
    return done.stdout


def survivors(running: Running) -> list[dict[str, Any]]:
    lines = taskman(running, "events", "--json").splitlines()
    return [event["data"] for event in map(json.loads, lines) if event["kind"] == "survivors"]


def test_a_timeout_ends_what_has_left_the_group_and_tells(tmp_path: Path) -> None:
    with Running(tmp_path, JOB + 'timeout = "1s"') as running:
        daemon = daemon_of(running)
        wait_until(lambda: not is_alive(daemon))
        running.wait_for_log("hung: timed out")
        running.wait_for_log(f"which got TERM: sleep ({daemon})")
        assert survivors(running) == [
            {"signal": 15, "count": 1, "processes": [{"pid": daemon, "name": "sleep"}]}
        ]


def test_a_cancel_ends_it_too(tmp_path: Path) -> None:
    with Running(tmp_path, JOB) as running:
        daemon = daemon_of(running)
        taskman(running, "cancel", "hung")
        wait_until(lambda: not is_alive(daemon))


def test_a_stop_ends_it_with_the_rest_and_has_it_on_record(tmp_path: Path) -> None:
    with Running(tmp_path, JOB) as running:
        daemon = daemon_of(running)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert not is_alive(daemon)
        assert [event["count"] for event in survivors(running)] == [1]


@pytest.mark.parametrize(
    "more", ['timeout = "1s"\nkill_orphans = false', ""], ids=["not wanted", "ends by itself"]
)
def test_otherwise_a_daemon_lives_on(tmp_path: Path, more: str) -> None:
    job = JOB if more else JOB.replace('exec sleep 600"', 'true"')
    with Running(tmp_path, job + more) as running:
        daemon = daemon_of(running)
        try:
            running.wait_for_log("hung: timed out" if more else "hung: succeeded")
            assert (is_alive(daemon), survivors(running)) == (True, [])
        finally:
            kill(daemon, signal.SIGKILL)


def test_after_a_restart_of_the_scheduler_it_is_still_found(tmp_path: Path) -> None:
    with Running(tmp_path, JOB) as running:
        daemon = daemon_of(running)
        taskman(running, "restart")
        wait_until(lambda: "taking over 1 run" in running.log)
        taskman(running, "cancel", "hung")
        wait_until(lambda: not is_alive(daemon))


def test_what_is_being_ended_when_both_processes_are_killed_is_ended_with_the_rest(tmp_path: Path) -> None:
    command = f"trap 'echo told > {tmp_path}/told' TERM; setsid sh -c 'echo $$ >> daemon; exec sleep 600' & "
    job = f"""
        [jobs.hung]
        every = "1h"
        run_on_start = true
        kill_timeout = "4s"
        command = '''{command} while :; do sleep 0.1; done'''
    """
    with Running(tmp_path, job) as running:
        daemon = daemon_of(running)
        taskman(running, "cancel", "hung")
        running.wait_for("told")
        scheduler = running.scheduler_pid()
        running.send(signal.SIGKILL)
        running.end()
        wait_until(lambda: not is_alive(scheduler))
        with Running(tmp_path, job) as other:
            wait_until(lambda: not is_alive(daemon))
            wait_until(lambda: [event["count"] for event in survivors(other)] == [1])


def test_after_both_processes_were_killed_the_next_ones_find_it(tmp_path: Path) -> None:
    with Running(tmp_path, JOB) as running:
        daemon = daemon_of(running)
        scheduler = running.scheduler_pid()
        running.send(signal.SIGKILL)
        running.end()
        wait_until(lambda: not is_alive(scheduler))
        with Running(tmp_path, JOB) as other:
            other.wait_for_log("outlived its supervisor")
            taskman(other, "cancel", "hung")
            wait_until(lambda: not is_alive(daemon))
            wait_until(lambda: [event["count"] for event in survivors(other)] == [1])
