"""Which slot is meant: the one at the queried time, else the nearest; without a time, the latest.

Records take precedence over the schedule: the job may have had another one then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.schedule import Interval, Once
from taskman_cli.core.schedule.zones import LAST_S

if TYPE_CHECKING:
    from taskman_cli.core.model import Job
    from taskman_cli.core.pause import Park, Pause
    from taskman_cli.insight.why.facts import JobFacts
    from taskman_cli.insight.why.timequery import TimeQuery


#: The definition of a job that the ledger knows only by its runs.
NO_DEFINITION = "{}"


class Recorded(NamedTuple):
    """The slots on record at a queried time and around it; a run without a slot counts as one."""

    #: At the queried time, ascending.
    within: tuple[int, ...] = ()
    before_ns: int | None = None
    after_ns: int | None = None
    #: The first of the slots that were skipped together around the queried time.
    stretch_ns: int | None = None


class FoundSlot(NamedTuple):
    """The slot found for a queried time."""

    #: The slot to explain; None if there is none.
    slot_ns: int | None
    #: The slot is at the queried time, or no time was queried.
    is_named: bool
    #: The queried time covers further slots.
    is_first_of_many: bool
    #: The slots before and after it.
    previous_ns: int | None
    next_ns: int | None
    #: The latest slot on record, if that is another one.
    recorded_ns: int | None = None
    #: The slot is the first of those skipped together around the queried time, and no more is known.
    is_among_skipped: bool = False


class Calendar:
    """The slots of a job by one of its definitions, ignoring `max_runs`."""

    def __init__(self, job: Job, facts: JobFacts) -> None:
        self.job = job
        self.facts = facts
        anchor_ns = facts.anchor_ns
        if isinstance(job.schedule, Interval) and job.schedule.from_finish and facts.finish_ns is not None:
            anchor_ns = facts.finish_ns
        unlimited = replace(job, policy=replace(job.policy, max_runs=None))
        self._armed = ArmedJob.of(unlimited, since_ns=facts.since_ns, anchor_ns=anchor_ns)
        #: From this instant on a pause suspends the interval; None if it does not.
        self._still_ns = facts.pause.since_ns if facts.pause and self._armed.is_elapsed else None

    @property
    def is_known(self) -> bool:
        """Tell whether the schedule is on record; that of a long-gone job may not be."""
        return self.facts.definition != NO_DEFINITION

    @property
    def is_once(self) -> bool:
        """Tell whether it is a one-off, whose slot must be on record however old it is."""
        return isinstance(self.job.schedule, Once) and self.facts.since_ns == 0

    @property
    def anchor_ns(self) -> int:
        """Return the instant from which an interval counts."""
        return self._armed.anchor_ns

    @property
    def is_from_finish(self) -> bool:
        """Tell whether the interval counts from the end of runs, so that only one slot is known."""
        return self._armed.is_from_finish

    @property
    def stands_still(self) -> bool:
        """Tell whether a pause suspends its interval."""
        return self._still_ns is not None

    @property
    def is_used_up(self) -> bool:
        """Tell whether the job has used up its runs (`max_runs`)."""
        return self.job.policy.max_runs is not None and self.facts.run_count >= self.job.policy.max_runs

    def covers(self, instant_ns: int) -> bool:
        """Tell whether this definition was in force at an instant."""
        until_ns = self.facts.until_ns
        return self.facts.since_ns < instant_ns and (until_ns is None or instant_ns < until_ns)

    def due_at(self, slot_ns: int) -> int:
        """Return when the run for a slot is due."""
        return self._armed.due_at(slot_ns)

    def has_runs_at(self, due_ns: int) -> bool:
        """Tell whether a slot due at that time gets a run: the job is not disabled, paused or parked."""
        return self.job.enabled and not any(hold.covers(due_ns) for hold in self._holds)

    @property
    def _holds(self) -> list[Pause | Park]:
        """Return what keeps slots from getting runs now; a suspended interval has no such slots."""
        pause, park = self.facts.pause, self.facts.park
        return [hold for hold in (None if self.stands_still else pause, park) if hold is not None]

    def run_after(self, instant_ns: int) -> int | None:
        """Return the first slot after an instant that gets a run, as things are now."""
        slot_ns = self.after(instant_ns)
        if slot_ns is None or self.has_runs_at(self.due_at(slot_ns)):
            return slot_ns
        ends = [hold.until_ns for hold in self._holds]
        if not self.job.enabled or None in ends:
            return None
        last_ns = max(end_ns for end_ns in ends if end_ns is not None)
        slot_ns = self.after(last_ns - 1 - self.job.policy.jitter_ns)
        while slot_ns is not None and not self.has_runs_at(self.due_at(slot_ns)):
            slot_ns = self.after(slot_ns)
        return slot_ns

    def after(self, instant_ns: int) -> int | None:
        """Return the first slot after an instant by this definition."""
        if self.is_used_up:
            return None
        slot_ns = self._armed.slot_after(max(instant_ns, self.facts.since_ns))
        # Beyond this instant, not every zone can show a date.
        if slot_ns is None or slot_ns > LAST_S * SECOND_NS:
            return None
        if self.facts.until_ns is not None and self.due_at(slot_ns) >= self.facts.until_ns:
            return None
        if self.is_from_finish and slot_ns != self.anchor_ns + self._every_ns:
            return None
        return self._resumed_after(instant_ns) if self._is_in_pause(slot_ns) else slot_ns

    def _is_in_pause(self, slot_ns: int) -> bool:
        return self._still_ns is not None and slot_ns > self._still_ns

    def _resumed_after(self, instant_ns: int) -> int | None:
        """Return the first slot after a pause with an end, if that is after an instant."""
        pause = self.facts.pause
        if pause is None or pause.until_ns is None or pause.left_ns is None:
            return None
        slot_ns = pause.until_ns + pause.left_ns
        return slot_ns if slot_ns > instant_ns else None

    def before(self, instant_ns: int) -> int | None:
        """Return the last slot before an instant by this definition."""
        if self.is_used_up:
            return None
        until_ns = self.facts.until_ns
        if until_ns is not None:
            instant_ns = min(instant_ns, until_ns)
        if self._still_ns is not None:
            instant_ns = min(instant_ns, self._still_ns + 1)
        slot_ns = self._armed.slot_before(instant_ns - 1)
        while slot_ns is not None and until_ns is not None and self.due_at(slot_ns) >= until_ns:
            # With its jitter it was due when the job no longer existed.
            slot_ns = self._armed.slot_before(slot_ns - 1)
        if slot_ns is None or slot_ns <= self.facts.since_ns or not self._armed.is_within_limits(slot_ns):
            return None
        if self.is_from_finish:
            slot_ns = self.anchor_ns + self._every_ns
            return slot_ns if slot_ns < instant_ns else None
        return slot_ns

    def within(self, from_ns: int, to_ns: int) -> list[int]:
        """Return up to two slots of the schedule in [from, to), even from before the job was known."""
        if self.is_from_finish:
            slot_ns = self.after(from_ns - 1)
            return [] if slot_ns is None or slot_ns >= to_ns else [slot_ns]
        found: list[int] = []
        slot_ns = self._armed.slot_after(from_ns - 1)
        while slot_ns is not None and slot_ns < to_ns and len(found) < 2 and not self._is_in_pause(slot_ns):
            found.append(slot_ns)
            slot_ns = self._armed.slot_after(slot_ns)
        return found

    @property
    def _every_ns(self) -> int:
        assert isinstance(self.job.schedule, Interval)
        return self.job.schedule.every_ns


def find_slot(calendar: Calendar, asked: TimeQuery, recorded: Recorded) -> FoundSlot:
    """Find the slot at a queried time, else the nearest one."""
    found = sorted(recorded.within)
    if not found and recorded.stretch_ns is not None and not calendar.covers(asked.at_ns):
        # They are slots of a former schedule that is no longer known.
        return FoundSlot(recorded.stretch_ns, True, False, None, None, is_among_skipped=True)
    if not found:
        # Both passes of a repeated wall time.
        found = [slot_ns for window in asked.windows for slot_ns in calendar.within(*window)]
    if found:
        slot_ns = found[0]
        return FoundSlot(slot_ns, True, len(found) > 1, *_around(calendar, recorded, slot_ns, slot_ns + 1))
    before_ns, after_ns = _around(calendar, recorded, asked.at_ns, asked.end_ns)
    return FoundSlot(_nearest(before_ns, after_ns, asked), False, False, before_ns, after_ns)


def find_latest_slot(calendar: Calendar, latest_ns: int | None, *, now_ns: int) -> FoundSlot:
    """Find the latest slot: the last on record, or a later one that should be; else the next one.

    `latest_ns` is the last slot on record.
    """
    slot_ns = calendar.before(now_ns + 1)
    while slot_ns is not None and calendar.due_at(slot_ns) > now_ns:
        slot_ns = calendar.before(slot_ns)
    if slot_ns is None or (latest_ns is not None and slot_ns < latest_ns):
        slot_ns = latest_ns
    next_ns = calendar.after(now_ns if slot_ns is None else max(slot_ns, now_ns))
    if slot_ns is None:
        slot_ns, next_ns = next_ns, None if next_ns is None else calendar.after(next_ns)
    previous_ns = None if slot_ns is None else calendar.before(slot_ns)
    recorded_ns = None if latest_ns == slot_ns else latest_ns
    return FoundSlot(slot_ns, True, False, previous_ns, next_ns, recorded_ns)


def find_run_slot(calendar: Calendar, at_ns: int, *, now_ns: int) -> FoundSlot:
    """Return the slot of a run, or the time at which it was due, as the one that was asked for."""
    return FoundSlot(at_ns, True, False, calendar.before(at_ns), calendar.after(max(at_ns, now_ns)))


def _around(
    calendar: Calendar, recorded: Recorded, from_ns: int, to_ns: int
) -> tuple[int | None, int | None]:
    """Return the last slot before `from_ns` and the first one from `to_ns` on."""
    before = [calendar.before(from_ns), recorded.before_ns]
    after = [calendar.after(to_ns - 1), recorded.after_ns]
    return (
        max((slot_ns for slot_ns in before if slot_ns is not None and slot_ns < from_ns), default=None),
        min((slot_ns for slot_ns in after if slot_ns is not None and slot_ns >= to_ns), default=None),
    )


def _nearest(before_ns: int | None, after_ns: int | None, asked: TimeQuery) -> int | None:
    if before_ns is None or after_ns is None:
        return after_ns if before_ns is None else before_ns
    return before_ns if asked.at_ns - before_ns <= after_ns - asked.at_ns else after_ns
