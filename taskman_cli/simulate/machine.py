"""A model of a machine: cores and a disk that are shared by all that runs, and memory that runs out.

It is a model, and says so wherever its results are shown. What it does:

- A command is `Work`: phases one after the other, each of CPU time, of sleep, or of input and output; and
  memory, which it takes step by step in the first part of its life.
- **CPU**: runnable tasks share the cores equally. With more than one for each core a little is lost to
  switching between them, at most a quarter. A phase of CPU time may be of several tasks (`width`).
- **Input and output**: `disk_width` phases at a time run at full speed, more share it.
- **Memory**: above all that there is, everything slows down to a tenth, and tasks wait for memory. Above
  120 % of it the largest command is killed.
- A start costs CPU time, and comes a moment after it was asked for.

Time is elapsed nanoseconds. It passes in `advance` alone, which returns what has ended; `next_ns` says when
something changes by itself. `signals` is what the real machine says in /proc: the gate decides by it. The
same calls give the same results: there is no chance in here.

    machine = Machine(Hardware(cores=2, memory_bytes=2 << 30))
    machine.begin("key", Work.of(cpu_ns=300_000_000, sleep_ns=1_000_000_000), now_ns)
    while (at_ns := machine.next_ns()) is not None:
        for end in machine.advance(at_ns):
            print(end.key, end.at_ns, end.is_out_of_memory)
"""

from __future__ import annotations

import math
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.admission import Signals
from taskman_cli.simulate.foreseen import Command, Foreseen, used_ns
from taskman_cli.simulate.work import End, Hardware, Kind, Phase, Work

__all__ = ["End", "Hardware", "Machine", "Work"]

#: A phase of CPU time is over when less than this is left of it: clocks count whole nanoseconds.
_NOTHING_NS = 0.5
#: A command takes its memory in so many even steps at least, and in more if they would be farther apart.
_STEPS, _STEP_NS = 4, SECOND_NS * 9 // 20
#: What any process has at once.
_FIRST_BYTES = 3 << 20
#: A command that takes no more than this share of the memory takes it at once: it makes no difference.
_SMALL_SHARE = 1 / 256
#: How fast all is when the memory is full, and the share of it above which somebody is killed.
_SWAP_SPEED, _KILL_SHARE = 0.1, 1.2
#: So many plans for commands that are over are kept at most, beside those of commands that run.
_ROOM = 1024
#: From this share on, tasks wait for memory now and then.
_STALL_SHARE, _STALL_MOST = 0.95, 0.8

#: What a timer is for, if it is not for an amount of memory: the next phase, or the end that was foreseen.
_PHASE, _END = -1, -2
_CPU, _SLEEP = Kind.CPU, Kind.SLEEP  # to look up a member takes as long as a call


class Machine:
    """Runs commands."""

    def __init__(self, hardware: Hardware, *, now_ns: int = 0) -> None:
        self.hardware = hardware
        self.now_ns = now_ns
        most_bytes = hardware.memory_bytes
        #: A command that takes no more takes it at once.
        self._small_bytes = math.inf if most_bytes is None else max(_FIRST_BYTES, most_bytes * _SMALL_SHARE)
        #: Up to here no task waits for memory.
        self._easy_bytes = math.inf if most_bytes is None else most_bytes * _STALL_SHARE
        #: What all commands use of the memory, and the most that they used together.
        self.used_bytes = self.peak_bytes = 0
        #: How many commands were killed because the memory ran out.
        self.kills = 0
        self._commands: dict[str, Command] = {}
        self._foreseen = Foreseen()
        # Each task gets the same of the cores: so a phase ends when what each has had since the beginning of
        # time reaches a mark that never moves, and only the next mark has to be watched.
        self._cpu = self._disk = 0.0
        self._on_cpu: list[tuple[float, int, Command]] = []
        self._on_disk: list[tuple[float, int, Command]] = []
        self._timers: list[tuple[int, int, Command, int]] = []
        self._sequence = 0
        self._tasks = self._disk_tasks = 0
        self._speed, self._speed_of = 1.0, -1  # how fast each task gets on, if there are so many
        #: For how long some task waited for memory, and cores were busy, in total.
        self._stalled_ns = 0.0
        self._busy_ns: float = 0  # whole, if the number of cores is
        self._ends: list[End] = []

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, key: str) -> bool:
        return key in self._commands

    # --- what others do to it ---

    def begin(self, key: str, work: Work, now_ns: int) -> None:
        """Start a command now; commands have different keys."""
        if now_ns > self.now_ns:
            self._pass(now_ns)
        command = self._commands[key] = Command(key, work)
        most_bytes, begin_ns = work.memory_bytes, now_ns + self.hardware.start_lag_ns
        if most_bytes <= self._small_bytes:
            if self.used_bytes + most_bytes > self._easy_bytes:
                self._use(command, most_bytes)
            else:  # the memory does not run out
                command.used = most_bytes
                self.used_bytes = used_bytes = self.used_bytes + most_bytes
                if used_bytes > self.peak_bytes:
                    self.peak_bytes = used_bytes
            if not self._foresee(command, begin_ns):
                self._plan(begin_ns, command, _PHASE)
            return
        self._plan(begin_ns, command, _PHASE)
        steps = max(_STEPS, math.ceil(work.ramp_ns / _STEP_NS))
        for step in range(1, steps + 1):
            self._plan(now_ns + work.ramp_ns * step // steps, command, most_bytes * step // steps)
        self._use(command, min(most_bytes, _FIRST_BYTES))

    def end(self, key: str, now_ns: int) -> End | None:
        """End a command before it is done, as a signal does; None: it is not there."""
        self._pass(now_ns)
        command = self._commands.get(key)
        if command is None:
            return None
        self._leave(command)
        end = self._remove(command)
        self._forget_killed()
        return end

    def advance(self, to_ns: int) -> list[End]:
        """Let time pass up to a moment; return the commands that have ended."""
        found: list[End] = []
        while ends := self.advance_to_end(to_ns):
            found += ends
        return found

    def advance_to_end(self, to_ns: int) -> list[End]:
        """Let time pass until commands end, and at most up to a moment; return those that have ended.

        `now_ns` is then where it has stopped.
        """
        while not self._ends:
            if self._on_cpu or self._on_disk:
                at_ns = self._next_change()
            else:
                at_ns = self._timers[0][0] if self._timers else None
            if at_ns is None or at_ns > to_ns:
                if to_ns > self.now_ns:
                    self._pass(to_ns)
                return []
            if at_ns > self.now_ns:
                self._pass(at_ns)
            self._work()
        ends, self._ends = self._ends, []
        return ends

    # --- what it says ---

    def next_ns(self) -> int | None:
        """Return when something changes by itself, as things are; None: nothing runs."""
        return self.now_ns if self._ends else self._next_change()

    def _next_change(self) -> int | None:
        found = self._timers[0][0] if self._timers else None
        if self._on_cpu:
            left = (self._on_cpu[0][0] - self._cpu - _NOTHING_NS) / self._cpu_speed()
            at_ns = self.now_ns + math.ceil(left) if left > 0 else self.now_ns
            found = at_ns if found is None or at_ns < found else found
        if self._on_disk:
            left = (self._on_disk[0][0] - self._disk - _NOTHING_NS) / self.hardware.disk_speed(
                self._disk_tasks
            )
            at_ns = self.now_ns + math.ceil(left) if left > 0 else self.now_ns
            found = at_ns if found is None or at_ns < found else found
        return found

    @property
    def runnable(self) -> int:
        """Return how many tasks run or could."""
        return self._tasks + self.hardware.others + self._foreseen.runnable(self.now_ns)

    @property
    def busy_ns(self) -> float:
        """Return for how long cores were busy, all together."""
        return self._busy_ns - self._foreseen.left_ns(self.now_ns)

    def used(self, key: str) -> int:
        """Return how much memory a command uses; 0: it is not there."""
        command = self._commands.get(key)
        return command.used if command else 0

    def cpu_ns(self, key: str) -> int:
        """Return how much CPU time a command has used; 0: it is not there."""
        command = self._commands.get(key)
        return int(self._cpu_of(command)) if command else 0

    def signals(self, *, most_workers: int | None = None) -> Signals:
        """Return what the kernel would say now."""
        memory = self.hardware.memory_bytes
        return Signals(
            self.hardware.cores,
            self.runnable,
            memory,
            None if memory is None else max(0, memory - self.used_bytes),
            int(self._stalled_ns),
            most_workers,
        )

    # --- time ---

    def _cpu_speed(self) -> float:
        if self._tasks != self._speed_of:
            self._speed_of, self._speed = self._tasks, self.hardware.cpu_speed(self._tasks)
        memory = self.hardware.memory_bytes
        return self._speed * _SWAP_SPEED if memory is not None and self.used_bytes > memory else self._speed

    def _pass(self, to_ns: int) -> None:
        passed_ns = to_ns - self.now_ns
        if passed_ns <= 0:
            return
        self.now_ns = to_ns
        tasks = self._tasks + self.hardware.others
        if tasks:  # or all of them sleep
            self._busy_ns += min(tasks, self.hardware.cores) * passed_ns
            if self._tasks:
                self._cpu += passed_ns * self._cpu_speed()
            memory = self.hardware.memory_bytes
            if memory is not None and self.used_bytes > _STALL_SHARE * memory:
                full = self.used_bytes / memory
                share = _STALL_MOST if full > 1 else (full - _STALL_SHARE) * 6
                self._stalled_ns += passed_ns * share
        if self._disk_tasks:
            self._disk += passed_ns * self.hardware.disk_speed(self._disk_tasks)

    def _work(self) -> None:
        """Do what is due now."""
        timers, now_ns = self._timers, self.now_ns
        while timers and timers[0][0] <= now_ns:
            _, _, command, used = heappop(timers)
            if command.is_over:
                continue
            if used == _END:
                if command.course is not None:  # or it was taken back
                    begin_ns, until_ns = command.course
                    command.course, command.cpu_ns = None, (until_ns - begin_ns) * command.work.width
                    self._ends.append(self._remove(command))
            elif used == _PHASE:
                self._next_phase(command)
            elif used > command.used:
                self._use(command, used)
        # Phases whose mark the clock of the cores or of the disk has reached end.
        for marks, clock in ((self._on_cpu, self._cpu), (self._on_disk, self._disk)):
            while marks and (marks[0][2].is_over or marks[0][0] - clock <= _NOTHING_NS):
                command = heappop(marks)[2]
                if not command.is_over:
                    self._next_phase(command)
        while timers and timers[0][2].is_over:
            heappop(timers)
        # Where no mark is left, the clock begins anew.
        self._cpu, self._disk = self._cpu if self._on_cpu else 0.0, self._disk if self._on_disk else 0.0

    def _forget_killed(self) -> None:
        """Drop what was planned for commands that were ended early, if it comes first or is the most of all.

        Nothing stops for what comes first: time that passes in other steps is rounded otherwise.
        """
        plans: tuple[list[Any], ...] = self._timers, self._on_cpu, self._on_disk
        is_most = sum(map(len, plans)) >= 8 * len(self._commands) + _ROOM
        for heap in plans:
            if is_most:
                heap[:] = [entry for entry in heap if not entry[2].is_over]
                heapify(heap)
            while heap and heap[0][2].is_over:
                heappop(heap)

    # --- commands ---

    def _foresee(self, command: Command, begin_ns: int) -> bool:
        """Plan a command to its end if it disturbs no other one, as things are; tell whether that is so."""
        work, hardware = command.work, self.hardware
        if work.spans_ns is None or command.is_over or self.used_bytes > self._easy_bytes:
            return False
        if self._tasks + self._foreseen.tasks(self.now_ns) + work.width + hardware.others > hardware.cores:
            return False
        computes_ns, sleeps_ns = work.spans_ns
        until_ns = self._foreseen.add(command, begin_ns, computes_ns + hardware.start_cpu_ns)
        self._busy_ns += (until_ns - begin_ns) * work.width
        self._sequence += 1
        heappush(self._timers, (until_ns + sleeps_ns, self._sequence, command, _END))
        return True

    def _take_back(self) -> None:
        """Let the commands that were foreseen, and still compute, share the cores with all others."""
        now_ns = self.now_ns
        self._busy_ns -= self._foreseen.left_ns(now_ns)
        for command in self._foreseen.take_all(now_ns):
            assert command.course is not None
            begin_ns, until_ns = command.course
            command.course = None
            if now_ns < begin_ns:
                self._plan(begin_ns, command, _PHASE)
                continue
            command.phase, command.since = 0, self._cpu - (now_ns - begin_ns)
            self._tasks += command.work.width
            self._sequence += 1
            heappush(self._on_cpu, (self._cpu + until_ns - now_ns, self._sequence, command))

    def _plan(self, at_ns: int, command: Command, used: int) -> None:
        """Let a command use so much memory at a moment, or do what `_PHASE` and `_END` say."""
        self._sequence += 1
        heappush(self._timers, (at_ns, self._sequence, command, used))

    def _next_phase(self, command: Command) -> None:
        work, index = command.work, command.phase
        if index < 0:
            work = self._add_start(command)
        elif work.phases[index][0] is not _SLEEP:
            self._leave(command)
        command.phase = index = index + 1
        if index >= len(work.phases):
            self._ends.append(self._remove(command))
            return
        kind, length_ns = work.phases[index]
        self._sequence = sequence = self._sequence + 1
        if kind is _SLEEP:
            heappush(self._timers, (self.now_ns + length_ns, sequence, command, _PHASE))
        elif kind is _CPU:
            command.since = self._cpu
            self._tasks += work.width
            hardware, foreseen = self.hardware, self._foreseen
            if foreseen and self._tasks + foreseen.tasks(self.now_ns) + hardware.others > hardware.cores:
                self._take_back()
            mark = self._cpu + length_ns / work.width + (0 if index else hardware.start_cpu_ns)
            heappush(self._on_cpu, (mark, sequence, command))
        else:
            self._disk_tasks += 1
            heappush(self._on_disk, (self._disk + length_ns, sequence, command))

    def _add_start(self, command: Command) -> Work:
        """Let a command begin with a phase of CPU time: its start takes some. Return its work."""
        work = command.work
        if self.hardware.start_cpu_ns and (not work.phases or work.phases[0][0] is not _CPU):
            command.work = work = replace(work, phases=(Phase(Kind.CPU, 0), *work.phases))
        return work

    def _leave(self, command: Command) -> None:
        """Take a command out of the phase it is in."""
        if command.course is not None:
            command.cpu_ns = used_ns(command, self.now_ns)
            begin_ns, until_ns = command.course
            if until_ns > self.now_ns:
                self._busy_ns -= (until_ns - max(begin_ns, self.now_ns)) * command.work.width
            command.course = None
            return
        if command.phase < 0:
            return
        kind = command.work.phases[command.phase][0]
        if kind is _CPU:
            command.cpu_ns += (self._cpu - command.since) * command.work.width
            self._tasks -= command.work.width
        elif kind is Kind.DISK:
            self._disk_tasks -= 1

    def _cpu_of(self, command: Command) -> float:
        if command.course is not None:
            return used_ns(command, self.now_ns)
        if command.phase < 0 or command.work.phases[command.phase].kind is not Kind.CPU:
            return command.cpu_ns
        return command.cpu_ns + (self._cpu - command.since) * command.work.width

    def _remove(self, command: Command, *, is_out_of_memory: bool = False) -> End:
        command.is_over = True
        del self._commands[command.key]
        self.used_bytes -= command.used
        return End(command.key, self.now_ns, int(command.cpu_ns), command.used, is_out_of_memory)

    def _use(self, command: Command, used: int) -> None:
        """Let a command use so much memory; if that is too much for all, the largest is killed."""
        self.used_bytes += used - command.used
        command.used = used
        if self.used_bytes > self.peak_bytes:
            self.peak_bytes = self.used_bytes
        if self.used_bytes > self._easy_bytes and self._foreseen:
            self._take_back()
        memory = self.hardware.memory_bytes
        while memory is not None and self.used_bytes > _KILL_SHARE * memory:
            largest = max(self._commands.values(), key=lambda one: (one.used, one.key))
            self._leave(largest)
            self._ends.append(self._remove(largest, is_out_of_memory=True))
            self.kills += 1
            self._forget_killed()
