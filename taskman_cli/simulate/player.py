"""Plays job files: the scheduler's own engine, told by a virtual machine what happens, on a virtual clock.

A turn is one of the scheduler's loop: time has passed, what ended is told, a tick if one is due, the signals
of the machine if the engine wants them. Nothing is recorded and nothing is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.simulate.clock import later, next_wake
from taskman_cli.simulate.commands import Commands
from taskman_cli.simulate.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from taskman_cli.core.model import Job, Settings
    from taskman_cli.simulate.habits import Act, Habits, Owner
    from taskman_cli.simulate.work import Hardware

_TICK = events.Tick()
#: The elapsed clock at the beginning: the machine has been up for a while.
_UPTIME_NS = 1000 * SECOND_NS
#: `watch` is called once in so many turns.
_WATCH_TURNS = 20_000
#: A command that ends and starts again at the same instant for ever would stop the clock.
_MOST_TURNS = 100_000


class Standstill(Exception):
    """Raised if the clock does not get on; with the instant at which it stands."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played."""

    jobs: Sequence[Job]
    settings: Settings
    timezone: str
    from_ns: int
    length_ns: int
    hardware: Hardware
    #: How much memory tasks are known to need.
    needs: Mapping[Owner, int]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    scenario: Scenario
    tally: Tally
    #: How much longer commands took than alone: 1.1 is ten percent.
    slowdown: float
    #: Which share of the time of all cores was used.
    cores_busy: float
    memory_peak_bytes: int
    seats: int


class _Commands(Commands):
    """Commands with habits."""

    def __init__(self, now: Now, hardware: Hardware, habits: Habits, tally: Tally) -> None:
        super().__init__(now, hardware)
        self._habits, self._tally = habits, tally

    def act(self, start: effects.Start) -> Act:
        """Draw what an attempt does."""
        return self._habits.act(start, self._tally.due_ns(start.run))


class Player:
    """Plays one scenario."""

    def __init__(self, scenario: Scenario, habits: Habits) -> None:
        self._scenario = scenario
        self._engine = Engine(scenario.settings, is_counted=False, is_watched=False)
        self._tally = Tally(scenario.timezone, scenario.from_ns)
        now = Now(scenario.from_ns, _UPTIME_NS)
        self._commands = commands = _Commands(now, scenario.hardware, habits, self._tally)
        self._deeds: dict[type, Callable[[Any], object]] = {
            effects.Start: commands.start,
            effects.Signal: commands.tell,
            effects.Forget: commands.forget,
            effects.MeasureMemory: commands.measure,
        }

    def play(self, watch: Callable[[float], None] | None = None) -> Played:
        """Play all of it; `watch` is told now and then which share is done."""
        scenario, commands, engine, tally = self._scenario, self._commands, self._engine, self._tally
        end_ns = _UPTIME_NS + scenario.length_ns
        self._look_at_machine()
        loaded = events.JobsLoaded(
            tuple(scenario.jobs), accounted_ns=scenario.from_ns, needs=scenario.needs, is_new_boot=False
        )
        self._give((loaded,))
        self._settle(next_wake(engine, commands.now))
        turns = stands = 0
        while True:
            wake_ns, before_ns = next_wake(engine, commands.now), commands.now.elapsed_ns
            commands.advance_to_end(end_ns if wake_ns is None or wake_ns > end_ns else wake_ns)
            at_ns = commands.now.elapsed_ns
            if at_ns > before_ns:
                stands = 0
                tally.move(commands.now.wall_ns)
            else:
                stands += 1
                if stands > _MOST_TURNS:
                    raise Standstill(commands.now.wall_ns)
            if commands.news:
                self._hear()  # a tick that is wanted now because of it comes in the next turn
            elif wake_ns is None or wake_ns > at_ns:
                break  # it is over
            self._settle(wake_ns)
            turns += 1
            if watch is not None and turns % _WATCH_TURNS == 0:
                watch((at_ns - _UPTIME_NS) / scenario.length_ns)
        return self._played(end_ns)

    def _settle(self, wake_ns: int | None) -> None:
        """End a turn as the scheduler's loop does."""
        commands, engine = self._commands, self._engine
        if wake_ns is not None and wake_ns <= commands.now.elapsed_ns:
            if engine.wants_signals(commands.now):
                self._give((events.SignalsRead(commands.machine.signals()), _TICK))
            else:
                self._give((_TICK,))
        while commands.news or engine.pool.wants_signals:
            self._look_at_machine()
            self._hear()
        self._tally.look(engine, commands.now)

    def _hear(self) -> None:
        commands = self._commands
        while commands.news:
            news, commands.news = commands.news, []
            self._give(news)

    def _look_at_machine(self) -> None:
        if self._engine.pool.wants_signals:
            self._give((events.SignalsRead(self._commands.machine.signals()),))

    def _give(self, news: Sequence[events.Event]) -> None:
        folds, deeds = self._tally.folds, self._deeds
        records, actions = self._engine.handle_all(news, self._commands.now)
        for record in records:
            fold = folds.get(type(record))
            if fold is not None:
                fold(record)
        for action in actions:
            deed = deeds.get(type(action))
            if deed is not None:
                deed(action)

    def _played(self, end_ns: int) -> Played:
        scenario, commands = self._scenario, self._commands
        now = later(commands.now, end_ns - commands.now.elapsed_ns)
        self._tally.move(now.wall_ns)
        self._tally.close()
        commands.machine.advance(end_ns)
        machine, length_ns = commands.machine, max(scenario.length_ns, 1)
        return Played(
            scenario,
            self._tally,
            commands.took_ns / commands.alone_ns if commands.alone_ns else 1.0,
            machine.busy_ns / (length_ns * scenario.hardware.cores),
            machine.peak_bytes,
            self._engine.pool.seats,
        )
