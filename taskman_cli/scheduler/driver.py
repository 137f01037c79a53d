"""The engine as the parts of the scheduler share it: what they give it, and who is told what comes of it.

One object in place of many callbacks. A part that carries out a kind of action, or follows the records,
registers for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import events
from taskman_cli.scheduler.poison import Poison
from taskman_cli.scheduler.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine import effects
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.ledger.ledger import Ledger
    from taskman_cli.scheduler.clocks import Clocks


class EngineDriver:
    """Gives events to the engine at the moment of the turn, and its effects to the recorder."""

    def __init__(self, engine: Engine, ledger: Ledger, clocks: Clocks, poison: Poison | None = None) -> None:
        self.engine = engine
        self.ledger = ledger
        self.clocks = clocks
        self.poison = poison or Poison()
        self.recorder = Recorder(
            engine, ledger, tell=self._tell, do=self._do, set_aside=self.set_aside, handle=self._step
        )
        self.poison.record = self.recorder.note
        #: What carries out each kind of action.
        self.actions: dict[type[effects.Action], Callable[[Any], None]] = {}
        self._followers: list[Callable[[effects.Record | effects.Mark], None]] = []

    @property
    def now(self) -> Now:
        """Return the moment of this turn of the loop."""
        return self.clocks.now

    @property
    def trouble(self) -> str | None:
        """Return why the ledger cannot be written, in words; None: it can."""
        return self.recorder.trouble

    def follow(self, tell: Callable[[effects.Record | effects.Mark], None]) -> None:
        """Tell a part of the scheduler of each record, once it is durable or cannot become so."""
        self._followers.append(tell)

    def give(self, event: events.Event) -> None:
        """Give the engine an event; its effects happen at the end of the turn."""
        self.recorder.take(self._step(event, self.clocks.now))

    def note(self, record: effects.Record) -> None:
        """Put something on record that the engine does not decide."""
        self.recorder.note(record)

    def set_aside(self, what: str, error: Exception) -> None:
        """Log an error that was dealt with on the spot, and put it on record."""
        self.poison.note(what, error, self.clocks.now.wall_ns)

    def _step(self, event: events.Event, now: Now) -> list[effects.Effect]:
        self.poison.doing = event
        # In these, one of many jobs or runs may be what this process dies of.
        watch = self.poison.watch if isinstance(event, events.Tick | events.JobsLoaded) else None
        return self.engine.handle(event, now, watch=watch)

    def _tell(self, record: effects.Record | effects.Mark) -> None:
        for tell in self._followers:
            tell(record)

    def _do(self, action: effects.Action) -> None:
        self.actions[type(action)](action)
