"""The engine as the parts of the scheduler share it: they give it events and register for its effects.

One object in place of many callbacks. Each kind of action is carried out by the part that has registered for
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.figures import Figures
from taskman_cli.core.timespec import format_rough
from taskman_cli.scheduler.logs.loggers import logger
from taskman_cli.scheduler.meters import Meters
from taskman_cli.scheduler.poison import Poison
from taskman_cli.scheduler.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.outbox import Step
    from taskman_cli.ledger.ledger import Ledger
    from taskman_cli.scheduler.clocks import Clocks


#: Waking this late means that the process was stopped, or the machine too busy.
STALL_NS = 2_000_000_000
#: Events that concern many jobs or runs, any one of which may crash this process.
_OF_MANY = frozenset((events.Tick, events.JobsLoaded))


class EngineDriver:
    """Passes events to the engine at the time of the turn, and its effects to the recorder."""

    def __init__(self, engine: Engine, ledger: Ledger, clocks: Clocks, poison: Poison | None = None) -> None:
        self.engine = engine
        self.ledger = ledger
        self.clocks = clocks
        self.poison = poison or Poison()
        self.meters = meters = Meters()
        self.figures = Figures(engine)
        self.recorder = Recorder(
            engine, ledger, tell=self._tell, do=self._do, set_aside=self.set_aside, handle=self._step,
            timed=meters.commits.observe, tick=clocks.tick,
        )  # fmt: skip
        for name, read in (
            ("due", engine.timetable.due_count),
            ("waiting", lambda: engine.waiting_count),
            ("ready", lambda: engine.pool.ready_count),
            ("retries", lambda: engine.pool.resting_count),
            ("timers", engine.pool.timer_count),
            ("recorder", lambda: self.recorder.owed_count),
            ("upkeep", lambda: ledger.chore_count),
        ):
            meters.depths.watch(name, read)
        self.poison.record = self.recorder.note
        #: The function that carries out each kind of action.
        self.actions: dict[type[effects.Action], Callable[[Any], None]] = {}
        #: How many steps the engine has made.
        self.steps = 0
        self._followers: dict[type, list[Callable[[Any], None]]] = {}

    @property
    def now(self) -> Now:
        """Return the time of this turn of the loop."""
        return self.clocks.now

    @property
    def trouble(self) -> str | None:
        """Return why the ledger cannot be written; None if it can."""
        return self.recorder.trouble

    def follow(self, told: Mapping[type, Callable[[Any], None]]) -> None:
        """Register functions by kind of record, called once each is durable or cannot become so."""
        for kind, tell in told.items():
            self._followers.setdefault(kind, []).append(tell)

    def unfollow(self, told: Mapping[type, Callable[[Any], None]]) -> None:
        """Undo `follow` with the same functions."""
        for kind, tell in told.items():
            self._followers[kind].remove(tell)

    def give(self, event: events.Event) -> None:
        """Pass an event to the engine; its effects are carried out at the end of the turn."""
        self.give_all((event,))

    def give_all(self, news: Sequence[events.Event]) -> None:
        """Do the same with several events, at least one, as one step: that costs less."""
        self.recorder.take(self._step(news, self.clocks.now))

    def note(self, record: effects.Record | effects.Mark) -> None:
        """Record something that the engine does not decide; the sinks that want to know are told."""
        self.recorder.note(record)
        if isinstance(record, effects.SchedulerNoted) and (
            report := self.engine.reports.about_scheduler(record)
        ):
            self.recorder.note(report)

    def look_at_zone(self, *, is_asked: bool = False) -> str | None:
        """Log and record it if the machine's time zone has changed; return what is different, in words."""
        if words := self.clocks.take_zone_news(is_asked=is_asked):
            logger.warning("%s", words)
            self.note(effects.SchedulerNoted("zone_changed", words))
        return self.clocks.zone.note if self.clocks.zone else None

    def note_late(self, late_ns: int) -> None:
        """Count how late the loop woke; record that it was stopped, or that the machine was too busy."""
        if late_ns > 0:
            self.meters.lags.observe(late_ns)
        if late_ns >= STALL_NS:
            length = format_rough(late_ns)
            logger.warning("the scheduler was stopped, or the machine was too busy, for %s", length)
            self.note(effects.SchedulerNoted("stalled", f"for {length}"))

    def set_aside(self, what: str, error: Exception) -> None:
        """Log and record an error that was handled at once."""
        self.poison.note(what, error, self.clocks.now.wall_ns)

    def _step(self, news: Sequence[events.Event], now: Now) -> Step:
        self.steps += 1
        is_watched = not _OF_MANY.isdisjoint(map(type, news))
        step = self.engine.handle_all(self._each(news), now, watch=self.poison.watch if is_watched else None)
        if (error := self.engine.metrics.take_error()) is not None:
            self.set_aside("what is counted", error)
        return step

    def _each(self, news: Sequence[events.Event]) -> Iterator[events.Event]:
        """Yield the events; each is noted before the engine handles it, and after that."""
        for event in news:
            self.poison.doing = event
            yield event
            self.poison.done()
            if type(event) is events.JobsReloaded:
                self.poison.ask_for_gate()

    def _tell(self, record: effects.Record | effects.Mark) -> None:
        for tell in self._followers.get(type(record), ()):
            tell(record)

    def _do(self, action: effects.Action) -> None:
        self.actions[type(action)](action)
