"""What marks are in the tables: one statement each, of all that the next scheduler continues from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.ledger.failures import written
from taskman_cli.ledger.oncejobs import write_once
from taskman_cli.ledger.reportrows import report_statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.ledger.turn import Statement, Turn


def statements_of(mark: effects.Record | effects.Mark, turn: Turn) -> list[Statement]:
    """Return the statements that keep a mark."""
    if isinstance(mark, effects.Accounted):
        return _accounted(mark, turn)
    kept = _STATEMENTS.get(type(mark))
    return report_statements(mark, turn) if kept is None else [kept(mark, turn)]


def _accounted(mark: effects.Accounted, turn: Turn) -> list[Statement]:
    return [
        ("UPDATE standing SET accounted_ns = ?, offset_ns = ?", (mark.until_ns, turn.offset_ns)),
        ("DELETE FROM decided WHERE until_ns <= ? OR ?", (mark.until_ns, mark.is_anew)),
    ]


def _slots_decided(mark: effects.SlotsDecided, _: Turn) -> Statement:
    return (
        "INSERT OR REPLACE INTO decided SELECT value, ? FROM json_each(?)",
        (mark.until_ns, json.dumps(mark.jobs)),
    )


def _job_armed(mark: effects.JobArmed, turn: Turn) -> Statement:
    return (
        "UPDATE job_state SET definition = ?, since_ns = ?, anchor_ns = ?, taken_ns = ?,"
        " finish_ns = NULL, removed_ns = NULL, removed_seq = NULL WHERE id = ?",
        (mark.definition, mark.since_ns, mark.anchor_ns, mark.taken_ns, turn.job_id(mark.job)),
    )


def _job_rezoned(mark: effects.JobRezoned, _: Turn) -> Statement:
    return "UPDATE job_state SET definition = ? WHERE name = ?", (mark.definition, mark.job)


def _job_removed(mark: effects.JobRemoved, turn: Turn) -> Statement:
    # If a job of this name is defined again, it is another job.
    return (
        "UPDATE job_state SET removed_ns = ?, removed_seq = ?, pause = NULL, failures = NULL,"
        " success_ns = NULL, expected = NULL WHERE name = ?",
        (turn.at_ns, turn.last_seq, mark.job),
    )


def _job_paused(mark: effects.JobPaused, _: Turn) -> Statement:
    pause = None if mark.pause is None else json.dumps(asdict(mark.pause))
    return "UPDATE job_state SET pause = ? WHERE name = ?", (pause, mark.job)


def _failures_noted(mark: effects.FailuresNoted, _: Turn) -> Statement:
    return "UPDATE job_state SET failures = ? WHERE name = ?", (written(mark.failures), mark.job)


def _job_hidden(mark: effects.JobHidden, turn: Turn) -> Statement:
    hidden = json.dumps(True if mark.is_all else mark.tasks) if mark.is_all or mark.tasks else None
    return "UPDATE job_state SET hidden = ? WHERE id = ?", (hidden, turn.job_id(mark.job))


def _once_added(mark: effects.OnceAdded, _: Turn) -> Statement:
    # Again for one whose time has moved with the clock.
    return "INSERT OR REPLACE INTO once_jobs VALUES (?, ?)", (mark.job.id, write_once(mark.job))


def _once_over(mark: effects.OnceOver, _: Turn) -> Statement:
    return "DELETE FROM once_jobs WHERE name = ?", (mark.job,)


def _runs_counted(mark: effects.RunsCounted, _: Turn) -> Statement:
    return "UPDATE job_state SET run_count = ? WHERE name = ?", (mark.count, mark.job)


def _interval_ended(mark: effects.IntervalEnded, _: Turn) -> Statement:
    return "UPDATE job_state SET finish_ns = ? WHERE name = ?", (mark.finish_ns, mark.job)


def _runs_numbered(mark: effects.RunsNumbered, _: Turn) -> Statement:
    return "UPDATE standing SET last_run = ?", (mark.last_run,)


def _life_begun(mark: effects.LifeBegun, turn: Turn) -> Statement:
    return (
        "UPDATE standing SET boot = ?, supervisor = ?, offset_ns = ?",
        (mark.boot, mark.supervisor, turn.offset_ns),
    )


def _rate_used(mark: effects.RateUsed, turn: Turn) -> Statement:
    return (
        "INSERT OR REPLACE INTO rates VALUES (?, ?, ?)",
        (mark.resource, mark.full_elapsed_ns + turn.offset_ns, mark.full_elapsed_ns),
    )


def _need_learned(mark: effects.NeedLearned, turn: Turn) -> Statement:
    return (
        "INSERT OR REPLACE INTO needs VALUES (?, ?, ?)",
        (turn.job_id(mark.job), mark.task, mark.need_bytes),
    )


def _success_noted(mark: effects.SuccessNoted, _: Turn) -> Statement:
    return "UPDATE job_state SET success_ns = ? WHERE name = ?", (mark.success_ns, mark.job)


_STATEMENTS: dict[type, Callable[[Any, Turn], Statement]] = {
    effects.SlotsDecided: _slots_decided,
    effects.JobArmed: _job_armed,
    effects.JobRezoned: _job_rezoned,
    effects.JobRemoved: _job_removed,
    effects.JobPaused: _job_paused,
    effects.FailuresNoted: _failures_noted,
    effects.JobHidden: _job_hidden,
    effects.OnceAdded: _once_added,
    effects.OnceOver: _once_over,
    effects.RunsCounted: _runs_counted,
    effects.IntervalEnded: _interval_ended,
    effects.RunsNumbered: _runs_numbered,
    effects.LifeBegun: _life_begun,
    effects.RateUsed: _rate_used,
    effects.NeedLearned: _need_learned,
    effects.SuccessNoted: _success_noted,
}
