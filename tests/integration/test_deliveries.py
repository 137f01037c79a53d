"""One message of each sink is on its way, and the next goes when the end of the last is on record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from integration.ledger_tables import second
from integration.test_ledger_odd_reports import told
from integration.test_ledger_unreadable import open_ledger

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Settings
from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.ledger.reportqueue import QueueError
from taskman_cli.ledger.store import LedgerUnwritable
from taskman_cli.scheduler.meters import Meters
from taskman_cli.scheduler.outlets.deliveries import Deliveries
from taskman_cli.scheduler.outlets.trials import PATIENCE_NS, Trials
from taskman_cli.simulate.clock import later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from taskman_cli.ledger.ledger import Ledger

NOW = second(100)


class Loop:
    """The scheduler's loop as deliveries know it: what they note is durable when `settle` is called."""

    trouble: str | None = None
    now = NOW

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.meters = Meters()
        self.engine = SimpleNamespace(
            reports=SimpleNamespace(sinks=(SinkDefinition("ops", "file"),)), settings=Settings()
        )
        self.noted: list[Any] = []
        self._told: dict[type, Callable[[Any], None]] = {}

    def follow(self, told: Mapping[type, Callable[[Any], None]]) -> None:
        self._told.update(told)

    def note(self, record: Any) -> None:
        self.noted.append(record)

    def settle(self) -> None:
        records, self.noted = self.noted, []
        self.ledger.write(records, NOW)
        for record in records:
            self._told.get(type(record), lambda _: None)(record)


class Process:
    """A process of the sinks: it has a list of what it is told, and says what the test wants."""

    is_open = True
    heard_ns = 0

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.says: list[tuple[Any, ...]] = []

    def start(self, elapsed_ns: int) -> None: ...
    def next_timer(self) -> None: ...
    def flush(self) -> None: ...
    def expect(self, elapsed_ns: int) -> None: ...

    def say(self, *message: Any) -> None:
        self.heard.append(message)

    def turn(self, ready: set[int], elapsed_ns: int) -> list[tuple[Any, ...]]:
        said, self.says = self.says, []
        return said

    def delivered(self) -> list[tuple[int, list[int]]]:
        """Return the number and the lines of each message."""
        found = [message for message in self.heard if message[0] == "deliver"]
        return [(message[2], [report["seq"] for report in message[4]]) for message in found]


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    ledger = open_ledger(tmp_path)
    taken = effects.SinksTaken(("ops",))
    ledger.write([effects.LifeBegun("this", 1), taken, *told(ops=1), *told(ops=1), *told(ops=1)], NOW)
    yield Loop(ledger)
    ledger.close()


@pytest.mark.parametrize("answer", ["delivered", "refused"])
def test_the_next_message_goes_when_the_end_of_the_last_is_on_record(loop: Loop, answer: str) -> None:
    deliveries = Deliveries(cast("Any", loop))
    process = Process()
    deliveries.link = cast("Any", process)
    deliveries.flush()
    deliveries.flush()
    ((number, lines),) = process.delivered()
    process.says.append((answer, "ops", number, "so be it"))
    deliveries.turn(set())
    deliveries.flush()
    # A scheduler that dies now has one message whose end it cannot know, and not two.
    assert process.delivered() == [(number, lines)]
    loop.settle()
    deliveries.flush()
    assert [found for _, found in process.delivered()] == [lines, [lines[0] + 1]]


def deliveries_to(process: Process, loop: Loop) -> Deliveries:
    found = Deliveries(cast("Any", loop), make_link=lambda **_: cast("Any", process))
    found.flush()
    return found


def test_what_gathers_wakes_nobody_while_it_cannot_be_sent(loop: Loop) -> None:
    loop.engine.reports.sinks = (SinkDefinition("ops", "file", digest_ns=5),)
    process = Process()
    deliveries = deliveries_to(process, loop)
    assert deliveries.next_timer() == NOW.elapsed_ns + 5
    process.is_open = False  # it has died
    assert deliveries.next_timer() is None
    process.is_open = True
    loop.trouble = "the disk is full"
    deliveries.flush()
    assert deliveries.next_timer() is None


def test_a_new_ledger_is_read_from_its_beginning(loop: Loop, tmp_path: Path) -> None:
    process = Process()
    deliveries = deliveries_to(process, loop)
    loop.ledger.replace("broken", NOW)
    loop.ledger.write([effects.SinksTaken(("ops",)), *told(ops=1)], NOW)
    deliveries.flush()
    (_, old), (_, new) = process.delivered()
    assert (old, process.heard[-1][3] != process.heard[1][3]) == ([1], True)
    assert new == [loop.ledger.reports.last_seq()]


class Unreadable:
    """A queue that cannot be read for a while, as far as a test says."""

    def __init__(self, queue: Any, *names: str) -> None:
        self._queue, self.names = queue, {*names}

    def __getattr__(self, name: str) -> Any:
        if name in self.names:
            raise QueueError("disk I/O error")
        return getattr(self._queue, name)


@pytest.mark.parametrize("name", ["sinks", "identity", "count", "next_of", "read"])
def test_a_ledger_that_cannot_be_read_for_a_moment_is_read_again(
    loop: Loop, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process()
    queue = Unreadable(loop.ledger.reports, name)
    loop.ledger.reports = cast("Any", queue)
    deliveries = deliveries_to(process, loop)
    deliveries.flush()
    assert (process.delivered(), deliveries.next_timer()) == ([], NOW.elapsed_ns + 1_000_000_000)
    assert caplog.text.count("the ledger cannot be read (disk I/O error)") == 1
    queue.names.clear()
    loop.now = second(102)
    deliveries.flush()
    assert [lines for _, lines in process.delivered()] == [[1]]
    assert deliveries.next_timer() is None


def test_a_row_that_can_never_be_read_is_set_aside(loop: Loop) -> None:
    process = Process()
    loop.ledger.reports = cast("Any", Unreadable(loop.ledger.reports, "read"))
    deliveries = deliveries_to(process, loop)
    for at in range(102, 110, 2):
        loop.now = second(at)
        deliveries.flush()
    (mark,) = [mark for mark in loop.noted if isinstance(mark, effects.ReportSetAside)]
    assert (mark.seqs, mark.why) == ((1,), "its row in the ledger could not be read")


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_an_answer_for_the_ledger_before_moves_nothing_in_the_next(loop: Loop, is_looked_at: bool) -> None:
    process = Process()
    deliveries = deliveries_to(process, loop)
    ((number, _),) = process.delivered()
    loop.ledger.replace("broken", NOW)
    loop.ledger.write([effects.SinksTaken(("ops",)), *told(ops=1)], NOW)
    loop.ledger.reports = cast("Any", queue := Unreadable(loop.ledger.reports, "sinks"))
    if is_looked_at:
        deliveries.flush()
    process.says.append(("delivered", "ops", number, "OK"))
    deliveries.turn(set())
    assert loop.noted == []
    queue.names.clear()
    loop.now = second(102)
    deliveries.flush()
    assert process.heard[-2:-1] == [("configure", *process.heard[-2][1:])]
    assert [lines for _, lines in process.delivered()] == [[1], [loop.ledger.reports.last_seq()]]


def test_an_answer_that_comes_while_there_is_no_new_ledger_yet_moves_nothing(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process()
    deliveries = deliveries_to(process, loop)
    ((number, _),) = process.delivered()

    def fail(_: object) -> None:
        raise LedgerUnwritable("no space left on device")

    monkeypatch.setattr(loop.ledger, "_begin_anew", fail)
    with pytest.raises(LedgerUnwritable):
        loop.ledger.replace("broken", NOW)
    process.says.append(("delivered", "ops", number, "OK"))
    deliveries.turn(set())
    assert loop.noted == []


def test_a_ledger_that_cannot_be_read_is_not_read_again_at_once(loop: Loop) -> None:
    process = Process()
    loop.ledger.reports = cast("Any", queue := Unreadable(loop.ledger.reports, "sinks"))
    deliveries = deliveries_to(process, loop)
    queue.names.clear()
    loop.ledger.reports = cast("Any", Unreadable(queue))
    deliveries.flush()
    assert process.delivered() == []
    loop.now = second(102)
    deliveries.flush()
    assert [lines for _, lines in process.delivered()] == [[1]]


def digests_to(process: Process, loop: Loop) -> Deliveries:
    """Return what another scheduler delivers with, to a sink that gathers for a second."""
    loop.engine.reports.sinks = (SinkDefinition("ops", "file", digest_ns=1_000_000_000),)
    deliveries = deliveries_to(process, loop)
    go_on(deliveries, loop)
    return deliveries


def go_on(deliveries: Deliveries, loop: Loop) -> None:
    """Let a turn of the loop end, a while after the last."""
    loop.settle()
    loop.now = later(loop.now, 2_000_000_000)
    while deliveries.flush():
        loop.settle()


def messages(process: Process) -> list[tuple[str, list[int]]]:
    """Return the end of the key of each message, and its lines."""
    found = [message for message in process.heard if message[0] == "deliver"]
    return [(message[3].rpartition("-")[2], [report["seq"] for report in message[4]]) for message in found]


def test_a_digest_comes_again_as_it_was(loop: Loop) -> None:
    digests_to(first := Process(), loop)
    assert messages(first) == [("3", [1, 2, 3])]
    loop.ledger.write(told(ops=1), NOW)  # and here the scheduler is killed
    second_one = Process()
    deliveries = deliveries_to(second_one, loop)
    assert second_one.heard[-1] == first.heard[-1]
    second_one.says.append(("delivered", "ops", 1, "OK"))
    deliveries.turn(set())
    loop.settle()
    deliveries.flush()
    assert len(messages(second_one)) == 1  # what comes next gathers
    go_on(deliveries, loop)
    assert messages(second_one) == [("3", [1, 2, 3]), ("4", [4])]


def test_a_digest_is_sent_when_what_it_has_is_on_record(loop: Loop) -> None:
    loop.engine.reports.sinks = (SinkDefinition("ops", "file", digest_ns=1),)
    process = Process()
    deliveries = deliveries_to(process, loop)
    loop.now = second(101)
    assert deliveries.flush()
    assert (deliveries.flush(), messages(process)) == (False, [])
    loop.settle()
    assert (deliveries.flush(), messages(process)) == (False, [("3", [1, 2, 3])])
    assert loop.ledger.reports.sinks()["ops"].cut_seq == 3


@pytest.mark.parametrize(
    ("skipped", "expected"),
    [
        ((2,), [("3", [1, 3])]),
        ((3,), [("3", [1, 2])]),
        ((1, 2, 3), []),
    ],
    ids=["in the middle", "the last", "all"],
)
def test_a_digest_comes_again_without_what_was_skipped(
    loop: Loop, skipped: tuple[int, ...], expected: list[tuple[str, list[int]]]
) -> None:
    digests_to(Process(), loop)
    loop.ledger.write([*told(ops=1), *(effects.ReportSkipped("ops", seq) for seq in skipped)], NOW)
    process = Process()
    deliveries = deliveries_to(process, loop)
    assert messages(process) == expected
    if not expected:  # it holds nothing up
        go_on(deliveries, loop)
        assert messages(process) == [("4", [4])]


def test_a_digest_is_told_again_from_where_it_was_asked_for(loop: Loop) -> None:
    digests_to(Process(), loop)
    loop.ledger.write([*told(ops=1), effects.SinkMoved("ops", 1)], NOW)
    deliveries = deliveries_to(process := Process(), loop)
    go_on(deliveries, loop)
    assert messages(process) == [("4", [2, 3, 4])]


class Damaged:
    """A queue with a row that is there and cannot be read, as far as a test says."""

    def __init__(self, queue: Any, seq: int) -> None:
        self._queue, self.seq = queue, seq

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def read(self, seq: int) -> Any:
        if seq == self.seq:
            raise QueueError("disk I/O error")
        return self._queue.read(seq)


def test_a_digest_waits_for_a_row_that_cannot_be_read_for_a_moment(loop: Loop) -> None:
    digests_to(Process(), loop)
    loop.ledger.reports = cast("Any", queue := Damaged(loop.ledger.reports, 2))
    deliveries = deliveries_to(process := Process(), loop)
    go_on(deliveries, loop)
    assert messages(process) == []
    queue.seq = 0
    go_on(deliveries, loop)
    assert messages(process) == [("3", [1, 2, 3])]


def test_a_digest_with_a_row_that_can_never_be_read_is_cut_before_it(loop: Loop) -> None:
    digests_to(Process(), loop)
    loop.ledger.reports = cast("Any", Damaged(loop.ledger.reports, 2))
    deliveries = deliveries_to(process := Process(), loop)
    for _ in range(3):
        go_on(deliveries, loop)
    assert messages(process) == [("1", [1])]
    process.says.append(("delivered", "ops", 1, "OK"))
    deliveries.turn(set())
    for _ in range(10):
        go_on(deliveries, loop)
    assert messages(process) == [("1", [1]), ("3", [3])]
    assert loop.ledger.reports.is_refused("ops", 2)


class Halting(Damaged):
    """A queue that says what comes next one by one, and after a line nothing for a moment."""

    def next_of(self, sink: str, after: int, count: int) -> tuple[list[int], int]:
        if after == self.seq:
            raise QueueError("disk I/O error")
        found, _ = self._queue.next_of(sink, after, 1)
        return found, found[-1] if found else after

    def read(self, seq: int) -> Any:
        return self._queue.read(seq)


def test_a_digest_waits_for_what_it_has_if_that_cannot_be_read_for_a_moment(loop: Loop) -> None:
    digests_to(Process(), loop)
    loop.ledger.reports = cast("Any", queue := Halting(loop.ledger.reports, 2))
    deliveries = deliveries_to(process := Process(), loop)
    go_on(deliveries, loop)
    assert messages(process) == []
    queue.seq = 0
    go_on(deliveries, loop)
    assert messages(process) == []  # not even the first can be found
    queue.seq = -1
    go_on(deliveries, loop)
    assert messages(process) == [("3", [1, 2, 3])]


def trials(process: Process) -> tuple[Trials, list[tuple[bool, str]]]:
    """Return the messages of tests, of which one is on its way, and what is told of it."""
    told: list[tuple[bool, str]] = []
    found = Trials(cast("Any", process), process.say)
    found.add(7, ("deliver", 7), lambda is_taken, words: told.append((is_taken, words)), 0)
    return found, told


def test_a_test_is_told_what_came_of_it() -> None:
    found, told = trials(Process())
    assert not found.heard(8, "x", is_taken=True)
    assert found.heard(7, "HTTP 200", is_taken=True)
    assert (told, bool(found), found.next_timer()) == ([(True, "HTTP 200")], False, None)


def test_a_test_waits_seconds_for_a_process_that_is_stopped_and_no_minute() -> None:
    process = Process()
    found, told = trials(process)
    for elapsed_ns in (PATIENCE_NS, 2 * PATIENCE_NS):
        assert (told, found.next_timer()) == ([], elapsed_ns)
        found.turn(elapsed_ns)
    assert process.heard == [("deliver", 7), ("ping", 7)]
    ((is_taken, words),) = told
    assert (is_taken, words[:45]) == (False, "the process of the sinks does not answer: it ")


def test_a_test_waits_for_a_process_that_says_that_it_is_there() -> None:
    process = Process()
    found, told = trials(process)
    for turn in range(1, 20):
        found.turn(turn * PATIENCE_NS)
        process.heard_ns = turn * PATIENCE_NS + 1
    assert (told, process.heard.count(("ping", 7))) == ([], 19)


def test_a_test_for_which_there_is_no_process_says_so() -> None:
    process = Process()
    process.is_open = False
    found, told = trials(process)
    for turn in (1, 2):
        found.turn(turn * PATIENCE_NS)
    assert [words[:47] for _, words in told] == ["the process of the sinks could not be started y"]


def test_tests_are_sent_once_and_given_up_with_the_process() -> None:
    process = Process()
    process.is_open = False
    found, told = trials(process)
    process.is_open = True
    for _ in range(2):
        found.send()
    found.give_up()
    assert (process.heard, told) == (
        [("deliver", 7)], [(False, "the process of the sinks has died: try again")]
    )  # fmt: skip
