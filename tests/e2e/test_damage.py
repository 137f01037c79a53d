"""A ledger that is damaged between two schedulers, while the supervisor runs commands that are in it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from e2e.running import Running
from e2e.test_ledger import ledger
from integration.test_ledger_unreadable import damage
from process_table import is_alive
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
    [jobs.pair]
    every = "200ms"
    [jobs.pair.tasks]
    a = "echo >> a; while [ ! -e go ]; do sleep 0.05; done"
    b = "echo $$ > pid; echo >> b; while [ ! -e go ]; do sleep 0.05; done; exit 3"
    [jobs.other]
    every = "200ms"
    command = "echo >> other"
"""


@pytest.mark.parametrize(
    ("statement", "is_left"),
    [
        ("UPDATE runs SET params = '[1]' WHERE state = 'running'", False),
        ("UPDATE runs SET state = 'succeeded' WHERE state = 'running'", True),
        ("DELETE FROM runs WHERE state = 'running'", False),
        ("DELETE FROM attempts WHERE state = 'running'", False),
        ("DELETE FROM attempts WHERE state = 'running' AND task = 'b'", False),
        ("UPDATE attempts SET state = 'x' WHERE state = 'running'", False),
    ],
)
def test_what_the_supervisor_runs_does_not_run_twice_whatever_the_ledger_says(
    tmp_path: Path, statement: str, *, is_left: bool
) -> None:
    with Running(tmp_path, JOBS) as running:
        pid = int(running.wait_for("pid")[0])
        running.wait_for("a")
        running.wait_for("b")
        running.send(signal.SIGSTOP)  # it starts none before the damage is done
        running.kill_scheduler()
        damage(tmp_path / "state", statement)
        running.send(signal.SIGCONT)
        seen = len(running.lines("other"))
        running.wait_for("other", lines=seen + 5)
        assert (len(running.lines("a")), len(running.lines("b"))) == (1, 1)
        assert is_alive(pid)
        state = ledger(tmp_path, "SELECT pause IS NOT NULL FROM job_state WHERE name = 'pair'")
        assert state == [int(is_left)]
        running.path("go").touch()
        wait_until(lambda: not is_alive(pid), what="its end")
        if is_left:
            assert f"set aside: process {pid} of run" in running.log
        else:
            running.wait_for("b", lines=2)
            query = "SELECT detail FROM attempts WHERE task = 'b' AND ended_ns > 0 ORDER BY run LIMIT 1"
            wait_until(lambda: ledger(tmp_path, query) == ["exit 3"], what="how it ended on record")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "Traceback" not in running.log
