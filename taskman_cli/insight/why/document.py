"""The answer as one JSON document. Times are ISO 8601, durations are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.insight.why.slotresult import NoRecordReason, Ran, Skipped, ToCome, lateness
from taskman_cli.insight.why.times import iso

if TYPE_CHECKING:
    from datetime import tzinfo

    from taskman_cli.core.pause import Pause
    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.insight.why.diagnosis import Diagnosis, SlotDiagnosis
    from taskman_cli.insight.why.facts import JobFacts, RunFacts, WaitFacts
    from taskman_cli.insight.why.slotresult import Absence


#: The JSON name of the instant that goes with each reason.
_INSTANT_NAMES = {
    NoRecordReason.BEFORE_KNOWN: "known_since",
    NoRecordReason.REMOVED: "removed",
    NoRecordReason.NOT_KEPT: "oldest_kept",
    NoRecordReason.NOT_ACCOUNTED: "accounted_until",
    NoRecordReason.NO_RECORD: "accounted_until",
}


def document(diagnosis: Diagnosis, zone: tzinfo, *, text: str) -> dict[str, Any]:
    """Return the answer as JSON values; `text` is the answer in words."""
    asked, not_due = diagnosis.asked, diagnosis.not_due
    is_named = not_due is None
    slot = _slot(diagnosis.slot, zone, diagnosis.now_ns)
    limits = _limits(diagnosis, zone)
    comparison = None if not_due is None else not_due.comparison
    return {
        "job": diagnosis.calendar.job.id,
        "schedule": diagnosis.calendar.job.schedule.text if diagnosis.calendar.is_known else None,
        "asked": None if asked is None else asked.text,
        # None for a time that a clock change skips.
        "asked_at": iso(diagnosis.now_ns, zone) if asked is None else _asked_at(diagnosis, zone),
        **(slot if is_named else _slot(None, zone, diagnosis.now_ns)),
        "outcome": diagnosis.outcome.value,
        # The slot nearest to a time that is not a slot, or the latest slot on record.
        "nearest": _nearest(diagnosis, zone),
        "limits": limits,
        "clock_change": None if asked is None else _change(asked.change, zone),
        "fields": []
        if comparison is None
        else [
            {
                "name": field.name,
                "value": field.value,
                "expression": field.expression,
                "matches": field.is_match,
            }
            for field in comparison.fields
        ],
        "pause": _pause(diagnosis.calendar.facts.pause, zone),
        "park": _park(diagnosis.calendar.facts, zone),
        # None: not checked.
        "scheduler_runs": diagnosis.scheduler.is_running,
        "previous_slot": iso(diagnosis.previous_ns, zone),
        "next_slot": iso(diagnosis.next_ns, zone),
        # The latest record from when the clock was ahead; such records are ignored.
        "ahead_until": iso(diagnosis.scheduler.ahead_ns, zone),
        "text": text,
    }


def _pause(pause: Pause | None, zone: tzinfo) -> dict[str, Any] | None:
    """Return the pause at the queried time, or now."""
    if pause is None:
        return None
    since, until = iso(pause.since_ns, zone), iso(pause.until_ns, zone)
    return {"since": since, "until": until, "by": pause.by, "reason": pause.reason}


def _park(facts: JobFacts, zone: tzinfo) -> dict[str, Any] | None:
    """Return since when and why the job is parked, and the runs that failed."""
    failures, park = facts.failures, facts.park
    if failures is None or park is None:
        return None
    return {
        "since": iso(park.since_ns, zone), "until": iso(park.until_ns, zone), "reason": park.reason,
        "runs": list(failures.runs), "trial": park.trial or None,
    }  # fmt: skip


def _limits(diagnosis: Diagnosis, zone: tzinfo) -> dict[str, Any]:
    """Return the limits that keep the job from having a slot at the queried time, or now."""
    calendar, policy = diagnosis.calendar, diagnosis.calendar.job.policy
    at_ns = diagnosis.now_ns if diagnosis.asked is None else diagnosis.asked.at_ns
    found: dict[str, Any] = {}
    if policy.starts_at_ns is not None and at_ns < policy.starts_at_ns:
        found["starts_at"] = iso(policy.starts_at_ns, zone)
    if policy.expires_at_ns is not None and at_ns >= policy.expires_at_ns:
        found["expires_at"] = iso(policy.expires_at_ns, zone)
    if calendar.is_used_up:
        found["max_runs"] = policy.max_runs
    if calendar.facts.removed_ns is not None:
        found["removed"] = iso(calendar.facts.removed_ns, zone)
    if calendar.facts.is_left_out:
        found["left_out_by"] = calendar.facts.removed_by
    if calendar.facts.replaced_ns is not None:
        found["changed"] = iso(calendar.facts.replaced_ns, zone)
    return found


def _nearest(diagnosis: Diagnosis, zone: tzinfo) -> dict[str, Any] | None:
    nearest = diagnosis.recorded if diagnosis.not_due is None else diagnosis.slot
    return None if nearest is None else _slot(nearest, zone, diagnosis.now_ns)


def _asked_at(diagnosis: Diagnosis, zone: tzinfo) -> str | None:
    asked = diagnosis.asked
    return iso(asked.at_ns, zone) if asked is not None and asked.windows else None


def _slot(slot: SlotDiagnosis | None, zone: tzinfo, now_ns: int) -> dict[str, Any]:
    """Return what happened to a slot; all keys are always present."""
    found: dict[str, Any] = {
        "slot": None, "outcome": None, "due": None, "run": None, "trigger": None, "lateness": None,
        "reason": None, "detail": None, "evidence": {}, "clock_was_ahead": False,
    }  # fmt: skip
    if slot is None:
        return found
    result = slot.result
    # Slots that were skipped together: the queried time need not be one of them.
    slot_at = None if slot.is_among_others else iso(slot.slot_ns, zone)
    found |= {
        "slot": slot_at, "outcome": result.outcome.value, "clock_was_ahead": slot.is_ahead(now_ns),
    }  # fmt: skip
    evidence: dict[str, Any] = {}
    match result:
        case Ran():
            run = result.run
            # A run without a slot is found by the time it was due.
            found |= {
                "slot": iso(run.slot_ns, zone), "due": iso(run.due_ns, zone), "run": run.id,
                "trigger": run.trigger, "lateness": _lateness(run), "detail": run.detail or None,
            }  # fmt: skip
            evidence = {
                "run": _run(run, zone), "earlier_run": _run(result.earlier, zone),
                "absence": _absence(result.absence, zone), "shortage": result.shortage,
                "waits": [_wait(wait, zone) for wait in result.waits],
            }  # fmt: skip
        case Skipped():
            skip = result.skip
            found |= {"run": skip.run, "reason": skip.reason, "detail": skip.detail}
            evidence = {
                "skipped_at": iso(skip.at_ns, zone),
                "reached": iso(result.reached_ns, zone),
                "paused_at": iso(result.paused_ns, zone),
                "stretch": {
                    "first": iso(skip.slot_ns, zone), "last": iso(skip.slot_to_ns, zone), "count": skip.count
                },
                "blocker": _run(skip.blocker, zone)
                or (None if skip.blocker_id is None else {"run": skip.blocker_id}),
                "absence": _absence(result.absence, zone),
                "made_up_by": _run(result.made_up, zone),
                "earlier_run": _run(result.earlier, zone),
            }  # fmt: skip
        case ToCome():
            found["due"] = iso(result.due_ns, zone)
        case _:
            found["reason"] = result.reason.value
            evidence = {
                _INSTANT_NAMES.get(result.reason, "at"): iso(result.at_ns, zone),
                "scheduler_stopped": iso(result.stopped_ns, zone),
                "last_event": iso(result.last_event_ns, zone),
                "unwritable": result.trouble
                or (None if result.unwritable is None else result.unwritable.detail),
            }
    if slot.gap is not None:
        evidence["clock_change"] = _change(slot.gap, zone)
    found["evidence"] = {name: value for name, value in evidence.items() if value is not None}
    return found


def _lateness(run: RunFacts) -> dict[str, float | None] | None:
    if run.is_early:
        return None
    late = lateness(run)
    parts = {
        "total_s": late.total_ns,
        "jitter_s": late.jitter_ns,
        "clock_s": late.clock_ns,
        "wait_s": late.wait_ns,
        "spawn_s": late.spawn_ns,
    }
    return {name: None if length_ns is None else length_ns / 1e9 for name, length_ns in parts.items()}


def _wait(wait: WaitFacts, zone: tzinfo) -> dict[str, Any]:
    holders = [
        {"name": name, "amount": amount, "run": run, "since": iso(since_ns, zone)}
        for name, amount, run, since_ns in wait.holders
    ]
    return {"task": wait.task, "for": wait.kind, "reason": wait.reason, "holders": holders}


def _run(run: RunFacts | None, zone: tzinfo) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run": run.id,
        "state": run.state,
        "trigger": run.trigger,
        "slot": iso(run.slot_ns, zone),
        "queued": iso(run.queued_ns, zone),
        "begun": iso(run.begun_ns, zone),
        "started": iso(run.started_ns, zone),
        "ended": iso(run.ended_ns, zone),
        "asked_by": run.asked_by or None,
        "cancelled": run.cancelled or None,
        "failures": run.failures or None,
        "undone": list(run.undone),
        "attempts": [
            {
                "task": attempt.task,
                "attempt": attempt.number,
                "state": attempt.state,
                "pid": attempt.pid,
                "executor": attempt.executor or None,
                "started": iso(attempt.started_ns, zone),
                "ended": iso(attempt.ended_ns, zone),
                "duration_s": None if attempt.duration_ns is None else attempt.duration_ns / 1e9,
                "exit_code": attempt.exit_code,
                "signal": attempt.signal,
                "detail": attempt.detail or None,
                "next": iso(attempt.next_ns, zone),
                "output_bytes": attempt.output_bytes,
                "output_error": attempt.output_error or None,
                "stopped": iso(attempt.stop_ns, zone) if attempt.ended_ns is None else None,
                "stopped_s": attempt.stopped_for_ns / 1e9,
            }
            for attempt in run.attempts
        ],
    }


def _absence(absence: Absence | None, zone: tzinfo) -> dict[str, Any] | None:
    if absence is None:
        return None
    return {
        "cause": absence.cause.value,
        "from": iso(absence.from_ns, zone),
        "to": iso(absence.to_ns, zone),
        "length_s": None if absence.length_ns is None else absence.length_ns / 1e9,
        "detail": absence.detail or None,
    }


def _change(change: Change | None, zone: tzinfo) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "at": iso(change.at_ns, zone),
        "from": change.before.isoformat(),
        "to": change.after.isoformat(),
    }
