"""What the next scheduler continues from: how jobs stand, which are paused, how far slots are accounted for.

They are made durable together with the records of the same step, and are not in the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.immutable import immutable

if TYPE_CHECKING:
    from taskman_cli.core.model import Job
    from taskman_cli.core.pause import Failures, Pause
    from taskman_cli.core.sinks import ReportKind


@immutable
class Accounted:
    """All slots due by this instant are accounted for."""

    until_ns: int
    #: The clock was put back by hours: those of no job are beyond it, see `SlotsDecided`.
    is_anew: bool = False


@immutable
class SlotsDecided:
    """The slots of these jobs due by this instant are accounted for, and not yet those of all jobs."""

    jobs: tuple[str, ...]
    until_ns: int


@immutable
class JobArmed:
    """A job is new, or its schedule has changed: its slots count from here."""

    job: str
    definition: str
    since_ns: int
    anchor_ns: int
    #: The slot that was taken early, see `ArmedJob.taken_ns`.
    taken_ns: int | None = None


@immutable
class JobRezoned:
    """A job has the same slots as before, shown in another zone."""

    job: str
    definition: str


@immutable
class JobRemoved:
    """A job is not defined any more."""

    job: str


@immutable
class RunsCounted:
    """A job with `max_runs` has had this many runs."""

    job: str
    count: int


@immutable
class IntervalEnded:
    """The interval of a job with `every_from = "finish"` counts from here."""

    job: str
    finish_ns: int


@immutable
class LifeBegun:
    """`@reboot` and `run_on_start` have been handled for this start of the machine and of the program."""

    boot: str
    supervisor: int


@immutable
class JobPaused:
    """A job is paused; None: it is not any more."""

    job: str
    pause: Pause | None


@immutable
class FailuresNoted:
    """These runs of a job have failed since its last success; None: no more of them are counted."""

    job: str
    failures: Failures | None


@immutable
class JobHidden:
    """`taskman remove` leaves out some tasks of a job, or all of it; no task: the job is complete again."""

    job: str
    tasks: tuple[str, ...]
    is_all: bool = False


@immutable
class OnceAdded:
    """A one-off job was added."""

    job: Job


@immutable
class OnceOver:
    """A one-off job is over, and removed."""

    job: str


@immutable
class RunsNumbered:
    """The number of the latest run, even if its rows are removed."""

    last_run: int


@immutable
class RateUsed:
    """Attempts have started on a resource with a rate."""

    resource: str
    #: When as many may start at once as after a quiet time, on the elapsed clock.
    full_elapsed_ns: int


@immutable
class NeedLearned:
    """A task is known to need this much memory."""

    job: str
    task: str
    need_bytes: int


@immutable
class SuccessNoted:
    """The last success of a job ended then; for a new ledger, where the run is not on record."""

    job: str
    success_ns: int


@immutable
class JobExpected:
    """Since when a success of a job is waited for, and when it was told that none came; None: it is not."""

    job: str
    since_ns: int | None
    told_ns: int | None = None


@immutable
class SeriesNoted:
    """When a sink was last told of trouble of a job that goes on, and how often it was not told since."""

    job: str
    sink: str
    #: What kind of trouble.
    trouble: str
    told_ns: int
    untold: int
    #: The latest run that it happened to.
    run: str


@immutable
class SeriesOver:
    """Trouble of a job is over; what sink knew of it."""

    job: str
    sink: str
    trouble: str


@immutable
class RunTold:
    """The sinks were told that a run has begun or takes long, and no line of another table says so."""

    run: str
    kind: ReportKind


@immutable
class SinksTaken:
    """These sinks are in force: a new one begins here, and others are forgotten."""

    names: tuple[str, ...]


@immutable
class SinkDelivered:
    """A sink has taken all reports up to this line of the journal."""

    sink: str
    seq: int
    at_ns: int
    #: What the other side has answered.
    answer: str
    #: How many reports that was.
    count: int = 1


@immutable
class SinkFailed:
    """Deliveries to a sink fail, since when and why."""

    sink: str
    at_ns: int
    why: str


@immutable
class ReportSetAside:
    """A sink will not take these reports; the next ones are delivered."""

    sink: str
    seqs: tuple[int, ...]
    at_ns: int
    why: str


@immutable
class SinkMoved:
    """A sink is told from here on: of what comes after this line of the journal."""

    sink: str
    seq: int


@immutable
class DigestCut:
    """The next message of a sink has all reports up to this line of the journal, however often it is sent."""

    sink: str
    seq: int


@immutable
class ReportSkipped:
    """A sink is not told of this report."""

    sink: str
    seq: int


Mark = (
    JobExpected
    | SeriesNoted
    | SeriesOver
    | RunTold
    | SinksTaken
    | SinkDelivered
    | SinkFailed
    | ReportSetAside
    | SinkMoved
    | DigestCut
    | ReportSkipped
    | Accounted
    | SlotsDecided
    | JobPaused
    | FailuresNoted
    | JobHidden
    | OnceAdded
    | OnceOver
    | RunsNumbered
    | JobArmed
    | JobRezoned
    | JobRemoved
    | RunsCounted
    | IntervalEnded
    | LifeBegun
    | RateUsed
    | NeedLearned
    | SuccessNoted
)
