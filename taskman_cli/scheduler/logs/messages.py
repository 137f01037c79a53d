"""What the log says of records of the engine.

Levels: debug for what goes as planned and is followed by another record, info for each good end, warning for
what may need attention, error for what does.
"""

from __future__ import annotations

import logging
import signal
from datetime import UTC
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.answers import MOST_NAMED, changes_in_words
from taskman_cli.core.model import GATE, SkipReason, State
from taskman_cli.core.sinks import ReportKind
from taskman_cli.core.sizes import format_size
from taskman_cli.core.timespec import format_duration, format_rough
from taskman_cli.scheduler.logs.loggers import NOTICE, job_log, logger, pass_on, run_log, tell

if TYPE_CHECKING:
    from datetime import tzinfo

    _OfAttempt = (
        effects.AttemptBegun
        | effects.AttemptAdopted
        | effects.AttemptStopped
        | effects.AttemptContinued
        | effects.AttemptStuck
        | effects.SurvivorsFound
    )

#: CPU time and memory are logged only for commands that used at least this much CPU time.
_MIN_CPU_S = 0.1

#: Slots of disabled and parked jobs come again and again; what a job's own commands decide is no trouble.
_SKIPPED_LEVELS = {
    SkipReason.DISABLED: logging.DEBUG,
    SkipReason.PARKED: logging.DEBUG,
    SkipReason.NOT_NOW: logging.INFO,
    SkipReason.ONLY_IF: logging.INFO,
}


def log_record(record: effects.Effect, *, output_path: str = "", timezone: tzinfo = UTC) -> None:
    """Log a record, with slots in `timezone`, if its level is enabled."""
    match record:
        case effects.AttemptFinished():
            log_finished(record, output_path)
        case effects.SlotsSkipped():
            _log_skipped(record, timezone)
        case effects.RunQueued():
            _log_queued(record, timezone)
        case effects.AttemptBegun():
            if record.is_start:
                words = f"attempt {record.attempt} starting"
                name = _name(record.job, record.task)
                tell(
                    run_log, logging.DEBUG, f"{name}: run {record.run}, {words}", _of_attempt("begun", record)
                )
        case effects.RunFinished():
            _log_run_finished(record)
        case _:
            _log_state(record, timezone)


def _log_queued(record: effects.RunQueued, timezone: tzinfo) -> None:
    if not run_log.isEnabledFor(logging.DEBUG):
        return
    fields: dict[str, Any] = {"event": "queued", "job": record.job, "run": record.run}
    fields["trigger"] = record.trigger.value
    if record.slot_ns is not None:
        fields["slot"] = _moment(record.slot_ns, timezone)
    message = f"{record.job}: run {record.run} queued ({_cause(record, timezone)})"
    tell(run_log, logging.DEBUG, message, fields)


def _log_state(record: effects.Effect, timezone: tzinfo) -> None:
    """Log what happened to an attempt that runs."""
    match record:
        case effects.AttemptAdopted():
            words = f"outlived its supervisor, watching {record.pid or 'it again'}"
            _log_attempt(NOTICE, "adopted", record, words, pid=record.pid)
        case effects.AttemptStopped():
            _log_attempt(logging.INFO, "stopped", record, "is stopped")
        case effects.AttemptContinued():
            words = f"goes on, after having been stopped for {format_rough(record.stopped_ns)}"
            if record.why:
                words = f"goes on, and its timeout does: {record.why}"
            _log_attempt(logging.INFO, "continued", record, words)
        case effects.AttemptStuck():
            words = f"was killed, and its process{f' {record.pid}' if record.pid else ''} does not end"
            _log_attempt(logging.ERROR, "stuck", record, words, pid=record.pid)
        case effects.SurvivorsFound():
            _log_survivors(record)
        case _:
            _log_rare(record, timezone)


def _log_attempt(level: int, event: str, record: _OfAttempt, words: str, **more: Any) -> None:
    message = f"{_name(record.job, record.task)}: run {record.run} {words}"
    tell(run_log, level, message, _of_attempt(event, record) | more)


def _of_attempt(event: str, record: _OfAttempt) -> dict[str, Any]:
    return {
        "event": event,
        "job": record.job,
        "task": record.task,
        "run": record.run,
        "attempt": record.attempt,
    }


def _log_skipped(record: effects.SlotsSkipped, timezone: tzinfo) -> None:
    level = _SKIPPED_LEVELS.get(record.reason, logging.WARNING)
    if not run_log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"event": "skipped", "job": record.job}
    if record.run is not None:
        fields["run"] = record.run
    fields |= {
        "state": State.SKIPPED.value,
        "reason": record.reason.value,
        "detail": record.detail,
        "slot": _moment(record.first_ns, timezone),
        "slot_to": _moment(record.last_ns, timezone),
        "count": record.count,
    }
    slots = _slots(record, timezone)
    tell(run_log, level, f"{record.job}: skipped {slots} ({record.reason}): {record.detail}", fields)


def _log_rare(record: effects.Effect, timezone: tzinfo) -> None:
    match record:
        case effects.Noticed():
            _log_noticed(record, timezone)
        case effects.Commanded(kind="parked", job=job):
            fields = {"event": "parked", "job": job, "detail": record.detail}
            tell(run_log, logging.ERROR, f"{job}: parked: {record.detail}; see taskman why {job}", fields)
        case effects.Commanded(kind="unparked", job=job):
            by = record.detail or f"by {record.by}"
            fields = {"event": "unparked", "job": job, "by": record.by}
            tell(run_log, NOTICE, f"{job}: not parked any more: {by}", fields)
        case _:
            _log_whole(record)


def _log_noticed(record: effects.Noticed, timezone: tzinfo) -> None:
    kind = record.kind.value
    fields: dict[str, Any] = {"event": kind, "job": record.job}
    if record.run is not None:
        fields["run"] = record.run
    fields["detail"] = record.detail
    if record.slot_ns is not None:
        fields["slot"] = _moment(record.slot_ns, timezone)
    level = NOTICE if record.kind is ReportKind.RECOVERED else logging.WARNING
    tell(run_log, level, f"{record.job}: {kind}: {record.detail}", fields)


def _log_survivors(record: effects.SurvivorsFound) -> None:
    count = "1 process" if record.count == 1 else f"{record.count:,} processes"
    which = ", ".join(f"{name} ({pid})" for pid, name in record.named)
    which += ", …" if record.count > len(record.named) else ""
    if record.signum is None:
        words = f"left {count} that cannot be ended: {which}"
        _log_attempt(logging.ERROR, "survivors", record, words, count=record.count)
    else:
        words = f"left {count}, which got {_signal_name(record.signum)}: {which}"
        _log_attempt(logging.WARNING, "survivors", record, words, count=record.count, signal=record.signum)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"signal {number}"


def _log_run_finished(record: effects.RunFinished) -> None:
    state = record.state.value
    level, words = logging.DEBUG, f"{record.job}: run {record.run} {state}"
    if record.detail:
        level, words = logging.WARNING, f"{words}: {record.detail}"
    elif record.undone:
        tasks = "" if record.undone == ("main",) else f": {', '.join(record.undone)}"
        level, words = logging.INFO, f"{words}, left undone{tasks}"
    fields: dict[str, Any] = {"event": "finished", "job": record.job, "run": record.run, "state": state}
    if record.detail:
        fields["detail"] = record.detail
    tell(run_log, level, words, fields)


def _log_whole(record: effects.Effect) -> None:
    """Log what concerns no single job."""
    match record:
        case effects.JobsTaken():
            _log_changes(record)
        case effects.SuspendNoted():
            message = f"the machine slept for {format_rough(record.length_ns)}"
            tell(logger, logging.INFO, message, {"event": "suspended"})
        case effects.SpawnDelayed():
            pause = format_duration(record.pause_ns)
            if record.executor:
                why = record.message.removeprefix(f"executor {record.executor}: ")
                who = f"on executor {record.executor} ({why}): what is to start on it waits {pause}"
                message = f"cannot start {who}"
            elif record.user:
                who = f"as user {record.user} ({record.message}): starts as this user wait {pause}"
                message = f"cannot start a process {who}"
            else:
                message = f"cannot start a process ({record.message}): waiting {pause}"
            tell(run_log, logging.WARNING, message, {"event": "spawn_delayed", "detail": record.message})
        case effects.ClockStepNoted():
            way = "forward" if record.delta_ns > 0 else "back"
            message = f"the clock stepped {way} by {format_rough(record.delta_ns)}"
            tell(logger, logging.WARNING, message, {"event": "clock_stepped"})


def _log_changes(record: effects.JobsTaken) -> None:
    """Name the changes since the last scheduler; not at the first start, when everything is new.

    A reload is always logged, in one line.
    """
    if record.by is not None:
        fields = {"event": "reloaded", "by": record.by}
        tell(job_log, NOTICE, f"reload ({record.by}): {changes_in_words(record)}", fields)
        return
    for what in ("added", "changed", "removed"):
        names = getattr(record, what)
        if names and len(names) < record.jobs + len(record.removed):
            named = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
            count = "job" if len(names) == 1 else f"{len(names):,} jobs"
            tell(job_log, NOTICE, f"{what} {count}: {named}", {"event": "jobs_loaded"})


def log_finished(record: effects.AttemptFinished, output_path: str) -> None:
    """Log the end of an attempt, the most frequent line."""
    level = _FINISHED_LEVELS[record.state]
    if record.task == GATE and record.state is State.SUCCEEDED:
        level = logging.DEBUG  # its run goes on
    if record.exit and record.exit.output_error:
        level = max(level, logging.WARNING)
    if run_log.isEnabledFor(level):
        pass_on(run_log, level, _finished(record, output_path), lambda: _fields_of_end(record, output_path))


def _fields_of_end(record: effects.AttemptFinished, output_path: str) -> dict[str, Any]:
    """Return the fields of an end; what does not apply is left out."""
    state = record.state.value
    fields: dict[str, Any] = {
        "event": state,
        "job": record.job,
        "task": record.task,
        "run": record.run,
        "attempt": record.attempt,
        "state": state,
    }
    if record.detail:
        fields["detail"] = record.detail
    ended = record.exit
    if ended is not None:
        if ended.exit_code is not None:
            fields["exit_code"] = ended.exit_code
        elif ended.signal is not None:
            fields["signal"] = ended.signal
    if record.duration_ns is not None:
        fields["duration_s"] = record.duration_ns / SECOND_NS
    if ended is not None:
        fields["cpu_s"] = ended.cpu_s
        fields["peak_rss_bytes"] = ended.peak_rss_bytes
        if ended.output_error:
            fields["output_error"] = ended.output_error
    if record.retry_in_ns is not None:
        fields["retry_in_s"] = record.retry_in_ns / SECOND_NS
    if output_path:
        fields["output"] = output_path
    return fields


_FINISHED_LEVELS = {
    State.SUCCEEDED: logging.INFO,
    State.CANCELLED: logging.INFO,
    State.FAILED: logging.ERROR,
    State.TIMED_OUT: logging.ERROR,
    State.LOST: logging.ERROR,
    State.SKIPPED: logging.DEBUG,  # the skip of its run has a line
}


def _finished(record: effects.AttemptFinished, output_path: str) -> str:
    parts = [f"{_name(record.job, record.task)}: {record.state.replace('_', ' ')}"]
    if record.detail:
        parts.append(f" ({record.detail})")
    if record.duration_ns is not None:
        parts.append(f" after {format_rough(record.duration_ns)}")
    if record.exit and record.exit.cpu_s >= _MIN_CPU_S:
        parts.append(f", {format_rough(round(record.exit.cpu_s * SECOND_NS))} CPU")
        if record.exit.peak_rss_bytes:
            parts.append(f", {format_size(record.exit.peak_rss_bytes)}")
    if record.attempt > 1 or record.retry_in_ns is not None:
        parts.append(f", attempt {record.attempt}")
    if record.retry_in_ns is not None:
        parts.append(f", next in {format_duration(record.retry_in_ns)}")
    if record.exit and record.exit.output_error:
        parts.append(f"; output lost: {record.exit.output_error}")
    elif record.exit and record.exit.output_bytes and record.state is not State.SUCCEEDED and output_path:
        parts.append(f"; output: {output_path}")
    return "".join(parts)


def _name(job: str, task: str) -> str:
    return job if task == "main" else f"{job}.{task}"


def _slots(record: effects.SlotsSkipped, timezone: tzinfo) -> str:
    first = _moment(record.first_ns, timezone)
    if record.count == 1:
        return f"the slot {first}"
    count = f"{record.count:,} slots" if record.count else "slots past counting"
    return f"{count} from {first} to {_moment(record.last_ns, timezone)}"


def _cause(record: effects.RunQueued, timezone: tzinfo) -> str:
    trigger = record.trigger.replace("_", "-")
    return trigger if record.slot_ns is None else f"{trigger} {_moment(record.slot_ns, timezone)}"


def _moment(wall_ns: int, timezone: tzinfo) -> str:
    """Write an instant as ISO 8601, with a fraction only where there is one."""
    return wall_time(wall_ns, timezone).isoformat()
