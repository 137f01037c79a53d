"""The whole answer to "why": the slot that is meant, what became of it, and why a moment is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.schedule import CronSchedule
from taskman_cli.core.schedule.changes import change_at
from taskman_cli.insight.why.facts import SlotRecord
from taskman_cli.insight.why.notdue import explain_not_due
from taskman_cli.insight.why.slotresult import Outcome, Ran, Skipped, slot_result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.insight.why.facts import SchedulerFacts
    from taskman_cli.insight.why.notdue import NotDue
    from taskman_cli.insight.why.slotresult import SlotResult
    from taskman_cli.insight.why.slots import Calendar, FoundSlot
    from taskman_cli.insight.why.timequery import TimeQuery


@dataclass(frozen=True, slots=True)
class SlotDiagnosis:
    """A slot, and what became of it."""

    slot_ns: int
    result: SlotResult
    #: The clocks jumped over its own time just before it.
    gap: Change | None
    #: It is the first of some that were skipped together, and the moment lies among them.
    is_among_others: bool = False

    def is_ahead(self, now_ns: int) -> bool:
        """Tell whether the slot is still to come, and has a record from when the clock was ahead."""
        result = self.result
        if not is_clock_put_back(self.slot_ns, now_ns):
            return False
        if isinstance(result, Ran):
            return is_clock_put_back(result.run.queued_ns, now_ns)
        return isinstance(result, Skipped)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All there is to say."""

    calendar: Calendar
    now_ns: int
    #: None: nobody asked for a moment.
    asked: TimeQuery | None
    #: Why the moment is no slot; None where it is one.
    not_due: NotDue | None
    #: The slot that the moment names, else the nearest; None where there is none.
    slot: SlotDiagnosis | None
    #: The latest slot on record, where the latest slot is not.
    recorded: SlotDiagnosis | None
    #: The moment covers more slots than this one.
    is_first_of_many: bool
    previous_ns: int | None
    next_ns: int | None
    scheduler: SchedulerFacts

    @property
    def outcome(self) -> Outcome:
        """Return the answer in a word."""
        if self.is_before_known:
            return Outcome.UNKNOWN
        if self.not_due is not None:
            return Outcome.NOT_DUE
        return Outcome.UNKNOWN if self.slot is None else self.slot.result.outcome

    @property
    def is_before_known(self) -> bool:
        """Tell whether the moment is from before the schedule was known: there may have been another."""
        return (
            self.not_due is not None
            and self.asked is not None
            and self.asked.end_ns <= self.calendar.facts.since_ns
        )


def diagnose(
    calendar: Calendar,
    asked: TimeQuery | None,
    sought: FoundSlot,
    records: Mapping[int, SlotRecord],
    *,
    scheduler: SchedulerFacts,
    now_ns: int,
) -> Diagnosis:
    """Put together what is to be said; `records` are those of the slots that were found."""

    def tell(slot_ns: int | None) -> SlotDiagnosis | None:
        if slot_ns is None:
            return None
        record = records.get(slot_ns, SlotRecord())
        result = slot_result(slot_ns, calendar, record, scheduler=scheduler, now_ns=now_ns)
        return SlotDiagnosis(slot_ns, result, _gap(calendar, slot_ns), sought.is_among_skipped)

    not_due = None if asked is None or sought.is_named else explain_not_due(calendar, asked)
    return Diagnosis(
        calendar, now_ns, asked, not_due, tell(sought.slot_ns), tell(sought.recorded_ns),
        sought.is_first_of_many, sought.previous_ns, sought.next_ns, scheduler,
    )  # fmt: skip


def _gap(calendar: Calendar, slot_ns: int) -> Change | None:
    """Return the gap that a slot comes from, if it does."""
    schedule = calendar.job.schedule
    if not isinstance(schedule, CronSchedule) or not schedule.stands_for_gap(slot_ns):
        return None
    return change_at(slot_ns, schedule.timezone)
