"""The real program under a wall clock that is wrong by years, and at changes of daylight saving time.

A library that is compiled here and preloaded moves the wall clock of taskman and its commands alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from e2e.running import TASKMAN, Running
from e2e.test_ledger import ledger
from wait import wait_until

pytestmark = pytest.mark.real

SHIM = Path(__file__).parent / "clock/shim.c"
YEARS = 14 * 365 * 86_400


class Clock:
    """How far the wall clock of what is started in `environ` is ahead of the right one."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler (cc) to make the wrong clock with")
        library = directory / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM], check=True)
        self._path = directory / "ahead"
        self._path.write_bytes(bytes(8))
        self.environ = os.environ | {"LD_PRELOAD": str(library), "TASKMAN_TEST_CLOCK": str(self._path)}
        self.environ["STATE_DIRECTORY"] = str(directory / "state")
        self._directory = directory

    def set(self, ahead_s: float) -> None:
        with self._path.open("r+b") as file:
            file.write(int(ahead_s * 10**9).to_bytes(8, "little", signed=True))

    def show(self, text: str) -> None:
        """Let it be this time of UTC now."""
        self.set(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - time.time())

    def taskman(self, *arguments: str) -> str:
        return subprocess.run(
            [TASKMAN, *arguments],
            env=self.environ, cwd=self._directory, text=True, capture_output=True, check=True, timeout=60,
        ).stdout  # fmt: skip


OFTEN = """
    [taskman]
    timezone = "UTC"
    [jobs.often]
    cron = "* * * * * *"
    command = "echo $TASKMAN_SLOT >> often"
    [jobs.monthly]
    cron = "0 0 1 * *"
    command = "echo $TASKMAN_SLOT >> monthly"
    on_missed = "skip"
"""


def test_a_clock_that_was_in_2040_for_a_while_leaves_nothing_behind(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    year = datetime.now(UTC).year
    with Running(tmp_path, OFTEN, environ=clock.environ) as running:
        running.wait_for("often", lines=2)
        clock.set(YEARS)
        clock.taskman("status")  # a real step would wake it
        running.wait_for_log("the clock stepped forward by")
        wait_until(lambda: int(running.lines("often")[-1][:4]) > year + 10, what="slots of that time")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    clock.set(0)
    told = json.loads(clock.taskman("why", "often", "--json"))
    assert told["ahead_until"] is not None
    with Running(tmp_path, OFTEN, environ=clock.environ) as running:
        seen = len(running.lines("often"))
        running.wait_for("often", lines=seen + 3)
        clock.set(YEARS)
        clock.taskman("status")
        running.wait_for_log("the clock stepped forward by")
        seen = len(running.lines("often"))
        running.wait_for("often", lines=seen + 2)
        clock.set(0)
        clock.taskman("status")
        running.wait_for_log("the clock stepped back by")
        seen = len(running.lines("often"))
        running.wait_for("often", lines=seen + 3)
        slots = running.lines("often")
        assert int(slots[-1][:4]) <= year + 1
        assert sorted(set(slots)) == sorted(slots), "no slot runs twice"
        assert "Records from when the clock was ahead" in clock.taskman("why", "often")
        [slot] = [
            row["slot"] for row in json.loads(clock.taskman("list", "--json")) if row["job"] == "monthly"
        ]
        assert int(slot[:4]) <= year + 1
        assert running.lines("monthly") == []
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "Traceback" not in running.log


CHANGES = """
    [taskman]
    timezone = "Europe/Stockholm"
    [jobs.fixed]
    cron = "{fixed}"
    command = "echo $TASKMAN_SLOT >> fixed"
    [jobs.each-minute]
    cron = "* * * * *"
    command = "echo $TASKMAN_SLOT >> minutes"
"""


@pytest.mark.parametrize(
    ("day", "fixed", "ran", "words"),
    [
        (
            "2027-03-28",
            "30 2 * * *",
            ["2027-03-28T01:00:00+00:00"],
            "The clocks skipped one of its times",
        ),
        ("2026-10-25", "0 2 * * *", [], "is due at its slot Mon 2026-10-26 02:00:00+01:00"),
    ],
    ids=["gap", "overlap"],
)
def test_a_fixed_job_runs_once_at_a_gap_and_not_in_the_second_pass_of_an_overlap(
    tmp_path: Path, day: str, fixed: str, ran: list[str], words: str
) -> None:
    clock = Clock(tmp_path)
    clock.show(f"{day}T00:58:30")
    with Running(tmp_path, CHANGES.format(fixed=fixed), environ=clock.environ) as running:
        running.wait_for_log("2 jobs from")
        clock.show(f"{day}T00:59:57")
        clock.taskman("status")
        change = f"{day}T01:00:00+00:00"
        wait_until(lambda: change in running.lines("minutes"), what="the first minute after the change")
        if ran:
            running.wait_for("fixed")
        told = clock.taskman("why", "fixed")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "Traceback" not in running.log
    assert ran == running.lines("fixed")
    query = "SELECT count(*) FROM runs JOIN job_state ON job_state.id = job WHERE name = 'fixed'"
    assert ledger(tmp_path, query) == [len(ran)]
    assert words in " ".join(told.split())
