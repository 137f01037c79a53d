"""How long the latest runs of each job took."""

from __future__ import annotations

import sqlite3
from statistics import median_high

#: How many of the latest runs are looked at, and how many of them a job must have.
_RUNS = 20_000
_LEAST = 3

_QUERY = """
SELECT job_state.name, runs.ended_ns - runs.begun_ns
FROM (SELECT * FROM runs ORDER BY id DESC LIMIT ?) AS runs JOIN job_state ON job_state.id = runs.job
WHERE runs.begun_ns IS NOT NULL AND runs.ended_ns IS NOT NULL AND runs.state = 'succeeded'
"""


def typical_durations(ledger: sqlite3.Connection) -> dict[str, int]:
    """Return the median duration of the latest runs of each job that has had enough, in nanoseconds."""
    taken: dict[str, list[int]] = {}
    for name, duration_ns in ledger.execute(_QUERY, (_RUNS,)):
        taken.setdefault(name, []).append(duration_ns)
    return {name: median_high(durations) for name, durations in taken.items() if len(durations) >= _LEAST}
