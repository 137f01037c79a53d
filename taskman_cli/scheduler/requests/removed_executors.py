"""Executors that a reload has removed: the supervisor knows them until no run can need one any more.

A run keeps the definition that it began with: its retries and further tasks begin where that says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.executors import LOCAL
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.runs import Run
    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.core.model import Settings


class RemovedExecutors:
    """Knows which of them are needed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: By name, with the runs that may need it.
        self._kept: dict[str, tuple[ExecutorDefinition, list[Run]]] = {}

    def added_to(self, settings: Settings) -> Settings:
        """Return settings with those that are needed, in the order of the names."""
        names = _names(settings)
        kept = [one for name, (one, _) in self._kept.items() if name not in names]
        executors = (
            sorted((*settings.executors, *kept), key=lambda one: one.name) if kept else settings.executors
        )
        return replace(settings, executors=tuple(executors))

    def take(self, told: Settings) -> None:
        """Find out, after a reload, which of those are needed that the supervisor was told of."""
        names = _names(self._engine.settings)
        self._kept = {one.name: (one, []) for one in told.executors if one.name not in names}
        runs = self._engine.active_runs() if self._kept else ()
        for run in runs:
            if run.state is State.QUEUED:  # it has the new definition
                continue
            for name in {task.execution.executor for task in run.job.tasks} & self._kept.keys():
                self._kept[name][1].append(run)
        self.forget()

    def forget(self) -> bool:
        """Forget those that are needed no more; return whether there were any."""
        gone = []
        for name, (_, runs) in self._kept.items():
            while runs and runs[-1].is_over:
                runs.pop()
            if not runs:
                gone.append(name)
        for name in gone:
            del self._kept[name]
        return bool(gone)


def _names(settings: Settings) -> set[str]:
    """Return the names of the executors that the supervisor knows; a local one is none of them."""
    return {one.name for one in settings.executors if one.type != LOCAL}
