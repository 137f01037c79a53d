"""How a run ended, from the ledger, in the form of the scheduler's reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.runs import decode_run_id, encode_run_id
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


def ended_run(directory: Path, target: str) -> dict[str, Any] | None:
    """Return how a run, or the latest run of a job, ended; None if it has not ended or is not recorded."""
    from taskman_cli.ledger.queries.attempts import attempts_of, find_run
    from taskman_cli.ledger.queries.reader import reading

    try:
        with reading(directory) as ledger:
            number = _number(ledger, target)
            facts = None if number is None else find_run(ledger, number)
            if facts is None or not facts.is_over:
                return None
            attempts = attempts_of(ledger, facts.run)
    except TaskmanError:
        return None  # an unreadable ledger has no record of the run
    # Of several tasks, one whose state is that of the run.
    telling = [attempt for attempt in attempts if attempt.state == facts.state] or attempts
    last = telling[-1] if telling else None
    return {
        "run": encode_run_id(facts.run),
        "job": facts.job,
        "state": facts.state.value,
        "exit_code": last.exit_code if last else None,
        "signal": last.signal if last else None,
        "detail": facts.detail or (last.detail if last else None) or "",
    }


def ended_once(directory: Path, name: str) -> dict[str, Any] | None:
    """Return how the run of a one-off job ended; None if no such job has run, or its run is not over."""
    from taskman_cli.ledger.queries.reader import find_job, reading, runs_once

    try:
        with reading(directory) as ledger:
            job = find_job(ledger, name)
            if job is None or not runs_once(ledger, job.id):
                return None
    except TaskmanError:
        return None
    return ended_run(directory, name)


def is_run(text: str) -> bool:
    """Tell whether a text may be the id of a run."""
    try:
        decode_run_id(text)
    except ValueError:
        return False
    return True


def _number(ledger: sqlite3.Connection, target: str) -> int | None:
    from taskman_cli.ledger.queries.attempts import latest_begun
    from taskman_cli.ledger.queries.reader import find_job

    if is_run(target):
        return decode_run_id(target)
    job = find_job(ledger, target)
    return None if job is None else latest_begun(ledger, job.id)
