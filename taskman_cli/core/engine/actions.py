"""What the engine wants done: carried out once the records and marks of the same step are durable."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.immutable import immutable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import State, Task, Trigger


@immutable
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
    #: By which its executor finds it again; "": it is a command here.
    handle: str = ""
    #: All seats are taken: the supervisor is to wait until one of the commands ends.
    is_early: bool = False


@immutable
class Recall:
    """Start nothing that was asked for early, and return it."""


@immutable
class Signal:
    """Send a signal to the process group of an attempt."""

    key: str
    signum: int
    #: The state that the attempt ends in because of it; None: unchanged.
    ending: State | None = None
    #: What is told to end: the processes that it leaves may be ended too.
    task: Task | None = field(default=None, compare=False)


@immutable
class Forget:
    """The ends of these attempts are on record: the supervisor need not remember them."""

    keys: tuple[str, ...]


@immutable
class Abandon:
    """Stop waiting for the process of an attempt; its end will not be seen."""

    key: str


@immutable
class Adopt:
    """Watch the process of an attempt that outlived its supervisor, if it is still there."""

    key: str
    run: str
    job: str
    task: Task
    attempt: int
    slot_ns: int | None
    trigger: Trigger
    pid: int | None
    started: Now
    #: What an earlier scheduler told it to end as.
    ending: State | None = field(default=None, compare=False)
    params: Mapping[str, str] = field(default_factory=dict, compare=False)
    handle: str = ""


@immutable
class Answer:
    """Answer a request once its changes are on record; `reply` is as `core.protocol` has it."""

    token: int
    reply: Mapping[str, Any]
    #: Answer even if the ledger cannot be written: the request is carried out anyway.
    is_urgent: bool = False


@immutable
class Stopped:
    """A stop is complete: nothing runs any more."""


@immutable
class MeasureMemory:
    """Find out how much memory the processes of running attempts use."""

    #: Key and pid of each.
    attempts: tuple[tuple[str, int], ...]


Action = Start | Recall | Adopt | Signal | Forget | Abandon | Answer | Stopped | MeasureMemory
