"""Commands that run on the model of a machine, with their supervisor."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit
from taskman_cli.simulate.machine import Machine
from taskman_cli.simulate.supervisor import Process, Supervisor

if TYPE_CHECKING:
    from taskman_cli.simulate.habits import Act
    from taskman_cli.simulate.machine import End
    from taskman_cli.simulate.work import Hardware

_OUT_OF_MEMORY = Exit(signal=signal.SIGKILL, memory="machine")


class Commands(Supervisor, ABC):
    """What was started, each doing what `act` says of its start."""

    def __init__(self, now: Now, hardware: Hardware) -> None:
        super().__init__(now)
        self.hardware = hardware
        self._start_ns = hardware.start_ns
        self.machine = Machine(hardware, now_ns=now.elapsed_ns)
        self._acts: dict[str, Act] = {}
        #: Starts that will fail. That takes time, too, or retries without a pause would stop the clock.
        self._failing: dict[str, effects.Start] = {}
        #: How long commands that ended by themselves took, and how long they would have taken alone.
        self.took_ns = self.alone_ns = 0

    @abstractmethod
    def act(self, start: effects.Start) -> Act:
        """Return what an attempt will do."""

    def cut_power(self) -> None:
        """Let everything end that runs on the machine; nobody hears of it."""
        self.alive.clear()
        self._acts.clear()
        self._failing.clear()
        self.machine = Machine(self.hardware, now_ns=self.now.elapsed_ns)

    def start(self, start: effects.Start) -> None:
        """Start a command, or find that it cannot be started."""
        act = self.act(start)
        if act.end is None:
            self._failing[start.key] = start
        else:
            self.begin(start)
        self._acts[start.key] = act
        self.machine.begin(start.key, act.work, self.now.elapsed_ns)

    def run(self, key: str, act: Act) -> None:
        """Let a command do something that was started, or is about to be."""
        self._acts[key] = act
        self.machine.begin(key, act.work, self.now.elapsed_ns)

    def measure(self, action: effects.MeasureMemory) -> None:
        """Tell how much memory commands use."""
        self.news.append(events.MemoryMeasured({key: self.machine.used(key) for key, _ in action.attempts}))

    def advance(self, now: Now) -> None:
        """Let time pass; commands that are done end."""
        self.now = now
        self._end_all(self.machine.advance(now.elapsed_ns))

    def advance_to_end(self, to_ns: int) -> None:
        """Let time pass until a command ends, and at most up to a moment on the elapsed clock."""
        machine, now = self.machine, self.now
        ends = machine.advance_to_end(to_ns)
        passed_ns = machine.now_ns - now[1]
        if passed_ns:
            self.now = Now(now[0] + passed_ns, now[1] + passed_ns)
        if ends:
            self._end_all(ends)

    def _end_all(self, ends: list[End]) -> None:
        for end in ends:
            process, act = self.alive.get(end.key), self._acts.pop(end.key)
            if self._failing and (start := self._failing.pop(end.key, None)):
                words = "it could not be started, as on record"
                self.fail(start, events.StartFailed(end.key, words, is_transient=False, at=self.now))
                continue
            if process is None or process.is_stopped or process.held_ns is not None:
                continue  # nobody watches it, or it does not get on
            if end.is_out_of_memory:
                self.end(process, _exit_of(_OUT_OF_MEMORY, end))
                continue
            assert act.end is not None  # or its start fails
            self.took_ns += end.at_ns - process.started.elapsed_ns
            self.alone_ns += self._start_ns + act.alone_ns
            self.end(process, _exit_of(act.end, end))

    def end(self, process: Process, end: Exit) -> None:
        """Let a command end; if it is on the machine, it leaves that."""
        if self._acts.pop(process.key, None) is not None:
            left = self.machine.end(process.key, self.now.elapsed_ns)
            if left is not None:
                end = _exit_of(end, left)
        super().end(process, end)


def _exit_of(planned: Exit, end: End) -> Exit:
    return Exit(
        planned.exit_code,
        planned.signal,
        cpu_s=end.cpu_ns / SECOND_NS,
        peak_rss_bytes=end.peak_bytes,
        memory=planned.memory,
    )
