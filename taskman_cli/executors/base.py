"""The contract of an executor: it is given orders, carries each out, and says how it ended.

Each executor of a job file has a process of its own, a child of the supervisor, which outlives the scheduler.
There it is one object, made of its definition, on an event loop of asyncio: what waits is awaited, and what
blocks belongs into a thread or a process of its own. An exception ends the attempt that it came from, and no
other; an executor that hangs or dies delays no start of any other.

A further type is an entry point of the group `taskman.executors`: a callable that takes an
`ExecutorDefinition` and returns an `Executor`; it raises ValueError, in words, if the settings are wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.conditions import FarWorker as FarWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt to carry out. It is on record, with its handle, before an executor hears of it.

    Text may have lone surrogates, for bytes that are no UTF-8 (`os.fsencode` gives the bytes).
    """

    #: Finds the attempt again, after whatever crash: letters, digits, "-", "_" and "."; derived from the
    #: ledger, run, task and attempt, so never used twice.
    handle: str
    job: str
    task: str
    run: str
    attempt: int
    #: A string for a shell, words without one, or None: there is a `call`.
    command: str | tuple[str, ...] | None = None
    #: What the executor's own keys of the job or task say: `call`, `args`, `kwargs` of type "python".
    keys: Mapping[str, Any] = field(default_factory=dict)
    #: What the job itself sets (`env`, `env_file`, parameters), and the variables TASKMAN_* of every command.
    #: For the far side, which has an environment of its own.
    env: Mapping[str, str] = field(default_factory=dict)
    #: All that a command of this job would get on this machine; `env` is in it.
    local_env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    stdin: bytes | None = None
    #: Whom to become, if the executor starts programs here: uid, gid and all groups; None: ourselves.
    user: tuple[int, int, tuple[int, ...]] | None = None
    umask: int | None = None
    nice: int = 0
    #: What attempts of the job draw on: amounts by resource.
    resources: Mapping[str, int] = field(default_factory=dict)
    #: When its `timeout` is over, in nanoseconds since 1970; None: there is none. The scheduler sends the
    #: signals; this is for those that want to tell their command.
    deadline_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt ended. One of `exit_code` and `signal` is not None, or it failed as `error` says."""

    exit_code: int | None = None
    #: The number of the signal that killed it.
    signal: int | None = None
    #: In words, for people: the exception of a call, or "over its memory limit of 200 MiB". With neither an
    #: exit code nor a signal, the attempt has failed by this.
    error: str = ""
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


class Running:
    """A standing: the attempt runs; `attach` follows it to its end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A standing: the attempt is over, and this is how."""

    result: Result


@dataclass(frozen=True, slots=True)
class Absent:
    """A standing: the far side answers, and knows no end of such an attempt: it is lost."""

    why: str = ""
    #: It was not begun, for sure, and will not be by whoever was asked before: it begins anew.
    is_unbegun: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """A standing: there is no answer. It is asked again until `lost_after` is over; then it is lost."""

    why: str = ""


Standing = Running | Ended | Absent | Unknown


class StartFailed(Exception):
    """The attempt was not begun, for sure."""

    def __init__(self, words: str, *, is_transient: bool = False, is_users: bool = False) -> None:
        """`is_transient`: the far side is away, or something ran out: the attempt waits, and fails not.

        It begins anew after a pause, which grows up to a minute and ends early when the executor tells "up".
        All others on the executor wait, too. `is_users`: what ran out may be the user's alone.
        """
        super().__init__(words)
        self.is_transient = is_transient
        self.is_users = is_users


class NoSeat(Exception):
    """The order was not begun: it has no seat, and what it was waiting behind takes its time."""


class ConnectionLost(Exception):
    """The far side does not answer any more: how the attempt stands is not known, and will be asked."""


class CannotStop(Exception):
    """SIGSTOP has not stopped the attempt, nor will it: it goes on, with its `timeout`. Why, in words."""


class Work:
    """One order being carried out, and what is said of it. Used on the loop's thread only."""

    def __init__(
        self,
        order: Order,
        *,
        on_started: Callable[[], None],
        on_output: Callable[[bytes], None],
        on_progress: Callable[[float | None, str], None],
    ) -> None:
        self.order = order
        #: It was begun: its time runs, and signals are passed on.
        self.is_started = False
        #: False: it begins only behind another one (`Executor.begin_behind`).
        self.has_seat = True
        #: Which one without a seat has begun when this one ended; said before the end of this one.
        self.heir: Work | None = None
        self._on_started = on_started
        self._on_output = on_output
        self._on_progress = on_progress

    def started(self) -> None:
        """Say that it was begun, or most likely was; before that, only StartFailed says it was not."""
        if not self.is_started:
            self.is_started = True
            self._on_started()

    def write(self, data: bytes) -> None:
        """Add to its output, standard output and error together, as it comes."""
        if data:
            self._on_output(data)

    def progress(self, part: float | None, words: str = "") -> None:
        """Say how far it is: a part of 1, or None if that is not known, and in words. Shown, not recorded."""
        self._on_progress(part, words)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what `taskman doctor` says about an executor."""

    is_good: bool
    words: str
    #: What to do about it.
    advice: str = ""


class Executor(ABC):
    """Carries out orders, any number at a time."""

    #: Takes what `tell` says, on the loop's thread; set by whoever keeps the executor.
    listener: Callable[[str, str, Sequence[FarWorker] | None], None] | None = None
    #: Takes what `note` says, on the loop's thread; set by whoever keeps the executor.
    scribe: Callable[[str], None] | None = None
    #: What an attempt prints while its connection is lost may be lost: a line in its output says so.
    loses_output = False
    #: `signal` is called from `run` or `begin` on, and sees to it that what should end never starts.
    hears_early = False

    def tell(self, reach: str, words: str = "", workers: Sequence[FarWorker] | None = None) -> None:
        """Say how the executor itself stands: "up", "connecting" or "down", and why not "up", for people.

        To call it is optional, at any time, on the loop's thread, and as often as it suits: what has changed
        is passed on, at most once a second. `workers` are all that a far side has that belongs to the pool:
        it is shown as sums and the first by name. Of an executor that never calls this, its attempts tell:
        it is down from a lost connection or a transient StartFailed to the next answer.
        """
        if self.listener is not None:
            self.listener(reach, words, workers)

    def note(self, words: str) -> None:
        """Have something in taskman's log that is odd and ends no attempt, on the loop's thread.

        Standard error of an executor's process goes nowhere.
        """
        if self.scribe is not None:
            self.scribe(words)

    @abstractmethod
    async def run(self, work: Work) -> Result:
        """Carry out an order to its end: call `work.started`, then `work.write` as output comes.

        Raises StartFailed if it was not begun, ConnectionLost if it is not known any more how it stands. It
        is cancelled where its attempt is given up: what it holds then has to go.
        """

    def begin(self, work: Work, over: Callable[[Result | BaseException], None]) -> bool:
        """Carry out an order as `run` does, without a task of its own; return False if `run` is to do it.

        To have this is optional, for those that have many short attempts. `over` is called once, with what
        `run` would return or raise, except ConnectionLost; a result says that it has started.
        """
        return False

    def begin_behind(self, work: Work, over: Callable[[Result | BaseException], None]) -> bool:
        """Have an order wait behind others that were begun, as `begin` does: it begins when one of them ends.

        It has no seat: no more orders may be under way because of it, until its `has_seat` is true. If it
        would have to begin without that, `over` gets NoSeat. Return False if it cannot wait now.
        """
        return False

    def take_back(self, works: Collection[Work]) -> list[Work]:
        """Take back orders without a seat; return those that have not begun and never will."""
        return []

    def give_up(self, work: Work) -> None:  # noqa: B027 - only with `begin`
        """Let go of an order that was begun by `begin`: what it holds has to go, and `over` is not called."""

    @abstractmethod
    async def signal(self, work: Work, number: int) -> None:
        """Send a signal to all processes of an attempt that was started. SIGKILL ends it, come what may.

        Called once for each signal, in order, beside `run`; it need not wait for the end. After
        ConnectionLost it is called again. SIGSTOP and SIGCONT are of `pause --stop`: raises CannotStop, or
        anything else but ConnectionLost, for what goes on.
        """

    async def probe(self, order: Order) -> Standing:
        """Tell how an attempt stands whose connection was lost, or that an earlier process had begun."""
        return Absent("this executor keeps nothing of an attempt beyond its own process")

    async def attach(self, work: Work) -> Result:
        """Follow an attempt that `probe` found to be running to its end, as `run` does, `started` included.

        Output that it made meanwhile is written once, as far as it is still there.
        """
        raise ConnectionLost("this executor cannot find an attempt again")

    async def forget(self, order: Order) -> None:  # noqa: B027 - most keep nothing
        """Remove what the far side keeps of an attempt, whose end is on record. Called after each end."""

    async def check(self) -> tuple[Finding, ...]:
        """Tell what `taskman doctor` should say: reachable, version, rights. It may take a few seconds."""
        return ()

    async def close(self) -> None:  # noqa: B027 - most hold nothing
        """End what runs and let go of what is held: no process of ours is left. Called once, at the end."""
