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
from taskman_cli.scheduler.meters import Meters
from taskman_cli.scheduler.outlets.deliveries import Deliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from taskman_cli.ledger.ledger import Ledger

NOW = second(100)


class Loop:
    """The scheduler's loop as deliveries know it: what they note is durable when `settle` is called."""

    trouble = None
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

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.says: list[tuple[Any, ...]] = []

    def start(self, elapsed_ns: int) -> None: ...
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
