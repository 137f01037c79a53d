"""`taskman status --check`: what is healthy, what is not, and that it answers whatever hangs."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run
from e2e.running import Running
from integration.fake_scheduler import NOW_NS, SECOND_NS, STATUS, FakeScheduler
from wait import wait_until

from taskman_cli.cli.support import health
from taskman_cli.cli.support.health import problems
from taskman_cli.core.protocol import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARK = {
    "since_ns": NOW_NS - 3600 * SECOND_NS,
    "reason": "5 failures in a row",
    "until_ns": None,
    "trial": None,
}


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeScheduler]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    scheduler = FakeScheduler(tmp_path)
    yield scheduler
    scheduler.close()


def answering(scheduler: FakeScheduler, **changes: Any) -> None:
    scheduler.answers[Status.do] = [{**STATUS, "pid": os.getpid(), **changes}]


def test_a_healthy_scheduler_is_told_in_a_line(scheduler: FakeScheduler) -> None:
    answering(scheduler)
    assert run("status", "--check") == (0, "healthy: 3 jobs, 0 running\n", "")
    answering(scheduler, jobs=1)
    assert run("status", "--check")[1] == "healthy: 1 job, 0 running\n"


@pytest.mark.parametrize(
    ("changes", "kind", "job", "words"),
    [
        ({"ledger": "disk full"}, "ledger", None, "nothing starts, because it cannot be recorded: disk full"),
        (
            {"next": [{"job": "a", "slot_ns": 0, "due_ns": NOW_NS - 90 * SECOND_NS}]},
            "lag",
            None,
            "the scheduler is 1m 30s behind with what is due",
        ),
        (
            {"parked": [{"job": "db", "park": PARK}]},
            "parked",
            "db",
            "db has been parked for 1h 00m: 5 failures in a row",
        ),
        (
            {"overdue": [{"job": "db", "since_ns": NOW_NS - 7200 * SECOND_NS}]},
            "overdue",
            "db",
            "db is overdue: no success for 2h 00m",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_and_the_exit_code_is_1(
    scheduler: FakeScheduler, changes: dict[str, Any], kind: str, job: str | None, words: str
) -> None:
    answering(scheduler, **changes)
    code, out, err = run("status", "--check")
    assert (code, out, err) == (1, f"{words}\n", "")
    code, out, _ = run("status", "--check", "--json")
    problem = {"kind": kind, "job": job, "words": words}
    assert (code, json.loads(out)) == (1, {"healthy": False, "problems": [problem]})


def test_failing_jobs_bad_files_and_a_stop_are_no_reason(scheduler: FakeScheduler) -> None:
    answering(
        scheduler,
        failing=[{"job": "a"}],
        failing_count=1,
        files_trouble={"summary": "x"},
        stopping=True,
        next=[{"job": "a", "slot_ns": 0, "due_ns": NOW_NS - SECOND_NS}],
    )
    assert run("status", "--check")[0] == 0


def test_an_answer_that_takes_long_is_a_lag() -> None:
    assert [problem.words for problem in problems(STATUS, answer_s=1.25)] == [
        "the scheduler took 1.2 s to answer"
    ]
    assert list(problems(STATUS, answer_s=0.9)) == []


def test_without_a_scheduler_it_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    code, out, err = run("status", "--check")
    assert (code, out) == (3, "")
    assert "no taskman is running" in err


def test_it_is_about_all_jobs(scheduler: FakeScheduler) -> None:
    code, _, err = run("status", "backup", "--check")
    assert (code, "leave out JOB" in err) == (2, True)


JOBS = """
    [taskman]
    hang_after = "none"
    [jobs.j]
    every = "1h"
    run_on_start = true
    max_failures = 1
    command = "exit 3"
    [jobs.late]
    cron = "0 0 1 1 *"
    timezone = "UTC"
    expect_every = "1s"
    command = "true"
"""


def test_it_waits_for_3_seconds_at_most() -> None:
    assert health.PATIENCE_S + health.ANSWER_S <= 3


def test_it_answers_whichever_process_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("parked")
        wait_until(lambda: "late is overdue: no success for " in run("status", "--check")[1])
        code, out, _ = run("status", "--check")
        assert (code, out.startswith("j has been parked for ")) == (1, True)
        assert "overdue" in run("status")[1]
        stopped = running.scheduler_pid()
        os.kill(stopped, signal.SIGSTOP)
        code, out, err = run("status", "--check")
        assert (code, out) == (3, "")
        assert "no answer for 2.5 s: " in err
        assert "is stopped: continue it with kill -CONT" in err
        os.kill(stopped, signal.SIGCONT)
        os.kill(running.process.pid, signal.SIGSTOP)
        wait_until(lambda: "supervisor" in run("status", "--check")[1], what="the stopped supervisor")
        assert run("status", "--check")[0] == 1
        os.kill(running.process.pid, signal.SIGCONT)
