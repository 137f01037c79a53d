"""Is anything broken? `status`, `list` and the live view tell it, before and after a restart."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from command_line import call
from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
[jobs.bad]
every = "1h"
command = "echo no room >&2; exit ${CODE:-1}"
keep_runs = 2
[jobs.flaky]
every = "1h"
command = "exit 75"
retry = { max = 3, delay = "1h" }
[jobs.fine]
every = "1h"
command = "true"
"""


def ask(running: Running, *words: str) -> str:
    done = call([*words], env=running.env, cwd=running.directory, text=True)
    assert done.returncode in (0, 1), done
    return done.stdout


def failing(running: Running) -> list[tuple[Any, ...]]:
    status = json.loads(ask(running, "status", "--json"))
    return [(row["job"], row["failures"], row["detail"], row["is_more"]) for row in status["failing"]]


def is_up(running: Running) -> bool:
    done = call(["status"], env=running.env, cwd=running.directory)
    return done.returncode == 0


def test_failures_in_a_row_are_right_after_a_crash_and_a_restart_with_few_runs_kept(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: is_up(running), what="a scheduler")
        for _ in range(6):
            ask(running, "trigger", "bad", "--wait")
        ask(running, "trigger", "fine", "--wait")
        ask(running, "trigger", "flaky")
        wait_until(lambda: "retry 1 of 3 in 59m" in ask(running, "list"), what="a retry")
        assert failing(running) == [("bad", 6, "exit 1", False)]
        # The runs before the latest two are not kept.
        wait_until(
            lambda: len(json.loads(ask(running, "history", "bad", "--json"))) == 2, what="the end of old runs"
        )
        running.kill_scheduler()
        wait_until(lambda: is_up(running), what="the next scheduler")
        assert failing(running) == [("bad", 6, "exit 1", False)]
        ask(running, "stop")
        running.end()
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: is_up(running), what="a scheduler after the restart")
        assert failing(running) == [("bad", 6, "exit 1", False)]
        ask(running, "trigger", "bad", "--wait")
        assert failing(running) == [("bad", 7, "exit 1", False)]
        lines = [line.split() for line in ask(running, "list").splitlines()]
        assert lines[0] == ["JOB", "STATE", "NEXT", "LAST", "SCHEDULE", "NOTE"]
        assert lines[1][0] == "bad"
        assert "✗ ×7 exit 1" in " ".join(lines[1])
        assert next(line for line in lines if line[0] == "fine").count("✓") == 1
        assert "why: taskman why bad" in ask(running, "status")
        ask(running, "trigger", "bad", "--wait", "--env", "CODE=0")
        assert failing(running) == []
        assert "failing" not in ask(running, "status")
        ask(running, "trigger", "bad", "--wait")
        assert failing(running) == [("bad", 1, "exit 1", False)]


def test_a_latin_1_pipe_gets_ascii_signs(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        wait_until(lambda: is_up(running), what="a scheduler")
        ask(running, "trigger", "bad", "--wait")
        done = subprocess.run(
            [TASKMAN, "list"], env=running.env | {"PYTHONIOENCODING": "latin-1"}, cwd=tmp_path,
            capture_output=True, check=True,
        )  # fmt: skip
        assert b"x x1 exit 1" in done.stdout
