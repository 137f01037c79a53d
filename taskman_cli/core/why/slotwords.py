"""What became of a slot, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.model import SkipReason
from taskman_cli.core.schedule import Interval
from taskman_cli.core.why.account import Ran, Silence, Skipped, ToCome, Unrecorded
from taskman_cli.core.why.runwords import absence_words, blocker_words, run_words
from taskman_cli.core.why.times import ago, jump, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.core.why.answer import SlotAnswer
    from taskman_cli.core.why.slots import Calendar
    from taskman_cli.core.why.times import Times


def slot_words(slot: SlotAnswer, calendar: Calendar, *, times: Times, now_ns: int) -> Iterator[str]:
    """Yield the sentences that tell of a slot."""
    account, name = slot.account, calendar.job.id
    match account:
        case Ran():
            yield from run_words(account, name, times=times, now_ns=now_ns)
        case Skipped():
            yield from _skipped(slot.slot_ns, account, name, times=times, now_ns=now_ns)
        case ToCome():
            yield from _to_come(slot.slot_ns, account, calendar, times=times, now_ns=now_ns)
        case Unrecorded():
            yield from _unrecorded(slot.slot_ns, account, calendar, times=times)
    if slot.gap:
        yield gap_words(slot.gap)


def gap_words(gap: Change) -> str:
    """Say that a slot stands for one that the clocks jumped over."""
    where = "at the first instant after the gap"
    return f"The clocks jumped over a time of its own, {jump(gap)}: it comes {where}."


# --- skipped ---


def _skipped(slot_ns: int, account: Skipped, name: str, *, times: Times, now_ns: int) -> Iterator[str]:
    skip = account.skip
    reason = skip.reason.replace("_", " ")
    yield f"{name} did not run at its slot {times.slot(slot_ns)}: it was skipped ({reason})."
    if skip.run is not None:
        yield f"Run {skip.run} was queued for it and given up: {_without_stop(skip.detail)}."
    match skip.reason:
        case SkipReason.OVERLAP:
            yield from _overlap(account, times=times, now_ns=now_ns)
        case SkipReason.MISSED:
            yield from _missed(slot_ns, account, times=times)
        case SkipReason.LATE:
            yield "It could not start within its start_deadline."
            if account.earlier is not None:
                yield blocker_words(account.earlier, times=times, now_ns=now_ns)
        case SkipReason.DISABLED:
            yield "The job is disabled (enabled = false)."
        case _ if skip.detail and skip.run is None:
            yield f"On record is: {_without_stop(skip.detail)}."
    if skip.count != 1:
        count = f"{skip.count:,} slots" if skip.count else "very many slots"
        first, last = times.slot(skip.slot_ns), times.slot(skip.slot_to_ns)
        yield f"It is one of {count} skipped in a row for the same reason, from {first} to {last}."


def _overlap(account: Skipped, *, times: Times, now_ns: int) -> Iterator[str]:
    skip = account.skip
    if skip.blocker is not None:
        yield blocker_words(skip.blocker, times=times, now_ns=now_ns)
    elif skip.blocker_id is not None:
        yield f"Run {skip.blocker_id} was in the way; its record has been removed since."
    elif skip.detail and skip.run is None:
        yield f"On record is: {_without_stop(skip.detail)}."


def _missed(slot_ns: int, account: Skipped, *, times: Times) -> Iterator[str]:
    skip = account.skip
    # Of slots that are kept together only the first and the last are known to the moment.
    reached_ns = skip.at_ns if slot_ns < skip.at_ns else skip.at_to_ns
    yield f"taskman reached it {span(reached_ns - slot_ns)} late, at {times.at(reached_ns)}."
    yield absence_words(account.absence, times=times)
    made_up = account.made_up
    if made_up is not None and made_up.slot_ns is not None:
        yield f"Run {made_up.id}, for the slot {times.slot(made_up.slot_ns)}, made up for the missed ones."


def _without_stop(text: str) -> str:
    return text.rstrip(".") or "no reason is on record"


# --- no record ---


def _to_come(
    slot_ns: int, account: ToCome, calendar: Calendar, *, times: Times, now_ns: int
) -> Iterator[str]:
    name = calendar.job.id
    slot = times.slot(slot_ns)
    if slot_ns > now_ns:
        yield f"{name} is due at its slot {slot}, {ago(slot_ns, now_ns)}."
    if account.due_ns > slot_ns:
        lead = f"{name} has its slot at {slot}, and its" if slot_ns <= now_ns else "Its"
        start = times.slot(account.due_ns)
        yield f"{lead} jitter puts the start off by {span(account.due_ns - slot_ns)}, to {start}."
    if not calendar.job.enabled:
        yield "It will be skipped: the job is disabled (enabled = false)."


def _unrecorded(slot_ns: int, account: Unrecorded, calendar: Calendar, *, times: Times) -> Iterator[str]:
    name, slot = calendar.job.id, times.slot(slot_ns)
    if account.silence is Silence.NOT_ACCOUNTED:
        yield from _not_accounted(slot, account, name, times=times)
        return
    # In the order of the sentence: what a time has said, the next one leaves out.
    at = "" if account.at_ns is None else times.at(account.at_ns)
    match account.silence:
        case Silence.REMOVED:
            yield f"{name} has no slot at {slot}: it was found to be removed from the job file at {at}."
        case Silence.BEFORE_KNOWN:
            yield (
                f"Nothing is on record of the slot {slot} of {name}: taskman accounts for the slots of this "
                f"schedule since {at}."
            )
        case Silence.NOT_KEPT:
            oldest = f"the oldest that is kept is from {at}" if at else "none of this job is kept"
            yield f"Nothing is on record of the slot {slot} of {name} any more: {oldest}."
        case Silence.JUST_NOW:
            yield f"{name} is due at its slot {slot}, just now, and nothing is on record yet: ask again."
        case Silence.USED_UP:
            most = calendar.job.policy.max_runs
            yield f"{name} is not due at {slot}: it has had all the runs it may have (max_runs = {most})."
        case Silence.NO_RECORD if isinstance(calendar.job.schedule, Interval):
            yield (
                f"Nothing is on record of a slot of {name} at {slot}, where its interval would have one as "
                "it counts now. It may have counted from another instant then."
            )
        case Silence.NO_RECORD:
            yield (
                f"Nothing is on record of the slot {slot} of {name}, though all slots until {at} are said to "
                "be accounted for. That should not be: please report it."
            )


def _not_accounted(slot: str, account: Unrecorded, name: str, *, times: Times) -> Iterator[str]:
    if account.stopped_ns is not None:
        why = f"no scheduler has run since it was stopped at {times.at(account.stopped_ns)}"
    elif account.last_event_ns is not None:
        why = f"the last sign of a scheduler is from {times.at(account.last_event_ns)}"
    else:
        why = "no scheduler has ever run"
    yield f"The slot {slot} of {name} has passed and is not accounted for yet: {why}."
    if account.at_ns is not None:
        yield f"Slots are accounted for until {times.at(account.at_ns)}."
    yield "The next one to start will make up for it or skip it, as on_missed has it."
