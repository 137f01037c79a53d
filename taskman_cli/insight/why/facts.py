"""What the ledger has on record that matters for one slot of a job. Plain data; instants in ns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.executors import split_handle
from taskman_cli.core.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.pause import Failures, Park, Pause


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The ledger's record of a job."""

    id: int
    name: str
    definition: str
    #: Slots after this instant are on record.
    since_ns: int
    anchor_ns: int
    run_count: int = 0
    finish_ns: int | None = None
    removed_ns: int | None = None
    #: When another schedule replaced this one; None for the current definition.
    replaced_ns: int | None = None
    #: Who cancelled the one-off or removed the job, if anybody did.
    removed_by: str = ""
    #: It was removed with `taskman remove`, though the files may still define it.
    is_left_out: bool = False
    #: Its pause at the queried time; `until_ns`: when it ended or will end.
    pause: Pause | None = None
    #: Its failed runs since the last success, and since when they park it, at the queried time.
    failures: Failures | None = None

    @property
    def park(self) -> Park | None:
        """Return since when and why it is parked; None: it is not."""
        return self.failures.park if self.failures else None

    @property
    def until_ns(self) -> int | None:
        """Return when this definition stopped having slots; None if it is in force."""
        return self.removed_ns if self.replaced_ns is None else self.replaced_ns

    def corrected(self, now_ns: int) -> JobFacts:
        """Return the facts as the next scheduler corrects them if the clock was hours ahead."""
        pause = self.pause
        if pause is not None and is_clock_put_back(pause.since_ns, now_ns):
            pause = pause.moved(now_ns - pause.since_ns)
        failures, park = self.failures, self.park
        if failures is not None and park is not None and is_clock_put_back(park.since_ns, now_ns):
            failures = replace(failures, park=park.moved(now_ns - park.since_ns))
        anchor_ns = self.anchor_ns if self.finish_ns is None else self.finish_ns
        if not any(is_clock_put_back(instant_ns, now_ns) for instant_ns in (self.since_ns, anchor_ns)):
            is_same = pause is self.pause and failures is self.failures
            return self if is_same else replace(self, pause=pause, failures=failures)
        since_ns, anchor_ns = min(self.since_ns, now_ns), min(anchor_ns, now_ns)
        return replace(
            self, since_ns=since_ns, anchor_ns=anchor_ns, finish_ns=None, pause=pause, failures=failures
        )


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One process of one task of a run."""

    task: str
    number: int
    state: str
    begun_ns: int
    pid: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    duration_ns: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    #: When the next attempt begins; None if there is none.
    next_ns: int | None = None
    output_bytes: int | None = None
    #: Why its output, or a part of it, was lost.
    output_error: str = ""
    #: Since when it has been stopped, if it is, and for how long it was stopped before.
    stop_ns: int | None = None
    stopped_for_ns: int = 0
    #: By which its executor finds it again, after the name of that; "": it is a command here.
    handle: str = ""

    @property
    def executor(self) -> str:
        """Return what carries it out, if that is not taskman itself."""
        return split_handle(self.handle)[0]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run, with its attempts in the order of task and number."""

    #: As shown to people.
    id: str
    slot_ns: int | None
    trigger: str
    due_ns: int
    state: str
    queued_ns: int
    begun_ns: int | None = None
    ended_ns: int | None = None
    detail: str = ""
    attempts: tuple[AttemptFacts, ...] = ()
    #: Tasks that never started.
    undone: tuple[str, ...] = ()
    #: Why it was cancelled, if it was: "by ann", "to make room for run …".
    cancelled: str = ""
    #: Who triggered it, if anybody did.
    asked_by: str = ""
    #: If it failed, how many runs in a row had by then, and when the first of them ended; 0: unknown.
    failures: int = 0
    failing_since_ns: int = 0

    @property
    def number(self) -> int:
        """Return the run's number in the ledger."""
        return decode_run_id(self.id)

    @property
    def is_early(self) -> bool:
        """Tell whether it ran before its slot (`trigger --instead`)."""
        return self.trigger == Trigger.MANUAL and self.slot_ns is not None

    @property
    def started_ns(self) -> int | None:
        """Return when its first process started."""
        return min((a.started_ns for a in self.attempts if a.started_ns is not None), default=None)


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """What the running scheduler says of a task that waits."""

    #: None: all tasks of the run.
    task: str | None
    #: What it waits for, as of `core.engine.waits`, and the same in words.
    kind: str
    reason: str
    #: Who holds the resource that it waits for: name, amount in words, run, since when.
    holders: tuple[tuple[str, str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SkipFacts:
    """One or more consecutive slots without a run."""

    slot_ns: int
    slot_to_ns: int
    #: None: too many to count.
    count: int | None
    reason: str
    detail: str
    at_ns: int
    at_to_ns: int
    #: The run that was queued for the slot and dropped, if any.
    run: str | None = None
    #: The run that blocked it; also None if its record has been removed.
    blocker: RunFacts | None = None
    blocker_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventFacts:
    """An event of the journal that concerns the scheduler or the clock, not a job."""

    at_ns: int
    kind: str
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """What the ledger and the instance tell about the scheduler."""

    #: All slots due by this instant are on record; None if no scheduler has handled any.
    accounted_ns: int | None = None
    #: The last event of the journal.
    last_event_ns: int | None = None
    #: The last recorded start and stop of a scheduler.
    started_ns: int | None = None
    stopped_ns: int | None = None
    #: The oldest record of the job that is still kept.
    oldest_ns: int | None = None
    #: Whether taskman is running; None: not checked.
    is_running: bool | None = None
    #: The event that the ledger became unwritable, if it has not become writable since.
    unwritable: EventFacts | None = None
    #: Why the running scheduler cannot write the ledger.
    trouble: str = ""
    #: Why runs of the job wait, by run.
    waits: Mapping[str, tuple[WaitFacts, ...]] = field(default_factory=dict)
    #: The latest time of the job's records that is hours after now: the clock was ahead then.
    ahead_ns: int | None = None

    def judged(self, now_ns: int) -> SchedulerFacts:
        """Return the facts without an `accounted_ns` that lies in the future."""
        if self.accounted_ns is None or not is_clock_put_back(self.accounted_ns, now_ns):
            return self
        return replace(self, accounted_ns=None)

    @property
    def last_stop_ns(self) -> int | None:
        """Return when a scheduler last stopped, unless one has started since."""
        is_last = self.stopped_ns is not None and self.stopped_ns >= (self.started_ns or 0)
        return self.stopped_ns if is_last else None


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """Everything on record around one slot."""

    run: RunFacts | None = None
    skip: SkipFacts | None = None
    #: The latest earlier run of the job that was unfinished when this one was queued.
    earlier: RunFacts | None = None
    #: The run of a later slot that caught up on this missed one.
    made_up: RunFacts | None = None
    #: When the pause began because of which the slot was skipped.
    paused_ns: int | None = None
    #: From before the slot until it was handled.
    events: tuple[EventFacts, ...] = ()
