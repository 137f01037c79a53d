"""The latest results on record, for the start of a view: attempts that ended, and skips."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from taskman_cli.core.engine.metrics import RECENT, UNSHOWN, skip_words
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.engine.takeover import OWED
from taskman_cli.core.engine.view import ResultRow
from taskman_cli.core.model import GATE, State

if TYPE_CHECKING:
    import sqlite3

#: How many lines of the journal are searched for them.
_MOST_LINES = 10 * RECENT

_RESULTS = (
    "SELECT e.kind, e.job, e.run, coalesce(e.task, 'main'), coalesce(e.attempt, 1), e.state, e.at_ns,"
    " coalesce(e.detail, ''), e.slot_ns, e.data, a.duration_ns, a.ended_ns"
    " FROM (SELECT * FROM events ORDER BY seq DESC LIMIT ?) e"
    " LEFT JOIN attempts a ON a.run = e.run AND a.task = e.task AND a.number = e.attempt"
    " WHERE e.kind IN ('ended', 'skipped') ORDER BY e.seq DESC"
)


def read_recent(connection: sqlite3.Connection) -> list[ResultRow]:
    """Return the latest results, newest last, without unreadable lines."""
    results = []
    for row in connection.execute(_RESULTS, (_MOST_LINES,)):
        try:
            result = _result(*row)
        except (TypeError, ValueError, AttributeError):
            continue
        if result is not None:
            results.append(result)
        if len(results) == RECENT:
            break
    return results[::-1]


def _result(
    kind: str, job: str, run: int | None, task: str, attempt: int, state: str, at_ns: int, detail: str,
    slot_ns: int | None, data: str | None, duration_ns: int | None, ended_ns: int | None,
) -> ResultRow | None:  # fmt: skip
    run_id = "" if run is None else encode_run_id(run)
    if kind == "ended":
        if state == State.SKIPPED or (task == GATE and state == State.SUCCEEDED):
            return None  # its run is shown, or goes on
        return ResultRow(job, task, run_id, attempt, State(state), ended_ns or at_ns, duration_ns, detail)
    if state in UNSHOWN or detail.startswith(OWED):
        return None
    more = json.loads(data) if data else {}
    last_ns = more.get("slot_to_ns") or slot_ns or at_ns
    words = skip_words(state, (more.get("count") or 0) if more else 1)
    return ResultRow(job, task, run_id, attempt, State.SKIPPED, last_ns, 0, words)
