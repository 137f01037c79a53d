"""One sink as the loop knows it, and what every report says of where it comes from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.view import SinkRow

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.ledger.reportqueue import ReportRow
    from taskman_cli.ledger.reportqueue import SinkRow as SinkOnRecord


@dataclass(frozen=True, slots=True)
class Sender:
    """Where all reports come from."""

    #: The name of the instance; "": it has none.
    instance: str
    host: str
    #: What to type before the name of a command, and after it.
    program: str = "taskman"
    address: tuple[str, ...] = ()
    #: Whose files may have secrets, as plain values; None: as the environment says.
    trust: dict[str, Any] | None = None

    def report(self, row: ReportRow, sink: str) -> dict[str, Any]:
        """Return a report as the process of the sinks takes it."""
        count = row.counts.get(sink, 1)
        return row.values | {
            "seq": row.seq, "kind": row.kind, "at_ns": row.at_ns, "job": row.job,
            "command": self._command(row), "count": count if isinstance(count, int) else 1,
        }  # fmt: skip

    def _command(self, row: ReportRow) -> str:
        """Return what to type to learn more."""
        run = row.values.get("run")
        if isinstance(run, str) and run:
            words = ["log", *self.address, run]
        else:
            words = ["why", *self.address, row.job] if row.job else ["status", *self.address]
        return " ".join([self.program, *words])

    def key(self, ledger: str, last: int | str) -> str:
        """Return what is the same at each attempt to deliver a message, and for no other."""
        return f"{self.instance or 'taskman'}-{ledger}-{last}"


@dataclass(slots=True)
class Sent:
    """A message on its way."""

    number: int
    seqs: list[int]
    #: When its first report was made, on the wall clock.
    first_ns: int
    #: There was no room for more.
    is_full: bool = False


@dataclass(slots=True)
class SinkState:
    """One sink: how far it has got."""

    definition: SinkDefinition
    #: All that it wants to know up to this line is delivered or set aside.
    cursor: int = 0
    #: The last report of the digest that was cut, as is on record; up to the cursor: none is.
    cut_seq: int = 0
    #: How many reports wait, those on their way included.
    waiting: int = 0
    refused: int = 0
    delivered: int = 0
    delivered_ns: int | None = None
    answer: str = ""
    #: Since when deliveries fail, on the wall clock; None: they do not.
    failing_ns: int | None = None
    error: str = ""
    sent: Sent | None = None
    #: The numbers of the next reports, and up to which line they are known.
    ahead: deque[int] = field(default_factory=deque)
    known_to: int = 0
    #: There may be reports after these.
    is_more: bool = True
    #: When what gathers is sent, on the elapsed clock.
    gathers_to_ns: int | None = None
    #: Its last message was full: the next does not wait.
    is_hurried: bool = False
    #: A message has ended, and that is not on record yet.
    is_held: bool = False
    #: How often the row of a report could not be read, one time after the other, and of which.
    misreads: int = 0
    misread_seq: int = 0
    #: That reports are set aside was logged since the last one was taken.
    is_complained: bool = False
    #: That the oldest reports go was logged since then.
    is_overfull: bool = False

    @property
    def name(self) -> str:
        """Return its name."""
        return self.definition.name

    @property
    def has_cut(self) -> bool:
        """Tell whether its next message is a digest that was cut before: it is sent as it was."""
        return self.definition.digest_ns > 0 and self.cut_seq > self.cursor

    def take(self, row: SinkOnRecord) -> None:
        """Take over how deliveries went so far."""
        self.cut_seq = row.cut_seq or 0
        self.delivered, self.delivered_ns = row.delivered, row.delivered_ns
        self.answer, self.error = row.answer or "", row.error or ""
        self.failing_ns = row.failing_ns

    def misread(self, seq: int) -> int:
        """Count that the row of a report could not be read; return how often that was so in a row."""
        self.misreads = self.misreads + 1 if seq == self.misread_seq else 1
        self.misread_seq = seq
        return self.misreads

    def pass_over(self, seqs: list[int]) -> None:
        """Count reports that do not wait any more, until that is on record."""
        self.waiting = max(0, self.waiting - len(seqs))
        self.cursor = max(self.cursor, seqs[-1])
        self.cut_seq = 0
        self.sent, self.is_held = None, True

    def give_back(self) -> None:
        """Take back what is on its way: it is sent again."""
        if self.sent is not None:
            self.ahead.extendleft(reversed(self.sent.seqs))
            self.sent = None

    def row(self) -> SinkRow:
        """Return what a view shows of it."""
        return SinkRow(self.name, self.waiting, self.refused, self.failing_ns, self.error)

    def told(self) -> dict[str, Any]:
        """Return how it stands, for people."""
        return {
            "sink": self.name,
            "type": self.definition.type,
            "waiting": self.waiting,
            "oldest_ns": self.sent.first_ns if self.sent else None,
            "cursor": self.cursor,
            "delivered": self.delivered,
            "last_ns": self.delivered_ns,
            "answer": self.answer,
            "failing_ns": self.failing_ns,
            "error": self.error,
            "set_aside": self.refused,
        }


def plain(definition: SinkDefinition) -> dict[str, Any]:
    """Return a definition as plain values."""
    values = {item.name: getattr(definition, item.name) for item in fields(definition)}
    return values | {
        "on": sorted(map(str, definition.on)),
        "settings": _without_classes(definition.settings),
    }


def _without_classes(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_classes(item) for item in value]
    if hasattr(value, "items"):
        return {str(name): _without_classes(item) for name, item in value.items()}
    return str(value) if isinstance(value, str) else value
