"""Ledgers of any size for benchmarks and tests: the rows that a scheduler would have left, made by SQL.

`python benchmarks/ledger_rows.py DIR [RUNS [JOBS]]` makes one to look at. Always the same rows for the same
numbers. A test writes a small one with the recorder, too, and compares.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS

SECOND_NS = 1_000_000_000
#: Has a run for each `EVERY_RARE` of all; the other jobs take turns.
RARE = "rare"
EVERY_RARE = 100_000
#: The schedule of all jobs, which are due once a year.
CRON, ZONE = "0 0 1 1 *", "UTC"
DEFINITION = json.dumps({"cron": CRON, "timezone": ZONE})
#: How many lines of the journal are kept, as by default.
KEPT_EVENTS = 100_000
#: The supervisor of all attempts, their process, and the wall clock less the one since boot.
SUPERVISOR, PID, BOOT_NS = 1, 4711, 1_000_000 * SECOND_NS
#: From the slot to the process, from there to its end, and from an end to the next attempt, in nanoseconds.
SPAWN_NS, LENGTH_NS, PAUSE_NS = 1_000_000, 250_000_000, 10_000_000
#: What each attempt used.
CPU_S, PEAK_BYTES = 0.125, 4_194_304

#: Why slots are skipped.
WHY = "the last run is not over"

# What becomes of a run is drawn from the number of its job and the turn of that: in one of a thousand the
# command fails, in one of a hundred it is tried again, and in one of twenty the next slot is skipped.
_RUNS = f"""
CREATE TEMP VIEW run AS WITH RECURSIVE
    counter (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < (SELECT runs FROM plan)),
    drawn AS (
        SELECT i, first_ns + i * step_ns AS slot_ns,
            iif(i % {EVERY_RARE} = {EVERY_RARE - 9}, 1, 2 + i % (jobs - 1)) AS job,
            (i % (jobs - 1) * 31 + i / (jobs - 1) * 17) % 1000 AS chance
        FROM counter, plan
    ),
    told AS (
        SELECT *, chance = 3 AS fails, chance % 100 = 5 AS again, chance % 20 = 7 AS skips,
            4 + 2 * (chance % 100 = 5) + (chance % 20 = 7) AS lines
        FROM drawn
    )
SELECT i, slot_ns >> 13 AS id, slot_ns, job, fails, again, skips,
    slot_ns + {SPAWN_NS + LENGTH_NS} AS first_end_ns,
    slot_ns + {SPAWN_NS + LENGTH_NS} + again * {PAUSE_NS + SPAWN_NS + LENGTH_NS} AS end_ns,
    -- Of its lines in the journal: queued, begun, skipped, ended, begun, ended, finished.
    sum(lines) OVER (ORDER BY i ROWS UNBOUNDED PRECEDING) AS last_seq, lines
FROM told;
"""
_ATTEMPT = """(run, task, number, state, supervisor, begun_ns, pid, started_ns, started_elapsed_ns,
    ended_ns, duration_ns, exit_code, cpu_s, peak_rss_bytes, output_bytes, cut_bytes, detail, next_ns)"""
_FILL = f"""
INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns, ended_seq)
SELECT id, job, slot_ns, 'slot', slot_ns, iif(fails, 'failed', 'succeeded'), slot_ns, slot_ns, end_ns,
    last_seq
FROM run;

INSERT INTO attempts {_ATTEMPT}
SELECT id, 'main', 1, iif(fails OR again, 'failed', 'succeeded'), {SUPERVISOR}, slot_ns, {PID},
    slot_ns + {SPAWN_NS}, slot_ns + {SPAWN_NS} - {BOOT_NS}, first_end_ns, {LENGTH_NS},
    iif(fails OR again, 3, 0), {CPU_S}, {PEAK_BYTES}, 0, 0,
    iif(fails OR again, 'exit 3', NULL), iif(again, first_end_ns + {PAUSE_NS}, NULL)
FROM run;
INSERT INTO attempts {_ATTEMPT}
SELECT id, 'main', 2, 'succeeded', {SUPERVISOR}, first_end_ns + {PAUSE_NS}, {PID},
    first_end_ns + {PAUSE_NS + SPAWN_NS}, first_end_ns + {PAUSE_NS + SPAWN_NS} - {BOOT_NS},
    end_ns, {LENGTH_NS}, 0, {CPU_S}, {PEAK_BYTES}, 0, 0, NULL, NULL
FROM run WHERE again;

INSERT INTO skips (job, slot_ns, slot_to_ns, count, reason, detail, blocker, at_ns, at_to_ns)
SELECT job, slot_ns + {SPAWN_NS}, slot_ns + {SPAWN_NS}, 1, 'overlap', '{WHY}', id,
    slot_ns + {SPAWN_NS}, slot_ns + {SPAWN_NS}
FROM run WHERE skips ORDER BY i;

CREATE TEMP TABLE late AS
SELECT *, last_seq - lines + 1 AS seq, iif(job = 1, '{RARE}', printf('job-%04d', job - 2)) AS name
FROM run WHERE last_seq > (SELECT ended_seq FROM runs ORDER BY id DESC LIMIT 1) - {KEPT_EVENTS};

INSERT INTO events (seq, at_ns, kind, job, run, task, attempt, slot_ns, state, detail, data)
SELECT * FROM (
    SELECT seq, slot_ns, 'queued', name, id, NULL, NULL, slot_ns, 'slot', NULL, NULL FROM late
    UNION ALL SELECT seq + 1, slot_ns, 'begun', name, id, 'main', 1, slot_ns, NULL, NULL, NULL FROM late
    UNION ALL SELECT seq + 2, slot_ns + {SPAWN_NS}, 'skipped', name, NULL, NULL, NULL, slot_ns + {SPAWN_NS},
        'overlap', '{WHY}',
        printf('{{"slot_to_ns": %d, "count": 1, "blocker": "%s"}}', slot_ns + {SPAWN_NS}, run_name(id))
        FROM late WHERE skips
    UNION ALL SELECT seq + 2 + skips, first_end_ns, 'ended', name, id, 'main', 1, NULL,
        iif(fails OR again, 'failed', 'succeeded'), iif(fails OR again, 'exit 3', NULL), NULL FROM late
    UNION ALL SELECT seq + 3 + skips, first_end_ns + {PAUSE_NS}, 'begun', name, id, 'main', 2, slot_ns, NULL,
        NULL, NULL FROM late WHERE again
    UNION ALL SELECT seq + 4 + skips, end_ns, 'ended', name, id, 'main', 2, NULL, 'succeeded', NULL, NULL
        FROM late WHERE again
    UNION ALL SELECT last_seq, end_ns, 'finished', name, id, NULL, NULL, slot_ns,
        iif(fails, 'failed', 'succeeded'), NULL,
        iif(fails, printf('{{"failures": 1, "since_ns": %d}}', end_ns), NULL) FROM late
) ORDER BY seq;
DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - {KEPT_EVENTS};
"""
_SUCCESSES = """
UPDATE job_state SET success_ns = (
    SELECT ended_ns FROM runs WHERE runs.job = job_state.id AND ended_seq IS NOT NULL AND state = 'succeeded'
    ORDER BY ended_seq DESC LIMIT 1
)
"""


def job_names(jobs: int) -> list[str]:
    """Return the names of the jobs, in the order of their numbers."""
    return [RARE, *(f"job-{number:04d}" for number in range(jobs - 1))]


def make_ledger(
    directory: Path, runs: int, *, last_ns: int, step_ns: int = SECOND_NS, jobs: int = 100
) -> Path:
    """Make `DIR/ledger.db` with `runs` runs, `step_ns` apart, the last one queued at `last_ns`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "ledger.db"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # It is made at once, and again from the start if that fails.
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "cache_size = -200000",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        create(connection)
        fill(connection, runs, first_ns=last_ns - (runs - 1) * step_ns, step_ns=step_ns, jobs=jobs)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()
    return path


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty ledger."""
    connection.executescript(
        f"BEGIN; {''.join(MIGRATIONS)} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
    )


def fill(connection: sqlite3.Connection, runs: int, *, first_ns: int, step_ns: int, jobs: int) -> None:
    """Write the rows of `runs` runs; indexes and triggers are made afterwards, which is much faster."""
    from taskman_cli.core.engine.runs import encode_run_id

    connection.create_function("run_name", 1, encode_run_id, deterministic=True)
    names = job_names(jobs)
    connection.executemany(
        "INSERT INTO job_state (id, name, definition, since_ns, anchor_ns) VALUES (?, ?, ?, ?, ?)",
        [(number, name, DEFINITION, first_ns, first_ns) for number, name in enumerate(names, 1)],
    )
    others = connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in others:
        connection.execute(f"DROP {kind} {name}")
    connection.execute("CREATE TEMP TABLE plan (runs, first_ns, step_ns, jobs)")
    connection.execute("INSERT INTO plan VALUES (?, ?, ?, ?)", (runs, first_ns, step_ns, jobs))
    connection.executescript(f"{_RUNS} BEGIN; {_FILL} COMMIT;" if runs else "")
    for _, _, statement in others:
        connection.execute(statement)
    connection.execute(_SUCCESSES)
    last_ns = first_ns + (runs - 1) * step_ns
    connection.execute(
        "UPDATE standing SET accounted_ns = ?, supervisor = ?, offset_ns = ?", (last_ns, SUPERVISOR, BOOT_NS)
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(f"usage: {sys.argv[0]} DIR [RUNS [JOBS]]")
    import time

    given = [int(word) for word in sys.argv[2:]] + [1_000_000, 2_000][len(sys.argv) - 2 :]
    print(make_ledger(Path(sys.argv[1]), given[0], last_ns=time.time_ns(), jobs=given[1]))
