"""The whole answer as one paragraph, for a person who is tired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.schedule import CronSchedule, Reboot
from taskman_cli.core.why.account import Ran
from taskman_cli.core.why.schedulewords import change_words, moment_words, not_due_words
from taskman_cli.core.why.slotwords import slot_words
from taskman_cli.core.why.times import Times, ago

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from taskman_cli.core.why.answer import Answer


def paragraph(answer: Answer, zone: tzinfo) -> str:
    """Return the answer in plain words, on one line; times are in `zone`."""
    text = " ".join(_sentences(answer, Times(zone)))
    # What a job or a system had to say must not drive the terminal.
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


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
        else:
            yield from not_due_words(answer.not_due, calendar, asked, times=times)
        if slot is not None:
            where = "before" if slot.slot_ns < asked.at_ns else "after"
            is_run = isinstance(slot.account, Ran) and slot.account.run.slot_ns is None
            yield f"The nearest {'run' if is_run else 'slot'} is the one {where} it."
    if slot is None:
        if answer.not_due is None:
            yield from _nothing(answer, times)
        return
    yield from slot_words(slot, calendar, times=times, now_ns=now_ns)
    if answer.recorded is not None:
        yield "The latest slot on record:"
        yield from slot_words(answer.recorded, calendar, times=times, now_ns=now_ns)
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
    yield from _following(answer, times)


def _nothing(answer: Answer, times: Times) -> Iterator[str]:
    """Say that there is no slot at all."""
    calendar = answer.calendar
    yield (
        f"Nothing is on record of {calendar.job.id}, known since {times.at(calendar.facts.since_ns)}, and no "
        "slot is to come."
    )
    if calendar.facts.removed_ns is not None:
        yield f"It was found to be removed from the job file at {times.at(calendar.facts.removed_ns)}."


def _following(answer: Answer, times: Times) -> Iterator[str]:
    """Tell of the next slot, where the question was not about the past alone."""
    assert answer.slot is not None  # or there is nothing to follow
    calendar, next_ns, now_ns = answer.calendar, answer.next_ns, answer.now_ns
    if answer.not_due is not None:
        # The nearest has been told: tell the other one.
        others = [answer.previous_ns, answer.next_ns]
        for other_ns, where in zip(others, ("before", "after"), strict=True):
            if other_ns is not None and other_ns != answer.slot.slot_ns:
                when = f", {ago(other_ns, now_ns)}" if other_ns > now_ns else ""
                yield f"The slot {where} that time is {times.slot(other_ns)}{when}."
    elif answer.asked is None:
        if next_ns is not None and next_ns > now_ns:
            yield f"The next slot is {times.slot(next_ns)}, {ago(next_ns, now_ns)}."
        elif calendar.facts.removed_ns is not None:
            removed = times.at(calendar.facts.removed_ns)
            yield f"The job was found to be removed from the job file at {removed}."
        elif calendar.is_used_up:
            most = calendar.job.policy.max_runs
            yield f"No slot is to come: it has had all the runs it may have (max_runs = {most})."
        elif (
            next_ns is None and not calendar.is_from_finish and not isinstance(calendar.job.schedule, Reboot)
        ):
            yield "No other slot is to come."
