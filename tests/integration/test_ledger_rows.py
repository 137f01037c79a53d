"""The ledgers that benchmarks are made with have the rows that the scheduler's own writer would have left."""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.engine.view import Failing
from taskman_cli.core.model import Exit, Settings, SkipReason, State, Trigger
from taskman_cli.ledger.ledger import Ledger

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FIRST_NS, STEP_NS, RUNS, JOBS = 1_795_492_800 * 10**9, 10**9, 700, 21
TABLES = ("job_state", "runs", "attempts", "skips", "events", "definitions")


def write_as_the_scheduler_does(directory: Path, rows: Any) -> None:
    """Write what becomes of the runs, record by record."""
    first = Now(FIRST_NS, FIRST_NS - rows.BOOT_NS)
    ledger = Ledger(directory, Settings(), supervisor=rows.SUPERVISOR, now=first)

    def write(at_ns: int, *records: effects.Record | effects.Mark) -> None:
        ledger.write(records, Now(at_ns, at_ns - rows.BOOT_NS))

    names = rows.job_names(JOBS)
    write(FIRST_NS, *(effects.JobArmed(name, rows.DEFINITION, FIRST_NS, FIRST_NS) for name in names))
    for index in range(RUNS):
        slot_ns = FIRST_NS + index * STEP_NS
        place, turn = index % (JOBS - 1), index // (JOBS - 1)
        chance = (place * 31 + turn * 17) % 1000
        job, run = names[1 + place], encode_run_id(slot_ns >> 13)
        write(
            slot_ns,
            effects.RunQueued(run, job, slot_ns, Trigger.SLOT, slot_ns),
            effects.AttemptBegun(run, job, "main", 1, slot_ns),
        )
        begun_ns = slot_ns

        def spawn(number: int, at_ns: int, run: str = run, job: str = job) -> None:
            started = Now(at_ns, at_ns - rows.BOOT_NS)
            write(at_ns, effects.AttemptSpawned(run, job, "main", number, rows.PID, started))

        def end(
            number: int, at_ns: int, code: int, *more: effects.Record, retry_in_ns: int | None = None,
            run: str = run, job: str = job,
        ) -> None:  # fmt: skip
            state, detail = (State.FAILED, f"exit {code}") if code else (State.SUCCEEDED, "")
            used = Exit(code, None, rows.CPU_S, rows.PEAK_BYTES)
            facts = (run, job, "main", number, state, detail, used, at_ns, rows.LENGTH_NS, retry_in_ns)
            write(at_ns, effects.AttemptFinished(*facts), *more)

        spawn(1, begun_ns + rows.SPAWN_NS)
        if chance % 20 == 7:
            skipped_ns = slot_ns + rows.SPAWN_NS
            slots = (skipped_ns, skipped_ns, 1)
            write(skipped_ns, effects.SlotsSkipped(job, *slots, SkipReason.OVERLAP, rows.WHY, None, run))
        end_ns = slot_ns + rows.SPAWN_NS + rows.LENGTH_NS
        if chance % 100 == 5:
            end(1, end_ns, 3, retry_in_ns=rows.PAUSE_NS)
            write(end_ns + rows.PAUSE_NS, effects.AttemptBegun(run, job, "main", 2, slot_ns))
            spawn(2, end_ns + rows.PAUSE_NS + rows.SPAWN_NS)
            end_ns += rows.PAUSE_NS + rows.SPAWN_NS + rows.LENGTH_NS
            end(2, end_ns, 0, effects.RunFinished(run, job, State.SUCCEEDED, slot_ns))
        elif chance == 3:
            failing = Failing(job, run, "main", State.FAILED, "exit 3", 1, end_ns, end_ns)
            end(1, end_ns, 3, effects.RunFinished(run, job, State.FAILED, slot_ns, failing=failing))
        else:
            end(1, end_ns, 0, effects.RunFinished(run, job, State.SUCCEEDED, slot_ns))
    ledger.close()


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def test_rows_made_in_bulk_are_those_of_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rows = importlib.import_module("ledger_rows")
    written, made = tmp_path / "written", tmp_path / "made"
    written.mkdir()
    write_as_the_scheduler_does(written, rows)
    last_ns = FIRST_NS + (RUNS - 1) * STEP_NS
    path = rows.make_ledger(made, RUNS, last_ns=last_ns, step_ns=STEP_NS, jobs=JOBS)
    found, expected = rows_of(path), rows_of(written / "ledger.db")
    assert {table: len(found[table]) for table in TABLES} == {table: len(expected[table]) for table in TABLES}
    for table in TABLES:
        assert found[table] == expected[table], table
    kinds = {row[2:9:6] for row in expected["events"]}
    assert {("ended", "failed"), ("finished", "failed"), ("skipped", "overlap")} <= kinds
