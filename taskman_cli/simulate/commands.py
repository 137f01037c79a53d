"""Commands that run on the model of a machine, with their supervisor."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit
from taskman_cli.simulate.machine import Machine
from taskman_cli.simulate.supervisor import Process, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.simulate.habits import Act
    from taskman_cli.simulate.machine import End, Hardware

_OUT_OF_MEMORY = Exit(signal=signal.SIGKILL, memory="machine")


class Commands(Supervisor):
    """What was started, each doing what `act` says of its start."""

    def __init__(self, now: Now, hardware: Hardware, act: Callable[[effects.Start], Act]) -> None:
        super().__init__(now)
        self.machine = Machine(hardware, now_ns=now.elapsed_ns)
        self._act = act
        self._acts: dict[str, Act] = {}
        #: How long commands that ended by themselves took, and how long they would have taken alone.
        self.took_ns = self.alone_ns = 0

    def start(self, start: effects.Start) -> None:
        """Start a command, or find that it cannot be started."""
        act = self._act(start)
        if act.end is None:
            failed = events.StartFailed(
                start.key, "it could not be started, as on record", is_transient=False, at=self.now
            )
            self.fail(start, failed)
            return
        self.begin(start)
        self._acts[start.key] = act
        self.machine.begin(start.key, act.work, self.now.elapsed_ns)

    def measure(self, action: effects.MeasureMemory) -> None:
        """Tell how much memory commands use."""
        self.news.append(events.MemoryMeasured({key: self.machine.used(key) for key, _ in action.attempts}))

    def advance(self, now: Now) -> None:
        """Let time pass; commands that are done end."""
        self.now = now
        for end in self.machine.advance(now.elapsed_ns):
            process = self.alive[end.key]
            act = self._acts.pop(end.key)
            if end.is_out_of_memory:
                self.end(process, _exit_of(_OUT_OF_MEMORY, end))
                continue
            assert act.end is not None  # or it had not begun
            self.took_ns += end.at_ns - process.started.elapsed_ns
            self.alone_ns += act.work.alone_ns
            self.end(process, _exit_of(act.end, end))

    def killed(self, process: Process, signum: int) -> Exit:
        """Take a command off the machine; it ends at once."""
        self._acts.pop(process.key, None)
        end = self.machine.end(process.key, self.now.elapsed_ns)
        assert end is not None  # it is alive
        return _exit_of(Exit(signal=signum), end)


def _exit_of(planned: Exit, end: End) -> Exit:
    return replace(planned, cpu_s=end.cpu_ns / SECOND_NS, peak_rss_bytes=end.peak_bytes)
