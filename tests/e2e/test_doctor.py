"""`taskman doctor` beside a scheduler that runs."""

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

JOBS = "[jobs.a]\nevery = '1h'\nrun_on_start = true\ncommand = 'true'\n"


def doctor(directory: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    result = subprocess.run(
        [TASKMAN, "doctor", "--json", *arguments],
        check=False, capture_output=True, text=True, timeout=60, cwd=directory,
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
    )  # fmt: skip
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    is_failing = any(row["level"] == "fail" for row in rows.values())
    assert ("", int(is_failing)) == (result.stderr, result.returncode)
    return rows


def test_a_scheduler_that_answers_and_one_that_does_not(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS, "--no-live") as running:
        running.wait_for_log("a: succeeded")
        rows = doctor(tmp_path)
        assert rows["state"]["level"] != "fail", rows["state"]  # where the tests run may be in memory
        for name in ("ledger", "scheduler"):
            assert rows[name]["level"] == "ok", rows[name]
        pid = running.process.pid
        assert f"process {pid} answers" in rows["scheduler"]["words"]
        assert f"of process {pid}" in rows["limits"]["words"]
        stopped = running.scheduler_pid()
        os.kill(stopped, signal.SIGSTOP)
        found = doctor(tmp_path)["scheduler"]
        assert found["level"] == "fail"
        assert f"no answer for 1 s: the scheduler (process {stopped}, state T) is stopped" in found["words"]
        assert "taskman restart" in found["fix"]


def test_two_instances_with_the_same_job_file(tmp_path: Path) -> None:
    with (
        Running(tmp_path, JOBS, "--no-live") as one,
        Running(tmp_path, JOBS, "--no-live", "-i", "two") as two,
    ):
        for place in ("state", "state/instances/two"):
            wait_until((tmp_path / place / "taskman.sock").exists, what=f"a scheduler in {place}")
        found = doctor(tmp_path, "--state-dir", "state")["others"]
        assert found["level"] == "fail"
        assert f"two (process {two.process.pid})" in found["words"]
        found = doctor(tmp_path, "-i", "two")["others"]
        assert f"state (process {one.process.pid})" in found["words"]
