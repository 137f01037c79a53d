"""What the ledger has on record, as far as it bears on one slot of one job. Plain data; instants in ns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.model import Pause


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job as the ledger knows it."""

    id: int
    name: str
    definition: str
    #: Slots after this instant are accounted for.
    since_ns: int
    anchor_ns: int
    run_count: int = 0
    finish_ns: int | None = None
    removed_ns: int | None = None
    #: When it was due at other times from then on: this is an earlier definition.
    replaced_ns: int | None = None
    #: Who gave up a one-hit job, or took out another, if somebody did.
    removed_by: str = ""
    #: It was taken out (`taskman remove`), though the files may define it.
    is_left_out: bool = False
    #: Its pause at the moment that is asked about; `until_ns`: when it ended, or is to end.
    pause: Pause | None = None

    @property
    def until_ns(self) -> int | None:
        """Return the instant from which on this definition has no slots; None: it is in force."""
        return self.removed_ns if self.replaced_ns is None else self.replaced_ns

    def put_right(self, now_ns: int) -> JobFacts:
        """Return it as the next scheduler takes it, if the clock was hours ahead when it was recorded."""
        pause = self.pause
        if pause is not None and is_clock_put_back(pause.since_ns, now_ns):
            pause = pause.moved(now_ns - pause.since_ns)
        anchor_ns = self.anchor_ns if self.finish_ns is None else self.finish_ns
        if not any(is_clock_put_back(instant_ns, now_ns) for instant_ns in (self.since_ns, anchor_ns)):
            return self if pause is self.pause else replace(self, pause=pause)
        since_ns, anchor_ns = min(self.since_ns, now_ns), min(anchor_ns, now_ns)
        return replace(self, since_ns=since_ns, anchor_ns=anchor_ns, finish_ns=None, pause=pause)


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
    #: When the attempt after it is to begin; None: none follows.
    next_ns: int | None = None
    output_bytes: int | None = None
    #: Why its output was lost, or a part of it.
    output_error: str = ""
    #: Since when it is stopped, if it is, and how long it was before.
    stop_ns: int | None = None
    stopped_for_ns: int = 0


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run, with its attempts in the order of task and number."""

    #: As people see it.
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
    #: Tasks that it ended without.
    undone: tuple[str, ...] = ()
    #: What ended it, where it was cancelled: "by ann", "to make room for run …".
    cancelled: str = ""
    #: Who asked for it, where somebody did.
    asked_by: str = ""

    @property
    def number(self) -> int:
        """Return the run's number, as the ledger has it."""
        return decode_run_id(self.id)

    @property
    def is_early(self) -> bool:
        """Tell whether its slot was taken before its time."""
        return self.trigger == Trigger.MANUAL and self.slot_ns is not None

    @property
    def started_ns(self) -> int | None:
        """Return when its first process came to be."""
        return min((a.started_ns for a in self.attempts if a.started_ns is not None), default=None)


@dataclass(frozen=True, slots=True)
class SkipFacts:
    """A stretch of slots, often of one, that got no run."""

    slot_ns: int
    slot_to_ns: int
    #: None: too many to count.
    count: int | None
    reason: str
    detail: str
    at_ns: int
    at_to_ns: int
    #: The run that was given up, where one was queued for the slot.
    run: str | None = None
    #: The run that blocked it; None also where its record has been removed.
    blocker: RunFacts | None = None
    blocker_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventFacts:
    """A line of the journal about the scheduler or the clock, not about a job."""

    at_ns: int
    kind: str
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """How far the ledger goes."""

    #: All slots due by this instant are accounted for; None: no scheduler has got that far.
    accounted_ns: int | None = None
    #: The last line of the journal.
    last_event_ns: int | None = None
    #: The last start of a scheduler and the last stop that it told of.
    started_ns: int | None = None
    stopped_ns: int | None = None
    #: The oldest record of the job that has been kept.
    oldest_ns: int | None = None
    #: A taskman is there; None: nobody has looked.
    is_running: bool | None = None
    #: The line that says that the ledger cannot be written, if none says that it can again.
    unwritable: EventFacts | None = None
    #: Why it cannot be written, as the scheduler says now.
    trouble: str = ""
    #: The latest time of the job's records that is hours after now: the clock was ahead then.
    ahead_ns: int | None = None

    def judged(self, now_ns: int) -> SchedulerFacts:
        """Return it without accounts of a future that was none."""
        if self.accounted_ns is None or not is_clock_put_back(self.accounted_ns, now_ns):
            return self
        return replace(self, accounted_ns=None)

    @property
    def last_stop_ns(self) -> int | None:
        """Return when a scheduler last stopped, if none has started since."""
        is_last = self.stopped_ns is not None and self.stopped_ns >= (self.started_ns or 0)
        return self.stopped_ns if is_last else None


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """All that is on record around one slot."""

    run: RunFacts | None = None
    skip: SkipFacts | None = None
    #: The latest earlier run of the job that was not over when this one was queued.
    earlier: RunFacts | None = None
    #: The run of a later slot that stands for this one, which was found to be missed.
    made_up: RunFacts | None = None
    #: Of a slot that was skipped because of a pause: when that began.
    paused_ns: int | None = None
    #: From before the slot until it was dealt with.
    events: tuple[EventFacts, ...] = ()
