"""What the engine wants done: carried out once the records and marks of the same step are durable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import State, Task, Trigger


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
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process group of an attempt."""

    key: str
    signum: int
    #: What the attempt's end will be called because of it; None: nothing new.
    ending: State | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """The ends of these attempts are on record: the supervisor need not remember them."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Abandon:
    """Wait no more for the process of an attempt, whose end will be seen by nobody."""

    key: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Watch the process of an attempt that outlived its supervisor, if it is still there."""

    key: str
    run: str
    job: str
    task: Task
    attempt: int
    slot_ns: int | None
    trigger: Trigger
    pid: int
    started: Now


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell who asked, once it is on record; `reply` is as `core.protocol` has it."""

    token: int
    reply: Mapping[str, Any]
    #: Also where it cannot be recorded: it is done all the same.
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing runs any more after a stop."""


Action = Start | Adopt | Signal | Forget | Abandon | Answer | Stopped
