"""Why each waiting attempt waits, for people: which resource, who holds it, since when."""

from __future__ import annotations

from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.admission import Obstacle
from taskman_cli.core.executors import executor_of
from taskman_cli.core.model import RAM, Resource
from taskman_cli.core.sizes import format_size
from taskman_cli.core.timespec import format_rough

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.admission import Gate, Verdict
    from taskman_cli.core.engine.pool import Pool
    from taskman_cli.core.engine.ready import Kind, Lack
    from taskman_cli.core.engine.runs import Activity, Attempt, Run

#: The most holders of one resource that are named.
MOST_HOLDERS = 10


class WaitsFor(StrEnum):
    """What an attempt waits for."""

    WORKER = "worker"
    #: Too many tasks are runnable on the machine.
    CPU = "cpu"
    MEMORY = "memory"
    RESOURCE = "resource"
    RATE = "rate"
    #: As many run on its executor as may, or nothing can begin on that now.
    EXECUTOR = "executor"
    EARLIER_RUN = "earlier_run"
    RETRY = "retry"
    #: The machine, or the user, has no room for another process.
    ROOM = "room"
    #: Its start can be recorded.
    LEDGER = "ledger"
    #: Its stopped job continues.
    RESUME = "resume"


class Holder(NamedTuple):
    """An attempt that holds some of a resource."""

    job: str
    task: str
    run: str
    amount: int
    since_ns: int

    @property
    def name(self) -> str:
        """Return the job, and the task if it has several."""
        return self.job if self.task == "main" else f"{self.job}.{self.task}"


class Wait(NamedTuple):
    """Why an attempt, or a run without one, waits."""

    job: str
    run: str
    #: None: all tasks of the run wait.
    task: str | None
    kind: WaitsFor
    #: In words, after "waits ".
    reason: str
    since_ns: int | None = None
    resource: str | None = None
    #: How much of it the attempt needs.
    amount: int | None = None
    holders: tuple[Holder, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as the replies of the scheduler have it."""
        return {
            "job": self.job,
            "run": self.run,
            "task": self.task,
            "for": self.kind.value,
            "reason": self.reason,
            "since_ns": self.since_ns,
            "resource": self.resource,
            "amount": self.amount,
            "holders": [holder._asdict() for holder in self.holders],
        }


class Waits:
    """The reasons at one moment. What they have in common is found out once."""

    def __init__(self, pool: Pool, now: Now) -> None:
        self._pool = pool
        self._now = now
        #: What the first of each line lacks; all others of the line lack it too.
        self._lacks: dict[Kind, Lack | None] = {kind: lack for kind, _, lack in pool.lines(now.elapsed_ns)}
        self._holders: dict[str, tuple[Holder, ...]] = {}

    def of_job(self, activity: Activity | None, most: int) -> list[Wait]:
        """Return why the first runs of a job wait, in their order; of a run with several tasks, each."""
        if activity is None:
            return []
        runs = activity.active.values()
        waits = (
            self.of(attempt)
            for run in runs
            for attempt in run.attempts.values()
            if self._pool.is_waiting(attempt)
        )
        before = next(iter(runs), None)
        return list(islice(chain(waits, (_behind(run, before) for run in activity.backlog)), most))

    def of(self, attempt: Attempt) -> Wait:
        """Return why an attempt waits that has no seat."""
        run = attempt.run
        kind, reason, resource = self._why(attempt)
        amount = dict(attempt.task.execution.resources)[resource] if resource else None
        since_ns = None
        if attempt.waits_since_ns is not None and kind is not WaitsFor.RETRY:
            since_ns = self._wall_ns(attempt.waits_since_ns)
        holders = self.holders(resource) if resource and kind is WaitsFor.RESOURCE else ()
        return Wait(
            run.job.id, run.id, attempt.task.id, kind, reason, since_ns, resource, amount,
            holders[:MOST_HOLDERS],
        )  # fmt: skip

    def holders(self, resource: str) -> tuple[Holder, ...]:
        """Return who holds a resource, the largest amount first."""
        if resource in self._holders:
            return self._holders[resource]
        found = [
            Holder(
                attempt.run.job.id,
                attempt.task.id,
                attempt.run.id,
                amount,
                self._wall_ns(attempt.began_elapsed_ns),
            )
            for attempt in self._pool.running.values()
            for name, amount in attempt.holds
            if name == resource
        ]
        self._holders[resource] = holders = tuple(sorted(found, key=lambda holder: -holder.amount))
        return holders

    def _why(self, attempt: Attempt) -> tuple[WaitsFor, str, str | None]:
        pool = self._pool
        if pool.rests_until(attempt) is not None:
            return WaitsFor.RETRY, "for its next try", None
        if pool.is_stopped(attempt):
            return WaitsFor.RESUME, "until its job is resumed", None
        if pool.is_on_hold(attempt):
            if pool.holds.is_unrecorded:
                return WaitsFor.LEDGER, "until its start can be recorded", None
            if attempt.is_remote and not pool.holds.is_all:
                words = pool.abroad.why_away(attempt.executor, self._now.elapsed_ns)
                return WaitsFor.EXECUTOR, words, None
            return WaitsFor.ROOM, "until the machine has room for another process", None
        lack = self._lacks.get(pool.kind_of(attempt))
        if lack is not None:
            return self._for_resource(attempt, lack)
        if attempt.is_early and pool.level < pool.seats:
            return WaitsFor.CPU, f"for a CPU: it starts when one of {pool.level:,} commands ends", None
        if pool.gate is not None and pool.gate.held and pool.gate.first and not pool.is_full:
            return self._for_machine(attempt, pool.gate, pool.gate.held)
        return WaitsFor.WORKER, f"for a worker: all {pool.seats:,} are busy", None

    def _for_machine(self, attempt: Attempt, gate: Gate, held: Verdict) -> tuple[WaitsFor, str, None]:
        kind = WaitsFor.CPU if held.obstacle is Obstacle.CPU else WaitsFor.MEMORY
        if gate.first is not attempt and gate.first is not None:
            return kind, f"behind {task_name(gate.first)}, which waits {held.reason}", None
        words = held.reason
        if held.obstacle is Obstacle.MEMORY:
            here = [other for other in self._pool.running.values() if not other.is_remote]
            need, most = max((gate.memory.need(other), other.key) for other in here)
            words += f"; {task_name(self._pool.running[most])} ({format_size(need, gap=' ')}) holds most"
        return kind, words, None

    def _for_executor(self, executor: str, lack: Lack) -> tuple[WaitsFor, str, None]:
        if lack.is_reserved:
            return (
                WaitsFor.EXECUTOR,
                f"for executor {executor}, which is kept for one that waits before it",
                None,
            )
        limit = self._pool.resources.limit_of(lack.resource)
        return WaitsFor.EXECUTOR, f"for executor {executor}: all {limit:,} of its workers are busy", None

    def _for_resource(self, attempt: Attempt, lack: Lack) -> tuple[WaitsFor, str, str | None]:
        name = lack.resource
        if executor := executor_of(name):
            return self._for_executor(executor, lack)
        known = self._pool.resources.known[name]
        if lack.ready_ns is not None:
            rate = f"{known.rate:,} in {format_rough(known.per_ns)}"
            return WaitsFor.RATE, f"for {name}: its rate of {rate} is used up", name
        amount = amount_words(name, dict(attempt.task.execution.resources)[name])
        if lack.is_reserved:
            return WaitsFor.RESOURCE, f"for {amount}, which is kept for one that waits before it", name
        most, *others = self.holders(name)
        held = f"{most.name} ({amount_words(name, most.amount)}) holds {'most' if others else 'it'}"
        return WaitsFor.RESOURCE, f"for {amount}; {held}", name

    def _wall_ns(self, elapsed_ns: int) -> int:
        return self._now.wall_ns - self._now.elapsed_ns + elapsed_ns


def _behind(run: Run, before: Run | None) -> Wait:
    what = f"run {before.id}" if before else "an earlier run"
    return Wait(run.job.id, run.id, None, WaitsFor.EARLIER_RUN, f"for {what} of its job to end")


def task_name(attempt: Attempt) -> str:
    """Return the job of an attempt, and its task if that has a name of its own."""
    job, task = attempt.run.job.id, attempt.task.id
    return job if task == "main" else f"{job}.{task}"


def amount_words(resource: str, amount: int) -> str:
    """Write an amount of a resource: "2 db", "1.2 GB"."""
    return bare_amount(resource, amount) + ("" if resource == RAM else f" {resource}")


def bare_amount(resource: str, amount: int) -> str:
    """Write an amount of a resource beside its name: "2", "1.2 GB"."""
    return format_size(amount, gap=" ") if resource == RAM else f"{amount:,}"


def resource_rows(pool: Pool, waits: Waits, now: Now) -> list[dict[str, Any]]:
    """Return the state of each resource that is declared or held, as the replies of the scheduler have it."""
    resources, rows = pool.resources, []
    waiting: dict[str, int] = {}
    for _, count, lack in pool.lines(now.elapsed_ns):
        if lack:
            waiting[lack.resource] = waiting.get(lack.resource, 0) + count
    for name in dict.fromkeys([*resources.known, *resources.held]):
        known = resources.known.get(name, Resource())
        rows.append(
            {
                "resource": name,
                "limit": known.limit,
                "held": resources.held.get(name, 0),
                "rate": None
                if known.rate is None
                else {"count": known.rate, "per_s": known.per_ns / SECOND_NS},
                "burst": None if known.rate is None else known.burst,
                "tokens": resources.tokens(name, now.elapsed_ns),
                "waiting": waiting.get(name, 0),
                "holders": [holder._asdict() for holder in waits.holders(name)[:MOST_HOLDERS]],
            }
        )
    return rows
