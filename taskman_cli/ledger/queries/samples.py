"""How the latest attempts of each task went: what a simulation takes for what they will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import State
from taskman_cli.ledger.queries.reader import find_job
from taskman_cli.ledger.standing import read_needs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

#: The tasks of a job by name, as everywhere.
Owner = tuple[str, str]

#: So many of the latest runs of a job are looked at.
MOST_RUNS = 200
#: Longer than anything runs: such a row is damaged.
_MOST_NS = 100 * 366 * 86_400 * SECOND_NS

# Only ends that say something of the command: not that somebody cancelled it, nor that nobody saw it end.
_QUERY = """
SELECT task, state, pid, duration_ns, cpu_s, peak_rss_bytes, exit_code, signal FROM attempts
WHERE run IN (SELECT id FROM runs WHERE job = ? AND begun_ns IS NOT NULL ORDER BY id DESC LIMIT ?)
    AND state IN ('succeeded', 'failed', 'timed_out', 'skipped')
ORDER BY run, task, number
"""


class AttemptSample(NamedTuple):
    """How an attempt went."""

    duration_ns: int
    cpu_ns: int
    peak_bytes: int
    exit_code: int | None
    signal: int | None
    #: Its `timeout` ended it.
    is_cut: bool
    #: There was no process.
    is_unstarted: bool


def attempt_samples(ledger: sqlite3.Connection, jobs: Iterable[str]) -> dict[Owner, list[AttemptSample]]:
    """Return the latest attempts of these jobs that ended by themselves or by their `timeout`, by task.

    Raises ValueError for values that no version of taskman has written.
    """
    found: dict[Owner, list[AttemptSample]] = {}
    for name in jobs:
        job = find_job(ledger, name)
        if job is None:
            continue
        for task, *values in ledger.execute(_QUERY, (job.id, MOST_RUNS)):
            found.setdefault((name, task), []).append(_sample(*values))
    return found


def known_needs(ledger: sqlite3.Connection) -> dict[Owner, int]:
    """Return how much memory tasks are known to need, as the next scheduler would."""
    return read_needs(ledger)


def _sample(
    state: str, pid: Any, duration_ns: Any, cpu_s: Any, peak: Any, exit_code: Any, signal: Any
) -> AttemptSample:
    return AttemptSample(
        _whole(duration_ns, "duration_ns", _MOST_NS) or 0,
        int(_number(cpu_s, "cpu_s") * SECOND_NS),
        _whole(peak, "peak_rss_bytes", 1 << 60) or 0,
        _whole(exit_code, "exit_code", 255),
        _whole(signal, "signal", 255),
        state == State.TIMED_OUT,
        is_unstarted=pid is None and exit_code is None and signal is None,
    )


def _whole(value: Any, column: str, most: int) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= most):
        return value
    raise ValueError(f"attempts.{column} is {value!r:.40}")


def _number(value: Any, column: str) -> float:
    if value is None:
        return 0.0
    if type(value) in (int, float) and 0 <= value <= _MOST_NS / SECOND_NS:
        return float(value)
    raise ValueError(f"attempts.{column} is {value!r:.40}")
