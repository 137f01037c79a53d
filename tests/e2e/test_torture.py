"""Killed at random and at each named point, the real program loses no slot and runs none twice."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from e2e.crashpoints.sitecustomize import POINTS
from e2e.torture import Torture, torture
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_whatever_is_killed_when_the_marks_of_the_commands_and_the_ledger_agree(tmp_path: Path) -> None:
    # Side by side, at random and at the points: each waits for its next moment most of the time.
    amounts = {"random": {"cycles": 15, "points": 0}, "points": {"cycles": 0, "points": 1}}
    for name in amounts:
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor() as pool:
        both = {
            name: pool.submit(torture, tmp_path / name, seed=1, **amount) for name, amount in amounts.items()
        }
    done = {name: one.result() for name, one in both.items()}
    for name, (_, verdict) in done.items():
        assert verdict.problems == [], (tmp_path / name / "log").read_text()[-3000:]
    assert sum(verdict.runs for _, verdict in done.values()) > 0
    assert sum(run.kills.total() for run, _ in done.values()) == 15 + len(POINTS)


def test_the_judge_of_it_all_can_tell_bad_from_good(tmp_path: Path) -> None:
    run = Torture(tmp_path, seed=1)
    try:
        run.start()
        marks = tmp_path / "marks-quick"
        wait_until(lambda: marks.exists() and len(marks.read_text().splitlines()) > 2, what="three marks")
        run.stop()
    finally:
        run.end()
    assert run.judge().problems == []
    marks.write_text(marks.read_text() + marks.read_text().splitlines()[0] + "\n")
    assert [problem[-9:] for problem in run.judge().problems] == ["ran twice"]
    with closing(sqlite3.connect(tmp_path / "state/ledger.db", isolation_level=None)) as ledger:
        quick = "(SELECT id FROM job_state WHERE name = 'quick')"
        ledger.execute(f"DELETE FROM runs WHERE id = (SELECT min(id) FROM runs WHERE job = {quick})")
    assert any("is not accounted for" in problem for problem in run.judge().problems)
    assert any("has no record" in problem for problem in run.judge().problems)
