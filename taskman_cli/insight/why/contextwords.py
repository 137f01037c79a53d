"""The circumstances of a slot in plain sentences: no scheduler, a pause, or a blocking run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import State
from taskman_cli.insight.why.slotresult import Cause
from taskman_cli.insight.why.times import ago, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.pause import Pause
    from taskman_cli.insight.why.facts import JobFacts, RunFacts
    from taskman_cli.insight.why.slotresult import Absence
    from taskman_cli.insight.why.times import Times

_STATES: dict[str, str] = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.TIMED_OUT: "timed out",
    State.CANCELLED: "was cancelled",
    State.LOST: "was lost",
    State.SKIPPED: "was skipped",
    State.QUEUED: "is queued",
    State.RUNNING: "is running",
}


def state_words(state: str) -> str:
    """Return the state of a run or attempt as a verb phrase."""
    return _STATES.get(state, state.replace("_", " "))


def no_scheduler(stopped_ns: int | None, last_event_ns: int | None, *, times: Times) -> str:
    """Return a clause that says since when no scheduler has been running."""
    if stopped_ns is not None:
        return f"no scheduler has run since it was stopped at {times.at(stopped_ns)}"
    if last_event_ns is not None:
        since = times.at(last_event_ns)
        return f"no scheduler has run since the last one died, some time after {since}"
    return "no scheduler has ever run"


def absence_words(absence: Absence | None, *, times: Times) -> str:
    """Explain why no scheduler handled a slot when it was due."""
    if absence is None:
        return "The journal does not say why."
    begin = None if absence.from_ns is None else times.at(absence.from_ns)
    end = times.at(absence.to_ns)
    match absence.cause:
        case Cause.STOPPED:
            return f"taskman was stopped at {begin} and started again at {end}."
        case Cause.DIED if begin is None:
            return f"taskman was started at {end}, and the journal goes back no further."
        case Cause.DIED:
            return (
                "taskman was not running: it died (killed, crashed, or the machine went down) "
                f"some time after {begin}, and was started again at {end}."
            )
        case Cause.SCHEDULER_DIED if begin is None:
            return f"No scheduler was running until the supervisor started another, at {end}."
        case Cause.SCHEDULER_DIED:
            return (
                "The scheduler was not running: it ended (killed, crashed or restarted) some "
                f"time after {begin}, and the supervisor started another at {end}."
            )
        case Cause.SUSPENDED if begin is None:
            return f"The machine was suspended until {end}."
        case Cause.SUSPENDED:
            return f"The machine was suspended from {begin} to {end}."
        case Cause.CLOCK_STEPPED:
            return f"The clock was set forward by {span(absence.length_ns or 0)} at {end}."
        case Cause.UNWRITABLE:
            return (
                "The ledger could not be written, according to the journal at "
                f"{end}{_detail(absence.detail)}."
            )
        case _:
            return f"The scheduler was stalled, according to the journal at {end}{_detail(absence.detail)}."


def _detail(text: str) -> str:
    return f": {text.rstrip('.')}" if text else ""


def pause_words(pause: Pause, *, is_still: bool, times: Times, now_ns: int) -> str:
    """Describe a pause; `is_still`: of an interval, whose time does not pass meanwhile."""
    by = (f" by {pause.by}" if pause.by else "") + (f": {pause.reason.rstrip('.')}" if pause.reason else "")
    since = times.at(pause.since_ns)
    if pause.until_ns is not None and pause.until_ns <= now_ns:
        lead = f"It was paused from {since} to {times.at(pause.until_ns)}{by}."
    else:
        end = "" if pause.until_ns is None else f" and until {times.at(pause.until_ns)}"
        lead = f"It has been paused since {since}{end}{by}."
    if is_still:
        return f"{lead} An interval has no slots during a pause; afterwards, its remaining time continues."
    return f"{lead} Slots during a pause are skipped."


def park_words(facts: JobFacts, *, times: Times, now_ns: int) -> Iterator[str]:
    """Say since when a job is parked, after which failures, and how it goes on."""
    failures, park = facts.failures, facts.park
    if failures is None or park is None:
        return
    yield f"It has been parked since {times.at(park.since_ns)}: {park.reason.rstrip('.')}."
    if failures.runs:
        what = "Runs that failed" if len(failures.runs) > 1 else "The run that failed"
        yield f"{what}: {', '.join(failures.runs)}."
    ends = f"`taskman resume {facts.name}`, or a changed definition, ends that"
    if park.trial:
        yield f"Run {park.trial} tries it: its success ends that. {ends} too."
    elif park.until_ns is None:
        yield f"Its slots are skipped; {ends}, and `taskman trigger {facts.name}` tries it once."
    elif park.until_ns > now_ns:
        yield f"Its first slot from {times.at(park.until_ns)} on is tried (park_for); {ends} earlier."
    else:
        yield f"Its next slot is tried (park_for); {ends} too."


def blocker_words(run: RunFacts, *, times: Times, now_ns: int) -> str:
    """Describe the run that blocked another."""
    if run.begun_ns is None:
        queued = times.at(run.queued_ns)
        if run.state == State.QUEUED:
            since = ago(run.queued_ns, now_ns)
            return f"Run {run.id} blocked it: it was queued at {queued} ({since}) and is still waiting."
        return f"Run {run.id} blocked it: it was queued at {queued} and never started."
    begin = times.at(run.begun_ns)
    if run.begun_ns - run.queued_ns >= SECOND_NS:
        begin = f"{begin}, {span(run.begun_ns - run.queued_ns)} after it was queued,"
    if run.ended_ns is None:
        since = ago(run.begun_ns, now_ns)
        return f"Run {run.id} blocked it: it began at {begin} ({since}) and is still running."
    end = times.at(run.ended_ns)
    if run.state == State.LOST:
        return f"Run {run.id} blocked it: it began at {begin} and was marked as lost at {end}."
    ended = f"{state_words(run.state)} {run.cancelled}".rstrip()
    return (
        f"Run {run.id} blocked it: it began at {begin} and ended at {end}, "
        f"{span(run.ended_ns - run.begun_ns)} later (it {ended})."
    )
