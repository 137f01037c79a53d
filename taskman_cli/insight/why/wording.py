"""The whole answer as one paragraph, for a person who is tired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.schedule import CronSchedule, Once, Reboot
from taskman_cli.insight.why.account import Outcome, Ran, Silence, Skipped, Unrecorded
from taskman_cli.insight.why.contextwords import no_scheduler, pause_words
from taskman_cli.insight.why.schedulewords import (
    change_words,
    limit_words,
    moment_words,
    not_due_words,
    over_words,
)
from taskman_cli.insight.why.slotwords import slot_words
from taskman_cli.insight.why.times import Times, ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from taskman_cli.insight.why.answer import Answer, SlotAnswer
    from taskman_cli.insight.why.slots import Calendar


def paragraph(answer: Answer, zone: tzinfo) -> str:
    """Return the answer in plain words, on one line; times are in `zone`."""
    text = " ".join(_sentences(answer, Times(zone)))
    # What a job or a system had to say must not drive the terminal.
    return printable(" ".join(text.split()))


def _sentences(answer: Answer, times: Times) -> Iterator[str]:
    calendar, asked, slot = answer.calendar, answer.asked, answer.slot
    name, now_ns = calendar.job.id, answer.now_ns
    if asked is not None and answer.not_due is not None:
        if answer.is_before_known:
            since = times.at(calendar.facts.since_ns)
            yield (
                f"Nothing is on record of {name} at {moment_words(asked)}: taskman accounts for the slots of "
                f"its schedule since {since}."
            )
            yield from limit_words(answer.not_due, times=times)
        else:
            yield from not_due_words(answer.not_due, calendar, asked, times=times, now_ns=now_ns)
        if slot is not None:
            where = "before" if slot.slot_ns < asked.at_ns else "after"
            is_run = isinstance(slot.account, Ran) and slot.account.run.slot_ns is None
            yield f"The nearest {'run' if is_run else 'slot'} is the one {where} it."
            times.forget()
    if slot is None:
        if answer.not_due is None:
            yield from _nothing(answer, times)
        yield from _ahead(answer, times)
        return
    if slot.is_among_others:
        assert asked is not None  # it is the moment that they lie around
        at = moment_words(asked)
        yield f"No slot of {name} at {at} is on record by itself; the job has been changed since."
    yield from slot_words(slot, calendar, times=times, now_ns=now_ns)
    if answer.recorded is not None:
        yield "The latest slot on record:"
        yield from slot_words(answer.recorded, calendar, times=times, now_ns=now_ns)
    if slot.is_ahead(now_ns):
        yield "That time is still to come: the clock was ahead then."
    if answer.is_first_of_many:
        yield "It is the first of several slots in that time."
    schedule = calendar.job.schedule
    if (
        asked is not None
        and answer.not_due is None
        and asked.change is not None
        and isinstance(schedule, CronSchedule)
    ):
        yield change_words(asked.change, asked, schedule)
    if asked is None or slot.account.outcome is Outcome.TO_COME:
        yield from _paused(answer, times)
    yield from _following(answer, times)
    yield from _ahead(answer, times)
    yield from _nobody_there(answer, times)


def _ahead(answer: Answer, times: Times) -> Iterator[str]:
    """Tell apart what was recorded in a future that was none."""
    ahead_ns = answer.standing.ahead_ns
    if ahead_ns is not None and answer.asked is None:
        times.forget()
        yield (
            f"Records from when the clock was ahead, up to {times.at(ahead_ns)}, are not counted: that time "
            "is still to come."
        )


def _paused(answer: Answer, times: Times) -> Iterator[str]:
    """Tell of a pause that goes on, unless the slot has told of it."""
    pause, slot = answer.calendar.facts.pause, answer.slot
    is_told = slot is not None and isinstance(slot.account, Skipped) and slot.account.paused_ns is not None
    if pause is not None and not is_told:
        is_still = answer.calendar.stands_still
        yield pause_words(pause, is_still=is_still, times=times, now_ns=answer.now_ns)


def _nothing(answer: Answer, times: Times) -> Iterator[str]:
    """Say that there is no slot at all, and why."""
    calendar = answer.calendar
    name, schedule = calendar.job.id, calendar.job.schedule
    if calendar.is_once:
        assert isinstance(schedule, Once)  # that is what such a job has
        yield f"{name} was to run once, at {times.slot(schedule.at_ns)}, and no run of it is on record."
        yield from over_words(calendar, times=times)
        return
    since = times.at(calendar.facts.since_ns)
    yield f"Nothing is on record of {name}, known since {since}, and no slot is to come."
    yield from _paused(answer, times)
    match schedule:
        case Once(at_ns=at_ns) if at_ns <= calendar.facts.since_ns:
            yield f"Its one slot, {times.slot(at_ns)}, had passed by then."
        case Reboot() if calendar.is_known:
            yield "@reboot runs it when taskman first starts after a start of the machine."
    yield from _no_more(answer, times)


def _no_more(answer: Answer, times: Times) -> Iterator[str]:
    """Say why no slot is to come, as far as limits of the job have to do with it."""
    told = list(over_words(answer.calendar, times=times))
    yield from told
    expires_at_ns = answer.calendar.job.policy.expires_at_ns
    if not told and expires_at_ns is not None:
        yield f"It has expired (expires_at, {times.slot(expires_at_ns)})."


def _following(answer: Answer, times: Times) -> Iterator[str]:
    """Tell of the next slot, where the question was not about the past alone."""
    assert answer.slot is not None  # or there is nothing to follow
    calendar, next_ns, now_ns = answer.calendar, answer.next_ns, answer.now_ns
    if answer.not_due is not None:
        # The nearest has been told: tell the other one.
        others = [answer.previous_ns, answer.next_ns]
        for other_ns, where in zip(others, ("before", "after"), strict=True):
            if other_ns is not None and other_ns != answer.slot.slot_ns:
                when = f", {ahead(other_ns, now_ns)}" if other_ns > now_ns else ""
                yield f"The slot {where} that time is {times.slot(other_ns)}{when}."
    elif answer.asked is not None:
        return
    elif next_ns is not None and next_ns > now_ns:
        run_ns = calendar.run_after(next_ns - 1)
        if run_ns is not None:
            what = "The next slot" if run_ns == next_ns else "The first slot after that"
            yield f"{what} is {times.slot(run_ns)}, {ahead(run_ns, now_ns)}."
        elif not calendar.job.enabled and answer.slot.account.outcome is not Outcome.TO_COME:
            yield "It has no runs now: the job is disabled (enabled = false)."
    elif next_ns is None and not _is_open(calendar):
        yield "No other slot is to come."
        yield from _no_more(answer, times)


def _is_open(calendar: Calendar) -> bool:
    """Tell whether runs may come of which there is no slot yet."""
    if calendar.facts.removed_ns is not None or calendar.is_used_up:
        return False
    return calendar.is_from_finish or calendar.stands_still or isinstance(calendar.job.schedule, Reboot)


def _nobody_there(answer: Answer, times: Times) -> Iterator[str]:
    """Say that no scheduler runs, where something is to come or to end."""
    standing, slot = answer.standing, answer.slot
    assert slot is not None  # or there is nothing to come
    if standing.is_running is not False:
        return
    is_to_come = slot.account.outcome is Outcome.TO_COME
    if is_to_come or (answer.asked is None and answer.next_ns is not None and not _is_not_accounted(slot)):
        clause = no_scheduler(standing.last_stop_ns, standing.last_event_ns, times=times)
        yield f"But {clause}: nothing starts until one does."
    if _has_open_run(slot) or (answer.recorded is not None and _has_open_run(answer.recorded)):
        yield "What is said to run or to wait did so then; what became of it, the next scheduler will see."


def _is_not_accounted(slot: SlotAnswer) -> bool:
    """Tell whether it has been said that no scheduler runs."""
    account = slot.account
    return isinstance(account, Unrecorded) and account.silence is Silence.NOT_ACCOUNTED


def _has_open_run(slot: SlotAnswer) -> bool:
    """Tell whether a run was told of that is not over on record."""
    account = slot.account
    if isinstance(account, Ran):
        return account.run.ended_ns is None
    blocker = account.skip.blocker if isinstance(account, Skipped) else None
    return blocker is not None and blocker.ended_ns is None
