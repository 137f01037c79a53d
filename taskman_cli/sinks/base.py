"""The contract of a sink: what it is given, and how it says that a delivery failed.

A sink is made in the process of the sinks, from its definition, and used by one thread. It may block for as
long as `timeout_s`; it holds no state that a restart must not lose. The caller keeps the cursor, the order,
retries and digests. A further type is an entry point of the group `taskman.sinks`: a callable that takes a
`SinkDefinition` and returns a `Sink`; it raises ValueError, in words, if the settings are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from taskman_cli.core.sinks import ReportKind


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that happened, complete: whoever gets it needs nothing else of the ledger.

    Instants are nanoseconds since 1970. Text may have lone surrogates, for bytes that are no UTF-8. What is
    about the scheduler has no job; what is about a job alone has no run.
    """

    #: The line of the journal that tells of it: reports of a job come in this order.
    seq: int
    kind: ReportKind
    at_ns: int
    host: str
    #: The instance's name, and what tells its ledger from all others.
    instance: str
    ledger: str
    job: str = ""
    task: str = ""
    run: str = ""
    attempt: int = 0
    slot_ns: int | None = None
    #: How the run or the attempt ended, or what the slot became.
    state: str = ""
    #: Of a skip: a word, such as "missed".
    reason: str = ""
    #: In words: "exit 3", "killed by SIGKILL"; why a job was parked; what the scheduler died of.
    detail: str = ""
    exit_code: int | None = None
    #: By its name: "SIGKILL".
    signal: str = ""
    started_ns: int | None = None
    ended_ns: int | None = None
    duration_ns: int | None = None
    cpu_s: float | None = None
    peak_rss_bytes: int | None = None
    #: The last lines of output, without line ends.
    output: tuple[str, ...] = ()
    #: There were more lines.
    is_output_cut: bool = False
    #: What to type to learn more: "taskman log 67ch8jhsxb".
    command: str = ""
    #: How many like it there were since the last that was delivered; itself included.
    count: int = 1


@dataclass(frozen=True, slots=True)
class Message:
    """What is delivered at once: one report, or what a digest gathered, oldest first."""

    #: The same at each attempt to deliver it: instance, ledger and seq.
    key: str
    reports: tuple[Report, ...]
    #: It is from `taskman sinks test`.
    is_test: bool = False


class DeliveryFailed(Exception):
    """The other side did not take a message; the words have no secret in them."""

    def __init__(
        self,
        words: str,
        *,
        retry_after_s: float | None = None,
        is_final: bool = False,
        is_down: bool = False,
    ) -> None:
        """`is_final`: it will never be taken, so it is set aside at once.

        `is_down`: nothing was reached that could have taken it: no connection, no answer in time, or one that
        says to come back later. That says nothing against the message, which is not set aside for it however
        often it is tried. OSError and TimeoutError out of `deliver` are taken for this.
        """
        super().__init__(words)
        self.retry_after_s = retry_after_s
        self.is_final = is_final
        self.is_down = is_down


class NotReached(DeliveryFailed):
    """Nothing was reached that could have taken a message."""

    def __init__(self, words: str) -> None:
        super().__init__(words, is_down=True)


class Sink(Protocol):
    """A receiver of results."""

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Deliver a message, and return what the other side answered, in words; raise DeliveryFailed."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...
