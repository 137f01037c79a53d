"""Ledgers of any size for benchmarks and tests: rows as a scheduler would have left them, made in bulk.

`python benchmarks/ledger_rows.py DIR [RUNS]` makes one to look at. Always the same rows for the same numbers.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND_NS = 1_000_000_000
#: Run numbers count steps of 2**13 ns, as in `core.engine.runs`.
STEP_BITS = 13

#: Has every second run.
BUSY = "busy"
#: Has a run for each 100,000 of all, and is the last to have begun one.
RARE = "rare"
OTHERS = [f"job-{number:02d}" for number in range(98)]
JOBS = [BUSY, RARE, *OTHERS]

_EVERY_RARE = 100_000
_EVERY_FAILURE = 100
_EVERY_TIMEOUT = 1_000
_EVERY_SKIP = 20


class Fake(NamedTuple):
    """One run: all that its rows are made of."""

    number: int
    job: int
    queued_ns: int
    #: Of its attempts, in order: how each ended.
    states: tuple[str, ...]

    @property
    def ended_ns(self) -> int:
        """Return when its last attempt ended."""
        return self.queued_ns + len(self.states) * SECOND_NS // 4


def make_ledger(directory: Path, runs: int, *, last_ns: int, step_ns: int = SECOND_NS) -> Path:
    """Make `DIR/ledger.db` with `runs` runs, `step_ns` apart, the last one queued at `last_ns`.

    One in a hundred failed and was tried again, one in a thousand timed out, and none was lost or cancelled;
    to each twenty runs there is a skip.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # It is made in one transaction, and again from the start if that fails.
        connection.execute("PRAGMA synchronous = OFF")
        create(connection)
        connection.execute("BEGIN")
        fill(connection, runs, first_ns=last_ns - (runs - 1) * step_ns, step_ns=step_ns)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return path


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty ledger."""
    connection.executescript(
        f"BEGIN; {''.join(MIGRATIONS)} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
    )


def fill(connection: sqlite3.Connection, runs: int, *, first_ns: int, step_ns: int) -> None:
    """Write the rows of `runs` runs."""
    definition = json.dumps({"every_ns": step_ns})
    connection.executemany(
        "INSERT INTO job_state (id, name, definition, since_ns, anchor_ns) VALUES (?, ?, ?, ?, ?)",
        ((number, name, definition, first_ns, first_ns) for number, name in enumerate(JOBS, 1)),
    )

    def fakes() -> Iterator[Fake]:
        return (fake(index, first_ns=first_ns, step_ns=step_ns) for index in range(runs))

    connection.executemany(
        "INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns)"
        " VALUES (?, ?, ?, 'slot', ?, ?, ?, ?, ?)",
        (
            (run.number, run.job, run.queued_ns, run.queued_ns, run.states[-1], run.queued_ns, run.queued_ns,
             run.ended_ns)
            for run in fakes()
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO attempts (run, task, number, state, supervisor, begun_ns, pid, started_ns,"
        " started_elapsed_ns, ended_ns, duration_ns, exit_code, signal, cpu_s, peak_rss_bytes, output_bytes,"
        " cut_bytes, detail) VALUES (?, 'main', ?, ?, 1, ?, 4711, ?, ?, ?, ?, ?, ?, 0.125, 4194304, 0, 0, ?)",
        chain.from_iterable(_attempts(run) for run in fakes()),
    )
    connection.executemany(
        "INSERT INTO events (at_ns, kind, job, run, task, attempt, slot_ns, state, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        chain.from_iterable(_events(run) for run in fakes()),
    )
    connection.executemany(
        "INSERT INTO skips (job, slot_ns, slot_to_ns, count, reason, detail, blocker, at_ns, at_to_ns)"
        " VALUES (?, ?, ?, 3, 'overlap', ?, ?, ?, ?)",
        (
            (run.job, run.queued_ns, run.queued_ns + 2, f"run {run.number} is not over", run.number,
             run.queued_ns, run.queued_ns + 2)
            for index, run in enumerate(fakes()) if index % _EVERY_SKIP == 7
        ),
    )  # fmt: skip


def fake(index: int, *, first_ns: int, step_ns: int) -> Fake:
    """Make up the run of that index."""
    queued_ns = first_ns + index * step_ns
    if index % _EVERY_RARE == 99_991:
        job = JOBS.index(RARE) + 1
    elif index % 2:
        job = JOBS.index(BUSY) + 1
    else:
        job = JOBS.index(OTHERS[index // 2 % len(OTHERS)]) + 1
    if index % _EVERY_TIMEOUT == 3:
        states: tuple[str, ...] = ("timed_out",)
    else:
        states = ("failed", "succeeded") if index % _EVERY_FAILURE == 5 else ("succeeded",)
    return Fake(queued_ns >> STEP_BITS, job, queued_ns, states)


_ENDS = {
    "succeeded": (0, None, None),
    "failed": (3, None, "exit 3"),
    "timed_out": (None, 15, "killed by SIGTERM"),
}


def _attempts(run: Fake) -> Iterator[tuple[object, ...]]:
    for index, state in enumerate(run.states):
        begun_ns = run.queued_ns + index * SECOND_NS // 4
        yield (
            run.number, index + 1, state, begun_ns, begun_ns, begun_ns, begun_ns + 1_000_000, 1_000_000,
            *_ENDS[state],
        )  # fmt: skip


def _events(run: Fake) -> Iterator[tuple[object, ...]]:
    job = JOBS[run.job - 1]
    yield (run.queued_ns, "queued", job, run.number, None, None, run.queued_ns, None, "slot")
    for number, state in enumerate(run.states, 1):
        detail = _ENDS[state][2]
        yield (run.queued_ns, "begun", job, run.number, "main", number, run.queued_ns, None, None)
        yield (run.ended_ns, "ended", job, run.number, "main", number, run.queued_ns, state, detail)
    yield (run.ended_ns, "finished", job, run.number, None, None, run.queued_ns, run.states[-1], None)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} DIR [RUNS]")
    import time

    print(make_ledger(Path(sys.argv[1]), int((sys.argv[2:] or ["1000000"])[0]), last_ns=time.time_ns()))
