"""What people's commands ask of the ledger, and what a start reads, goes through no table that grows."""

from __future__ import annotations

import importlib
import re
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.__main__ import main
from taskman_cli.core.clock import Now
from taskman_cli.core.model import Settings
from taskman_cli.ledger.ledger import Ledger

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: The tables that grow with the runs, by the names that queries give them.
GROWING = r"(runs|attempts|skips|events|r|a|s|e)"
COMMANDS = [
    "history", "history -n 5", "history job-0003", "history --state lost", "history --state failed job-0003",
    "history --state timed_out --state failed", "history --since 1m", "history --since 1m job-0003",
    "history --since 1m --state skipped", "why job-0003", "why rare", "log job-0003",
    "log job-0003 --since 1m", "events -n 5",
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rows = importlib.import_module("ledger_rows")
    rows.make_ledger(tmp_path, 700, last_ns=time.time_ns(), jobs=7)
    # As if each job had more runs than can be looked up one by one.
    monkeypatch.setattr("taskman_cli.ledger.queries.history._MANY_RUNS", 10)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """Return what is asked for, with the values, from now on."""
    found: dict[str, tuple[Any, ...]] = {}
    really = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            found.setdefault(sql, values)
            return super().execute(sql, *values)

    monkeypatch.setattr(
        sqlite3, "connect", lambda *words, **named: really(*words, **named | {"factory": Connection})
    )
    return found


def unbounded(state: Path, asked: dict[str, tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Return the queries that go through all rows of a table that grows, each with the step that does."""
    found = []
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        for sql, values in list(asked.items()):
            if not sql.startswith("SELECT") or "LIMIT" in sql or re.match("SELECT (NOT )?EXISTS", sql):
                continue  # the first few rows are enough
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", *values).fetchall():
                if re.fullmatch(rf"SCAN {GROWING}( USING .*)?", step) and "runs_open" not in step:
                    found.append((sql, step))
    return found


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_goes_through_no_table_that_grows(
    state: Path, asked: dict[str, tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["taskman", *words.split(), "--state-dir", str(state)])
    with suppress(SystemExit):  # nothing may be found
        main()
    assert any("runs" in sql or "events" in sql for sql in asked)
    assert unbounded(state, asked) == []


def test_a_start_goes_through_no_table_that_grows(state: Path, asked: dict[str, tuple[Any, ...]]) -> None:
    now = Now(time.time_ns(), 10**15)
    ledger = Ledger(state, Settings(), supervisor=2, now=now, boot="boot")
    ledger.close()
    assert any("job_state" in sql for sql in asked)
    assert unbounded(state, asked) == []


def test_what_did_not_succeed_is_found_by_an_index(state: Path, asked: dict[str, tuple[Any, ...]]) -> None:
    from taskman_cli.core.model import State
    from taskman_cli.ledger.queries.history import Filter, history

    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        list(history(connection, Filter(states=frozenset({State.LOST, State.FAILED}))))
        (query,) = [sql for sql in asked if "FROM attempts a" in sql]
        plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}", *asked[query])]
    assert plan[0] == "SEARCH a USING INDEX attempts_unusual (state=? AND (run,task,number)<(?,?,?))"
