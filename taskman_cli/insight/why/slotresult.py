"""What happened to one slot, worked out from the records around it: one small class per outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.model import SkipReason, State, Trigger

if TYPE_CHECKING:
    from taskman_cli.insight.why.facts import (
        EventFacts,
        RunFacts,
        SchedulerFacts,
        SkipFacts,
        SlotRecord,
        WaitFacts,
    )
    from taskman_cli.insight.why.slots import Calendar

#: A slot this recent may be handled but not yet on record, since records are written in groups.
_RECORDING_NS = 2 * SECOND_NS
#: For a slot that was reached later than this, a cause is sought.
_LATE_NS = SECOND_NS // 10
#: How long after a slot was reached the journal may still name the cause.
EVENT_MARGIN_NS = 5 * SECOND_NS


class Outcome(StrEnum):
    """What happened to a slot, in one word."""

    RAN = "ran"
    SKIPPED = "skipped"
    QUEUED = "queued"
    RUNNING = "running"
    NOT_DUE = "not_due"
    TO_COME = "to_come"
    UNKNOWN = "unknown"


class NoRecordReason(StrEnum):
    """Why there is no record of a slot."""

    #: This schedule was not known then.
    BEFORE_KNOWN = "before_known"
    REMOVED = "removed"
    #: The record was old and has been removed.
    NOT_KEPT = "not_kept"
    #: No scheduler has handled slots up to then.
    NOT_ACCOUNTED = "not_accounted"
    #: It is due just now.
    JUST_NOW = "just_now"
    #: `max_runs` was reached.
    USED_UP = "used_up"
    NO_RECORD = "no_record"


class Cause(StrEnum):
    """Why no scheduler handled a slot when it was due."""

    STOPPED = "stopped"
    DIED = "died"
    #: The scheduler died, but not its supervisor.
    SCHEDULER_DIED = "scheduler_died"
    SUSPENDED = "suspended"
    CLOCK_STEPPED = "clock_stepped"
    #: The ledger could not be written.
    UNWRITABLE = "unwritable"
    #: The scheduler was running but did nothing.
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Absence:
    """A period in which slots were not handled."""

    cause: Cause
    #: When it began; None if unknown.
    from_ns: int | None
    to_ns: int
    #: How long the machine was suspended, or how far the clock jumped.
    length_ns: int | None = None
    #: Further details from the journal.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How long after its slot a run started, in parts. Parts that are not over are None."""

    total_ns: int | None
    jitter_ns: int
    #: From when it was due until a scheduler reached it.
    clock_ns: int
    #: Waiting for a worker or for an earlier run.
    wait_ns: int | None
    spawn_ns: int | None


@dataclass(frozen=True, slots=True)
class Ran:
    """The slot got a run, which may be unfinished or not even started."""

    run: RunFacts
    #: The run that it waited for or is waiting for.
    earlier: RunFacts | None
    absence: Absence | None
    #: The system's error while no process could be created.
    shortage: str | None = None
    #: Why its tasks wait, as the running scheduler says.
    waits: tuple[WaitFacts, ...] = ()
    #: The run of its job that it waits behind if that waits itself, and why.
    ahead: tuple[str, tuple[WaitFacts, ...]] | None = None

    @property
    def outcome(self) -> Outcome:
        """Return ran, running or queued."""
        match self.run.state:
            case State.QUEUED:
                return Outcome.QUEUED
            case State.RUNNING:
                return Outcome.RUNNING
            case State.SKIPPED:
                return Outcome.SKIPPED
        return Outcome.RAN


@dataclass(frozen=True, slots=True)
class Skipped:
    """The slot got no run."""

    skip: SkipFacts
    absence: Absence | None
    #: The run of a later slot that caught up on the missed ones.
    made_up: RunFacts | None
    #: The run that the queued run of this slot waited for.
    earlier: RunFacts | None
    #: When a scheduler reached the slot; of slots recorded together, known for the first and last only.
    reached_ns: int | None = None
    #: When the pause began that the slot fell into.
    paused_ns: int | None = None
    #: The run of the slot, if it had begun: a command of it said that it does not go on.
    run: RunFacts | None = None
    #: The run, if it was for no slot: somebody asked for it, or the scheduler started.
    asked: RunFacts | None = None
    outcome = Outcome.SKIPPED


@dataclass(frozen=True, slots=True)
class ToCome:
    """The slot, or its start as delayed by jitter, is still to come."""

    due_ns: int
    outcome = Outcome.TO_COME


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """The slot has passed without a record."""

    reason: NoRecordReason
    #: Depending on `reason`: since when the job is known, when it was removed, the oldest record, …
    at_ns: int | None
    #: When a scheduler last stopped, if none has started since.
    stopped_ns: int | None = None
    #: The last event of a scheduler.
    last_event_ns: int | None = None
    #: A scheduler is running nevertheless.
    is_running: bool = False
    #: Why and since when it cannot write the ledger, according to the journal.
    unwritable: EventFacts | None = None
    #: The same according to the scheduler itself.
    trouble: str = ""

    @property
    def outcome(self) -> Outcome:
        """Return `unknown`, or `not_due` if the job had used up its runs."""
        return Outcome.NOT_DUE if self.reason is NoRecordReason.USED_UP else Outcome.UNKNOWN


SlotResult = Ran | Skipped | ToCome | Unrecorded


def slot_result(
    slot_ns: int, calendar: Calendar, record: SlotRecord, *, scheduler: SchedulerFacts, now_ns: int
) -> SlotResult:
    """Work out what happened to a slot."""
    run, skip = record.run, record.skip
    if run is not None and (skip is None or run.state != State.SKIPPED):
        absence = None
        if run.trigger == Trigger.CATCH_UP or (run.slot_ns is not None and is_reached_late(run)):
            absence = find_absence(record.events, due_ns=run.due_ns, reached_ns=run.queued_ns)
        # What the scheduler said may be over by now.
        waits = scheduler.waits.get(run.id, ()) if run.ended_ns is None else ()
        ahead = _ahead(waits, scheduler) if run.state == State.QUEUED else None
        return Ran(run, record.earlier, absence, _shortage(run, record.events), waits, ahead)
    if skip is not None:
        absence, reached_ns = None, _reached(skip, slot_ns)
        due_ns = calendar.due_at(slot_ns)
        if reached_ns is not None and (skip.reason == SkipReason.MISSED or reached_ns - due_ns >= _LATE_NS):
            absence = find_absence(record.events, due_ns=due_ns, reached_ns=reached_ns)
        begun = run if run is not None and run.attempts else None
        asked = run if run is not None and run.slot_ns is None else None
        return Skipped(
            skip, absence, record.made_up, record.earlier, reached_ns, record.paused_ns, begun, asked
        )
    return _without_record(slot_ns, calendar, scheduler=scheduler, now_ns=now_ns)


def _ahead(
    waits: tuple[WaitFacts, ...], scheduler: SchedulerFacts
) -> tuple[str, tuple[WaitFacts, ...]] | None:
    """Return the run of the job that one waits behind which has these waits, if it waits itself.

    The scheduler names the waits of the first runs only, so there may be none.
    """
    if waits and waits[0].kind != WaitsFor.EARLIER_RUN:
        return None
    return next(
        (ahead for ahead in scheduler.waits.items() if ahead[1][0].kind != WaitsFor.EARLIER_RUN), None
    )


def _without_record(
    slot_ns: int, calendar: Calendar, *, scheduler: SchedulerFacts, now_ns: int
) -> ToCome | Unrecorded:
    """Work out why there is no record of a slot."""
    facts, due_ns = calendar.facts, calendar.due_at(slot_ns)
    if facts.until_ns is not None and due_ns >= facts.until_ns:
        return Unrecorded(NoRecordReason.REMOVED, facts.until_ns)
    if due_ns <= facts.since_ns:
        return Unrecorded(NoRecordReason.BEFORE_KNOWN, facts.since_ns)
    accounted_ns, oldest_ns = scheduler.accounted_ns, scheduler.oldest_ns
    is_accounted = accounted_ns is not None and due_ns <= accounted_ns
    if is_accounted and oldest_ns is not None and slot_ns < oldest_ns:
        return Unrecorded(NoRecordReason.NOT_KEPT, oldest_ns)
    if calendar.is_used_up:
        return Unrecorded(NoRecordReason.USED_UP, None)
    if due_ns > now_ns:
        return ToCome(due_ns)
    if is_accounted:
        # Nothing of the job is kept, or a record is missing.
        return (
            Unrecorded(NoRecordReason.NOT_KEPT, None)
            if oldest_ns is None
            else Unrecorded(NoRecordReason.NO_RECORD, accounted_ns)
        )
    stopped_ns = scheduler.last_stop_ns
    is_there = scheduler.is_running is True or (scheduler.is_running is None and stopped_ns is None)
    if is_there and now_ns - due_ns <= _RECORDING_NS and not scheduler.trouble:
        return Unrecorded(NoRecordReason.JUST_NOW, due_ns)
    return Unrecorded(
        NoRecordReason.NOT_ACCOUNTED,
        accounted_ns,
        stopped_ns,
        scheduler.last_event_ns,
        is_running=scheduler.is_running is True,
        unwritable=scheduler.unwritable,
        trouble=scheduler.trouble,
    )


def is_reached_late(run: RunFacts) -> bool:
    """Tell whether the scheduler reached the slot of a run late."""
    return run.queued_ns - run.due_ns >= _LATE_NS


def _reached(skip: SkipFacts, slot_ns: int) -> int | None:
    """Return when a slot was reached, if it is the first or last of those skipped together."""
    if slot_ns <= max(skip.slot_ns, skip.at_ns):
        return skip.at_ns
    return skip.at_to_ns if slot_ns == skip.slot_to_ns else None


def _shortage(run: RunFacts, events: tuple[EventFacts, ...]) -> str | None:
    """Return the system's error because of which a run had to wait."""
    waits = (
        event
        for event in events
        if event.kind == "spawn_delayed"
        and event.at_ns >= run.queued_ns
        # A limit of one user does not delay others.
        and event.data.get("run", run.id) == run.id
    )
    until_ns = run.started_ns
    return next((event.detail for event in waits if until_ns is None or event.at_ns <= until_ns), None)


def find_absence(events: tuple[EventFacts, ...], *, due_ns: int, reached_ns: int) -> Absence | None:
    """Find out why a slot was reached late; `events` are in ascending order."""
    last_stop_ns = None
    is_running = False
    for event in events:
        is_after = event.at_ns >= due_ns
        if event.at_ns > reached_ns + EVENT_MARGIN_NS:
            break
        match event.kind:
            case "scheduler_stopped":
                last_stop_ns, is_running = event.at_ns, False
            case "scheduler_started" if is_after:
                if last_stop_ns is not None and not is_running:
                    return Absence(Cause.STOPPED, last_stop_ns, event.at_ns)
                last_ns = max((e.at_ns for e in events if e.at_ns < event.at_ns), default=None)
                cause = Cause.SCHEDULER_DIED if event.detail else Cause.DIED
                return Absence(cause, last_ns, event.at_ns)
            case "scheduler_started":
                is_running = True
            case "suspended" if is_after:
                length_ns = _number(event, "length_ns")
                from_ns = None if length_ns is None else event.at_ns - length_ns
                return Absence(Cause.SUSPENDED, from_ns, event.at_ns, length_ns)
            case "clock_stepped" if is_after and (_number(event, "delta_ns") or 0) > 0:
                delta_ns = _number(event, "delta_ns")
                return Absence(Cause.CLOCK_STEPPED, None, event.at_ns, delta_ns)
            case "ledger_unwritable" | "ledger_writable" if is_after:
                return Absence(Cause.UNWRITABLE, None, event.at_ns, detail=event.detail)
            case "stalled" if is_after:
                return Absence(Cause.STALLED, None, event.at_ns, detail=event.detail)
    return None


def _number(event: EventFacts, name: str) -> int | None:
    value = event.data.get(name)
    return value if isinstance(value, int) else None


def lateness(run: RunFacts) -> Lateness:
    """Split the lateness of a run's start into its parts."""
    begun_ns, started_ns = run.begun_ns, run.started_ns
    slot_ns = run.due_ns if run.slot_ns is None else run.slot_ns
    return Lateness(
        total_ns=None if started_ns is None else started_ns - slot_ns,
        jitter_ns=run.due_ns - slot_ns,
        clock_ns=run.queued_ns - run.due_ns,
        wait_ns=None if begun_ns is None else begun_ns - run.queued_ns,
        spawn_ns=None if begun_ns is None or started_ns is None else started_ns - begun_ns,
    )
