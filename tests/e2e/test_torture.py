"""Killed at random and at each named point, the real program loses no slot and runs none twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from e2e.torture import Torture, torture
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_whatever_is_killed_when_the_marks_of_the_commands_and_the_ledger_agree(tmp_path: Path) -> None:
    run, verdict = torture(tmp_path, cycles=15, seed=1, points=1)
    assert [] == verdict.problems, (tmp_path / "log").read_text()[-3000:]
    assert verdict.runs > 0
    assert 27 == run.kills.total()


def test_the_judge_of_it_all_can_tell_bad_from_good(tmp_path: Path) -> None:
    run = Torture(tmp_path, seed=1)
    try:
        run.start()
        marks = tmp_path / "marks-quick"
        wait_until(lambda: marks.exists() and len(marks.read_text().splitlines()) > 2, what="three marks")
        run.stop()
    finally:
        run.end()
    assert [] == run.judge().problems
    marks.write_text(marks.read_text() + marks.read_text().splitlines()[0] + "\n")
    assert ["ran twice"] == [problem[-9:] for problem in run.judge().problems]
    with closing(sqlite3.connect(tmp_path / "state/ledger.db", isolation_level=None)) as ledger:
        quick = "(SELECT id FROM job_state WHERE name = 'quick')"
        ledger.execute(f"DELETE FROM runs WHERE id = (SELECT min(id) FROM runs WHERE job = {quick})")
    assert any("is not accounted for" in problem for problem in run.judge().problems)
    assert any("has no record" in problem for problem in run.judge().problems)
