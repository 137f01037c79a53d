"""The pool of the real program: what waits, for what, and that a restart changes none of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
[pool.resources]
db = 2
api = { rate = "1/1h", burst = 1 }

[jobs.holds]
every = "1d"
run_on_start = true
command = ["sleep", "1000"]
resources = { db = 2, ram = "6GB" }

[jobs.wants]
every = "1d"
command = ["touch", "wanted"]
resources = { db = 1 }

[jobs.calls]
every = "1d"
command = ["touch", "called"]
resources = { api = 1 }
"""


def taskman(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TASKMAN, *words], env=running.env, capture_output=True, text=True, check=False)


def status(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(taskman(running, "status", "--json").stdout)
    return found


def resource(running: Running, name: str) -> dict[str, Any]:
    row: dict[str, Any]
    (row,) = [row for row in status(running)["resources"] if row["resource"] == name]
    return row


def reason(running: Running, job: str) -> list[str]:
    jobs = json.loads(taskman(running, "list", "--json", "--state", "queued").stdout)
    return [wait["reason"] for row in jobs if row["job"] == job for wait in row["waits"]]


def is_answered(running: Running) -> bool:
    return taskman(running, "status", "--json").returncode == 0


def test_a_command_waits_for_a_resource_and_every_view_says_who_holds_it(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: is_answered(running) and resource(running, "db")["held"] == 2)
        taskman(running, "trigger", "wants")
        words = "for 1 db; holds (2 db) holds it"
        wait_until(lambda: reason(running, "wants") == [words])
        shown = taskman(running, "status").stdout
        assert f"waits {words}" in shown
        assert "2 of 2 held" in shown
        why = " ".join(taskman(running, "why", "wants").stdout.split())
        assert f"{words}. Run " in why
        assert "of holds has held 2 db since" in why
        taskman(running, "cancel", "holds")
        wait_until((tmp_path / "wanted").exists)


def test_a_scheduler_that_is_killed_leaves_resources_held_and_rates_used(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: is_answered(running) and resource(running, "db")["held"] == 2)
        taskman(running, "trigger", "--wait", "calls")
        assert resource(running, "api")["tokens"] == 0
        taskman(running, "trigger", "wants")
        taskman(running, "trigger", "calls")
        os.kill(running.scheduler_pid(), signal.SIGKILL)
        wait_until(lambda: is_answered(running) and len(status(running)["waiting"]) == 2)
        assert [row["for"] for row in status(running)["waiting"]] == ["resource", "rate"]
        assert (resource(running, "db")["held"], resource(running, "api")["tokens"]) == (2, 0)
        assert not (tmp_path / "wanted").exists()


def test_a_command_that_a_dead_supervisor_left_behind_holds_what_it_held(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as first:
        wait_until(lambda: is_answered(first) and resource(first, "db")["held"] == 2)
        taskman(first, "trigger", "--wait", "calls")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        wait_until(lambda: not is_answered(first))
        with Running(tmp_path, JOBS.replace("resources = { db = 2, ram", "resources = { ram")) as second:
            wait_until(lambda: is_answered(second) and resource(second, "db")["held"] == 2)
            assert resource(second, "api")["tokens"] == 0
