"""What the engine asks for: records of what happened, and things to do.

Records come first in each list of effects, so that a start is on record before it is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.model import Exit, SkipReason, State, Task, Trigger

# --- records ---


@dataclass(frozen=True, slots=True)
class RunQueued:
    """A run exists from here on."""

    run: str
    job: str
    #: None for a run that no slot asked for.
    slot_ns: int | None
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class AttemptBegun:
    """An attempt is about to be started: written before its process exists."""

    run: str
    job: str
    task: str
    attempt: int
    slot_ns: int | None


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An attempt is over."""

    run: str
    job: str
    task: str
    attempt: int
    state: State
    #: In words: "exit 3", "killed by SIGKILL", "not found: foo"; "" after success.
    detail: str
    #: None where there never was a process.
    exit: Exit | None
    ended_ns: int
    duration_ns: int
    #: The pause before the next attempt; None: there is none.
    retry_in_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over, with all its tasks."""

    run: str
    job: str
    state: State
    slot_ns: int | None
    #: Tasks that were not brought to their own end: never begun, or not tried again.
    undone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotsSkipped:
    """One slot, or several in a row, end without a run."""

    job: str
    first_ns: int
    last_ns: int
    #: None: too many to count.
    count: int | None
    reason: SkipReason
    #: The evidence, in words.
    detail: str
    #: The queued run that was given up, where one stood for the slot.
    run: str | None = None


@dataclass(frozen=True, slots=True)
class SpawnDelayed:
    """No process could be made for want of processes, files or memory: all starts wait."""

    message: str
    pause_ns: int


@dataclass(frozen=True, slots=True)
class ClockStepNoted:
    """The wall clock jumped."""

    delta_ns: int


Record = (
    RunQueued | AttemptBegun | AttemptFinished | RunFinished | SlotsSkipped | SpawnDelayed | ClockStepNoted
)

# --- things to do ---


@dataclass(frozen=True, slots=True)
class Start:
    """Make the process of an attempt."""

    key: str
    run: str
    job: str
    task: Task
    attempt: int
    slot_ns: int | None
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process group of an attempt."""

    key: str
    signum: int
    #: What the attempt's end will be called because of it; None: nothing new.
    ending: State | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """These attempts belong to a run that is over: the supervisor need not remember them."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Remember a value beyond this scheduler's life; None: forget it."""

    name: str
    value: int | tuple[str, int | None, str] | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing runs any more after a stop."""


Action = Start | Signal | Forget | Keep | Stopped
Effect = Record | Action
