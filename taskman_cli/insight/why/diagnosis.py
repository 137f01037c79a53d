"""The complete answer to `taskman why`: the slot, what happened to it, or why a time is not a slot."""

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
    from taskman_cli.insight.why.facts import RunFacts, SchedulerFacts
    from taskman_cli.insight.why.notdue import NotDue
    from taskman_cli.insight.why.slotresult import SlotResult
    from taskman_cli.insight.why.slots import Calendar, FoundSlot
    from taskman_cli.insight.why.timequery import TimeQuery


@dataclass(frozen=True, slots=True)
class SlotDiagnosis:
    """A slot and what happened to it."""

    slot_ns: int
    result: SlotResult
    #: The clock change whose gap moved the slot here.
    gap: Change | None
    #: It is the first of several slots that were skipped together, and the queried time is among them.
    is_among_others: bool = False

    def is_ahead(self, now_ns: int) -> bool:
        """Tell whether the slot is in the future but on record, since the clock was ahead."""
        result = self.result
        if not is_clock_put_back(self.slot_ns, now_ns):
            return False
        if isinstance(result, Ran):
            return is_clock_put_back(result.run.queued_ns, now_ns)
        return isinstance(result, Skipped)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The complete answer."""

    calendar: Calendar
    now_ns: int
    #: None if no time was queried.
    asked: TimeQuery | None
    #: Why the queried time is not a slot; None if it is.
    not_due: NotDue | None
    #: The slot at the queried time, else the nearest one; None if there is none.
    slot: SlotDiagnosis | None
    #: The latest slot on record, if the latest slot has no record.
    recorded: SlotDiagnosis | None
    #: The queried time covers further slots.
    is_first_of_many: bool
    previous_ns: int | None
    next_ns: int | None
    scheduler: SchedulerFacts
    #: The latest run, if the slot got none.
    latest: SlotDiagnosis | None = None

    @property
    def outcome(self) -> Outcome:
        """Return the outcome in one word."""
        if self.is_before_known:
            return Outcome.UNKNOWN
        if self.not_due is not None:
            return Outcome.NOT_DUE
        return Outcome.UNKNOWN if self.slot is None else self.slot.result.outcome

    @property
    def run(self) -> RunFacts | None:
        """Return the run that the answer is about, or the latest one; None: there is none."""
        for found in (self.slot, self.recorded, self.latest):
            if found is not None and isinstance(found.result, Ran | Skipped) and found.result.run:
                return found.result.run
        return None

    @property
    def is_before_known(self) -> bool:
        """Tell whether the queried time is from before this schedule was known."""
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
    latest_ns: int | None = None,
) -> Diagnosis:
    """Combine everything into one answer; `records` are those of the slots in `sought`.

    `latest_ns` is the slot of the latest run, or when it was due.
    """

    def tell(slot_ns: int | None) -> SlotDiagnosis | None:
        if slot_ns is None:
            return None
        record = records.get(slot_ns, SlotRecord())
        result = slot_result(slot_ns, calendar, record, scheduler=scheduler, now_ns=now_ns)
        return SlotDiagnosis(slot_ns, result, _gap(calendar, slot_ns), sought.is_among_skipped)

    not_due = None if asked is None or sought.is_named else explain_not_due(calendar, asked)
    slot, recorded = tell(sought.slot_ns), tell(sought.recorded_ns)
    has_run = any(found is not None and isinstance(found.result, Ran) for found in (slot, recorded))
    return Diagnosis(
        calendar, now_ns, asked, not_due, slot, recorded,
        sought.is_first_of_many, sought.previous_ns, sought.next_ns, scheduler,
        None if has_run else tell(latest_ns),
    )  # fmt: skip


def _gap(calendar: Calendar, slot_ns: int) -> Change | None:
    """Return the clock change whose gap moved a slot, if one did."""
    schedule = calendar.job.schedule
    if not isinstance(schedule, CronSchedule) or not schedule.stands_for_gap(slot_ns):
        return None
    return change_at(slot_ns, schedule.timezone)
