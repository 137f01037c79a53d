"""Deliveries in the simulation: the real ones, to sinks that take or refuse, through a process that dies.

The ledger's queue is read from the model of the disk, the process of the sinks is a few dictionaries. What
has arrived is outside of the machine, and survives whatever dies.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from unit.simulated_sinks import SINKS
from unit.simulated_wishes import Customer
from unit.simulation import Crash, Machine, Unlawful, happen

from taskman_cli.core import protocol
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.ledger.reportqueue import QueueError, RefusedRow, ReportRow, SinkRow
from taskman_cli.scheduler.outlets.deliveries import Deliveries
from taskman_cli.scheduler.outlets.state import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unit.simulated_sinks import Told

    from taskman_cli.core.clock import Now

#: How often the process is heard at most until all is delivered in the end.
MOST_TURNS = 20_000
#: After so many failures to read the row of a report, what was cut may be cut once more, before that row.
MOST_MISREADS = 3


class Queue:
    """Reads the model of the disk as `ReportQueue` reads the ledger; now and then it cannot be read."""

    def __init__(self, machine: SinkMachine) -> None:
        self._machine = machine

    @property
    def _told(self) -> Told:
        if self._machine.luck.random() < self._machine.unread:
            raise QueueError("disk I/O error")
        return self._machine.disk.told

    def _of(self, sink: str, after: int) -> list[int]:
        return [seq for seq, (_, to) in self._told.reports.items() if seq > after and sink in to]

    def identity(self) -> str:
        return f"ledger{self._machine.ledgers}"

    def sinks(self) -> dict[str, SinkRow]:
        return {
            name: SinkRow(
                name, cursor, 0, None, None, None, None, None, self._machine.disk.told.cuts.get(name)
            )
            for name, cursor in self._told.cursors.items()
        }

    def next_of(self, sink: str, after: int, count: int) -> tuple[list[int], int]:
        found = self._of(sink, after)[:count]
        whole = max(self._told.reports, default=0)
        return found, max(after, found[-1] if len(found) == count else whole)

    def count(self, sink: str, after: int) -> int:
        return len(self._of(sink, after))

    def line_at(self, sink: str, after: int, count: int) -> int | None:
        return next(iter(self._of(sink, after)[count - 1 :]), None)

    def read(self, seq: int) -> ReportRow | None:
        try:
            report, to = self._told.reports.get(seq, (None, {}))
        except QueueError:
            self._machine.misreads[seq] += 1
            raise
        return report and ReportRow(seq, 1, str(report.kind), report.job, dict(to), {"run": report.run})

    def first_since(self, _: int) -> int:
        return 0

    def refused(self, sink: str, most: int) -> list[RefusedRow]:
        return [RefusedRow(seq, 1, "", "", "") for seq in sorted(self._told.refused.get(sink, ()))[:most]]

    def refused_count(self, sink: str) -> int:
        return len(self._told.refused.get(sink, ()))

    def is_refused(self, sink: str, seq: int) -> bool:
        return seq in self._told.refused.get(sink, ())


class Courier:
    """The process of the sinks, and the link to it."""

    heard_ns = 0

    def __init__(
        self, machine: SinkMachine, *, is_owed: Callable[[], bool], began: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:  # fmt: skip
        self._machine = machine
        self._is_owed = is_owed
        self._began = began
        self._ended = ended
        self._is_wanted = self.is_open = False
        #: What is on its way to each sink; and messages of tests.
        self._pending: dict[str, tuple[int, str, list[int]]] = {}
        #: How much had arrived when that was sent.
        self._sent_at: dict[str, int] = {}
        self._tests: list[tuple[str, int]] = []

    def start(self, _: int) -> None:
        self._is_wanted = True

    def next_timer(self) -> None: ...
    def flush(self) -> None: ...
    def expect(self, _: int) -> None: ...

    def say(self, *message: Any) -> None:
        if not self.is_open:
            return
        match message:
            case ("deliver", name, number, _, _, True):
                self._tests.append((name, number))
            case ("deliver", name, number, key, reports, False):
                assert name not in self._pending, "one message of each sink is on its way"
                self._pending[name] = number, key, [report["seq"] for report in reports]
                self._sent_at[name] = len(self._machine.arrived[name])
            case ("drop", name, number):
                if name in self._pending and self._pending[name][0] == number:
                    self._end(name)
                    self._machine.arrived[name].append(None)  # it was moved: another order begins

    def turn(self, _: set[int], elapsed_ns: int) -> list[tuple[Any, ...]]:
        luck, is_well = self._machine.luck, self._machine.is_well
        if not self.is_open:
            if self._is_wanted and (is_well or luck.random() < 0.7):
                self.is_open, self.heard_ns = True, elapsed_ns
                self._began()
            return []
        if not is_well and luck.random() < 0.05:
            self.die()
            self._ended()
            return []
        self.heard_ns = elapsed_ns
        said: list[tuple[Any, ...]] = [("delivered", name, number, "ok") for name, number in self._tests]
        self._tests.clear()
        for name, (number, _, _) in list(self._pending.items()):
            dice = 0.0 if is_well else luck.random()
            if dice < 0.5:
                self._arrive(name)
                said.append(("delivered", name, number, "ok"))
            elif dice < 0.6:
                said.append(("failed", name, number, "it is down", 1))
            elif dice < 0.65:
                del self._pending[name]
                said.append(("refused", name, number, "it does not like it"))
        return said

    def die(self) -> None:
        """End; what is on its way has arrived or not, and nobody hears of it."""
        for name in list(self._pending):
            self._end(name)
        self.is_open = False

    def _end(self, name: str) -> None:
        if self._machine.luck.random() < 0.5:
            self._machine.unsure[name] += 1
            self._arrive(name)
        else:
            del self._pending[name]

    def _arrive(self, name: str) -> None:
        _, key, seqs = self._pending.pop(name)
        arrived, place = self._machine.arrived[name], self._sent_at[name]
        while place < len(arrived) and arrived[place] is not None:
            place += 1
        # If it was moved meanwhile, this is of the order before that.
        arrived.insert(place, (key, seqs))


class Driver:
    """The machine as deliveries know it, where no error is meant to be set aside."""

    def __init__(self, machine: SinkMachine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def set_aside(self, what: str, error: Exception) -> None:
        """Take no error."""
        raise Unlawful(what) from error


class SinkMachine(Machine):
    """A machine whose scheduler delivers to sinks."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed + 2)
        #: From now on everything works; and how often the ledger cannot be read.
        self.is_well = False
        self.unread = 0.02
        #: How many ledgers were lost.
        self.ledgers = 0
        #: The messages that each sink has got, with their keys; None where it is told again on request.
        self.arrived: dict[str, list[tuple[str, list[int]] | None]] = {sink.name: [] for sink in SINKS}
        #: How often the row of each report could not be read.
        self.misreads: Counter[int] = Counter()
        #: How often a sink may have got something of which nobody heard.
        self.unsure: Counter[str] = Counter()
        #: Reports that were given up, as there were too many.
        self.dropped: dict[str, set[int]] = {sink.name: set() for sink in SINKS}
        self._followers: dict[type, list[Callable[[Any], None]]] = {}
        self._courier: Courier | None = None
        self._queue = Queue(self)
        super().__init__(seed, bewitch=SinkMachine._add_deliveries)

    @property
    def ledger(self) -> SinkMachine:
        """Return what has the queue of reports."""
        return self

    @property
    def reports(self) -> Queue:
        """Return the queue of reports."""
        return self._queue

    def _add_deliveries(self) -> None:
        self._followers.clear()
        self.recorder._tell = self._tell_all
        driver: Any = Driver(self)
        self.deliveries = Deliveries(driver, Sender("", ""), make_link=self._new_courier)
        self.handlers.attach(self.deliveries)
        self.recorder.note(self.engine.reports.taken())

    def _new_courier(self, **told: Callable[[], Any]) -> Any:
        self._courier = Courier(self, **told)
        return self._courier

    def follow(self, told: Mapping[type, Callable[[Any], None]]) -> None:
        """Register functions by kind of record."""
        for kind, tell in told.items():
            self._followers.setdefault(kind, []).append(tell)

    def note(self, record: Any) -> None:
        """Record something, as the driver does."""
        self.recorder.note(record)

    def _tell_all(self, record: Any) -> None:
        self.handlers.tell(record)
        for tell in self._followers.get(type(record), ()):
            tell(record)

    # --- what happens ---

    def settle(self) -> None:
        """End a turn as the loop does."""
        super().settle()
        while self.deliveries.flush():
            self.recorder.settle(self.now)

    def hear(self) -> None:
        """Take all news, those of the sinks included."""
        super().hear()
        if not self.stopped:
            self.deliveries.turn(set())
            self.settle()

    def crash(self, what: str) -> None:
        """Let the scheduler die, and the process of the sinks with it."""
        if self._courier is not None:
            self._courier.die()
        for name in self.arrived:
            self.unsure[name] += 1  # an end that was heard may not be on record
        super().crash(what)

    def replace(self, why: str, now: Now) -> None:
        """Set the disk's content aside: what sinks are still to be told is in there."""
        self.ledgers += 1
        self._queue = Queue(self)
        for name in self.arrived:
            self.arrived[name].clear()
            self.dropped[name].clear()
        self.misreads.clear()
        super().replace(why, now)

    def write(self, records: Any, now: Now) -> None:
        """Make records durable, and note what is given up, or told again, as soon as that is on record."""
        self.disk.told.moved = self._moved
        super().write(records, now)

    def _moved(self, sink: str, before: int, after: int) -> None:
        if after > before:
            self.dropped[sink] |= set(range(before + 1, after + 1))
        else:
            self.arrived[sink].append(None)

    def wish_of_sinks(self) -> None:
        """Let somebody ask for something about sinks."""
        pick = self.luck.choice
        sink = pick([*self.arrived, "gone"])
        seqs = [1, *self.disk.told.reports]
        request = pick(
            [
                protocol.ListSinks(),
                protocol.TestSink(sink=sink),
                protocol.ReplaySink(sink=sink, since=pick(seqs)),
                protocol.ReplaySink(sink=sink, since_ns=1),
                protocol.SkipReport(sink=sink, seq=pick(seqs)),
            ]
        )
        self.handlers.handle(request, Customer(self))  # type: ignore[arg-type]
        self.settle()
        self.hear()


def play(seed: int) -> SinkMachine:
    """Play the history of a seed, let all sinks work in the end, and check what each has got."""
    machine = SinkMachine(seed)
    chance = machine.chance
    for _ in range(chance.randint(10, 50)):
        try:
            if machine.luck.random() < 0.2 and not machine.stopped:
                machine.wish_of_sinks()
            happen(machine, chance)
            machine.settle()  # a turn that slept in the middle would be another subject
        except Crash:
            machine.crash(chance.choice(["scheduler", "scheduler", "both", "power"]))
    machine.fuse = None
    machine.is_well, machine.unread = True, 0.0
    machine.disk.is_full = False
    if machine.stopped:
        machine.crash("both")
    machine.wait(20 * SECOND_NS)
    for _ in range(MOST_TURNS):
        if machine.stopped:
            machine.crash("both")
        machine.deliveries.stop(machine.now.elapsed_ns)  # nothing gathers for ever
        machine.hear()
        states = machine.deliveries.sinks.values()
        if machine.recorder.trouble is None and states and not any(state.waiting for state in states):
            break
        machine.wait(SECOND_NS // 10)
    check(machine)
    return machine


def check(machine: SinkMachine) -> None:
    """Check that each sink was told all it was to be told, in order, and nothing twice without a reason."""
    told, prefix = machine.disk.told, f"taskman-ledger{machine.ledgers}-"
    for name, everything in machine.arrived.items():
        # What was on its way when the ledger was lost is of the old one.
        arrived = [item for item in everything if item is None or item[0].startswith(prefix)]
        got = {seq for item in arrived if item is not None for seq in item[1]}
        due = {seq for seq, (_, to) in told.reports.items() if name in to and seq > told.begins[name]}
        lost = due - got - told.refused[name] - machine.dropped[name]
        assert lost == set(), f"{name} was never told of {sorted(lost)}"
        replays = arrived.count(None)
        again = len(arrived) - replays - len({item[0] for item in arrived if item is not None})
        assert replays or again <= machine.unsure[name], f"{name} was told {again} times of what it knew"
        last, keys, messages = 0, dict[int, str](), dict[str, list[int]]()
        for item in arrived:
            if item is None:
                last, keys, messages = 0, {}, {}
                continue
            key, seqs = item
            assert seqs == sorted(set(seqs)), f"{name} was told of {seqs} in one message"
            assert seqs[0] >= last, f"{name} was told of {seqs[0]} after {last}"
            last = seqs[0]
            if max(machine.misreads.values(), default=0) >= MOST_MISREADS:
                continue
            before = messages.setdefault(key, seqs)
            waived = {seq for seq in before if name not in told.reports[seq][1]}
            assert set(seqs) | waived == set(before), f"{name} got {before} and {seqs} under one key"
            assert {keys.setdefault(seq, key) for seq in seqs} == {key}, "the same key each time"
