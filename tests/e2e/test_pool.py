"""The pool of the real program: what waits, for what, and that a restart changes none of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from command_line import call
from e2e.running import Running
from process_table import status_of, threads
from wait import wait_until

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
    return call([*words], env=running.env, text=True)


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
        running.kill_scheduler()
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
            taskman(second, "cancel", "holds")
            wait_until(lambda: resource(second, "db")["held"] == 0)


HERD = """
[pool]
admission_patience = "1h"
[pool.admission_tuning]
runnable_per_cpu = 1000
memory_share = 0.5
[jobs.first]
every = "1d"
command = ["sleep", "1000"]
resources = {{ ram = {ram} }}
[jobs.second]
every = "1d"
command = ["touch", "second"]
resources = {{ ram = {ram} }}
"""


def test_a_command_waits_until_its_memory_fits(tmp_path: Path) -> None:
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3
    with Running(tmp_path, HERD.format(ram=half)) as running:
        wait_until(lambda: is_answered(running))
        assert status(running)["admission"] == "auto"
        taskman(running, "trigger", "first")
        wait_until(lambda: len(status(running)["running"]) == 1)
        taskman(running, "trigger", "second")
        wait_until(lambda: len(reason(running, "second")) == 1)
        assert reason(running, "second")[0].endswith(" holds most")
        assert not (tmp_path / "second").exists()
        taskman(running, "cancel", "first")
        wait_until((tmp_path / "second").exists)


LEARNING = """
[pool.admission_tuning]
look_settled = "2s"
[jobs.eats]
every = "1d"
command = "{ head -c 80M /dev/zero; sleep 600; } | tail -c 80M"
"""


def test_the_memory_of_a_running_command_is_learned_and_kept(tmp_path: Path) -> None:
    def need() -> int:
        with closing(sqlite3.connect(f"file:{tmp_path}/state/ledger.db?mode=ro", uri=True)) as ledger:
            (found,) = ledger.execute("SELECT coalesce(max(need_bytes), 0) FROM needs").fetchone()
            return int(found)

    with Running(tmp_path, LEARNING) as running:
        wait_until(lambda: is_answered(running))
        taskman(running, "trigger", "eats")
        wait_until(lambda: need() > 60 << 20)
        running.kill_scheduler()
        wait_until(lambda: is_answered(running))
        taskman(running, "cancel", "eats")
        wait_until(lambda: status(running)["counters"]["cancelled"] == 1)
        assert need() > 60 << 20


IDLE = """
[jobs.first]
every = "1d"
run_on_start = true
command = ["touch", "first"]
[jobs.later]
every = "5h"
command = ["true"]
[jobs.night]
cron = "H 3 29 2 *"
command = ["true"]
"""


def wakeups(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep."""
    return sum(int(status_of(thread).get("voluntary_ctxt_switches", 0)) for thread in threads(pid))


def test_nothing_looks_at_the_machine_while_nothing_is_due(tmp_path: Path) -> None:
    def is_idle() -> bool:
        before = [wakeups(pid) for pid in pids]
        subprocess.run(["sleep", "4"], check=True)  # any timer of the gate would wake it in this time
        return sum(wakeups(pid) for pid in pids) - sum(before) <= 2

    with Running(tmp_path, IDLE) as running:
        wait_until((tmp_path / "first").exists)
        pids = (running.process.pid, running.scheduler_pid())
        wait_until(is_idle, what="both processes to sleep")  # what follows a run takes a moment
