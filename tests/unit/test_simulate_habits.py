"""What commands are taken to do: what they did, what was given, or what is assumed."""

from __future__ import annotations

from collections import Counter

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.effects import Start
from taskman_cli.core.model import GATE, Execution, Exit, Job, Task, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.simulate.habits import Act, Basis, Habits, Sample

MINUTE_NS = 60 * SECOND_NS
TASKS = (Task("a", "true", Execution()), Task("b", "true", Execution()))
JOB = Job("job", Interval(MINUTE_NS), TASKS, gate=Task(GATE, "true", Execution()))


def act(habits: Habits, task: str = "a", due_ns: int = 0, attempt: int = 1) -> Act:
    start = Start("key", "run", "job", Task(task, "true", Execution()), attempt, due_ns, Trigger.SLOT)
    return habits.act(start, due_ns)


def test_without_anything_known_a_second_is_assumed_a_tenth_of_it_on_the_cpu() -> None:
    habits = Habits([JOB], history={}, given={})
    assert {task: habit.basis for (_, task), habit in habits.of.items()} == dict.fromkeys(
        ("a", "b", GATE), Basis.ASSUMED
    )
    work = act(habits).work
    assert (work.alone_ns, work.cpu_ns, work.memory_bytes) == (SECOND_NS, SECOND_NS // 10, 20 << 20)
    assert act(habits, GATE).work.alone_ns == SECOND_NS // 20


def test_a_given_run_time_is_that_of_all_tasks_and_a_tasks_own_wins() -> None:
    habits = Habits([JOB], history={("job", "a"): [Sample(5)]}, given={"job": MINUTE_NS, "job.b": SECOND_NS})
    assert act(habits).work.alone_ns == MINUTE_NS
    assert act(habits, "b").work.alone_ns == SECOND_NS
    assert habits.of["job", GATE].basis is Basis.ASSUMED


def test_an_attempt_does_what_one_on_record_did() -> None:
    samples = [
        Sample(4 * SECOND_NS, SECOND_NS, 7 << 20),
        Sample(SECOND_NS, 3 * SECOND_NS, exit_code=3),
        Sample(SECOND_NS, signal=9, exit_code=None),
    ]
    habits = Habits([JOB], history={("job", "a"): samples}, given={})
    found = {one.end: one.work for one in (act(habits, due_ns=n * MINUTE_NS) for n in range(50))}
    assert {(end.exit_code, end.signal) for end in found if end} == {(0, None), (3, None), (None, 9)}
    first, second = found[Exit(exit_code=0)], found[Exit(exit_code=3)]
    assert (first.alone_ns, first.cpu_ns, first.memory_bytes) == (4 * SECOND_NS, SECOND_NS, 7 << 20)
    # It used three times the CPU time that passed: so it is of several tasks.
    assert (second.alone_ns, second.cpu_ns, second.width) == (SECOND_NS, 3 * SECOND_NS, 3)


def test_what_its_timeout_ended_would_have_taken_longer() -> None:
    habits = Habits([JOB], history={("job", "a"): [Sample(MINUTE_NS, is_cut=True, signal=15)]}, given={})
    assert (act(habits).work.alone_ns, act(habits).end) == (2 * MINUTE_NS, Exit(exit_code=0))


def test_what_an_executor_carries_out_takes_its_time_and_nothing_of_this_machine() -> None:
    """Its `only_if` runs here."""
    far = Job("job", Interval(MINUTE_NS), (Task("a", "true", Execution(executor="farm")),), gate=JOB.gate)
    sample = Sample(MINUTE_NS, 30 * SECOND_NS, 7 << 30, exit_code=3)
    for history in ({}, {("job", "a"): [sample]}):
        habits = Habits([far], history=history, given={})
        found = act(habits)
        assert found.work.alone_ns == (MINUTE_NS if history else SECOND_NS)
        assert (found.work.cpu_ns, found.work.memory_bytes) == (1, 0)
        assert found.end == Exit(exit_code=3 if history else 0)
        assert act(habits, GATE).work.cpu_ns > 1


def test_what_could_not_be_started_cannot_be_again() -> None:
    habits = Habits([JOB], history={("job", "a"): [Sample(0, is_unstarted=True)]}, given={})
    assert act(habits).end is None


def test_each_sample_is_drawn_about_as_often_as_the_others() -> None:
    samples = [Sample(number * SECOND_NS) for number in range(1, 5)]
    habits = Habits([JOB], history={("job", "a"): samples}, given={}, seed=3)
    drawn = Counter(act(habits, due_ns=number * MINUTE_NS).work for number in range(4000))
    assert len(drawn) == 4
    assert min(drawn.values()) > 850


def test_a_draw_depends_on_seed_task_slot_and_attempt_alone() -> None:
    history = {("job", task): [Sample(number * SECOND_NS) for number in range(1, 100)] for task in "ab"}

    def drawn(seed: int, task: str = "a", attempt: int = 1) -> list[Act]:
        habits = Habits([JOB], history=history, given={}, seed=seed)
        return [act(habits, task, number * MINUTE_NS, attempt) for number in range(20)]

    assert drawn(1) == drawn(1)
    assert all(drawn(1) != other for other in (drawn(2), drawn(1, "b"), drawn(1, "a", 2)))
