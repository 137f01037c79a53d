"""Laws of the pool under random loads: bounds of waiting, reservations, sums; and restarts change none of it.

What happens is judged from the records alone, by a count of its own: who ranks first, what is held, what a
rate has left.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.model import Amounts, Execution, Overlap, Policy, Resource, Settings, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission
from tests.unit.engine_driver import START, Driver, make_job, of_type, seconds

#: Of `api`, one start each two seconds, and three at once.
COST_S, BURST = 2, 3
RESOURCES = (
    ("api", Resource(rate=1, per_ns=seconds(COST_S), burst=BURST)),
    ("db", Resource(3)),
    ("ram", Resource(4)),
)
LIMITS = {"db": 3, "ram": 4}
LONGEST_S = 6
#: The first in order waits at most until all that hold what it needs have ended, or the rate has recovered;
#: and then for one seat, which what has passed it may have taken.
BOUND_S = max(LONGEST_S, COST_S * BURST) + LONGEST_S


class Wanted(NamedTuple):
    """A job with one run."""

    first_s: int
    length_s: int
    priority: int
    amounts: Amounts


AMOUNTS = st.dictionaries(st.sampled_from(("api", "db", "ram")), st.integers(1, 3), max_size=2).map(
    lambda found: tuple(sorted(found.items()))
)
WANTED = st.builds(Wanted, st.integers(1, 12), st.integers(1, LONGEST_S), st.integers(-2, 2), AMOUNTS)
#: With these, attempts of different priorities never have the same rank.
AGEING_S = st.sampled_from((None, 0.7, 2.3, 60.1))


class Waiter(NamedTuple):
    """An attempt that waits; the least goes first."""

    rank_s: float
    due_s: int
    arrival: int
    name: str


class World:
    """A pool, what runs in it, and whether it keeps the laws."""

    def __init__(self, wanted: list[Wanted], *, seats: int, ageing_s: float | None) -> None:
        ageing_ns = None if ageing_s is None else seconds(ageing_s)
        self.settings = Settings(
            max_workers=seats, ageing_ns=ageing_ns, admission=Admission.FIXED, resources=RESOURCES
        )
        self.seats, self.ageing_s = seats, ageing_s
        self.wanted = {f"j{number}": one for number, one in enumerate(wanted)}
        self.jobs = tuple(
            make_job(
                name,
                Interval(seconds(one.first_s)),
                policy=Policy(
                    priority=one.priority, max_runs=1, overlap=Overlap.QUEUE, start_deadline_ns=None
                ),
                execution=Execution(resources=one.amounts),
            )
            for name, one in self.wanted.items()
        )
        self.now_s = 0
        self.runs: dict[str, effects.RunQueued] = {}
        self.waiting: dict[str, Waiter] = {}
        #: When each that waits came, and how many have begun since that rank before it.
        self.came_s: dict[str, int] = {}
        self.passed: dict[str, int] = {}
        #: The key, the begin and the end of each that runs.
        self.running: dict[str, tuple[str, int, int]] = {}
        self.tokens, self.tokens_s = float(BURST), 0
        #: Who ranks first, and since when.
        self.first: str | None = None
        self.first_s = 0
        self.rates: dict[str, int] = {}
        self.driver = Driver(self.jobs, self.settings)
        self.heard = 0
        self.hear()

    def held(self, resource: str) -> int:
        return sum(dict(self.wanted[name].amounts).get(resource, 0) for name in self.running)

    def tokens_now(self) -> float:
        return min(BURST, self.tokens + (self.now_s - self.tokens_s) / COST_S)

    def has_room(self, *names: str) -> dict[str, bool]:
        """Tell for each resource that all of these need whether there is enough of it for them together."""
        needs = [dict(self.wanted[name].amounts) for name in names]
        common = set.intersection(*(set(need) for need in needs))
        total = {name: sum(need[name] for need in needs) for name in common}
        return {
            name: amount <= self.tokens_now() + 1e-6
            if name == "api"
            else self.held(name) + amount <= LIMITS[name]
            for name, amount in total.items()
        }

    # --- what the engine does ---

    def hear(self) -> None:
        """Judge what the engine has done since this was last called."""
        while self.heard < len(self.driver.done):
            effect = self.driver.done[self.heard]
            self.heard += 1
            match effect:
                case effects.RunQueued():
                    self.queue(effect)
                case effects.RateUsed():
                    self.rates[effect.resource] = effect.full_elapsed_ns
                case effects.AttemptBegun():
                    self.begin(effect.job, effect.holds)
                case effects.Start():
                    self.driver.began(effect.key)
                    begun_s, end_s = self.running[effect.job][1:]
                    self.running[effect.job] = (effect.key, begun_s, end_s)
        self.look_who_is_first()

    def queue(self, record: effects.RunQueued) -> None:
        one, name = self.wanted[record.job], record.job
        gained_s = one.priority * self.ageing_s if self.ageing_s else 0
        rank_s = -one.priority if self.ageing_s is None else self.now_s - gained_s
        self.waiting[name] = Waiter(rank_s, one.first_s, len(self.runs), name)
        self.runs[name] = record
        self.came_s[name], self.passed[name] = self.now_s, 0

    def begin(self, name: str, holds: Amounts) -> None:
        """Judge the start of an attempt."""
        one, mine = self.wanted[name], self.waiting.pop(name)
        assert holds == one.amounts
        assert len(self.running) < self.seats
        assert all(self.has_room(name).values())
        before = min(self.waiting.values(), default=mine)
        if before < mine:
            # It may pass the first alone, which lacks something, and takes nothing of what that needs.
            assert not all(self.has_room(before.name).values())
            assert all(self.has_room(before.name, name).values())
        if "api" in dict(one.amounts):
            self.tokens, self.tokens_s = self.tokens_now() - dict(one.amounts)["api"], self.now_s
        self.running[name] = ("", self.now_s, self.now_s + one.length_s)
        for other in self.waiting.values():
            self.passed[other.name] += mine < other
        assert self.now_s - self.came_s[name] <= (self.passed[name] + 1) * BOUND_S

    def look_who_is_first(self) -> None:
        first = min(self.waiting.values(), default=None)
        name = first.name if first else None
        if name != self.first:
            self.first, self.first_s = name, self.now_s

    # --- what happens ---

    def pass_second(self) -> None:
        """Let a second pass; what is over ends."""
        self.now_s += 1
        self.driver.at(self.now_s)
        self.hear()
        for name, (key, _, end_s) in list(self.running.items()):
            if end_s <= self.now_s:
                del self.running[name]
                self.driver.ended(key)
                self.hear()
        assert self.first is None or self.now_s - self.first_s <= BOUND_S
        assert self.driver.engine.pool.ready_count == len(self.waiting)

    def restart(self) -> None:
        """Let the next scheduler continue from what is on record."""
        runs = []
        for name, queued in self.runs.items():
            attempts: tuple[events.OpenAttempt, ...] = ()
            if name in self.running:
                _, begun_s, _ = self.running[name]
                started = Now(START.wall_ns + seconds(begun_s), START.elapsed_ns + seconds(begun_s))
                fate = events.Going(100, started)
                attempts = (events.OpenAttempt("main", 1, fate, holds=self.wanted[name].amounts),)
            if attempts or name in self.waiting:
                runs.append(events.OpenRun(queued.run, name, queued.slot_ns, Trigger.SLOT, attempts))
        counts = {job.id: int(job.id in self.runs) for job in self.jobs}
        self.driver = Driver(
            self.jobs, self.settings, self.driver.now, is_first=False, since_ns=self.driver.now.wall_ns,
            anchor_ns=START.wall_ns, run_counts=counts, runs=tuple(runs), rates=self.rates,
        )  # fmt: skip
        self.heard = 0
        self.hear()


@given(
    st.lists(WANTED, min_size=1, max_size=12), st.integers(1, 4), AGEING_S,
    st.sets(st.integers(1, 40), max_size=4),
)  # fmt: skip
@settings(deadline=None)
def test_nothing_waits_beyond_its_bound_nor_takes_what_is_reserved_and_a_restart_changes_nothing(
    wanted: list[Wanted], seats: int, ageing_s: float | None, restarts: set[int]
) -> None:
    world = World(wanted, seats=seats, ageing_s=ageing_s)
    most_s = 12 + (len(wanted) + 1) * BOUND_S
    while len(world.runs) < len(wanted) or world.waiting or world.running:
        world.pass_second()
        if world.now_s in restarts:
            world.restart()
        assert world.now_s <= most_s
    assert world.driver.engine.pool.resources.held == {}


# --- the gate ---

MEMORY = 1000
PATIENCE_S, RETRY_S = 3, 1
#: The first in order waits until what is booked has ended, then until the gate is patient no longer, and for
#: the next time that it is asked; meanwhile what has a priority seat may have passed it once more.
GATE_BOUND_S = 2 * LONGEST_S + PATIENCE_S + RETRY_S
SIGNALS = st.builds(
    lambda runnable, available, stalled: Signals(2, runnable, MEMORY, available, stalled),
    st.integers(0, 20), st.integers(0, MEMORY), st.integers(0, 10).map(seconds),
)  # fmt: skip
BOOKED = st.builds(
    Wanted, st.integers(1, 12), st.integers(1, LONGEST_S), st.integers(-1, 1),
    st.integers(1, 1200).map(lambda need: (("ram", need),)),
)  # fmt: skip


class GatedPool:
    """A pool with a gate, on a machine that says anything."""

    def __init__(self, wanted: list[Wanted], says: list[Signals], *, bound_s: int = GATE_BOUND_S) -> None:
        self.wanted = {f"j{number}": one for number, one in enumerate(wanted)}
        self.says, self.bound_s = says, bound_s
        jobs = tuple(
            make_job(
                name,
                Interval(seconds(one.first_s)),
                policy=Policy(
                    priority=one.priority, max_runs=1, overlap=Overlap.QUEUE, start_deadline_ns=None
                ),
                execution=Execution(resources=one.amounts),
            )
            for name, one in self.wanted.items()
        )
        self.driver = Driver(
            jobs, Settings(admission=Admission.AUTO, admission_patience_ns=seconds(PATIENCE_S))
        )
        #: The key and the end of each that runs, on the elapsed clock.
        self.running: dict[str, tuple[str, int]] = {}
        self.begun: set[str] = set()
        self.first: str | None = None
        self.first_ns = 0
        self.judge(self.driver.done)

    @property
    def now_ns(self) -> int:
        return self.driver.now.elapsed_ns

    def judge(self, found: list[effects.Effect]) -> None:
        """Judge the starts of a step, and tell the gate what the machine says."""
        for start in of_type(found, effects.Start):
            others = sum(dict(self.wanted[name].amounts)["ram"] for name in self.running)
            need = dict(self.wanted[start.job].amounts)["ram"]
            assert not self.running or others + need <= 0.9 * MEMORY
            self.running[start.job] = (start.key, self.now_ns + seconds(self.wanted[start.job].length_s))
            self.begun.add(start.job)
            self.driver.began(start.key)
        pool = self.driver.engine.pool
        if pool.wants_signals:
            signals = self.says[self.now_ns // seconds(0.3) % len(self.says)]
            self.judge(self.driver.send(events.SignalsRead(signals)))
        first = next((attempt.run.job.id for attempt in pool.first_ready(1)), None)
        if first != self.first:
            self.first, self.first_ns = first, self.now_ns

    def pass_time(self) -> None:
        """Go on to the next thing that happens."""
        wall_ns, elapsed_ns = self.driver.engine.next_wake()
        found = [end_ns for _, end_ns in self.running.values()]
        found += [elapsed_ns] if elapsed_ns is not None else []
        found += [wall_ns - START.wall_ns + START.elapsed_ns] if wall_ns is not None else []
        at_ns = max(self.now_ns, min(found))
        self.driver.now = Now(at_ns - START.elapsed_ns + START.wall_ns, at_ns)
        self.judge(self.driver.send(events.Tick()))
        for name, (key, end_ns) in list(self.running.items()):
            if end_ns <= self.now_ns:
                del self.running[name]
                self.judge(self.driver.ended(key))
        assert self.first is None or self.now_ns - self.first_ns <= seconds(self.bound_s)


@given(st.lists(BOOKED, min_size=1, max_size=10), st.lists(SIGNALS, min_size=1, max_size=12))
@settings(deadline=None)
def test_whatever_the_machine_says_the_first_waits_no_longer_than_its_bound_and_memory_is_booked(
    wanted: list[Wanted], says: list[Signals]
) -> None:
    pool, turns = GatedPool(wanted, says), 0
    while len(pool.begun) < len(wanted) or pool.running:
        pool.pass_time()
        turns += 1
        assert turns < 10_000  # or the same instant comes again and again
    assert pool.driver.engine.pool.memory.booked == 0


LOADED = st.builds(
    lambda runnable, available, stalled: Signals(2, runnable, MEMORY, available, stalled),
    st.integers(20, 50), st.integers(0, MEMORY), st.integers(0, 10).map(seconds),
)  # fmt: skip
SMALL = st.builds(Wanted, st.integers(2, 12), st.just(1000), st.just(0), st.just((("ram", 1),)))


@given(st.lists(SMALL, min_size=1, max_size=6), st.lists(LOADED, min_size=1, max_size=12))
@settings(deadline=None)
def test_the_load_of_others_holds_the_first_back_no_longer_than_the_patience_of_the_gate(
    wanted: list[Wanted], says: list[Signals]
) -> None:
    busy = [Wanted(1, 1000, 0, (("ram", 1),))] * 2
    pool = GatedPool([*busy, *wanted], says, bound_s=PATIENCE_S + RETRY_S)
    while len(pool.begun) < len(wanted) + 2:
        pool.pass_time()
