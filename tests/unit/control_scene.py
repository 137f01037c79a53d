"""A scheduler that people talk to, with a disk to begin anew from: engine, and model of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unit.engine_driver import FIXED, START, of_type, seconds
from unit.simulated_ledger import Disk

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.jobset import visible
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import Exit, Job, Settings, Trigger
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.scheduler.handover import open_runs
from taskman_cli.scheduler.heard import SeenAttempt

if TYPE_CHECKING:
    from taskman_cli.core.engine.runs import Run
    from taskman_cli.core.protocol import Request

ANN = "ann (uid 1000, pid 7)"


class Hello(NamedTuple):
    """What the supervisor says to a scheduler that begins."""

    started_ns: int
    attempts: tuple[SeenAttempt, ...]
    is_complete: bool = True


class Scene:
    """Feeds an engine, keeps all effects, and writes what is to be durable."""

    #: A reload tells the engine only what is different.
    tells_difference = False
    #: And each job by itself.
    tells_parts = False

    def __init__(self, *jobs: Job, settings: Settings | None = None) -> None:
        self.jobs = jobs
        self.settings = settings or FIXED
        self.now = START
        self.disk = Disk()
        self.done: list[effects.Effect] = []
        self._tokens = 0
        #: Jobs that the next scheduler sets aside, and why.
        self.set_aside: dict[str, str] = {}
        self._begin((), is_first=True)

    def _begin(self, seen: tuple[SeenAttempt, ...], *, is_first: bool, step_ns: int = 0) -> None:
        disk = self.disk
        self.engine = Engine(self.settings)
        runs, _ = open_runs(
            disk.open_rows(), Hello(0, seen), is_same_boot=True, is_ledger_new=False, now=self.now,  # type: ignore[arg-type]
            find=lambda _: {},
        )  # fmt: skip
        self.send(
            events.JobsLoaded(
                (*visible(self.jobs, disk.hidden), *disk.once.values()), dict(disk.jobs), disk.accounted_ns,
                step_ns, max((disk.last_run, *map(decode_run_id, disk.runs))), runs, "boot", 1,
                is_new_boot=is_first, is_new_life=is_first, hidden=tuple(disk.hidden.values()),
                set_aside=self.set_aside,
            )
        )  # fmt: skip

    def restart(self, *, is_restated: bool = False, step_s: float = 0) -> None:
        """Let another scheduler go on, from the disk, or from a new one that this one has told all."""
        if is_restated:
            records = self.engine.restate(self.now)
            self.disk = Disk()
            self.disk.write(records, self.now)
        seen = tuple(
            SeenAttempt(
                attempt.key, attempt.run.id, attempt.run.job.id, attempt.task.id, attempt.number,
                attempt.run.slot_ns, attempt.run.trigger,
                events.Going(attempt.spawned.pid, attempt.spawned.started, attempt.ending),
            )
            for attempt in self.engine.pool.running.values()
            if attempt.spawned
        )  # fmt: skip
        self._begin(seen, is_first=False, step_ns=seconds(step_s))

    # --- what happens ---

    def send(self, event: events.Event) -> list[effects.Effect]:
        """Give the engine an event, write what is to be durable, and return the effects."""
        new = self.engine.handle(event, self.now)
        actions = (
            effects.Start,
            effects.Adopt,
            effects.Signal,
            effects.Forget,
            effects.Abandon,
            effects.Answer,
            effects.Stopped,
        )
        self.disk.write([effect for effect in new if not isinstance(effect, actions)], self.now)
        self.done += new
        return new

    def ask(self, request: Request, by: str = ANN) -> dict[str, Any]:
        """Ask for something, and return the reply."""
        self._tokens += 1
        return self._reply(self.send(events.RequestReceived(self._tokens, request, by)))

    def once(
        self,
        name: str = "once-1",
        at: float = 0,
        command: str = "true",
        *,
        is_batch: bool = False,
        elapsed: bool = False,
    ) -> dict[str, Any]:
        """Ask for a one-off job at a second after the start, and return the reply."""
        self._tokens += 1
        at_ns = START.wall_ns + seconds(at)
        job = once_job(
            name,
            command,
            at_ns=at_ns,
            timezone="UTC",
            cwd="/tmp",
            env={"A": "1"},
            umask=0o27,
            elapsed=elapsed,
        )
        return self._reply(self.send(events.OnceRequested(self._tokens, job, ANN, is_batch)))

    def reload(
        self,
        *jobs: Job,
        settings: Settings | None = None,
        hidden: tuple[effects.JobHidden, ...] = (),
        kind: str = "reloaded",
    ) -> dict[str, Any]:
        """Put other jobs in force, and return the reply."""
        self._tokens += 1
        self.settings = settings or self.settings
        before = {job.id: job for job in visible(self.jobs, self.disk.hidden)}
        self.jobs = jobs
        known = self.disk.hidden | {item.job: item for item in hidden}
        shown = visible(jobs, {name: item for name, item in known.items() if item.tasks or item.is_all})
        removed = None
        if self.tells_difference:
            shown = tuple(job for job in shown if before.pop(job.id, None) is not job)
            removed = tuple(before)
        if self.tells_parts:
            for job in shown:
                self._tell(hidden, kind, (job,), (), is_part=True)
            for name in removed or ():
                self._tell(hidden, kind, (), (name,), is_part=True)
            shown = removed = ()
        return self._reply(self._tell(hidden, kind, shown, removed))

    def _tell(
        self, hidden: tuple[effects.JobHidden, ...], kind: str, jobs: tuple[Job, ...],
        removed: tuple[str, ...] | None, *, is_part: bool = False,
    ) -> list[effects.Effect]:  # fmt: skip
        return self.send(
            events.JobsReloaded(
                self._tokens, jobs, self.settings, hidden, ANN, kind, removed=removed, is_part=is_part
            )
        )

    def _reply(self, new: list[effects.Effect]) -> dict[str, Any]:
        [answer] = of_type(new, effects.Answer)
        assert isinstance(new[-1], effects.Answer | effects.Signal | effects.Start | effects.Stopped)
        assert self._tokens == answer.token
        return dict(answer.reply)

    def at(self, second: float) -> list[effects.Effect]:
        """Let it be `second` seconds after the start, on both clocks, and tick."""
        self.now = Now(START.wall_ns + seconds(second), START.elapsed_ns + seconds(second))
        return self.send(events.Tick())

    def step(self, by_s: float) -> None:
        """Let the wall clock jump."""
        self.now = Now(self.now.wall_ns + seconds(by_s), self.now.elapsed_ns)
        self.send(events.ClockStepped(seconds(by_s)))

    def began(self, key: str | None = None) -> None:
        """Let the process of an attempt exist; by default of the last one asked for."""
        self.send(events.AttemptStarted(key or self.starts[-1].key, 100, self.now))

    def ended(
        self, key: str | None = None, code: int | None = 0, signum: int | None = None
    ) -> list[effects.Effect]:
        """Let an attempt end; by default the last one asked for, with success."""
        end = Exit(exit_code=None if signum else code, signal=signum)
        return self.send(events.AttemptEnded(key or self.starts[-1].key, end, self.now))

    # --- what there is ---

    @property
    def starts(self) -> list[effects.Start]:
        """Return all starts asked for."""
        return of_type(self.done, effects.Start)

    @property
    def signals(self) -> list[tuple[str, int]]:
        """Return all signals sent, as (job, number)."""
        jobs = {start.key: start.job for start in self.starts}
        return [(jobs[effect.key], int(effect.signum)) for effect in of_type(self.done, effects.Signal)]

    @property
    def skips(self) -> list[tuple[str, float, str]]:
        """Return all skips of slots, as (job, first slot, reason)."""
        return [
            (skip.job, (skip.first_ns - START.wall_ns) / 1e9, skip.reason.value)
            for skip in of_type(self.done, effects.SlotsSkipped)
        ]

    @property
    def commanded(self) -> list[tuple[str, str | None, str, str]]:
        """Return what people had done, as (kind, job, detail, who)."""
        return [(told.kind, told.job, told.detail, told.by) for told in self.disk.commanded]

    def slots(self) -> dict[str, float | None]:
        """Return the next slot of each job, in seconds after the start."""
        return {
            name: None if armed.slot_ns is None else (armed.slot_ns - START.wall_ns) / 1e9
            for name, armed in self.engine.timetable.jobs.items()
        }

    def slots_of_runs(self, job: str = "job") -> list[float | None]:
        """Return the slots of the runs of a job, in seconds after the start."""
        queued = [run.queued for run in self.disk.runs.values() if run.queued.job == job]
        return [None if run.slot_ns is None else (run.slot_ns - START.wall_ns) / 1e9 for run in queued]

    def states(self, job: str = "job") -> list[str]:
        """Return the states of the runs of a job, as they are on record."""
        return [run.state.value for run in self.disk.runs.values() if run.queued.job == job]

    def picture(self) -> dict[str, Any]:
        """Return where it stands, as far as what comes depends on it."""
        return {
            "slots": self.slots(),
            "jobs": {
                name: (armed.job, armed.pause, armed.is_used_up)
                for name, armed in self.engine.timetable.jobs.items()
            },
            "runs": [_run(run) for name in self.slots() for run in self.engine._running.unfinished(name)],
        }

    def check_restart(self) -> None:
        """Check that it makes no difference whether another scheduler goes on, from one disk or another."""
        before = self.picture()
        self.restart(is_restated=True)
        assert before == self.picture()
        self.restart()
        assert before == self.picture()


def _run(run: Run) -> tuple[Any, ...]:
    # When one that no slot asked for was due is known by its id alone, more or less.
    due_ns = None if run.slot_ns is None or run.trigger is Trigger.MANUAL else run.due_ns
    waiting = {task.id for task in run.pending} | run.attempts.keys()
    return (
        run.id, run.job.id, run.slot_ns, run.trigger, due_ns, run.only, dict(run.params), waiting,
        run.is_cancelled, {attempt.ending for attempt in run.attempts.values()}, run.has_process,
    )  # fmt: skip
