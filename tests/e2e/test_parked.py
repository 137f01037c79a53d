"""Jobs that fail too often, with the real program: parked over every kind of restart, tried, and resumed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
    [jobs.bad]
    every = "300ms"
    command = "echo oops >> runs; exit 3"
    max_failures = 2
"""


def taskman(directory: Path, *arguments: str, check: bool = True) -> str:
    """Run a command of taskman, and return what it prints."""
    return call(
        [*arguments],
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
        cwd=directory,
        text=True,
        check=check,
    ).stdout


def parked(directory: Path) -> list[dict[str, Any]]:
    """Return the parked jobs."""
    reply = taskman(directory, "status", "--json", check=False)  # no scheduler may be there just now
    found: list[dict[str, Any]] = json.loads(reply)["parked"] if reply else []
    return found


def events(directory: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind."""
    lines = taskman(directory, "events", "-n", "0", "--json").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def skips(directory: Path) -> int:
    """Return how many slots were skipped as parked."""
    rows = json.loads(taskman(directory, "history", "--json"))
    return sum(row["count"] or 0 for row in rows if row["reason"] == "parked")


def test_a_park_survives_a_kill_a_reload_and_a_restart_and_ends_with_resume(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("bad: parked: 2 runs in a row failed (the last: exit 3)")
        wait_until(lambda: skips(tmp_path) >= 2, what="skipped slots")
        (before,) = parked(tmp_path)
        assert (before["job"], before["count"]) == ("bad", 2)
        running.kill_scheduler()
        wait_until(lambda: parked(tmp_path) == [before], what="the park, in the next scheduler")
        taskman(tmp_path, "reload")
        assert parked(tmp_path) == [before]
        running.send(signal.SIGKILL)
        running.process.wait()
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: parked(tmp_path) == [before], what="the park, in the next program")
        assert "parked" in taskman(tmp_path, "list")
        assert len(running.lines("runs")) == 2
        assert "It has been parked since" in " ".join(taskman(tmp_path, "why", "bad").split())
        assert [event["run"] for event in events(tmp_path, "parked")] == [before["runs"][-1]]
        taskman(tmp_path, "resume", "--all")
        running.wait_for("runs", lines=4)
        wait_until(lambda: len(events(tmp_path, "parked")) == 2, what="to be parked again")
        assert [event["data"]["by"] for event in events(tmp_path, "unparked")] != []


def test_a_changed_definition_ends_a_park_in_the_running_scheduler_and_at_the_next_start(
    tmp_path: Path,
) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("bad: parked")
        running.path("jobs.toml").write_text(JOBS.replace("exit 3", "exit 4"))
        taskman(tmp_path, "reload")
        running.wait_for_log("not parked any more: its definition has changed")
        running.wait_for_log("(the last: exit 4)")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    with Running(tmp_path, JOBS.replace("exit 3", "exit 5")) as running:
        running.wait_for_log("not parked any more: its definition has changed")
        running.wait_for_log("(the last: exit 5)")


def test_a_job_tries_again_after_park_for_and_its_success_resumes_it(tmp_path: Path) -> None:
    jobs = JOBS.replace("exit 3", "test -e good") + 'park_for = "1s"\n'
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("its run failed again when it was tried (exit 1)")
        running.path("good").touch()
        running.wait_for_log("not parked any more: run")
        count = len(running.lines("runs"))
        running.wait_for("runs", lines=count + 3)
        assert parked(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"count": -1, "runs": [], "definition": "", "park": null}', "7"]
)
def test_damage_to_what_is_kept_of_failures_pauses_the_job_and_nothing_else(
    tmp_path: Path, text: str
) -> None:
    jobs = JOBS + '[jobs.good]\nevery = "300ms"\ncommand = "echo >> good"\n'
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("bad: parked")
        running.send(signal.SIGTERM)
        running.end()
    with sqlite3.connect(tmp_path / "state/ledger.db") as ledger:
        ledger.execute("UPDATE job_state SET failures = ? WHERE name = 'bad'", (text,))
    ledger.close()
    (tmp_path / "good").unlink()
    with Running(tmp_path, jobs) as running:
        running.wait_for("good")
        listed = json.loads(taskman(tmp_path, "list", "--json"))
        (bad,) = (job for job in listed if job["job"] == "bad")
        assert "failures is" in bad["pause"]["reason"]


def test_a_lost_run_parks_a_job_with_on_crash_park(tmp_path: Path) -> None:
    jobs = """
        [jobs.long]
        every = "300ms"
        on_crash = "park"
        command = "echo $$ >> pid; sleep 100"
    """
    with Running(tmp_path, jobs) as running:
        pid = int(running.wait_for("pid")[0])
        running.send(signal.SIGKILL)
        running.process.wait()
        os.kill(pid, signal.SIGKILL)
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("long: parked: a run was lost (its end was not seen), and on_crash is park")
        assert len(running.lines("pid")) == 1


def test_not_now_and_only_if_with_their_output_as_evidence(tmp_path: Path) -> None:
    jobs = """
        [jobs.later]
        every = "300ms"
        command = "echo locked by pid 7; exit 75"
        skip_exit_codes = [75]
        [jobs.gated]
        every = "300ms"
        only_if = "echo battery at 12%; test -e charged"
        command = "echo $TASKMAN_TASK >> ran"
        env = { X = "1" }
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("skipped the slot")
        wait_until(
            lambda: {"not_now", "only_if"} <= {event["state"] for event in events(tmp_path, "skipped")},
            what="skips of both",
        )
        why: dict[str, Any] = {}

        def is_skipped() -> bool:  # or its latest run is not over
            why.update(json.loads(taskman(tmp_path, "why", "later", "--json")))
            return why["reason"] == "not_now"

        wait_until(is_skipped, what="a skip")
        assert why["output"]["lines"] == ["locked by pid 7"]
        wait_until(
            lambda: (
                "which said no: exit 1" in " ".join((told := taskman(tmp_path, "why", "gated")).split())
                and "battery at 12%" in told
            ),
            what="the evidence",
        )
        assert running.lines("ran") == []
        running.path("charged").touch()
        assert running.wait_for("ran")[0] == "main"


def test_a_gate_that_is_asked_when_everything_is_killed_is_asked_again_or_heard(tmp_path: Path) -> None:
    jobs = """
        [jobs.gated]
        every = "1h"
        run_on_start = true
        on_crash = "rerun"
        only_if = "echo >> asked; test -e go || sleep 100"
        command = "echo >> ran"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("asked")
        running.kill_scheduler()
        running.wait_for_log("taking over 1 run")
        assert len(running.lines("asked")) == 1
        rows = json.loads(taskman(tmp_path, "status", "--json"))["running"]
        (pid,) = (row["pid"] for row in rows)
        running.path("go").touch()
        running.send(signal.SIGKILL)
        running.process.wait()
        os.killpg(pid, signal.SIGKILL)
    with Running(tmp_path, jobs.replace("run_on_start = true", "")) as running:
        running.wait_for("ran")
        assert len(running.lines("asked")) == 2
