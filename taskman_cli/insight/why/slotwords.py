"""What happened to a slot, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.model import SkipReason, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.insight.why.contextwords import absence_words, blocker_words, no_scheduler
from taskman_cli.insight.why.runwords import cause_words, run_words
from taskman_cli.insight.why.schedulewords import gone_words
from taskman_cli.insight.why.slotresult import NoRecordReason, Ran, Skipped, ToCome, Unrecorded
from taskman_cli.insight.why.times import ahead, jump, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.insight.why.diagnosis import SlotDiagnosis
    from taskman_cli.insight.why.facts import SkipFacts
    from taskman_cli.insight.why.slots import Calendar
    from taskman_cli.insight.why.times import Times


#: The start of a skip's detail if its definition has been replaced or removed.
_REDEFINED = "the job was "


def slot_words(slot: SlotDiagnosis, calendar: Calendar, *, times: Times, now_ns: int) -> Iterator[str]:
    """Yield sentences that describe what happened to a slot."""
    result, name = slot.result, calendar.job.id
    match result:
        case Ran():
            yield from run_words(result, name, _stops_to(calendar, now_ns), times=times, now_ns=now_ns)
        case Skipped():
            yield from _skipped(slot, result, name, times=times, now_ns=now_ns)
        case ToCome():
            yield from _to_come(slot.slot_ns, result, calendar, times=times, now_ns=now_ns)
        case _:
            yield from _unrecorded(slot.slot_ns, result, calendar, times=times)
    if slot.gap:
        yield gap_words(slot.gap)


def _stops_to(calendar: Calendar, now_ns: int) -> int | None:
    """Return up to which number the runs of the job were to be stopped, if it is paused now."""
    pause = calendar.facts.pause
    return pause.stops_to if pause is not None and pause.covers(now_ns) else None


def gap_words(gap: Change) -> str:
    """Say that a slot replaces one that a clock change skipped."""
    where = "at the first instant after the gap"
    return f"The clocks skipped one of its times, {jump(gap)}: it runs {where} instead."


# --- skipped ---


def _skipped(slot: SlotDiagnosis, result: Skipped, name: str, *, times: Times, now_ns: int) -> Iterator[str]:
    skip = result.skip
    yield _not_run(slot, result, name, times=times)
    if skip.run is not None:
        yield _of_run(skip)
    match skip.reason:
        case SkipReason.OVERLAP:
            yield from _overlap(result, times=times, now_ns=now_ns)
        case SkipReason.MISSED:
            yield from _missed(slot, result, times=times)
        case SkipReason.LATE:
            yield "It could not start within its start_deadline."
            if result.earlier is not None:
                yield blocker_words(result.earlier, times=times, now_ns=now_ns)
        case SkipReason.DISABLED:
            yield "The job was disabled (enabled = false)."
        case SkipReason.PAUSED | SkipReason.PARKED if skip.run is None:
            since = "" if result.paused_ns is None else f", at {times.at(result.paused_ns)}"
            detail = skip.detail if skip.reason == SkipReason.PAUSED else f"parked: {skip.detail}"
            yield f"{_sentence(detail)}{since}." if skip.detail else f"The job was paused{since}."
        case _ if skip.detail and skip.run is None:
            yield f"On record: {_without_stop(skip.detail)}."
    if result.absence is not None and skip.reason != SkipReason.MISSED:
        yield absence_words(result.absence, times=times)
    if skip.count != 1 and not slot.is_among_others:
        first, last = times.slot(skip.slot_ns), times.slot(skip.slot_to_ns)
        yield f"It is one of {_count(skip)} skipped in a row for the same reason, from {first} to {last}."


def _not_run(slot: SlotDiagnosis, result: Skipped, name: str, *, times: Times) -> str:
    """Say what did not run: one slot, or several, or what was asked for."""
    skip, run = result.skip, result.asked
    reason = skip.reason.replace("_", " ")
    if slot.is_among_others:
        first, last = times.slot(skip.slot_ns), times.slot(skip.slot_to_ns)
        return f"{_count(skip).capitalize()} of {name}, from {first} to {last}, were skipped ({reason})."
    if run is not None:
        when = f"{cause_words(run)}, at {times.at(run.due_ns)}"
        return f"{name} was {when}, and did not run: it was skipped ({reason})."
    return f"{name} did not run at its slot {times.slot(slot.slot_ns)}: it was skipped ({reason})."


def _of_run(skip: SkipFacts) -> str:
    """Say what became of the run that there was for a skipped slot."""
    why = _without_stop(skip.detail)
    match skip.reason:
        case SkipReason.ONLY_IF:
            return f"Run {skip.run} began with the command of only_if, which said no: {why}."
        case SkipReason.NOT_NOW:
            return f"Run {skip.run} began, and its command said not now: {why} (skip_exit_codes)."
    return f"Run {skip.run} was queued for it and dropped: {why}."


def _count(skip: SkipFacts) -> str:
    return f"{skip.count:,} slots" if skip.count else "a very large number of slots"


def _sentence(detail: str) -> str:
    """Make a sentence of "paused by ann: disk swap"."""
    return f"It was {_without_stop(detail)}"


def _overlap(result: Skipped, *, times: Times, now_ns: int) -> Iterator[str]:
    skip = result.skip
    if skip.blocker is not None:
        yield blocker_words(skip.blocker, times=times, now_ns=now_ns)
    elif skip.blocker_id is not None:
        yield f"Run {skip.blocker_id} blocked it; its record has since been removed."
    elif skip.detail and skip.run is None:
        yield f"On record: {_without_stop(skip.detail)}."


def _missed(slot: SlotDiagnosis, result: Skipped, *, times: Times) -> Iterator[str]:
    skip, reached_ns = result.skip, result.reached_ns
    if reached_ns is not None and not slot.is_among_others:
        yield f"taskman reached it {span(reached_ns - slot.slot_ns)} late, at {times.at(reached_ns)}."
    yield absence_words(result.absence, times=times)
    made_up = result.made_up
    if skip.detail.startswith(_REDEFINED):
        yield f"No run caught up on it: {_without_stop(skip.detail)}."
    elif made_up is not None and made_up.slot_ns is not None:
        what = "caught up on it" if made_up.trigger == Trigger.CATCH_UP else "was still in time"
        yield f"Run {made_up.id}, for the later slot {times.slot(made_up.slot_ns)}, {what}."
    else:
        yield "No run caught up on it: on_missed, start_deadline and overlap decide that."


def _without_stop(text: str) -> str:
    return text.rstrip(".") or "no reason is on record"


# --- no record ---


def _to_come(slot_ns: int, result: ToCome, calendar: Calendar, *, times: Times, now_ns: int) -> Iterator[str]:
    name = calendar.job.id
    slot = times.slot(slot_ns)
    if not calendar.has_runs_at(result.due_ns):
        when = f", {ahead(slot_ns, now_ns)}" if slot_ns > now_ns else ""
        held = "it is paused" if calendar.facts.pause else "it is parked"
        why = held if calendar.job.enabled else "the job is disabled (enabled = false)"
        yield f"{name} will not run at its slot {slot}{when}: {why}."
        return
    if slot_ns > now_ns:
        yield f"{name} is due at its slot {slot}, {ahead(slot_ns, now_ns)}."
    if result.due_ns > slot_ns:
        lead = f"{name} has its slot at {slot}, and its" if slot_ns <= now_ns else "Its"
        start = times.at(result.due_ns)
        yield f"{lead} jitter delays the start by {span(result.due_ns - slot_ns)}, to {start}."
    starts_at_ns = calendar.job.policy.starts_at_ns
    if starts_at_ns is not None and starts_at_ns > now_ns:
        yield f"It has no slot before its starts_at, {times.slot(starts_at_ns)}."


def _unrecorded(slot_ns: int, result: Unrecorded, calendar: Calendar, *, times: Times) -> Iterator[str]:
    name, slot = calendar.job.id, times.slot(slot_ns)
    if result.reason is NoRecordReason.NOT_ACCOUNTED:
        yield from _not_accounted(slot, result, name, times=times)
        return
    # In the order of the sentence: each time leaves out what the one before it has said.
    at = "" if result.at_ns is None else times.at(result.at_ns)
    match result.reason:
        case NoRecordReason.REMOVED if calendar.facts.replaced_ns is not None:
            yield f"{name} has no slot at {slot}: its schedule was changed at {at}."
        case NoRecordReason.REMOVED:
            gone = gone_words(calendar.facts, at, is_once=calendar.is_once)
            yield f"{name} has no slot at {slot}: it {gone}."
        case NoRecordReason.BEFORE_KNOWN:
            yield (
                f"There is no record of the slot {slot} of {name}: taskman has recorded the slots "
                f"of this schedule since {at}."
            )
        case NoRecordReason.NOT_KEPT:
            oldest = f"the oldest record kept is from {at}" if at else "no records of this job are kept"
            yield f"The record of the slot {slot} of {name} has been removed: {oldest}."
        case NoRecordReason.JUST_NOW:
            yield f"{name} is due at its slot {slot}, just now; nothing is on record yet: ask again."
        case NoRecordReason.USED_UP:
            most = calendar.job.policy.max_runs
            yield f"{name} is not due at {slot}: it has used up its runs (max_runs = {most})."
        case NoRecordReason.NO_RECORD if isinstance(calendar.job.schedule, Interval):
            yield (
                f"There is no record of a slot of {name} at {slot}, where its interval has one as "
                "it counts now. It may have counted from another time then."
            )
        case _:
            yield (
                f"There is no record of the slot {slot} of {name}, although all slots until {at} "
                "should be on record. This is a bug: please report it."
            )


def _not_accounted(slot: str, result: Unrecorded, name: str, *, times: Times) -> Iterator[str]:
    lead = f"The slot {slot} of {name} has passed and is not on record"
    if result.trouble:
        yield f"{lead}: the ledger cannot be written ({result.trouble}), and nothing starts until it can be."
        if result.at_ns is not None:
            yield f"Slots that were due until {times.at(result.at_ns)} are on record."
        return
    unwritable = result.unwritable
    if result.is_running and unwritable is not None:
        why = f": {unwritable.detail.rstrip('.')}" if unwritable.detail else ""
        at = times.at(unwritable.at_ns)
        yield f"{lead}: the ledger cannot be written, according to the journal at {at}{why}."
        yield "Nothing starts until it can be."
        return
    if result.is_running:
        yield (
            f"{lead}, although taskman is running: its scheduler is stalled, has just died, or "
            "cannot write the ledger. See its log."
        )
        return
    yield f"{lead}: {no_scheduler(result.stopped_ns, result.last_event_ns, times=times)}."
    yield "The next scheduler will catch up on it or skip it, depending on on_missed and start_deadline."
