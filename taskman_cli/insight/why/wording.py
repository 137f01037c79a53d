"""The answer as one paragraph of plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.schedule import CronSchedule, Once, Reboot
from taskman_cli.insight.why.contextwords import no_scheduler, park_words, pause_words
from taskman_cli.insight.why.schedulewords import (
    change_words,
    limit_words,
    moment_words,
    not_due_words,
    over_words,
)
from taskman_cli.insight.why.slotresult import NoRecordReason, Outcome, Ran, Skipped, Unrecorded
from taskman_cli.insight.why.slotwords import slot_words
from taskman_cli.insight.why.times import Times, ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from taskman_cli.insight.why.diagnosis import Diagnosis, SlotDiagnosis
    from taskman_cli.insight.why.slots import Calendar


def paragraph(diagnosis: Diagnosis, zone: tzinfo) -> str:
    """Return the answer in words, on one line; times are in `zone`."""
    text = " ".join(_sentences(diagnosis, Times(zone)))
    # Text from jobs and the system must not control the terminal.
    return printable(" ".join(text.split()))


def _sentences(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    calendar, asked, slot = diagnosis.calendar, diagnosis.asked, diagnosis.slot
    name, now_ns = calendar.job.id, diagnosis.now_ns
    if asked is not None and diagnosis.not_due is not None:
        if diagnosis.is_before_known:
            since = times.at(calendar.facts.since_ns)
            yield (
                f"There is no record of {name} at {moment_words(asked)}: taskman has recorded the "
                f"slots of its schedule since {since}."
            )
            yield from limit_words(diagnosis.not_due, times=times)
        else:
            yield from not_due_words(diagnosis.not_due, calendar, asked, times=times, now_ns=now_ns)
        if slot is not None:
            where = "before" if slot.slot_ns < asked.at_ns else "after"
            is_run = isinstance(slot.result, Ran) and slot.result.run.slot_ns is None
            yield f"The nearest {'run' if is_run else 'slot'} is the one {where} it."
            times.forget()
    if slot is None:
        if diagnosis.not_due is None:
            yield from _nothing(diagnosis, times)
        yield from _ahead(diagnosis, times)
        return
    if slot.is_among_others:
        assert asked is not None  # only a queried time finds such slots
        at = moment_words(asked)
        yield f"No slot of {name} at {at} has a record of its own; the job has changed since."
    yield from slot_words(slot, calendar, times=times, now_ns=now_ns)
    yield from _others(diagnosis, times)
    if slot.is_ahead(now_ns):
        yield "That time is in the future: the clock was ahead when this was recorded."
    if diagnosis.is_first_of_many:
        yield "It is the first of several slots in that time."
    schedule = calendar.job.schedule
    if (
        asked is not None
        and diagnosis.not_due is None
        and asked.change is not None
        and isinstance(schedule, CronSchedule)
    ):
        yield change_words(asked.change, asked, schedule)
    if asked is None or slot.result.outcome is Outcome.TO_COME:
        yield from _paused(diagnosis, times)
    yield from _following(diagnosis, times)
    yield from _ahead(diagnosis, times)
    yield from _nobody_there(diagnosis, times)


def _others(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Describe the latest slot on record and the latest run, if the answer is about a later slot."""
    for other, what in (
        (diagnosis.recorded, "The latest slot on record:"),
        (diagnosis.latest, "Its latest run:"),
    ):
        if other is not None:
            yield what
            yield from slot_words(other, diagnosis.calendar, times=times, now_ns=diagnosis.now_ns)


def _ahead(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Mention records from when the clock was ahead."""
    ahead_ns = diagnosis.scheduler.ahead_ns
    if ahead_ns is not None and diagnosis.asked is None:
        times.forget()
        yield (
            f"Records from when the clock was ahead, up to {times.at(ahead_ns)}, are ignored: "
            "that time is in the future."
        )


def _paused(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Mention that it is parked; and a current pause, unless the slot has already mentioned it."""
    yield from park_words(diagnosis.calendar.facts, times=times, now_ns=diagnosis.now_ns)
    pause, slot = diagnosis.calendar.facts.pause, diagnosis.slot
    is_told = slot is not None and isinstance(slot.result, Skipped) and slot.result.paused_ns is not None
    if pause is not None and not is_told:
        is_still = diagnosis.calendar.stands_still
        yield pause_words(pause, is_still=is_still, times=times, now_ns=diagnosis.now_ns)


def _nothing(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Explain why there is no slot at all."""
    calendar = diagnosis.calendar
    name, schedule = calendar.job.id, calendar.job.schedule
    if calendar.is_once:
        assert isinstance(schedule, Once)  # one-offs have such a schedule
        yield f"{name} was to run once, at {times.slot(schedule.at_ns)}, but no run is on record."
        yield from over_words(calendar, times=times)
        return
    since = times.at(calendar.facts.since_ns)
    yield f"There is no record of {name}, known since {since}, and it has no slots to come."
    yield from _paused(diagnosis, times)
    match schedule:
        case Once(at_ns=at_ns) if at_ns <= calendar.facts.since_ns:
            yield f"Its one slot, {times.slot(at_ns)}, had passed by then."
        case Reboot() if calendar.is_known:
            yield "@reboot runs it when taskman first starts after a boot of the machine."
    yield from _no_more(diagnosis, times)


def _no_more(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Explain why there are no more slots, if limits of the job are the reason."""
    told = list(over_words(diagnosis.calendar, times=times))
    yield from told
    expires_at_ns = diagnosis.calendar.job.policy.expires_at_ns
    if not told and expires_at_ns is not None:
        yield f"It has expired (expires_at, {times.slot(expires_at_ns)})."


def _following(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Mention the next slot, unless the query was about the past."""
    assert diagnosis.slot is not None  # or there is nothing to follow
    calendar, next_ns, now_ns = diagnosis.calendar, diagnosis.next_ns, diagnosis.now_ns
    if diagnosis.not_due is not None:
        # The nearest has been described: mention the other one.
        others = [diagnosis.previous_ns, diagnosis.next_ns]
        for other_ns, where in zip(others, ("before", "after"), strict=True):
            if other_ns is not None and other_ns != diagnosis.slot.slot_ns:
                when = f", {ahead(other_ns, now_ns)}" if other_ns > now_ns else ""
                yield f"The slot {where} that time is {times.slot(other_ns)}{when}."
    elif diagnosis.asked is not None:
        return
    elif next_ns is not None and next_ns > now_ns:
        run_ns = calendar.run_after(next_ns - 1)
        if run_ns is not None:
            what = "The next slot" if run_ns == next_ns else "The first slot after that"
            yield f"{what} is {times.slot(run_ns)}, {ahead(run_ns, now_ns)}."
        elif not calendar.job.enabled and diagnosis.slot.result.outcome is not Outcome.TO_COME:
            yield "It does not run now: the job is disabled (enabled = false)."
    elif next_ns is None and not _is_open(calendar):
        yield "It has no other slots to come."
        yield from _no_more(diagnosis, times)


def _is_open(calendar: Calendar) -> bool:
    """Tell whether further runs are possible, though their slots are not known yet."""
    if calendar.facts.removed_ns is not None or calendar.is_used_up:
        return False
    return calendar.is_from_finish or calendar.stands_still or isinstance(calendar.job.schedule, Reboot)


def _nobody_there(diagnosis: Diagnosis, times: Times) -> Iterator[str]:
    """Say that no scheduler is running, if a slot is to come or a run to end."""
    scheduler, slot = diagnosis.scheduler, diagnosis.slot
    assert slot is not None  # or there is nothing to come
    if scheduler.is_running is not False:
        return
    is_to_come = slot.result.outcome is Outcome.TO_COME
    if is_to_come or (
        diagnosis.asked is None and diagnosis.next_ns is not None and not _is_not_accounted(slot)
    ):
        clause = no_scheduler(scheduler.last_stop_ns, scheduler.last_event_ns, times=times)
        yield f"But {clause}: nothing starts until one runs."
    if _has_open_run(slot) or (diagnosis.recorded is not None and _has_open_run(diagnosis.recorded)):
        yield (
            "Runs shown as running or waiting were so when last recorded; the next scheduler "
            "will find out what became of them."
        )


def _is_not_accounted(slot: SlotDiagnosis) -> bool:
    """Tell whether the text has already said that no scheduler is running."""
    result = slot.result
    return isinstance(result, Unrecorded) and result.reason is NoRecordReason.NOT_ACCOUNTED


def _has_open_run(slot: SlotDiagnosis) -> bool:
    """Tell whether a run was described that is unfinished on record."""
    result = slot.result
    if isinstance(result, Ran):
        return result.run.ended_ns is None
    blocker = result.skip.blocker if isinstance(result, Skipped) else None
    return blocker is not None and blocker.ended_ns is None
