"""How a run went, in plain sentences: when and why it started, how late, and how it ended."""

from __future__ import annotations

from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.model import State, Trigger
from taskman_cli.insight.why.contextwords import absence_words, state_words
from taskman_cli.insight.why.slotresult import lateness
from taskman_cli.insight.why.times import ago, ahead, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskman_cli.insight.why.facts import AttemptFacts, RunFacts, WaitFacts
    from taskman_cli.insight.why.slotresult import Ran
    from taskman_cli.insight.why.times import Times

#: Parts of the lateness shorter than this are not mentioned.
_WORTH_TELLING_NS = 50_000_000
#: How many attempts of a task, and tasks of a run, are described one by one.
_MAX_ATTEMPTS = 4
_MAX_TASKS = 8
#: How many of those who hold a resource are named.
_MAX_HOLDERS = 3
#: Ends of a run after which its output is of interest.
_BAD_ENDS = (State.FAILED, State.TIMED_OUT, State.LOST)
#: The task of a job with a bare command.
_MAIN = "main"


def run_words(ran: Ran, name: str, stops_to: int | None, *, times: Times, now_ns: int) -> Iterator[str]:
    """Yield sentences that describe a run of the job `name`, whose runs up to a number were to be stopped."""
    run = ran.run
    yield _headline(run, name, times=times, now_ns=now_ns)
    if run.trigger == Trigger.CATCH_UP:
        yield absence_words(ran.absence, times=times)
    if run.state == State.QUEUED:
        yield _waits_for(ran, times=times, now_ns=now_ns)
        yield from _holders(ran.waits, times=times)
        yield from _waits_ahead(ran, times=times)
    elif run.begun_ns is not None and (late := _lateness(ran, times=times)):
        yield late
    if ran.absence is not None and run.trigger != Trigger.CATCH_UP:
        yield absence_words(ran.absence, times=times)
    if run.state != State.QUEUED:
        yield from _ends(run, times=times, now_ns=now_ns)
        yield from _waiting_tasks(ran.waits, "")
        yield from _holders(ran.waits, times=times)
    yield from _stops(run, stops_to, times=times, now_ns=now_ns)


def _stops(run: RunFacts, stops_to: int | None, *, times: Times, now_ns: int) -> Iterator[str]:
    """Describe commands that are or were stopped: that time does not count towards their timeout."""
    stopped = [a.stop_ns for a in run.attempts if a.state == State.RUNNING and a.stop_ns is not None]
    if stopped:
        since = f"since {times.at(min(stopped))} ({ago(min(stopped), now_ns)})"
        yield f"It has been stopped {since}, until it is resumed; meanwhile its timeout does not run."
    elif longest := max((a.stopped_for_ns for a in run.attempts), default=0):
        yield f"It was stopped for {span(longest)} of that, which does not count towards its timeout."
    is_unstopped = stops_to is not None and run.number <= stops_to and not stopped
    if is_unstopped and any(a.state == State.RUNNING and a.started_ns is not None for a in run.attempts):
        yield "It goes on, and so does its timeout: it was to be stopped, and cannot be."


def _headline(run: RunFacts, name: str, *, times: Times, now_ns: int) -> str:
    """Say whether a job is running, ran or will run, and for which slot or trigger."""
    verb = _verb(run)
    if run.slot_ns is None:
        what = f"{name} {verb} as run {run.id}, {cause_words(run)}, at {times.at(run.due_ns)}"
    elif run.trigger == Trigger.CATCH_UP:
        slot = times.slot(run.slot_ns)
        later, queued = span(run.queued_ns - run.slot_ns), times.at(run.queued_ns)
        did = "caught up" if verb == "ran" else "was queued to catch up"
        what = f"{name} missed its slot {slot}; run {run.id} {did} on it {later} later, at {queued}"
        if verb != "ran":
            what += f", and {verb}"
    else:
        what = f"{name} {verb} for its slot {times.slot(run.slot_ns)}, as run {run.id}"
        if run.is_early:
            what += f", {cause_words(run)} before its time"
    if run.state == State.RUNNING and run.begun_ns is not None:
        pids = [str(a.pid) for a in run.attempts if a.state == State.RUNNING and a.pid is not None]
        pid = f", pid {', '.join(pids[:_MAX_TASKS])}" if pids else ""
        places = dict.fromkeys(a.executor for a in run.attempts if a.state == State.RUNNING and a.executor)
        pid += f", on executor {', '.join(places)}" if places else ""
        what += f", since {times.at(run.begun_ns)} ({ago(run.begun_ns, now_ns)}{pid})"
    return what + "."


def _verb(run: RunFacts) -> str:
    match run.state:
        case State.QUEUED:
            return "has not started"
        case State.RUNNING if run.attempts and all(a.state != State.RUNNING for a in run.attempts):
            is_retry = any(attempt.next_ns is not None for attempt in _latest(run.attempts))
            return f"is between two {'attempts' if is_retry else 'commands'}"
        case State.RUNNING:
            return "is running"
        case _ if run.begun_ns is None:
            return "did not start"
        case State.FAILED if run.attempts and run.started_ns is None:
            return "could not be started"
        case _:
            return "ran"


def _latest(attempts: Iterable[AttemptFacts]) -> Iterable[AttemptFacts]:
    """Return the latest attempt of each task."""
    return {attempt.task: attempt for attempt in attempts}.values()


def cause_words(run: RunFacts) -> str:
    """Say what triggered a run that is for no slot, or before its time."""
    if run.trigger == Trigger.START:
        return "triggered by the start of the scheduler"
    if run.trigger == Trigger.ONCE:
        return "a one-off"
    return f"triggered by {run.asked_by}" if run.asked_by else "triggered on demand"


def _waits_for(ran: Ran, *, times: Times, now_ns: int) -> str:
    run = ran.run
    since = f"since {times.at(run.queued_ns)} ({ago(run.queued_ns, now_ns)})"
    if ran.waits and ran.waits[0].kind == WaitsFor.EXECUTOR:
        return f"It has been waiting {since} {ran.waits[0].reason}."
    if ran.shortage:
        return f"It has been waiting {since}: {_shortage_words(ran.shortage)}."
    earlier = ran.earlier
    if ran.waits and ran.waits[0].kind != WaitsFor.EARLIER_RUN:
        return f"It has been waiting {since} {ran.waits[0].reason}."
    if earlier is None or earlier.ended_ns is not None:
        return f"It has been waiting {since} for a worker or for its turn."
    if earlier.begun_ns is None:
        return f"It has been waiting {since} behind run {earlier.id}, which has not started either."
    return (
        f"It has been waiting {since} for run {earlier.id}, which has been running since "
        f"{times.at(earlier.begun_ns)}."
    )


def _shortage_words(shortage: str) -> str:
    """Say what ran out, or that an executor was away, which its words begin with."""
    what = "nothing could begin there" if shortage.startswith("executor ") else "no process could be created"
    return f"{what} ({shortage})"


def _waiting_tasks(waits: tuple[WaitFacts, ...], run: str) -> Iterator[str]:
    """Say why tasks of a run wait; "": of this run, whose attempts that rest are described elsewhere."""
    for wait in waits[:_MAX_TASKS]:
        if wait.kind != WaitsFor.RETRY or run:
            it, its = (
                (f"Run {run}", f"Task {wait.task} of run {run}") if run else ("It", f"Its task {wait.task}")
            )
            yield f"{it if wait.task in (None, _MAIN) else its} waits {wait.reason}."


def _waits_ahead(ran: Ran, *, times: Times) -> Iterator[str]:
    """Say why the run waits that is ahead of this one."""
    if ran.ahead is not None:
        run, waits = ran.ahead
        yield from _waiting_tasks(waits, run)
        yield from _holders(waits, times=times)


def _holders(waits: tuple[WaitFacts, ...], *, times: Times) -> Iterator[str]:
    """Say who holds what a run waits for, and since when."""
    told: set[str] = set()
    for wait in waits:
        for name, amount, run, since_ns in wait.holders[:_MAX_HOLDERS]:
            if run not in told:
                yield f"Run {run} of {name} has held {amount} since {times.at(since_ns)}."
            told.add(run)


def _lateness(ran: Ran, *, times: Times) -> str:
    """Say how late a run started and what caused it; "" if there is nothing to say."""
    late = lateness(ran.run)
    if late.total_ns is None or late.wait_ns is None:
        return ""
    if ran.run.is_early:
        return ""
    is_catch_up = ran.run.trigger == Trigger.CATCH_UP
    # How late a missed slot was reached has been said already.
    total_ns = late.total_ns - late.clock_ns - late.jitter_ns if is_catch_up else late.total_ns
    if total_ns < _WORTH_TELLING_NS:
        return "" if is_catch_up else f"It started on time ({span(max(total_ns, 0))} after)."
    parts = [(late.wait_ns, "waiting"), (late.spawn_ns or 0, "creating the process")]
    if not is_catch_up:
        parts = [(late.jitter_ns, "of jitter"), (late.clock_ns, "until the scheduler reached it"), *parts]
    told = [part for part in parts if part[0] >= _WORTH_TELLING_NS] or [max(parts)]
    words = [
        f"{span(length_ns)} {what}{_waited_for(ran, times=times) if what == 'waiting' else ''}"
        for length_ns, what in told
    ]
    return f"It started {span(total_ns)} {'after that' if is_catch_up else 'late'}: {_listed(words)}."


def _waited_for(ran: Ran, *, times: Times) -> str:
    """Return what a run waited for before it began, as the end of a clause."""
    if ran.shortage:
        return f", as {_shortage_words(ran.shortage)}"
    earlier, begun_ns = ran.earlier, ran.run.begun_ns
    if earlier is None or earlier.ended_ns is None or begun_ns is None:
        return " for a worker or for its turn"
    # The blocking run ended when this one began; others may have run at the same time.
    if earlier.ended_ns > begun_ns + _WORTH_TELLING_NS:
        return " for a worker or for its turn"
    return f" for run {earlier.id}, which ended at {times.at(earlier.ended_ns)}"


# --- how it ended ---


def _ends(run: RunFacts, *, times: Times, now_ns: int) -> Iterator[str]:
    """Describe how the tasks of a run ended, and the run itself."""
    tasks = [(task, list(group)) for task, group in groupby(run.attempts, attrgetter("task"))]
    tasks = [(task, attempts) for task, attempts in tasks if any(a.state != State.SKIPPED for a in attempts)]
    is_over = run.ended_ns is not None
    if len(tasks) == 1 and tasks[0][0] == _MAIN:
        yield from _single(run, tasks[0][1], times=times, now_ns=now_ns)
    elif tasks:
        told = "; ".join(f"{task} {_attempts(attempts)}" for task, attempts in tasks[:_MAX_TASKS])
        more = f"; and {len(tasks) - _MAX_TASKS} more" if len(tasks) > _MAX_TASKS else ""
        yield f"Of its tasks, {told}{more}{_undone(run.undone)}."
        for task, attempts in tasks[:_MAX_TASKS]:
            yield from _retry(run, attempts, f" of {task}", times=times, now_ns=now_ns)
        if is_over:
            yield f"The run {_outcome(run)}{_after(run, times=times)}."
    elif is_over:
        yield f"It {_outcome(run)}{_after(run, times=times)}."
    if run.failures > 1:
        since = f", since {times.at(run.failing_since_ns)}" if run.failing_since_ns else ""
        yield f"That made {run.failures:,} failed runs in a row{since}."
    if errors := [attempt.output_error for attempt in run.attempts if attempt.output_error]:
        yield f"Output was lost ({errors[-1]})."
    if run.state in _BAD_ENDS and any(attempt.output_bytes for attempt in run.attempts):
        yield f"See its output: taskman log {run.id}."
    if run.detail and all(run.detail != attempt.detail for attempt in run.attempts):
        yield f"On record: {run.detail.rstrip('.')}."


def _single(run: RunFacts, attempts: list[AttemptFacts], *, times: Times, now_ns: int) -> Iterator[str]:
    """Describe how the only task of a run ended."""
    is_over = run.ended_ns is not None
    if len(attempts) > 1 or (run.cancelled and attempts[0].state != State.CANCELLED):
        yield f"It {_attempts(attempts)}."
        if is_over:
            yield f"The run {_outcome(run)}{_after(run, times=times)}."
    elif is_over:
        yield f"It {_attempt(attempts[0])}{_cancelled(run)}{_after(run, times=times)}."
    elif attempts[0].next_ns is not None:
        yield f"Attempt {attempts[0].number} {_attempt(attempts[0])}."
    # A running first attempt needs no further words.
    yield from _retry(run, attempts, "", times=times, now_ns=now_ns)


def _retry(
    run: RunFacts, attempts: list[AttemptFacts], of_task: str, *, times: Times, now_ns: int
) -> Iterator[str]:
    """Say when the next attempt begins, if there is one."""
    last = attempts[-1]
    if last.next_ns is not None and run.ended_ns is None:
        when = ahead(last.next_ns, now_ns) if last.next_ns > now_ns else ago(last.next_ns, now_ns)
        be = "is" if last.next_ns > now_ns else "was"
        yield f"Attempt {last.number + 1}{of_task} {be} to begin at {times.at(last.next_ns)}, {when}."


def _undone(tasks: tuple[str, ...]) -> str:
    """Name the tasks that never started, as the end of a clause."""
    if not tasks:
        return ""
    named = [*tasks[:_MAX_TASKS], *([f"{len(tasks) - _MAX_TASKS} more"] if len(tasks) > _MAX_TASKS else [])]
    return f"; {_listed(named)} {'was' if len(tasks) == 1 else 'were'} never started"


def _attempts(attempts: list[AttemptFacts]) -> str:
    """Describe how the attempts of a task ended, and the delays between them."""
    if len(attempts) == 1:
        return _attempt(attempts[0])
    if len(attempts) > _MAX_ATTEMPTS:
        return f"had {len(attempts)} attempts, of which the last {_attempt(attempts[-1])}"
    told = [f"attempt {attempts[0].number} {_attempt(attempts[0])}"]
    for before, attempt in pairwise(attempts):
        wait = ""
        if before.ended_ns is not None and attempt.begun_ns - before.ended_ns >= _WORTH_TELLING_NS:
            wait = f", {span(attempt.begun_ns - before.ended_ns)} later,"
        told.append(f"attempt {attempt.number}{wait} {_attempt(attempt)}")
    return f"had {len(attempts)} attempts: {'; '.join(told)}"


def _attempt(attempt: AttemptFacts) -> str:
    exit_code = None if attempt.exit_code is None else f"exit {attempt.exit_code}"
    detail = attempt.detail or exit_code or (f"signal {attempt.signal}" if attempt.signal is not None else "")
    if not detail and attempt.state == State.LOST:
        detail = "its end was not seen"
    return state_words(attempt.state) + (f" ({detail})" if detail else "")


def _outcome(run: RunFacts) -> str:
    return f"{state_words(run.state)}{_cancelled(run)}"


def _cancelled(run: RunFacts) -> str:
    """Say who or what cancelled a run, as the end of a clause."""
    return f" {run.cancelled}" if run.cancelled else ""


def _after(run: RunFacts, *, times: Times) -> str:
    """Say when a run ended, and after how long."""
    assert run.ended_ns is not None  # it is over
    end = times.at(run.ended_ns)
    if len(run.attempts) == 1 and run.attempts[0].duration_ns is not None:
        # As in log and history: the duration of its one process.
        return f", after {span(run.attempts[0].duration_ns)}, at {end}"
    begun_ns = run.begun_ns
    return f", at {end}" if begun_ns is None else f", after {span(run.ended_ns - begun_ns)}, at {end}"


def _listed(words: list[str]) -> str:
    """Join with commas, and an "and" at the end."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
