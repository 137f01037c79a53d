"""What a real `taskman run` keeps: rows and output of what runs, of what ended last, and of one-offs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def taskman(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(
        [*arguments], env=os.environ | {"STATE_DIRECTORY": str(directory / "state")}, cwd=directory, text=True
    )


def rows(directory: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(directory / "state" / "ledger.db")) as ledger:
        return [row[0] for row in ledger.execute(query)]


def history(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(taskman(directory, "history", "--json", *arguments).stdout)
    return found


def test_a_run_that_goes_on_while_many_end_keeps_its_row_and_its_output_and_is_the_latest_when_it_ends(
    tmp_path: Path,
) -> None:
    jobs = """
        [pool]
        admission = "fixed"
        [jobs.busy]
        every = "20ms"
        overlap = "allow"
        keep_runs = 2
        command = '''
        echo "$TASKMAN_RUN_ID" >> runs
        if mkdir first 2>/dev/null; then
            echo "I am the first"; echo "$TASKMAN_RUN_ID" > first/run
            while [ ! -e go ]; do sleep 0.01; done; echo "and the last"
        else echo "another"; fi
        '''
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("runs", lines=60)
        [first] = running.wait_for("first/run")  # commands that start at once overtake each other
        running_now = history(tmp_path, "--state", "running", "--count", "0")
        assert first in {row["run"] for row in running_now}
        assert taskman(tmp_path, "log", first).stdout == "I am the first\n"
        taskman(tmp_path, "pause", "busy")
        open_runs = "SELECT id FROM runs WHERE state IN ('queued', 'running')"
        wait_until(lambda: len(rows(tmp_path, open_runs)) == 1, what="all others to be over")
        running.path("go").touch()
        wait_until(lambda: rows(tmp_path, open_runs) == [], what="the first to be over")
        assert taskman(tmp_path, "log", first).stdout == "I am the first\nand the last\n"
        wait_until(lambda: len(rows(tmp_path, "SELECT id FROM runs")) == 2, what="two rows")
        output = tmp_path / "state" / "output" / "busy"
        wait_until(lambda: len(list(output.iterdir())) == 2, what="two files")
        kept = {row["run"] for row in history(tmp_path) if row["run"]}
        assert first in kept
        assert kept == {path.name.partition(".")[0] for path in output.iterdir()}


def test_a_run_that_waits_for_its_next_attempt_is_not_over(tmp_path: Path) -> None:
    jobs = """
        [pool]
        admission = "fixed"
        [jobs.busy]
        every = "20ms"
        overlap = "allow"
        keep_runs = 1
        retry = { max = 1, delay = "1h", exit_codes = [7] }
        command = '''
        echo "$TASKMAN_RUN_ID" >> runs; echo out
        if mkdir first 2>/dev/null; then echo "$TASKMAN_RUN_ID" > first/run; exit 7; fi
        '''
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("runs", lines=40)
        [first] = running.wait_for("first/run")
        assert taskman(tmp_path, "log", first).stdout == "out\n"
        running.send(signal.SIGTERM)
        assert running.end() == 0
    # Nor when the stop has left it to the next start.
    with Running(tmp_path, jobs) as running:
        running.wait_for("runs", lines=60)
        assert taskman(tmp_path, "log", first).stdout == "out\n"


@pytest.fixture
def few_one_offs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the scheduler keep five one-offs, two of them with their output."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "from taskman_cli.ledger import departed\n"
        "departed.KEPT_ONE_OFFS, departed.KEPT_ONE_OFF_OUTPUTS, departed._SLACK = 5, 2, 1\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.mark.usefixtures("few_one_offs")
def test_one_offs_that_are_over_leave_nothing_for_good_even_after_a_crash(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        running.wait_for_log("1 job from")
        for _ in range(9):
            assert taskman(tmp_path, "once", "--wait", "echo hi").returncode == 0
        names = "SELECT name FROM job_state WHERE name != 'job' ORDER BY id"
        wait_until(lambda: len(rows(tmp_path, names)) == 5, what="five one-offs")
        output = tmp_path / "state" / "output"
        wait_until(lambda: len(list(output.iterdir())) == 2, what="two directories")
        left = rows(tmp_path, names)
        assert [f"once-{number}" for number in range(5, 10)] == left
        assert taskman(tmp_path, "log", "once-9").stdout == "hi\n"
        assert "succeeded" in taskman(tmp_path, "why", "once-5").stdout
        assert [row["job"] for row in history(tmp_path, "once-5")] == ["once-5"]
        gone = taskman(tmp_path, "log", "once-5")
        assert (gone.returncode, "the output has been removed" in gone.stderr) == (1, True)
        running.kill_scheduler()
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    # What the crash left behind, or an earlier version, goes with the next start.
    for number in range(120):
        (output / f"stray-{number}").mkdir()
        (output / f"stray-{number}" / "67avwsa1m4.main.1.log").touch()
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        wait_until(lambda: len(list(output.iterdir())) <= 102, what="a sweep")
        assert {"once-8", "once-9"} <= {path.name for path in output.iterdir()}
