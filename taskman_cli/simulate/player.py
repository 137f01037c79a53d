"""Plays job files: the scheduler's own engine, told by a virtual machine what happens, on a virtual clock.

A turn is one of the scheduler's loop: time has passed, what ended is told, a tick if one is due, the signals
of the machine if the engine wants them. That a command has started is told with what happens next, as long as
it makes no difference. Nothing is recorded and nothing is executed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, Now, earliest
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.simulate.clock import later, next_wake
from taskman_cli.simulate.commands import Commands
from taskman_cli.simulate.tally import Tally, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from taskman_cli.core.engine.memory import Memory
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
class Beginning:
    """Where in its scenario a player begins, and what is known by then, as after a restart."""

    after_ns: int = 0
    known: Mapping[str, events.JobStanding] = field(default_factory=dict)
    #: What is known of the memory that tasks need; None: what the scenario says.
    memory: Memory | None = None


@dataclass(slots=True)
class Part:
    """What was counted of a stretch of time; those of stretches that follow each other can be merged."""

    totals: Totals
    #: How long commands that ended took, and how long they would have taken alone.
    took_ns: int
    alone_ns: int
    #: For how long cores were busy, all together.
    busy_ns: float
    peak_bytes: int

    def merge(self, later: Part) -> None:
        """Add what was counted in the time after this."""
        self.totals.merge(later.totals)
        self.took_ns += later.took_ns
        self.alone_ns += later.alone_ns
        self.busy_ns += later.busy_ns
        self.peak_bytes = max(self.peak_bytes, later.peak_bytes)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a scenario."""

    scenario: Scenario
    tally: Totals
    #: How much longer commands took than alone: 1.1 is ten percent.
    slowdown: float
    #: Which share of the time of all cores was used.
    cores_busy: float
    memory_peak_bytes: int
    seats: int

    @classmethod
    def of(cls, scenario: Scenario, part: Part, *, seats: int) -> Played:
        """Sum up what was counted of a whole scenario."""
        part.totals.sum_up()
        length_ns = max(scenario.length_ns, 1)
        return cls(
            scenario,
            part.totals,
            part.took_ns / part.alone_ns if part.alone_ns else 1.0,
            part.busy_ns / (length_ns * scenario.hardware.cores),
            part.peak_bytes,
            seats,
        )


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

    def __init__(self, scenario: Scenario, habits: Habits, beginning: Beginning | None = None) -> None:
        beginning = beginning or Beginning()
        self.scenario = scenario
        self.engine = Engine(scenario.settings, is_counted=False, is_watched=False)
        now = later(Now(scenario.from_ns, _UPTIME_NS), beginning.after_ns)
        self.tally = Tally(scenario.timezone, now.wall_ns)
        self.commands = commands = _Commands(now, scenario.hardware, habits, self.tally, self.engine)
        self._deeds: dict[type, Callable[[Any], object]] = {
            effects.Start: commands.start,
            effects.Signal: commands.tell,
            effects.Forget: commands.forget,
            effects.MeasureMemory: commands.measure,
        }
        #: It has come to the end of the scenario, or nothing happens any more.
        self.is_over = False
        #: How many turns it has played, and how many at this instant.
        self.turns = self._stands = 0
        self._busy_ns: float = 0
        self._begin(beginning)

    def _begin(self, beginning: Beginning) -> None:
        scenario, commands = self.scenario, self.commands
        memory, needs = beginning.memory, scenario.needs
        if memory is not None:  # before anything begins, which would be on the books by then
            self.engine.pool.memory.learn_from(memory)
            needs = memory.unused
        self._look_at_machine()
        loaded = events.JobsLoaded(
            tuple(scenario.jobs),
            accounted_ns=commands.now.wall_ns,
            known=beginning.known,
            needs=needs,
            is_new_boot=False,
        )
        self._give((loaded,))
        first_ns = next_wake(self.engine, commands.now)
        self._settle(is_due=first_ns is not None and first_ns <= commands.now.elapsed_ns)

    @property
    def played_ns(self) -> int:
        """Return how far it is in the scenario."""
        return self.commands.now.elapsed_ns - _UPTIME_NS

    def play(self, watch: Callable[[float], None] | None = None) -> Played:
        """Play all of it; `watch` is told now and then which share is done."""
        self.run(watch=watch)
        return Played.of(self.scenario, self.cut(), seats=self.engine.pool.seats)

    def run(
        self,
        *,
        to_ns: int | None = None,
        turns: int | None = None,
        watch: Callable[[float], None] | None = None,
    ) -> None:
        """Play on, up to the end of the first turn that is so far in the scenario, or for so many turns.

        The turns are the same however often this is called. Raises Standstill.
        """
        scenario, commands, engine, tally = self.scenario, self.commands, self.engine, self.tally
        end_ns = _UPTIME_NS + scenario.length_ns
        stop_ns = end_ns + 1 if to_ns is None else _UPTIME_NS + to_ns
        last_turn = -1 if turns is None else self.turns + turns
        while not self.is_over:
            before = commands.now
            wake_ns = next_wake(engine, before)
            if commands.tell_by_ns is not None:
                wake_ns = earliest(wake_ns, commands.tell_by_ns)
            commands.advance_to_end(end_ns if wake_ns is None or wake_ns > end_ns else wake_ns)
            wall_ns, at_ns = commands.now
            if commands.now is not before:
                self._stands = 0
                tally.move(wall_ns)
            else:
                self._stands += 1
                if self._stands > _MOST_TURNS:
                    raise Standstill(wall_ns)
            is_due = wake_ns is not None and wake_ns <= at_ns
            if commands.news:
                self._hear()  # a tick that is wanted now because of it comes in the next turn
            elif not is_due:
                self._end(end_ns)
                return
            self._settle(is_due=is_due)
            self.turns += 1
            if watch is not None and self.turns % _WATCH_TURNS == 0:
                watch((at_ns - _UPTIME_NS) / scenario.length_ns)
            if at_ns >= stop_ns or self.turns == last_turn:
                return

    def cut(self) -> Part:
        """Return what was counted since the last time; what is under way is counted as it ends."""
        commands, machine = self.commands, self.commands.machine
        part = Part(
            self.tally.cut(),
            commands.took_ns,
            commands.alone_ns,
            machine.busy_ns - self._busy_ns,
            machine.peak_bytes,
        )
        commands.took_ns = commands.alone_ns = 0
        self._busy_ns, machine.peak_bytes = machine.busy_ns, machine.used_bytes
        return part

    def _settle(self, *, is_due: bool) -> None:
        """End a turn as the scheduler's loop does; `is_due`: a tick is."""
        commands, engine = self.commands, self.engine
        if is_due:
            if engine.wants_signals(commands.now):
                self._give((events.SignalsRead(commands.machine.signals()), _TICK))
            else:
                self._give((_TICK,))
        pool = engine.pool
        while commands.news or (pool.gate is not None and pool.gate.wants_signals):
            self._look_at_machine()
            self._hear()
        self.tally.look(engine, commands.now)

    def _hear(self) -> None:
        commands = self.commands
        while commands.news:
            news, commands.news = commands.news, []
            self._give(news)

    def _look_at_machine(self) -> None:
        if self.engine.pool.wants_signals:
            self._give((events.SignalsRead(self.commands.machine.signals()),))

    def _give(self, news: Sequence[events.Event]) -> None:
        folds, deeds, commands = self.tally.folds, self._deeds, self.commands
        if commands.starts:
            news = [*commands.take_starts(), *news]
        records, actions = self.engine.handle_all(news, commands.now)
        for record in records:
            if fold := folds.get(type(record)):
                fold(record)
        for action in actions:
            if deed := deeds.get(type(action)):
                deed(action)

    def _end(self, end_ns: int) -> None:
        """Let the rest of the time pass, in which nothing happens."""
        self.is_over = True
        now = later(self.commands.now, end_ns - self.commands.now.elapsed_ns)
        self.tally.move(now.wall_ns)
        self.tally.close()
        self.commands.machine.advance(end_ns)
