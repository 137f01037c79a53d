"""Handlers of a simulated scheduler that raise: once, or each time that they meet the same item."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from unit.simulated_wishes import Customer
from unit.simulation import Crash, Curse, Machine, check, happen, stop

from taskman_cli.core import protocol
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.engine.runs import Attempt, Run
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.model import Job

if TYPE_CHECKING:
    from collections.abc import Callable

#: No item ends more schedulers of one program than this, whatever else there is of its job.
MOST_ENDS = 12

#: What decides on one job or run, by the part of the engine that it is in.
INNER = (
    "_slots.decide", "_slots._skip", "_running.new", "_running.admit", "_running.settle", "_running.cancel",
    "_running.give_up", "_running.begin_tasks", "_outcomes._finish", "_running.end_task",
    "_running.arm_from_finish", "_running.attempts.begin", "_running.attempts.finish",
    "_running.attempts.tell_to_end", "_running.attempts.kill", "_running.pool.enqueue",
    "_running.waiting.remove", "_recovery._rebuild", "_recovery._place", "_recovery._apply",
    "_recovery._recover_waiting", "_slots.offer", "_job_set._put", "_job_set._remove",
    "_job_set.drop_once", "_pauses._go_on", "_pauses.freeze", "_requests._take_slot", "timetable.passed",
    "timetable.arm", "timetable.freeze", "timetable.clock_stepped", "metrics._begun", "metrics._finished",
    "_running.parks.note_end", "_running.parks._note", "_running.parks.try_with", "_running.parks.end",
    "_running.skip_parked", "_running.pass_seat", "_running._skip", "_running._record_skipped",
    "_running.pool.memory.looked",
)  # fmt: skip

#: What the gate of `admission = "auto"` does, by the part of the pool that it is in.
GATE = (
    "gate.see",
    "gate._is_memory_plenty",
    "gate._memory",
    "gate._cpu",
    "gate._unseen",
    "memory._unknown_need",
    "memory._guess",
    "memory._set",
    "memory._plan_next",
    "target.value",
)


class Spell:
    """Lets one handler raise when it meets its first item: then only, or each time that it meets it."""

    def __init__(self, point: str, *, is_lasting: bool) -> None:
        self._point = point
        self._is_lasting = is_lasting
        self._victim: object = None
        self.is_armed = False
        self.strikes = 0

    def spoil(self, machine: Machine) -> None:
        """Lay it on a scheduler that is about to begin."""
        kind, _, name = self._point.partition(":")
        if kind in ("inner", "gate"):
            owner: Any = machine.engine.pool if kind == "gate" else machine.engine
            *path, method = name.split(".")
            for step in filter(None, path):
                owner = getattr(owner, step)
            if owner is None:  # there is no gate
                return
            handler = self._on(getattr(owner, method))
            setattr(owner, method, handler)
            folds = getattr(owner, "_folds", {})  # it has them already
            folds.update({key: handler for key, known in folds.items() if known.__name__ == method})
            return
        for key, handler in tables(machine)[kind].items():
            if key.__name__ == name:
                table = machine.deeds if kind == "deed" else tables(machine)[kind]
                table[key] = self._on(handler)

    def _on(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        def strike(*args: Any, **options: Any) -> Any:
            item = _identity(args)
            is_single = item != "all" or "inner" not in self._point
            if (
                self.is_armed
                and is_single
                and (self._victim is None or (self._is_lasting and item == self._victim))
            ):
                self._victim = item
                self.strikes += 1
                raise Curse(self._point)
            return handler(*args, **options)

        return strike


def tables(machine: Machine) -> dict[str, dict[type, Callable[..., Any]]]:
    """Return the tables of handlers that a scheduler has."""
    engine: Any = machine.engine
    handlers: Any = machine.handlers
    return {
        "engine": engine._handlers,
        "request": engine._requests._handlers,
        "handler": handlers._handlers,
        # What that does in a scheduler, `Loop._leave`, is more than the machine has.
        "deed": {
            kind: deed
            for kind, deed in machine.deeds.items()
            if kind not in (effects.Stopped, effects.Recall)
        },
    }


def points() -> list[str]:
    """Name all handlers."""
    machine = Machine(0)
    named = [f"{kind}:{key.__name__}" for kind, table in tables(machine).items() for key in table]
    return [*named, *(f"inner:{name}" for name in INNER), *(f"gate:{name}" for name in GATE)]


def _identity(args: tuple[Any, ...]) -> object:
    """Return what tells an item from others of its kind."""
    for argument in args:
        match argument:
            case ArmedJob():
                return argument.job.id
            case Attempt():
                return argument.run.job.id
            case Run() | events.OpenRun():
                return argument.job if isinstance(argument.job, str) else argument.job.id
            case Job():
                return argument.id
            case str():
                return argument
            case events.RequestReceived():
                return repr(argument.request)
            case events.JobsReloaded():
                return repr(argument.jobs)
            case effects.Answer():
                return argument.token, argument.reply.get("error")
        known = getattr(argument, "key", getattr(argument, "job", None))
        if isinstance(known, str):
            return known
        if type(argument) in protocol.REQUESTS.values():
            return repr(argument)
    return "all"


def play_cursed(seed: int, point: str, *, is_lasting: bool) -> int:
    """Play a history in which a handler raises, check the laws at its end, and return how often it did."""
    curse = Spell(point, is_lasting=is_lasting)
    machine = Machine(seed, bewitch=curse.spoil)
    chance = machine.chance
    curse.is_armed = True
    machine.are_signals_heard = point != "deed:Signal"
    for _ in range(chance.randint(10, 40)):
        survive(machine, lambda: happen(machine, chance))
        if chance.random() < 0.2 and not machine.stopped:
            survive(machine, lambda: _happen_oddly(machine))
    machine.fuse = None
    machine.disk.is_full = False
    if machine.stopped:
        survive(machine, lambda: machine.crash("both"))
    survive(machine, lambda: machine.wait(20 * SECOND_NS))
    survive(machine, machine.hear)
    curse.is_armed = False
    if machine.stopped:
        machine.crash("both")
    stop(machine)
    machine.end_unwatched()
    if point == "deed:Forget":
        machine.children.clear()  # the next scheduler has them forgotten
    check(machine)
    return curse.strikes


def _happen_oddly(machine: Machine) -> None:
    """Let happen what seldom does, or what changes nothing."""
    chance = machine.chance
    running = [process for process in machine.alive.values() if process.key in machine.engine.pool.running]
    dice = chance.random()
    if dice < 0.1:
        machine.give(events.GateTried())
    elif dice < 0.5:
        job = chance.choice([*machine.engine.timetable.jobs, "job0"])
        sink = chance.choice([*(known.name for known in machine.engine.reports.sinks), "gone"])
        request = chance.choice(
            [
                protocol.Status(),
                protocol.CollectMetrics(),
                protocol.ListJobs(),
                protocol.Show(job=job),
                protocol.Wait(target=job),
                protocol.ListSinks(),
                protocol.TestSink(sink=sink),
                protocol.ReplaySink(sink=sink, since=chance.choice([1, None])),
                protocol.SkipReport(sink=sink, seq=1),
            ]
        )
        customer = Customer(machine)
        try:
            machine.handlers.handle(request, customer)  # type: ignore[arg-type]
        except Curse:
            customer.refuse("internal error", code=1)
    elif dice < 0.7:
        machine.give(events.Suspended(5 * SECOND_NS))
    elif dice < 0.9 and running:
        process = chance.choice(running)
        if process.key in machine.children and machine.is_own(
            process
        ):  # of others alone is it not known whether they are there
            machine.give(events.OrphanAdopted(process.key, process.pid))
        else:
            del machine.alive[process.key]
            machine.children.pop(process.key, None)
            machine.give(events.AttemptGone(process.key))
    elif dice > 0.95:
        machine.give(chance.choice([events.DrainRequested(), events.KillRequested()]))
    machine.settle()
    machine.hear()


def survive(machine: Machine, do: Callable[[], None]) -> None:
    """Do something; a scheduler that dies of it is followed by the next, and that by the next."""
    while True:
        try:
            do()
        except EngineBroken as error:
            machine.ends += 1
            if machine.ends > MOST_ENDS:
                raise AssertionError(f"{machine.ends} schedulers have died of {error.item}") from error
            if machine.end_of(error):
                return
            do = partial(machine.crash, "scheduler")
        except Crash:
            do = partial(machine.crash, machine.chance.choice(["scheduler", "scheduler", "both", "power"]))
        else:
            return
