"""The whole scheduler on a virtual machine: clocks, processes, a disk, and everything dying at any moment.

The engine, the recorder, the handlers of requests and the handover are the real ones; the ledger is a model
of plain tables, the supervisor and its processes are a few dictionaries. A seed is a history: the same one
every time.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unit.simulated_early import PATIENCE_NS, Generous, HeldStarts, are_known
from unit.simulated_ledger import OPEN, Attempt, Disk, Record, Run
from unit.simulated_sinks import SINKS, tastes
from unit.simulated_wishes import Customer, wish

from taskman_cli.core.clock import SECOND_NS, Now, earliest
from taskman_cli.core.conditions import Condition, Reach
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.attempts import KILL_PATIENCE_NS
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.engine.definition import job_from
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.figures import Figures
from taskman_cli.core.engine.jobset import visible
from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.resources import cost_ns
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.executors import LOCAL, ExecutorDefinition, seats_of
from taskman_cli.core.model import (
    GATE,
    GATE_CODES,
    Account,
    Amounts,
    Execution,
    Exit,
    Job,
    Mode,
    OnCrash,
    OnMissed,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
    State,
    Task,
    Trigger,
)
from taskman_cli.core.schedule import CronSchedule, Interval, Once, parse_cron
from taskman_cli.core.tuning import Admission, AdmissionTuning
from taskman_cli.jobfile import JobFile
from taskman_cli.jobfile.difference import Difference
from taskman_cli.scheduler.handover import left_running, open_runs
from taskman_cli.scheduler.heard import SeenAttempt
from taskman_cli.scheduler.meters import Meters
from taskman_cli.scheduler.orphans import Orphan
from taskman_cli.scheduler.poison import Poison, ReadFiles
from taskman_cli.scheduler.recorder import Recorder
from taskman_cli.scheduler.requests.handlers import Program, RequestHandlers
from taskman_cli.scheduler.requests.job_changes import Definitions
from taskman_cli.simulate.clock import is_tick_due, later, next_wake, stepped
from taskman_cli.simulate.commands import Commands
from taskman_cli.simulate.habits import Act
from taskman_cli.simulate.supervisor import Process
from taskman_cli.simulate.work import Hardware, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from taskman_cli.core.engine.outbox import Step

START_NS = 1_795_492_800 * SECOND_NS
YEAR_NS = 366 * 86_400 * SECOND_NS
RESOURCES = (
    ("api", Resource(2, rate=3, per_ns=60 * SECOND_NS, burst=2)),
    ("db", Resource(2)),
    ("plenty", Resource(None)),
    (seats_of("far"), Resource(2)),
    ("ram", Resource(6 << 30)),
)
NEEDS: tuple[Amounts, ...] = (
    (), (), (("db", 1),), (("db", 2),), (("api", 1),), (("api", 1), ("db", 1)), (("ram", 4 << 30),),
)  # fmt: skip
SETTINGS = Settings(
    max_workers=3,
    resources=RESOURCES,
    ageing_ns=10 * SECOND_NS,
    admission=Admission.AUTO,
    admission_patience_ns=5 * SECOND_NS,
    admission_tuning=AdmissionTuning(retry_ns=SECOND_NS, retry_max_ns=4 * SECOND_NS),
    executors=(ExecutorDefinition("far", "ssh", max_workers=2),),
)
#: What an attempt may wait for though nothing of ours runs.
WHILE_IDLE = {WaitsFor.RATE, WaitsFor.ROOM, WaitsFor.LEDGER, WaitsFor.RESUME, WaitsFor.RETRY}
HARDWARE = Hardware(2, 8 << 30)
PROGRAM = Program(("jobs.toml",), "/state", 1, START_NS, "UTC")
HERD = "*/10 * * * * *"
CRONS = ("*/5 * * * * *", "* * * * *", "*/3 * * * *", "30 * * * * *", "17 4 * * *")


class Crash(BaseException):
    """The scheduler dies here."""


class Unlawful(BaseException):
    """What is to be written breaks a law. No scheduler may go on after that, as it may after errors."""


class Curse(Exception):
    """A handler raises because a test lets it."""


@dataclass
class Hello:
    """What the supervisor tells a scheduler first."""

    started_ns: int
    attempts: tuple[SeenAttempt, ...]
    is_complete: bool = True
    has_executors: bool = True


class Machine(Commands):
    """Everything but the scheduler; and the scheduler that runs on it now."""

    def __init__(
        self,
        seed: int,
        *,
        bewitch: Callable[[Machine], None] = lambda _: None,
        has_all: bool = False,
        has_herd: bool = False,
    ) -> None:
        """`bewitch` may spoil each scheduler before it begins; `has_herd`: most jobs have the same slots.

        `has_all`: each job has all rules of the pool; and in most such histories each slot can be accounted
        for, since neither the clock is set nor the ledger lost.
        """
        self._bewitch = bewitch
        self._has_all, self._has_herd = has_all, has_herd
        self.is_orderly = has_all and seed % 4 > 0
        self.crashes = 0
        #: What the supervisor keeps of what schedulers died of.
        self.kept: object = None
        self.ends = 0
        self.chance = random.Random(seed)
        self.taste = random.Random(seed + 1)
        self.places = random.Random(seed + 2)
        #: What an executor has ended while no supervisor was there to hear of it.
        self.far: dict[str, Process] = {}
        self.whim = random.Random(seed + 3)
        self.portions = random.Random(seed + 4)
        #: How often a scheduler began in the middle of a herd.
        self.halves = 0
        #: Jobs need nothing but a worker, so that starts are asked for early.
        self.is_plain = seed % 3 == 0 and not has_all
        super().__init__(Now(START_NS, 1000 * SECOND_NS), HARDWARE)
        self.held = HeldStarts(
            lambda start: self._start(start), self._has_seat, lambda event: self.news.append(event)
        )
        self.disk = Disk()
        self.boot = 0
        self.life = 0
        self.started: Counter[str] = Counter()
        #: When commands began that count for the rate, since the last thing that makes it begin anew.
        self.calls: list[tuple[int, int]] = []
        self.stepped = False
        self.are_signals_heard = True
        #: By how much the clock is wrong, where it may be so by years; None: it never is by as much.
        self.detour_ns: int | None = None
        self.replaced = False
        self.stopped = False
        #: The scheduler dies before so many more writes and deeds; None: it does not.
        self.fuse: int | None = None
        #: As they are on the disk, and as this life of the program has read them.
        self.jobs = self._make_jobs()
        self.read_jobs = self.jobs
        self.is_reading = False
        self._reloads = 0
        self.new_life()

    # --- the job file ---

    def _make_jobs(self) -> tuple[Job, ...]:
        count = self.portions.randint(4, 8) if self._has_herd else self.chance.randint(1, 4)
        return tuple(self._make_job(f"job{number}") for number in range(count))

    def _make_job(self, name: str) -> Job:
        pick = self.chance.choice
        seconds = SECOND_NS
        schedule = (
            parse_cron(pick(CRONS), timezone="UTC")
            if self.chance.random() < 0.5
            else Interval(pick([2, 10, 60, 400]) * seconds, from_finish=self.chance.random() < 0.25)
        )
        if self._has_herd and self.portions.random() < 0.7:
            schedule = parse_cron(HERD, timezone="UTC")
        in_s = pick([None, None, None, -20, 50, 400])
        limit_ns = None if in_s is None else self.now.wall_ns + in_s * seconds
        is_start = pick([True, False])
        policy = Policy(
            overlap=pick(list(Overlap)), max_running=pick([None, 1, 2]), on_missed=pick(list(OnMissed)),
            start_deadline_ns=pick([None, 5 * seconds, 300 * seconds]), jitter_ns=pick([0, 0, 20 * seconds]),
            run_on_start=pick([True, False]), max_runs=pick([None, None, 3]), mode=pick(list(Mode)),
            on_crash=pick(list(OnCrash)), priority=pick([0, 0, 5]),
            max_failures=pick([1, 1, 2] if self._has_all else [None, None, 1, 2]),
            park_for_ns=pick([None, 30 * seconds]),
            starts_at_ns=limit_ns if is_start else None, expires_at_ns=None if is_start else limit_ns,
        )  # fmt: skip
        policy = replace(policy, **tastes(self.taste))
        execution = Execution(
            user=pick([None, Account("ann", uid=70_001)]),
            timeout_ns=pick([None, 2 * seconds]), kill_timeout_ns=pick([0, 3 * seconds]),
            retry=Retry(max=pick([0, 0, 2]), delay_ns=pick([0, 4 * seconds])),
            skip_exit_codes=pick([None, None, (75,)]),
            resources=pick(NEEDS[2:] if self._has_all else NEEDS),
        )  # fmt: skip
        if self.places.random() < 0.3:
            needs = tuple(sorted((*execution.resources, (seats_of("far"), 1))))
            execution = replace(execution, executor="far", resources=needs)
        if self.is_plain:
            execution = replace(
                execution, resources=(("plenty", 1),) if self.places.random() < 0.5 else (), user=None
            )
            policy = replace(policy, priority=0)
        tasks = tuple(Task(task, "true", execution) for task in "abc"[: self.chance.choice([1, 1, 3])])
        here = tuple(need for need in execution.resources if need[0] != seats_of("far"))
        gate = Task(
            GATE, "true",
            replace(
                execution, skip_exit_codes=GATE_CODES, retry=Retry(), executor=LOCAL, resources=here
            ),
        )  # fmt: skip
        is_gated = self.chance.random() < (0.6 if self._has_all else 0.3)
        return Job(
            name, schedule, tasks, policy, self.chance.random() < 0.9, gate=gate if is_gated else None
        )  # fmt: skip

    def edit(self) -> None:
        """Change the job file; the next life of the program reads it, or a reload."""
        jobs = {job.id: job for job in self.jobs}
        name = f"job{self.chance.randint(0, 4)}"
        if name in jobs and len(jobs) > 1 and self.chance.random() < 0.5:
            del jobs[name]
        else:
            jobs[name] = self._make_job(name)
        self.jobs = tuple(jobs.values())

    # --- lives ---

    def new_life(self) -> None:
        """Start the program: a supervisor that knows nothing, and its first scheduler."""
        self.life += 1
        self.kept, self.ends = None, 0  # nobody knows any more what ended schedulers
        self.forget_all()
        self.stopped = False
        self.read_jobs = self.jobs
        self.new_scheduler()

    def new_scheduler(self) -> None:
        """Start a scheduler, which takes over what there is; it may die while it does."""
        self.held.drop()
        self.news.clear()
        self.stopped = False
        #: When this scheduler decided to send KILL to what.
        self.killed: dict[str, int] = {}
        self.poison = Poison(self.kept)
        portion = self.portions.choice([1, 1, 2] if self._has_herd else [None, 1, 1, 2])
        self.engine = Engine(SETTINGS, SINKS, is_gate_shut=self.poison.is_gate_shut, portion=portion)
        self.engine.pool.early = Generous(self.whim)
        self.figures, self.meters, self.steps = Figures(self.engine), Meters(), 0
        self.disk.supervisor, self.is_reading = self.life, False
        self.handlers = self._new_handlers()
        self.recorder = Recorder(
            self.engine, self, tell=self.handlers.tell, do=self._do,  # type: ignore[arg-type]
            set_aside=self._set_aside, handle=self._step,
        )  # fmt: skip
        self.poison.record = self.recorder.note
        self.deeds = {
            effects.Start: self._ask, effects.Signal: self.tell, effects.Forget: self.forget,
            effects.Adopt: self.adopt, effects.Answer: self.handlers.answer, effects.Stopped: self._stopped,
            effects.Abandon: self._abandon, effects.MeasureMemory: self._measure,
            effects.Recall: lambda _: self.held.recall(),
        }  # fmt: skip
        self._bewitch(self)
        self.halves += bool(self.disk.decided)
        disk, boot = self.disk, str(self.boot)
        hello = Hello(self.life, tuple(self._seen(key) for key in self.children))
        is_same_boot = disk.boot == boot
        over = {
            attempt.run
            for attempt in hello.attempts
            if attempt.run in disk.runs and disk.runs[attempt.run].state not in OPEN
        }
        left = left_running(hello, over)  # type: ignore[arg-type]
        runs, done = open_runs(
            disk.open_rows(), hello, is_same_boot=is_same_boot,  # type: ignore[arg-type]
            is_ledger_new=disk.accounted_ns is None, now=self.now, find=self._find, over=over,
            is_gone=lambda pid: all(process.pid != pid for process in self.alive.values()),
        )  # fmt: skip
        for key in done:
            self.children.pop(key, None)
        for key, *_ in left:
            process = self.alive.get(key)
            if process and process.held_ns is not None:  # it was given up, and nobody had said so yet
                del self.alive[key]
        wall_of_boot_ns = self.now.wall_ns - self.now.elapsed_ns
        step_ns = 0
        if is_same_boot and disk.offset_ns is not None:
            step_ns = self.now.wall_ns - self.now.elapsed_ns - disk.offset_ns
        jobs = (*visible(self.read_jobs, disk.hidden), *disk.once.values())
        without = self.poison.take_out(runs, jobs, disk.jobs)
        self.give(
            events.JobsLoaded(
                without.jobs, dict(disk.jobs),
                disk.accounted_ns,
                step_ns if abs(step_ns) >= SETTINGS.clock_step_ns else 0,
                max((disk.last_run, *map(decode_run_id, disk.runs))), without.runs, boot, self.life,
                is_new_boot=not is_same_boot, is_new_life=disk.life != self.life,
                decided=dict(disk.decided), hidden=tuple(disk.hidden.values()),
                rates={
                    name: full.elapsed_ns if is_same_boot else full.wall_ns - wall_of_boot_ns
                    for name, full in disk.rates.items()
                },
                needs=disk.needs,
                identity=f"ledger{self.life}",
                series=tuple(disk.told.series.values()),
                set_aside=without.paused | self.poison.leave(left), has_early=True,
            )
        )  # fmt: skip
        self.settle()
        if self.recorder.trouble is None and self.poison.has_begun():
            self.kept = self.poison.as_kept()

    @property
    def trouble(self) -> str | None:
        """Return why the ledger cannot be written, as the scheduler's driver does."""
        return self.recorder.trouble

    def look_at_zone(self, *, is_asked: bool = False) -> None:
        """Find the machine's time zone as it was: that of the simulation stays."""

    def read(self) -> None:
        """Begin to read the job files, as the scheduler's `JobFiles` do."""
        self.is_reading = True

    def note(self) -> None:
        """Return no news of the job files."""

    def _new_handlers(self) -> RequestHandlers:
        jobfile = JobFile(self.read_jobs, SETTINGS, "UTC", (), sinks=SINKS)
        known = Definitions(jobfile, dict(self.disk.hidden))
        handlers = RequestHandlers(self, PROGRAM, known, self)  # type: ignore[arg-type]
        handlers.changes.portion = 1
        return handlers

    def have_read(self) -> None:
        """Let the job files be read, if that was begun."""
        if not self.is_reading:
            return
        self.is_reading = False
        jobfile = JobFile(self.jobs, SETTINGS, "UTC", (), sinks=SINKS)
        files = ReadFiles(self.jobs)
        if self.handlers.changes.objection(jobfile) or self.poison.objection(files, self.now.wall_ns):
            self.handlers.changes.reload_failed("they will not do", code=1)
        else:
            self.poison.asked = files
            self._reloads += 1
            before = {job.id: job for job in self.read_jobs}
            changed = tuple(job for job in self.jobs if before.pop(job.id, None) is not job)
            # Now and then it is not known what is different.
            is_known = (self._reloads + len(self.jobs)) % 4 > 0
            difference = Difference(changed, tuple(before)) if is_known else None
            self.handlers.changes.reloaded(jobfile, difference=difference)
            self.read_jobs = self.jobs
            self.poison.asked = None

    def _seen(self, key: str) -> SeenAttempt:
        child = self.children[key]
        fate: events.Going | events.Over | events.StartFailed
        if isinstance(child, events.StartFailed):
            start, fate = self.failed_starts[key], child
        elif child.end is None:
            start, fate = child.start, events.Going(_pid(child), child.started, child.ending)
        else:
            start, fate = child.start, events.Over(_pid(child), child.started, child.end, child.ending)
        return SeenAttempt(
            key, start.run, start.job, start.task.id, start.attempt, start.slot_ns, start.trigger, fate,
            start.handle,
        )  # fmt: skip

    def _find(self, keys: Collection[str]) -> dict[str, Orphan]:
        return {
            key: Orphan(self.alive[key].pid, self.alive[key].started.elapsed_ns)
            for key in keys
            if key in self.alive
        }

    def crash(self, what: str) -> None:
        """Let the scheduler die; with "both" its supervisor, with "power" the whole machine."""
        self.fuse = None
        self.crashes += 1
        self.held.drop()
        self.now = later(self.now, 1_000_000)
        if what == "power":
            self.calls.clear()
            self.boot += 1
            self.now = Now(self.now.wall_ns + 30 * SECOND_NS, 20 * SECOND_NS)
            self.cut_power()
        if what != "scheduler":  # what is given up and on record as such, nobody looks for
            given_up = [
                key
                for key, process in self.alive.items()
                if process.held_ns is not None and self._is_over(key)
            ]
            for key in given_up:
                del self.alive[key]
        if what == "scheduler":
            self.new_scheduler()
        else:
            if self.chance.random() < 0.2:
                self.edit()
            self.new_life()

    def _check_rates(self, now: Now) -> None:
        """Check that what is on record of rates is by the clocks of now, and no later than from empty."""
        if self.recorder.trouble is not None:
            return  # it may be in what could not be written yet
        known = dict(RESOURCES)
        for name, full in self.disk.rates.items():
            lacks_ns = full.elapsed_ns - now.elapsed_ns
            if lacks_ns > cost_ns(known[name], known[name].burst):
                raise Unlawful(f"{name} is full again only in {lacks_ns / SECOND_NS:,} s")
            wrong_ns = abs(full.wall_ns - full.elapsed_ns - now.wall_ns + now.elapsed_ns)
            if lacks_ns > 0 and wrong_ns >= Settings().clock_step_ns:
                raise Unlawful(f"{name} is on record by a clock that is {wrong_ns / SECOND_NS:,} s off")

    # --- the ledger, as the recorder sees it ---

    def write(self, records: Iterable[Record], now: Now) -> None:
        """Write, or die before or after it."""
        self._burn()
        try:
            self.disk.write(records, now)
        except AssertionError as error:
            raise Unlawful(error) from error
        self._check_rates(now)
        self._burn()

    def replace(self, why: str, now: Now) -> None:
        """Set the disk's content aside."""
        self.replaced = True
        self.calls.clear()
        self.disk.replace(why, now)

    def salvage(self, records: Iterable[Record], now: Now) -> list[tuple[Record, Exception, bool]]:
        """Write all but what cannot be written."""
        found: list[tuple[Record, Exception, bool]] = []
        for record in records:
            try:
                self.disk.write([record], now)
            except Curse as error:
                found.append((record, error, False))
        return found

    set_aside = None

    def _burn(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Crash

    # --- the supervisor ---

    def _do(self, action: effects.Action) -> None:
        self._burn()
        self.deeds[type(action)](action)

    def _abandon(self, action: effects.Abandon) -> None:
        process = self.children.pop(action.key, None)
        if isinstance(process, Process) and process.end is None:
            assert self.engine.is_stopping, "what runs is watched"
            if not self.are_signals_heard:  # a spell keeps KILL from it
                del self.alive[action.key]
                return
            assert process.held_ns is not None, "what KILL ends is waited for"
            waited_ns = self.now.elapsed_ns - self.killed[action.key]
            assert waited_ns >= KILL_PATIENCE_NS, "and so is all for a while"
            del self.alive[action.key]

    def _stopped(self, _: effects.Stopped) -> None:
        self.stopped = True

    def is_held_by_kernel(self, _: Process) -> bool:
        """Let the kernel hold some commands."""
        return self.chance.random() < 0.2

    def obeys(self, _: Process, __: int) -> bool:
        """Let some commands ignore what they can."""
        return self.chance.random() < 0.7

    def is_own(self, process: Process) -> bool:
        """Tell whether this supervisor has started a command itself, or an executor tells how it ended."""
        return process.start.handle != "" or self._supervisor_of(process.key) == self.life

    # --- what executors carry out ---

    def begin(self, start: effects.Start) -> Process:
        """Make the process of an attempt; that of an executor has no pid here."""
        process = super().begin(start)
        if start.handle:
            self.news[-1] = events.AttemptStarted(start.key, None, self.now)
            self.news.append(events.AttemptProgressed(start.key, 0.5, "half of it"))
            if self.places.random() < 0.5:
                self.news.append(events.AttemptUnheard(start.key, "no line"))
        return process

    def signal(self, process: Process, signum: int) -> None:
        """Let a command get a signal; some executors cannot stop it."""
        is_stop = signum == signal.SIGSTOP and process.held_ns is None
        if is_stop and process.start.handle and self.places.random() < 0.5:
            self.news.append(events.AttemptUnstoppable(process.key, "it goes on"))
            process.is_stopped = False
        else:
            super().signal(process, signum)

    def adopt(self, action: effects.Adopt) -> None:
        """Watch what an earlier supervisor left; an executor may know how it ended meanwhile."""
        ended = self.far.pop(action.key, None)
        if ended is not None and self.places.random() < 0.7:
            assert ended.end is not None
            self.children[action.key] = ended
            self.news.append(ended.end)
        elif action.handle and action.key in self.alive:
            assert action.handle == self.alive[action.key].start.handle, "it is found by its name on record"
            self.children[action.key] = self.alive[action.key]
            self.news.append(events.OrphanAdopted(action.key, None))
        else:
            super().adopt(action)

    def end(self, process: Process, end: Exit) -> None:
        """Let a command end; an executor keeps how. What waits for its seat starts."""
        super().end(process, end)
        if process.start.handle and self.children.get(process.key) is not process:
            assert process.end is not None
            process.end = replace(process.end, exit=end)
            self.far[process.key] = process
        self.held.fill(self.now.elapsed_ns)

    def cut_power(self) -> None:
        """Let everything end that runs on the machine; what an executor carries out may go on."""
        left = {
            key: process
            for key, process in self.alive.items()
            if process.start.handle and process.held_ns is None and self.places.random() < 0.5
        }
        super().cut_power()
        self.alive.update(left)

    def _ask(self, start: effects.Start) -> None:
        if not start.is_early:
            self._start(start)
            return
        scarce = self.engine.pool.resources.scarce(start.task.execution.resources)
        assert not scarce, "nothing that others wait for is kept from them"
        self.held.put(start, self.now)

    def _has_seat(self) -> bool:
        running = [child for child in self.children.values() if isinstance(child, Process)]
        return sum(child.end is None for child in running) < self.engine.pool.level

    def tell(self, action: effects.Signal) -> None:
        """Send a signal to a command; what has not started yet never does."""
        if not self.held.take_back(action.key):
            super().tell(action)

    def advance(self, now: Now) -> None:
        """Let time pass; what is asked for early goes back after a moment."""
        super().advance(now)
        self.held.return_old(now.elapsed_ns)

    def _start(self, start: effects.Start) -> None:
        key = start.key
        row = self.disk.runs[start.run].attempts[start.task.id, start.attempt]
        assert row.state is State.RUNNING, "recorded before started"
        assert row.handle == start.handle, "and so is its name"
        assert (start.task.execution.executor != LOCAL) == (start.handle != "")
        others = {
            task
            for (task, _), attempt in self.disk.runs[start.run].attempts.items()
            if attempt.state is not State.CANCELLED  # or it never began
        }
        gate = self.disk.runs[start.run].attempts.get((GATE, 1))
        assert start.task.id == GATE or gate is None or gate.state not in OPEN, "the gate comes first"
        assert start.task.id != GATE or others == {GATE}, "and nothing before it"
        assert key not in self.children, "a supervisor is asked once"
        armed, attempt = self.engine.timetable.jobs.get(start.job), self.engine.pool.running.get(key)
        stops_to = armed.pause.stops_to if armed and armed.pause else None
        if stops_to is not None and decode_run_id(start.run) <= stops_to and attempt:
            # It was asked for in the turn in which its job was paused: then it is stopped at once.
            assert attempt.stopped or attempt.ending, "nothing begins in a job that is stopped"
        park = armed.park if armed else None
        if park is not None and len(self.disk.runs[start.run].attempts) == 1:
            is_asked_for = start.trigger is Trigger.MANUAL or start.run == park.trial
            is_of_that_turn = park.since_ns >= self.now.wall_ns - PATIENCE_NS * start.is_early
            assert is_asked_for or is_of_that_turn, "no run of a parked job begins"
        dice = self.chance.random()
        if dice < 0.05:
            self.news.append(events.StartFailed(key, "no room", is_transient=True, at=self.now))
            self.held.recall()
            return
        if dice < 0.1:
            failed = events.StartFailed(key, "not found", is_transient=False, at=self.now)
            self.fail(start, failed)
            return
        if dice < 0.15:  # its process could not become the command, for a limit of its user
            failed = events.StartFailed(key, "no room", is_transient=True, at=self.now, is_users=True)
            self.pids += 1
            self.news += [events.AttemptStarted(key, self.pids, self.now), failed]
            return
        self.started[key] += 1
        self._note_call(start)
        self.begin(start)
        if self.chance.random() < 0.5:  # the others end when something lets them
            self.run(key, self.act(start))

    def act(self, _: effects.Start) -> Act:
        """Draw what a command does that ends by itself."""
        pick, seconds = self.chance.choice, SECOND_NS
        work = Work.of(
            cpu_ns=pick([0, seconds // 10, 2 * seconds]),
            sleep_ns=pick([0, seconds // 2, 20 * seconds]),
            memory_bytes=pick([0, 1 << 20, 3 << 30, 7 << 30]),
        )
        return Act(work, Exit(exit_code=pick([0, 0, 1, 75])))

    def _note_call(self, start: effects.Start) -> None:
        """Check that no window has more starts than the burst of a rate and what it adds."""
        amount = dict(start.task.execution.resources).get("api")
        if amount is None:
            return
        self.calls.append((self.now.elapsed_ns, amount))
        api = dict(RESOURCES)["api"]
        total = 0
        for at_ns, taken in reversed(self.calls):
            total += taken
            passed_ns = self.now.elapsed_ns - at_ns
            assert api.rate is not None
            assert (total - api.burst) * api.per_ns <= passed_ns * api.rate + api.per_ns, "a rate is kept"

    def _measure(self, action: effects.MeasureMemory) -> None:
        if self.chance.random() < 0.5:
            self.measure(action)
            return
        used = {key: self.chance.choice([0, 1 << 20, 3 << 30]) for key, _ in action.attempts}
        self.news.append(events.MemoryMeasured(used))

    def _signals(self) -> Signals:
        """Return what the machine says: more than it can bear at times, and nothing at others."""
        pick = self.chance.choice
        if self.is_plain:
            return Signals(cpus=2)
        if self.chance.random() < 0.5:
            return self.machine.signals()
        return Signals(
            cpus=pick([1, 2]), runnable=pick([None, 0, 2, 9]), memory_bytes=pick([None, 8 << 30]),
            available_bytes=pick([None, 0, 2 << 30, 7 << 30]),
            stalled_ns=pick([None, 0, self.now.elapsed_ns // 2]),
        )  # fmt: skip

    def _row_of(self, key: str) -> Attempt | None:
        """Return what is on record of an attempt."""
        run, task, number = key.split(".")
        known = self.disk.runs.get(run)
        return known.attempts.get((task, int(number))) if known else None

    def _is_over(self, key: str) -> bool:
        row = self._row_of(key)
        return row is not None and row.state not in OPEN

    def _supervisor_of(self, key: str) -> int | None:
        row = self._row_of(key)
        return row.supervisor if row else self.life

    # --- what schedulers end of ---

    def _set_aside(self, what: str, error: Exception) -> None:
        if not isinstance(error, Curse):
            raise Unlawful(error) from error
        self.poison.note(what, error, self.now.wall_ns)

    def end_of(self, error: EngineBroken) -> bool:
        """Let the scheduler end of an error; tell whether the program ends with it."""
        self.fuse = None
        if not isinstance(error.__cause__, Curse):
            raise error.__cause__ or error
        self.poison.blame(error, self.now.wall_ns)
        self.kept = self.poison.as_kept()
        if self.poison.stop_signal is None:
            return False
        self.held.drop()
        for key in [key for key in self.children if key in self.alive]:
            self.end(self.alive[key], Exit(signal=15))
        self.stopped = True
        return True

    def end_unwatched(self) -> None:
        """End the commands of runs that were set aside, which nobody watches."""
        for key, process in list(self.alive.items()):
            run = self.disk.runs.get(key.split(".")[0])
            assert self.replaced or (run and _is_lost(run, key)), f"{key} is left behind"
            self.end(process, Exit(exit_code=0))
            self.children.pop(key, None)
        for key, child in list(self.children.items()):
            if isinstance(child, Process) and child.end in self.news:  # nobody was there to hear of it
                run = self.disk.runs.get(key.split(".")[0])
                assert self.replaced or (run and _is_lost(run, key)), f"{key} is not forgotten"
                del self.children[key]

    # --- turns of the loop ---

    def give(self, *news: events.Event) -> None:
        """Let the engine take events as one step; the scheduler ends if that raises."""
        step = self._step(news, self.now)
        for record in step[0]:
            if isinstance(record, effects.JobArmed | effects.JobRemoved | effects.JobPaused):
                self.disk.made[id(record)] = record, self.now.wall_ns
        self.recorder.take(step)

    def _step(self, news: Sequence[events.Event], now: Now) -> Step:
        records, actions = self.engine.handle_all(self._each(news), now)
        for action in actions:
            if isinstance(action, effects.Signal) and action.signum == signal.SIGKILL:
                # It is carried out when the ledger can be written, which may be long after.
                self.killed.setdefault(action.key, now.elapsed_ns)
        return records, actions

    def _each(self, news: Sequence[events.Event]) -> Iterator[events.Event]:
        for event in news:
            self.poison.doing = event
            yield event
            self.poison.done()
            if isinstance(event, events.JobsReloaded):
                self.poison.ask_for_gate()

    def settle(self) -> None:
        """End a turn as the loop does."""
        self.handlers.turn()
        if is_tick_due(self.engine, self.now):
            self.give(events.Tick())
        if self.engine.pool.wants_signals:
            self.give(events.SignalsRead(self._signals()))
        self.recorder.settle(self.now)
        if self.poison.take_gate():
            self.kept = self.poison.as_kept()
            self.give(events.GateTried())
        self._check_pool()
        self.poison.rest()

    def _check_pool(self) -> None:
        """Check what holds at the end of each turn."""
        pool, timetable = self.engine.pool, self.engine.timetable
        unheard = sum(isinstance(event, events.AttemptGone | events.AttemptEnded) for event in self.news)
        assert pool.busy_count <= SETTINGS.max_workers + len(self.alive) + unheard
        paused = {name for name, armed in timetable.jobs.items() if armed.pause}
        assert paused == {armed.job.id for armed in timetable.paused()}, "who is paused is known"
        once = [name for name, armed in timetable.jobs.items() if armed.job.is_once]
        assert once == self.engine.once_jobs, "one-off jobs are known in their order"
        if not self.stopped and self.recorder.trouble is None:
            assert are_known(pool.early.attempts, self.held, self.news), (
                "what is asked for early comes back or starts"
            )
        held = _sum_of(attempt.holds for attempt in pool.running.values())
        counted = {name: amount for name, amount in pool.resources.held.items() if amount}
        assert held == counted, "what is held is what running attempts hold"
        rows = [self._row_of(key) for key in self.alive]
        really = _sum_of(row.holds for row in rows if row is not None and row.state in OPEN)
        for name, resource in RESOURCES:
            if resource.limit is not None and not self.replaced:
                assert held.get(name, 0) <= resource.limit, f"no more {name} than there is"
                assert really.get(name, 0) <= resource.limit, f"nor do commands hold more {name}"
        if not pool.running and pool.ready_count and not self.engine.is_stopping and not pool.wants_signals:
            first = self.engine.first_waits(self.engine.waits(self.now), 1)
            allowed = WHILE_IDLE | {WaitsFor.EXECUTOR} if pool.holds.kept() else WHILE_IDLE
            assert {wait.kind for wait in first} <= allowed, f"{first}: nothing runs, so it starts"
        abroad = pool.abroad
        if abroad._wait_of or abroad._waiting:
            waiting = Counter(abroad._wait_of.values())
            assert waiting == Counter(abroad._waiting), "as many wait for an executor as is said"
            assert abroad._wait_of.keys() <= pool.waiting.keys(), "who waits for an executor waits"
        for name, keys in pool.holds._kept.items():
            is_ending = name in pool.timers or not any(key in pool.waiting for key in keys)
            assert is_ending, "what waits for the end of a pause waits for one that ends"

    def hear(self) -> None:
        """Take all news."""
        while self.news and not self.stopped:
            news, self.news = self.news, []
            self.give(*news)
            self.settle()

    def wait(self, length_ns: int, *, asleep: bool = False) -> None:
        """Let time pass; unless asleep, the loop wakes when it wants to, and when a command ends."""
        end = later(self.now, length_ns)
        for _ in range(0 if asleep else 40):
            due_ns = earliest(self._next_wake(), self.machine.next_ns())
            if due_ns is None or due_ns >= end.elapsed_ns:
                break
            self.advance(later(self.now, max(0, due_ns - self.now.elapsed_ns)))
            if self.news and self.chance.random() < 0.8:
                self.hear()
            self.settle()
        self.advance(end)
        self.settle()

    def _next_wake(self) -> int | None:
        engine_ns = next_wake(self.engine, self.now)
        return earliest(engine_ns, self.recorder.retry_at_ns, self.handlers.next_timer())

    def step_clock(self, delta_ns: int, *, unseen: bool = False) -> None:
        """Let the wall clock jump, perhaps while nobody is there to see it."""
        self.stepped = True
        self.calls.clear()
        self.now = stepped(self.now, delta_ns)
        if unseen:
            self.crash("scheduler")
            return
        self.give(events.ClockStepped(delta_ns))
        self.settle()


def _sum_of(holds: Iterable[Amounts]) -> dict[str, int]:
    """Add up amounts that attempts hold."""
    total: dict[str, int] = {}
    for amounts in holds:
        for name, amount in amounts:
            total[name] = total.get(name, 0) + amount
    return total


def _pid(process: Process) -> int | None:
    return None if process.start.handle else process.pid


def _is_lost(run: Run, key: str) -> bool:
    """Tell whether a run has ended without the end of one of its attempts."""
    _, task, number = key.split(".")
    return run.attempts[task, int(number)].state is State.LOST


def play(seed: int, *, has_years: bool = False, **options: Any) -> Machine:
    """Play the history of a seed, and check the laws at its end.

    With `has_years` the clock is wrong by years now and then, and right in the end.
    """
    machine = Machine(seed, **options)
    chance = machine.chance
    machine.detour_ns = 0 if has_years else None
    for number in range(chance.randint(20, 60) if options.get("has_all") else chance.randint(5, 40)):
        try:
            if number % 10 == 9 and options.get("has_all"):
                machine.fuse = chance.randint(0, 8)
            if number % 4 == 3 and options.get("has_herd"):
                machine.settle()
                machine.wait(10 * SECOND_NS - machine.now.wall_ns % (10 * SECOND_NS) - 1)
                machine.fuse = chance.randint(0, 20)
                machine.wait(SECOND_NS // 10)
            happen(machine, chance)
        except Crash:
            machine.crash(chance.choice(["scheduler", "scheduler", "both", "power"]))
    machine.fuse = None
    machine.disk.is_full = False
    if machine.detour_ns:
        corrected(machine)
    machine.wait(20 * SECOND_NS)
    machine.hear()
    check_restart(machine)
    check_once(machine)
    check_stopped(machine)
    if has_years:
        check_next(machine)
    stop(machine)
    check(machine)
    return machine


def happen(machine: Machine, chance: random.Random) -> None:
    """Let something happen."""
    dice = chance.random()
    if machine.whim.random() < 0.05 and not machine.stopped:
        reach = machine.whim.choice([*Reach])
        condition = machine.whim.choice([Condition(reach, 1, "no line"), None])
        machine.give(events.ExecutorTold("far", condition, 1))
        machine.settle()
    if machine.stopped:
        machine.crash("both")
    elif chance.random() < 0.25:
        _wish(machine, chance)
    else:
        _befall(machine, chance, dice)


def _befall(machine: Machine, chance: random.Random, dice: float) -> None:
    if machine.is_orderly and 0.88 <= dice < 0.94:
        dice = 0.0
    if dice < 0.35:
        machine.wait(int(chance.choice([0, 0.4, 1, 1.6, 7, 30]) * SECOND_NS))
        machine.hear()
    elif dice < 0.6 and machine.alive:
        key = chance.choice(list(machine.alive))
        machine.end(machine.alive[key], Exit(exit_code=chance.choice([0, 0, 1, 75])))
        if chance.random() < 0.8:
            machine.hear()
    elif dice < 0.66:
        machine.wait(chance.choice([10, 60, 400]) * SECOND_NS, asleep=True)
    elif dice < 0.76:
        machine.fuse = chance.randint(0, 8)
    elif dice < 0.82:
        machine.crash(chance.choice(["scheduler", "both", "power"]))
    elif dice < 0.88:
        machine.disk.is_full = not machine.disk.is_full
    elif dice < 0.9:
        machine.disk.is_broken = True
    elif dice < 0.94:
        _set_clock(machine, chance)
    elif dice < 0.96:
        _stop(machine)
    else:
        machine.hear()


def _stop(machine: Machine) -> None:
    if machine.whim.random() < 0.5:  # a signal: the supervisor got it first
        machine.held.recall()
        machine.hear()
    machine.give(events.StopRequested())
    machine.settle()
    machine.hear()


def _set_clock(machine: Machine, chance: random.Random) -> None:
    if machine.detour_ns:
        corrected(machine)
        return
    if machine.detour_ns is not None:
        delta_ns = machine.detour_ns = chance.choice([14, 1, -30]) * YEAR_NS
    elif not machine.stepped:  # several steps back make one of more than three hours
        delta_ns = chance.choice([-3600, -60, 60, 400, 12_000]) * SECOND_NS
    else:
        machine.hear()
        return
    machine.step_clock(delta_ns, unseen=chance.random() < 0.5)


def corrected(machine: Machine) -> None:
    """Let the clock be right again, after years."""
    assert machine.detour_ns is not None
    delta_ns, machine.detour_ns = -machine.detour_ns, 0
    machine.step_clock(delta_ns, unseen=machine.chance.random() < 0.5)


def _wish(machine: Machine, chance: random.Random) -> None:
    if chance.random() < 0.1:
        machine.edit()
    machine.have_read()
    customer = Customer(machine)
    try:
        machine.handlers.handle(wish(machine, chance, customer), customer)  # type: ignore[arg-type]
    except Curse:  # as the server of the control socket does
        customer.refuse("internal error", code=1)
    if chance.random() < 0.7:
        machine.have_read()
    if chance.random() < 0.9:  # or it is of one turn with what comes next
        machine.settle()
        is_busy = machine.is_reading or machine.handlers.changes.has_parts
        assert customer.is_answered or is_busy or machine.recorder.trouble, "everybody is answered"
        machine.hear()


def stop(machine: Machine) -> None:
    """Stop the program, and wait for that."""
    machine.give(events.StopRequested())
    machine.settle()
    for _ in range(1000):
        machine.hear()
        if machine.stopped:
            return
        for process in list(machine.alive.values()):
            if process.held_ns is None:
                machine.end(process, Exit(signal=15))
        machine.wait(10 * SECOND_NS)
    raise AssertionError("it never stops")


def check(machine: Machine) -> None:
    """Check the laws: what the ledger says, and what was really started."""
    twice = [key for key, count in machine.started.items() if count > 1]
    assert machine.replaced or twice == [], f"{twice}: no attempt is started twice"
    if not machine.replaced:  # a ledger that is lost with everybody who knew has lost its orphans too
        assert machine.alive == {}, f"{list(machine.alive)}: no command is left behind"
    assert machine.children == {}, "the supervisor need not remember anything"
    assert machine.held.keys == [], "nothing is held for ever"
    disk = machine.disk
    for name, run in disk.runs.items():
        for (task, number), attempt in run.attempts.items():
            is_open = attempt.state in OPEN
            assert not (is_open and run.state not in OPEN), f"{name}.{task}.{number} outlives its run"
            assert not (is_open and attempt.pid), f"{name}.{task}.{number} has no end"
    if not machine.replaced:
        for key in machine.started:
            run, task, number = key.split(".")
            assert (task, int(number)) in disk.runs[run].attempts, "no start without a record"
        if machine.detour_ns is None:
            check_slots(machine)


def check_next(machine: Machine) -> None:
    """Check that what is next is so by the clock as it is: nothing waits for a future that was none."""
    if machine.engine.is_stopping:
        return
    now_ns = machine.now.wall_ns
    for armed in machine.engine.timetable.jobs.values():
        job = armed.job
        if not isinstance(job.schedule, CronSchedule) or armed.pause or armed.is_used_up or not job.enabled:
            continue
        if armed.slot_ns is not None and job.policy.jitter_ns == 0 and job.policy.starts_at_ns is None:
            taken_ns = armed.taken_ns or 0
            assert taken_ns <= now_ns + MAX_STEP_BACK_NS, f"{job.id} had a slot taken of a wrong future"
            next_ns = job.schedule.next_after(max(now_ns, taken_ns), anchor_ns=0)
            assert next_ns is not None
            assert armed.slot_ns <= next_ns, f"{job.id} waits for years"
    if machine.recorder.trouble is None and machine.disk.accounted_ns is not None:
        latest_ns = max(machine.disk.accounted_ns, *machine.disk.decided.values(), 0)
        assert latest_ns <= now_ns + MAX_STEP_BACK_NS, "no slot is accounted for by then"


def check_stopped(machine: Machine) -> None:
    """Check that what is stopped is of a paused job, and known to be stopped; and the other way round."""
    if machine.replaced or machine.recorder.trouble:
        return
    for key, child in machine.children.items():
        attempt = machine.engine.pool.running.get(key)
        if attempt is None or not isinstance(child, Process) or child.end is not None:
            continue
        if child.held_ns is not None:  # the kernel holds it: neither KILL nor CONT gets through
            continue
        armed = machine.engine.timetable.jobs.get(attempt.run.job.id)
        assert child.is_stopped == (attempt.stopped is not None), f"{key} is stopped, or said to be"
        assert not child.is_stopped or (armed and armed.pause), f"{key} is stopped for good"


def check_once(machine: Machine) -> None:
    """Check that the one-off jobs that are there still have reason to be."""
    disk = machine.disk
    if machine.replaced or machine.engine.is_stopping:
        return
    for name, job in disk.once.items():
        runs = disk.once_runs[name]
        assert isinstance(job.schedule, Once)
        is_early = job.schedule.at_ns > machine.now.wall_ns
        assert is_early or disk.jobs[name].pause or runs, f"{name} is forgotten"
        assert not runs or disk.runs[runs[0]].state in OPEN, f"{name} outlives its run"


def check_restart(machine: Machine) -> None:
    """Check that a scheduler which begins now stands where this one does, whatever it is told by."""
    if machine.stepped or machine.engine.is_stopping or machine.recorder.trouble:
        return
    told = Disk()
    told.supervisor = machine.life
    told.write(machine.engine.restate(machine.now), machine.now)
    for disk in (machine.disk, told):
        engine = Engine(SETTINGS, SINKS)
        jobs = (*visible(machine.read_jobs, disk.hidden), *disk.once.values())
        engine.handle(
            events.JobsLoaded(
                jobs,
                dict(disk.jobs),
                disk.accounted_ns,
                decided=dict(disk.decided),
                is_new_boot=False,
                is_new_life=False,
            ),
            machine.now,
        )
        # Runs that are not over are not there: neither one-off jobs nor an interval waits for their end.
        but = {name for name, runs in machine.disk.once_runs.items() if runs}
        but |= {
            armed.job.id
            for armed in machine.engine.timetable.jobs.values()
            if armed.is_from_finish and machine.engine.unfinished(armed.job.id)
        }
        assert standing_of(machine.engine, but) == standing_of(engine, but), "a restart changes nothing"


def standing_of(engine: Engine, but: set[str]) -> dict[str, Any]:
    """Return what comes when, leaving some jobs out."""
    return {
        armed.job.id: (
            armed.slot_ns,
            armed.pause,
            armed.failures,
            armed.is_used_up,
            armed.job.tasks,
        )
        for armed in engine.timetable.jobs.values()
        if armed.job.id not in but
    }


def check_slots(machine: Machine) -> None:
    """Check that each slot of each definition is one run or one skip."""
    disk = machine.disk
    accounted: Counter[tuple[str, int]] = Counter()
    taken: set[tuple[str, int]] = set()
    for run in disk.runs.values():
        if run.queued.slot_ns is None:
            continue
        slot = run.queued.job, run.queued.slot_ns
        if run.queued.trigger is Trigger.MANUAL:  # of another definition, it is not the same slot
            is_same = _is_of_schedule(machine, run)
            if machine.stepped or not is_same:
                taken.add(slot)
                continue
        accounted[slot] += 1
    for skip in disk.skips:
        if skip.run is None and skip.count is not None:
            slots = _slots_of(machine, skip)
            if not machine.stepped:
                assert skip.count == len(slots), skip
            accounted.update((skip.job, slot_ns) for slot_ns in slots)
    if machine.stepped:  # slots of intervals move with the clock, and may come to lie on earlier ones
        moving = {epoch[0] for epoch in disk.epochs if "every_ns" in epoch[1]}
        # Nor is a slot of a definition one of another that counts from a time when it had been already.
        epochs = Counter(epoch[0] for epoch in disk.epochs)
        moving |= {job for job, count in epochs.items() if count > 1}
        # With jitter, slots are due in another order.
        moving |= {epoch[0] for epoch in disk.epochs if "jitter_ns" in epoch[1]}
        accounted = Counter({slot: count for slot, count in accounted.items() if slot[0] not in moving})
    # A name may be that of several one-off jobs, each with a run of its own.
    twice = [slot for slot, count in accounted.items() if count > 1 and slot[0] not in disk.once_names]
    assert twice == [], f"{twice}: no slot is accounted for twice"
    if machine.stepped or any(skip.count is None for skip in disk.skips):
        return
    assert disk.accounted_ns is not None
    for job, definition, since_ns, until_ns, anchor_ns in disk.epochs:
        made = job_from(job, definition)
        if made.policy.max_runs is not None or "from_finish" in definition:
            continue
        end_ns = disk.accounted_ns if until_ns is None else until_ns
        # With jitter, the slot of a start may be a while before it.
        first_ns, last_ns = since_ns, end_ns - made.policy.jitter_ns
        expected = _between(made, anchor_ns, first_ns, last_ns)
        missing = [
            slot_ns for slot_ns in expected if not accounted[job, slot_ns] and (job, slot_ns) not in taken
        ]
        assert missing == [], f"slots of {job} ({definition}) are not accounted for"


def _is_of_schedule(machine: Machine, run: Run) -> bool:
    """Tell whether a slot that was taken before its time is one of the definition in force at that time."""
    job, slot_ns = run.queued.job, run.queued.slot_ns
    # A job that was removed and has come back is another one, whose slots are its own.
    if any(name == job and run.queued.due_ns <= at_ns < slot_ns for name, at_ns in machine.disk.removals):
        return False
    return any(
        epoch[0] == job and epoch[1] == run.definition and "cron" in run.definition
        and epoch[2] < slot_ns and (epoch[3] is None or slot_ns <= epoch[3])
        for epoch in machine.disk.epochs
    )  # fmt: skip


def _slots_of(machine: Machine, skip: effects.SlotsSkipped) -> list[int]:
    for job, definition, since_ns, _, anchor_ns in reversed(machine.disk.epochs):
        if job != skip.job or since_ns > skip.last_ns:
            continue
        made = job_from(job, definition)
        slots = _between(made, anchor_ns, skip.first_ns - 1, skip.last_ns)
        if slots and slots[0] == skip.first_ns and slots[-1] == skip.last_ns:
            return slots
    return [skip.first_ns] if skip.count == 1 or machine.stepped else []


def _between(job: Job, anchor_ns: int, after_ns: int, last_ns: int) -> list[int]:
    policy = job.policy
    if isinstance(job.schedule, Interval) and policy.starts_at_ns is not None:
        anchor_ns = policy.starts_at_ns - job.schedule.every_ns
    slots = []
    slot_ns = job.schedule.next_after(after_ns, anchor_ns=anchor_ns)
    if policy.expires_at_ns is not None:
        last_ns = min(last_ns, policy.expires_at_ns - 1)
    while slot_ns is not None and slot_ns <= last_ns:
        if slot_ns >= (policy.starts_at_ns or 0):
            slots.append(slot_ns)
        slot_ns = job.schedule.next_after(slot_ns, anchor_ns=anchor_ns)
    return slots


__all__ = ["Machine", "Trigger", "check", "happen", "play", "stop"]
