"""Laws that hold whatever happens in whatever order: each slot is accounted for, each run ends once."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core import effects, events, timetable
from taskman_cli.core.engine import Engine
from taskman_cli.core.model import (
    Execution,
    Exit,
    Job,
    Mode,
    Now,
    OnMissed,
    Overlap,
    Policy,
    Retry,
    Settings,
    Trigger,
)
from taskman_cli.core.outbox import ACCOUNTED, FINISH, TOLD, WAITING
from taskman_cli.core.schedule import Interval

#: Histories for each law; `TASKMAN_LAW_EXAMPLES` asks for more.
LAW_EXAMPLES = int(os.environ.get("TASKMAN_LAW_EXAMPLES", "200"))
EVERY_S = (1, 3, 10, 60)
SETTINGS = Settings(max_workers=3)

policies = st.builds(
    Policy,
    overlap=st.sampled_from(Overlap),
    max_running=st.sampled_from([None, 1, 2]),
    on_missed=st.sampled_from(OnMissed),
    start_deadline_ns=st.sampled_from([None, seconds(5), seconds(300)]),
    jitter_ns=st.sampled_from([0, seconds(2), seconds(20)]),
    priority=st.integers(-1, 1),
    mode=st.sampled_from(Mode),
    run_on_start=st.booleans(),
)
executions = st.builds(
    Execution,
    timeout_ns=st.sampled_from([None, seconds(2)]),
    kill_timeout_ns=st.sampled_from([0, seconds(3)]),
    retry=st.builds(Retry, max=st.integers(0, 2), delay_ns=st.sampled_from([0, seconds(4)])),
)
jobs = st.lists(
    st.tuples(policies, executions, st.sampled_from(EVERY_S), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=4,
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["wait", "wait", "begin", "succeed", "fail", "no_room", "not_found", "crash"]),
        st.sampled_from([0, 0.4, 1, 1.6, 7, 100]),
        st.integers(0, 5),
    ),
    max_size=80,
)


@dataclass
class World:
    """An engine, and a supervisor that outlives it."""

    jobs: tuple[Job, ...]
    now: Now = START
    done: list[effects.Effect] = field(default_factory=list)
    #: What the supervisor remembers, by key.
    seen: dict[str, events.SeenAttempt] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    #: Keys asked for and not answered yet.
    asked: dict[str, effects.Start] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = Engine(SETTINGS)
        self.give(events.JobsLoaded(self.jobs, START.wall_ns, START.wall_ns))

    def give(self, event: events.Event) -> None:
        new = self.engine.handle(event, self.now)
        self.done += new
        assert len(self.engine.pool.running) <= SETTINGS.max_workers
        for effect in new:
            match effect:
                case effects.Start():
                    assert effect.key not in self.asked
                    assert effect.key not in self.seen
                    self.asked[effect.key] = effect
                case effects.Forget():
                    for key in effect.keys:
                        self.seen.pop(key, None)
                case effects.Keep(value=None):
                    self.kept.pop(effect.name, None)
                case effects.Keep():
                    self.kept[effect.name] = effect.value
                case effects.Signal() if effect.ending and effect.key in self.seen:
                    self.seen[effect.key] = replace(self.seen[effect.key], ending=effect.ending)

    def wait(self, length_s: float) -> None:
        """Let time pass, waking the engine when it wants to be woken and in the end."""
        end = Now(self.now.wall_ns + seconds(length_s), self.now.elapsed_ns + seconds(length_s))
        if length_s < 5:
            while (due := self.next_wake_ns()) is not None and due < end.elapsed_ns:
                passed = max(0, due - self.now.elapsed_ns)
                self.now = Now(self.now.wall_ns + passed, self.now.elapsed_ns + passed)
                self.give(events.Tick())
        self.now = end
        self.give(events.Tick())

    def next_wake_ns(self) -> int | None:
        """Return when the engine wants to be woken, on the elapsed clock."""
        wall_ns, elapsed_ns = self.engine.next_wake()
        wakes = [elapsed_ns] if elapsed_ns is not None else []
        if wall_ns is not None:
            wakes.append(wall_ns - START.wall_ns + START.elapsed_ns)
        return min(wakes, default=None)

    def answer(self, what: str, index: int) -> None:
        """Let something happen to one of the attempts."""
        if what in ("begin", "no_room", "not_found") and self.asked:
            key = list(self.asked)[index % len(self.asked)]
            start = self.asked.pop(key)
            if what == "no_room":
                self.give(events.StartFailed(key, "no room", is_transient=True, at=self.now))
                return
            pid = 9 if what == "begin" else None
            end = None if pid else events.StartFailed(key, "not found", is_transient=False, at=self.now)
            slot = start.slot_ns, start.trigger
            self.seen[key] = events.SeenAttempt(
                key, start.run, start.job, start.task.id, start.attempt, *slot, pid, self.now, end
            )
            self.give(events.AttemptStarted(key, 9, self.now) if end is None else end)
            return
        running = [key for key, attempt in self.seen.items() if attempt.end is None]
        if what in ("succeed", "fail") and running:
            key = running[index % len(running)]
            end_event = events.AttemptEnded(key, Exit(exit_code=int(what == "fail")), self.now)
            self.seen[key] = replace(self.seen[key], end=end_event)
            self.give(end_event)

    def crash(self) -> None:
        """Lose the engine, and let a new one take over what the supervisor remembers."""
        # What was asked for is carried out, and the engine dies before it hears of it.
        for key, start in self.asked.items():
            slot = start.slot_ns, start.trigger
            self.seen[key] = events.SeenAttempt(
                key, start.run, start.job, start.task.id, start.attempt, *slot, 9, self.now
            )
        self.asked.clear()
        self.engine = Engine(SETTINGS)
        since_ns = self.kept.get(ACCOUNTED, START.wall_ns)
        finishes = {
            name.removeprefix(FINISH): value for name, value in self.kept.items() if name.startswith(FINISH)
        }
        self.give(events.JobsLoaded(self.jobs, since_ns, START.wall_ns, is_first=False, finishes=finishes))
        waiting = tuple(
            events.WaitingRun(name.removeprefix(WAITING), job, slot_ns, Trigger(trigger))
            for name, (job, slot_ns, trigger) in (
                (name, what) for name, what in self.kept.items() if name.startswith(WAITING)
            )
        )
        told = frozenset(name.removeprefix(TOLD) for name in self.kept if name.startswith(TOLD))
        self.give(events.Recovered(tuple(self.seen.values()), waiting, told))

    def finish(self) -> None:
        """Stop, and let everything end."""
        self.give(events.StopRequested())
        while self.asked:
            self.answer("begin", 0)
        while any(attempt.end is None for attempt in self.seen.values()):
            self.answer("succeed", 0)
        self.wait(1000)


def make_world(specs: list[tuple[Policy, Execution, int, int, bool]]) -> World:
    return World(
        tuple(
            make_job(
                f"job{number}",
                Interval(seconds(every_s)),
                policy=policy,
                execution=execution,
                tasks=tuple("abc"[:tasks]),
                enabled=enabled,
            )
            for number, (policy, execution, every_s, tasks, enabled) in enumerate(specs)
        )
    )


def play(world: World, history: list[tuple[str, float, int]], *, with_crashes: bool) -> None:
    for what, length_s, index in history:
        if what == "wait":
            world.wait(length_s)
        elif what != "crash":
            world.answer(what, index)
        elif with_crashes:
            world.crash()
    world.finish()


@settings(deadline=None, max_examples=LAW_EXAMPLES)
@given(jobs, steps, st.booleans(), st.sampled_from([2, 5, 200]))
def test_each_slot_is_one_run_or_one_skip_however_often_the_scheduler_dies(
    specs: list[tuple[Policy, Execution, int, int, bool]],
    history: list[tuple[str, float, int]],
    with_crashes: bool,
    most: int,
) -> None:
    world = make_world(specs)
    with patch.multiple(timetable, MAX_PASSED=most, MAX_CATCH_UPS=most + 3):
        play(world, history, with_crashes=with_crashes)
    accounted: Counter[tuple[str, int]] = Counter()
    for effect in world.done:
        match effect:
            case effects.RunQueued() if effect.slot_ns is not None:
                accounted[effect.job, effect.slot_ns] += 1
            case effects.SlotsSkipped() if effect.run is None:
                every_ns = seconds(specs[int(effect.job[3:])][2])
                slots = range(effect.first_ns, effect.last_ns + 1, every_ns)
                assert effect.count == len(slots)
                accounted.update((effect.job, slot) for slot in slots)
    expected = []
    for armed, (_, _, every_s, _, _) in zip(world.engine.timetable.jobs.values(), specs, strict=True):
        assert armed.slot_ns is not None
        passed = range(START.wall_ns + seconds(every_s), armed.slot_ns, seconds(every_s))
        expected += [(armed.job.id, slot_ns) for slot_ns in passed]
    assert Counter(expected) == accounted


@settings(deadline=None, max_examples=LAW_EXAMPLES)
@given(jobs, steps, st.booleans())
def test_each_run_reaches_one_end_however_often_the_scheduler_dies_and_nothing_stays_behind(
    specs: list[tuple[Policy, Execution, int, int, bool]],
    history: list[tuple[str, float, int]],
    with_crashes: bool,
) -> None:
    world = make_world(specs)
    play(world, history, with_crashes=with_crashes)
    begun = [effect.run for effect in world.done if isinstance(effect, effects.RunQueued)]
    ended = [effect.run for effect in world.done if isinstance(effect, effects.RunFinished)]
    given_up = [
        effect.run for effect in world.done if isinstance(effect, effects.SlotsSkipped) and effect.run
    ]
    assert sorted(begun) == sorted(ended + given_up)
    assert 1 == sum(isinstance(effect, effects.Stopped) for effect in world.done)
    assert {} == world.seen
    assert [] == [name for name in world.kept if name.startswith((WAITING, TOLD))]
    ends = Counter(
        (effect.run, effect.task, effect.attempt)
        for effect in world.done
        if isinstance(effect, effects.AttemptFinished)
    )
    assert {1} >= set(ends.values())
    engine = world.engine
    assert (0, 0) == (engine.pool.ready_count, engine.pool.resting_count)
    assert (None, None) == engine.next_wake()
    if not with_crashes:
        counters = engine.metrics.counters()
        assert ends.total() == (
            counters.succeeded + counters.failed + counters.timed_out + counters.cancelled
        )
