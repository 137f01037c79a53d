"""Plays job files: the scheduler's own engine, told by a virtual machine what happens, on a virtual clock.

A turn is one of the scheduler's loop: time has passed, what ended is told, a tick if one is due, the signals
of the machine if the engine wants them. That a command has started is told with what happens next, as long as
it makes no difference. Nothing is recorded and nothing is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, Now, earliest
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

    def __init__(self, now: Now, hardware: Hardware, habits: Habits, tally: Tally, engine: Engine) -> None:
        super().__init__(now, hardware)
        self._habits, self._tally, self._engine = habits, tally, engine
        #: Starts that the engine was not told of yet, and until when it has to be; None: until they end.
        self.starts: list[events.Event] = []
        self.tell_by_ns: int | None = None

    def tell_of_start(self, started: events.AttemptStarted) -> None:
        """Note that a command has started."""
        self.starts.append(started)
        timer_ns = self._engine.first_timer_ns(self._engine.pool.running[started.key])
        if timer_ns is not None:
            self.tell_by_ns = earliest(self.tell_by_ns, started.started.elapsed_ns + timer_ns)

    def take_starts(self) -> list[events.Event]:
        """Return the starts that the engine is told of now."""
        starts, self.starts, self.tell_by_ns = self.starts, [], None
        return starts

    def act(self, start: effects.Start) -> Act:
        """Draw what an attempt does."""
        return self._habits.act(start, self._tally.due[start.run])


class Player:
    """Plays one scenario."""

    def __init__(self, scenario: Scenario, habits: Habits) -> None:
        self._scenario = scenario
        self._engine = Engine(scenario.settings, is_counted=False, is_watched=False)
        self._tally = Tally(scenario.timezone, scenario.from_ns)
        now = Now(scenario.from_ns, _UPTIME_NS)
        self._commands = commands = _Commands(now, scenario.hardware, habits, self._tally, self._engine)
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
        first_ns = next_wake(engine, commands.now)
        self._settle(is_due=first_ns is not None and first_ns <= commands.now.elapsed_ns)
        turns = stands = 0
        while True:
            before = commands.now
            wake_ns = next_wake(engine, before)
            if commands.tell_by_ns is not None:
                wake_ns = earliest(wake_ns, commands.tell_by_ns)
            commands.advance_to_end(end_ns if wake_ns is None or wake_ns > end_ns else wake_ns)
            wall_ns, at_ns = commands.now
            if commands.now is not before:
                stands = 0
                tally.move(wall_ns)
            else:
                stands += 1
                if stands > _MOST_TURNS:
                    raise Standstill(wall_ns)
            is_due = wake_ns is not None and wake_ns <= at_ns
            if commands.news:
                self._hear()  # a tick that is wanted now because of it comes in the next turn
            elif not is_due:
                break  # it is over
            self._settle(is_due=is_due)
            turns += 1
            if watch is not None and turns % _WATCH_TURNS == 0:
                watch((at_ns - _UPTIME_NS) / scenario.length_ns)
        return self._played(end_ns)

    def _settle(self, *, is_due: bool) -> None:
        """End a turn as the scheduler's loop does; `is_due`: a tick is."""
        commands, engine = self._commands, self._engine
        if is_due:
            if engine.wants_signals(commands.now):
                self._give((events.SignalsRead(commands.machine.signals()), _TICK))
            else:
                self._give((_TICK,))
        pool = engine.pool
        while commands.news or (pool.gate is not None and pool.gate.wants_signals):
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
        folds, deeds, commands = self._tally.folds, self._deeds, self._commands
        if commands.starts:
            news = [*commands.take_starts(), *news]
        records, actions = self._engine.handle_all(news, commands.now)
        for record in records:
            if fold := folds.get(type(record)):
                fold(record)
        for action in actions:
            if deed := deeds.get(type(action)):
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
