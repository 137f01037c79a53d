"""What the next scheduler continues from: how jobs stand, which are paused, how far slots are accounted for.

They are made durable together with the records of the same step. People are not shown them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.model import Job, Pause


@dataclass(frozen=True, slots=True)
class Accounted:
    """All slots due by this instant are accounted for."""

    until_ns: int


@dataclass(frozen=True, slots=True)
class JobArmed:
    """A job is new, or due at other times than before: its slots count from here."""

    job: str
    definition: str
    since_ns: int
    anchor_ns: int
    #: The slot that was taken before its time, see `ArmedJob.taken_ns`.
    taken_ns: int | None = None


@dataclass(frozen=True, slots=True)
class JobRezoned:
    """A job is due when it was, but its slots are shown in another zone."""

    job: str
    definition: str


@dataclass(frozen=True, slots=True)
class JobRemoved:
    """A job is not defined any more."""

    job: str


@dataclass(frozen=True, slots=True)
class RunsCounted:
    """So many runs of a job with `max_runs` there were."""

    job: str
    count: int


@dataclass(frozen=True, slots=True)
class IntervalEnded:
    """The interval of a job with `every_from = "finish"` counts from here."""

    job: str
    finish_ns: int


@dataclass(frozen=True, slots=True)
class LifeBegun:
    """What is done once a start of the machine, and once a start of the program, has been done."""

    boot: str
    supervisor: int


@dataclass(frozen=True, slots=True)
class JobPaused:
    """A job has no new runs; None: it goes on."""

    job: str
    pause: Pause | None


@dataclass(frozen=True, slots=True)
class JobHidden:
    """Some of a job's tasks, or all of it, are left out though the file defines them; none: no more."""

    job: str
    tasks: tuple[str, ...]
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class OnceAdded:
    """There is a one-hit job."""

    job: Job


@dataclass(frozen=True, slots=True)
class OnceOver:
    """A one-hit job is over, and gone."""

    job: str


@dataclass(frozen=True, slots=True)
class RunsNumbered:
    """No run was made after the one with this number, whatever else is known of runs."""

    last_run: int


Mark = (
    Accounted
    | JobPaused
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
)
