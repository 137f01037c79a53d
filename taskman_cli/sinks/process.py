"""`python -m taskman_cli.sinks.process PARENT`: delivers reports to sinks, each in a thread of its own.

A process of its own: the code of a sink may wait for minutes, hang for ever in a system call, or crash, and
secrets are nowhere else. Standard input is a socket with the messages of `supervisor.wire`. It keeps nothing
that a restart must not lose: the scheduler gives each sink one message at a time, and the next when the end
of this one is on record.

From the scheduler:

    ("configure", {"instance", "host", "ledger", "is_durable", "trust"}, [definition, …])
                                a definition has the fields of `SinkDefinition`; a sink that is not among them
                                is let go, with the message that it has
    ("deliver", sink, number, key, [report, …], is_test)
                                a report has fields of `Report`; without a retry if it is a test
    ("drop", sink, number)      do not try this message again
    ("ping", number)

To the scheduler:

    ("delivered", sink, number, answer)
    ("failed", sink, number, words, failures)   it is tried again, unless it is a test
    ("refused", sink, number, words)            it will not be tried again
    ("pong", number)
"""

from __future__ import annotations

import ctypes
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from taskman_cli.core.sinks import ReportKind, SinkDefinition, secret_variables
from taskman_cli.sinks.base import Message, Report
from taskman_cli.sinks.line import Hand, Line
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.types import make
from taskman_cli.supervisor.wire import Channel, WireError
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.sinks.base import Sink
    from taskman_cli.sinks.line import Outcome

_PR_SET_PDEATHSIG = 1
#: What is said within this time is heard at once: the scheduler need not wake for each delivery.
_GATHER_S = 0.005


class Courier:
    """All sinks, and the socket to the scheduler. Only its thread touches either."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lines: dict[str, Line] = {}
        #: Messages of `taskman sinks test`, each with a sink of its own.
        self._tests: dict[int, Line] = {}
        self._facts: dict[str, Any] = {}
        self._has_said = False
        self._surroundings = Surroundings()
        self._done: queue.SimpleQueue[tuple[Hand, int, Outcome]] = queue.SimpleQueue()
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._done_fd, select.POLLIN)

    def run(self) -> None:
        """Deliver until the scheduler is gone."""
        while True:
            mask = select.POLLIN | (select.POLLOUT if self._channel.wants_write else 0)
            self._poll.register(self._channel.fileno(), mask)
            due = [wait for line in self._all() if (wait := line.wait_s()) is not None]
            self._poll.poll(None if not due else max(0, min(due)) * 1000 + 1)
            self._channel.flush()
            messages = self._channel.receive()
            if messages is None:
                return
            for message in messages:
                self._take(message)
            self._collect()
            for line in self._all():
                line.turn()
            if self._has_said:
                self._has_said = False
                time.sleep(_GATHER_S)
            for number in [number for number, line in self._tests.items() if line.is_idle]:
                self._tests.pop(number).close()

    def _all(self) -> list[Line]:
        return [*self._lines.values(), *self._tests.values()]

    def _say(self, *message: Any) -> None:
        self._channel.send([message])
        self._has_said = True

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("configure", dict(facts), list(definitions)):
                self._configure(facts, definitions)
            case ("deliver", str(name), int(number), str(key), list(reports), bool(is_test)):
                self._deliver(name, number, key, reports, is_test=is_test)
            case ("drop", str(name), int(number)):
                if line := self._lines.get(name):
                    line.drop(number)
            case ("ping", number):
                self._say("pong", number)

    def _configure(self, facts: dict[str, Any], definitions: list[dict[str, Any]]) -> None:
        self._facts = facts
        wanted = [_definition(values) for values in definitions]
        trust = facts.get("trust")
        around = Surroundings(
            hidden=secret_variables(wanted),
            is_durable=bool(facts.get("is_durable")),
            trust=standing_trust(os.environ) if trust is None else Trust.from_json(trust),
        )
        is_other = around != self._surroundings
        self._surroundings = around
        before, self._lines = self._lines, {}
        for definition in wanted:
            known = before.get(definition.name)
            if known is not None and known.definition == definition and not is_other:
                self._lines[definition.name] = before.pop(definition.name)
            else:
                self._lines[definition.name] = self._line(definition)
        for line in before.values():
            line.close()

    def _line(self, definition: SinkDefinition, *, is_test: bool = False) -> Line:
        return Line(
            definition, lambda: self._make(definition), self._finish, self._say, clock=time.monotonic,
            is_test=is_test,
        )  # fmt: skip

    def _make(self, definition: SinkDefinition) -> Sink:
        return make(definition, self._surroundings)

    def _finish(self, hand: Hand, number: int, outcome: Outcome) -> None:
        """Take the outcome of a delivery, in the thread of the sink."""
        self._done.put((hand, number, outcome))
        os.eventfd_write(self._done_fd, 1)

    def _collect(self) -> None:
        try:
            os.eventfd_read(self._done_fd)
        except BlockingIOError:
            return
        while True:
            try:
                hand, number, outcome = self._done.get_nowait()
            except queue.Empty:
                return
            for line in self._all():
                line.heard(hand, number, outcome)

    def _deliver(
        self, name: str, number: int, key: str, reports: list[dict[str, Any]], *, is_test: bool
    ) -> None:
        line = self._lines.get(name)
        if line is None:
            self._say("failed" if is_test else "refused", name, number, "there is no such sink", 1)
            return
        if is_test:
            line = self._tests[number] = self._line(line.definition, is_test=True)
        lines = line.definition.output_lines
        told = tuple(_report(values, self._facts, lines) for values in reports)
        line.begin(number, Message(key, told, is_test=is_test))


def _definition(values: dict[str, Any]) -> SinkDefinition:
    return SinkDefinition(**values | {"on": frozenset(map(ReportKind, values["on"]))})


def _report(values: dict[str, Any], facts: dict[str, Any], lines: int) -> Report:
    """Make a report; only the lines of output that the sink wants are in it."""
    known = {name: value for name, value in values.items() if name in Report.__slots__}
    output = tuple(known.pop("output", ()))
    is_cut = bool(known.pop("is_output_cut", False)) or len(output) > lines
    return Report(
        **known | {"kind": ReportKind(known["kind"])},
        host=facts.get("host", ""),
        instance=facts.get("instance", ""),
        ledger=facts.get("ledger", ""),
        output=output[len(output) - lines :] if len(output) > lines else output,
        is_output_cut=is_cut,
    )


def main(parent: int, run: Callable[[Courier], None] = Courier.run) -> None:
    """Deliver what standard input says, until its end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before that
        return
    # The whole process group gets what stops the program; this one ends after the scheduler. Not SIG_IGN,
    # which the programs that sinks start would inherit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    sock = socket.socket(fileno=os.dup(0))
    os.set_inheritable(sock.fileno(), False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    threading.stack_size(1 << 20)
    try:
        run(Courier(Channel(sock)))
    except WireError:
        pass
    finally:
        os._exit(0)  # without the threads that hang


if __name__ == "__main__":
    main(int(sys.argv[1]))
