"""The gate: whether one more attempt may start, by what the machine says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.answers import status
from taskman_cli.core.engine.target import Target
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.model import GATE, Execution, Job, Overlap, Policy, Resource, Settings, Task
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission, AdmissionTuning
from tests.unit.engine_driver import FIXED, START, Driver, make_job, of_type, seconds

GB = 10**9
AUTO = Settings(admission=Admission.AUTO)
QUIET = Signals(cpus=2, runnable=0, memory_bytes=16 * GB, available_bytes=15 * GB, stalled_ns=0)
BUSY = replace(QUIET, runnable=9)


class Machine(Driver):
    """A driver with a machine that says what it is told to, whenever it is asked."""

    signals = QUIET
    reads = 0

    def send(self, event: events.Event) -> list[effects.Effect]:
        if not self.reads:
            self.reads = 1
            self.engine.handle(events.SignalsRead(self.signals), self.now)
        new = super().send(event)
        for _ in range(2):
            if self.engine.pool.wants_signals:
                self.reads += 1
                new += super().send(events.SignalsRead(self.signals))
        return new

    def says(self, signals: Signals, second: float) -> None:
        """Let the machine say something else, and time pass."""
        self.signals = signals
        self.at(second)


def jobs(count: int, **more: object) -> tuple[Job, ...]:
    """Make jobs that are all due ten seconds after the start, and then not for long."""
    policy = Policy(overlap=Overlap.SKIP, start_deadline_ns=None, max_runs=1)
    return tuple(make_job(f"j{n}", Interval(seconds(10)), policy=policy, **more) for n in range(count))


def named(name: str, *, ram: int | None = None, priority: int = 0, first_s: float = 10) -> Job:
    execution = Execution(resources=(("ram", ram),)) if ram else Execution()
    policy = Policy(start_deadline_ns=None, max_runs=1, priority=priority)
    return make_job(name, Interval(seconds(first_s)), policy=policy, execution=execution)


def started(driver: Driver) -> list[str]:
    return [start.job for start in driver.starts]


def waiting(driver: Driver) -> list[tuple[str, str]]:
    found = driver.engine.first_waits(driver.engine.waits(driver.now), 9)
    return [(wait.kind.value, wait.reason) for wait in found]


def needs(*pairs: tuple[str, int]) -> dict[tuple[str, str], int]:
    return {(job, "main"): need for job, need in pairs}


def known(driver: Driver, **needs_of: int) -> None:
    driver.engine.pool.memory.resume(needs(*needs_of.items()))


# --- the CPU ---


def test_as_many_as_there_are_cpus_start_however_busy_the_machine_is() -> None:
    driver = Machine(jobs(5), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(5)})
    driver.says(BUSY, 10)
    assert started(driver) == ["j0", "j1"]
    assert waiting(driver)[:2] == [
        ("cpu", "for a CPU: 11 runnable on 2 CPUs"),
        ("cpu", "behind j2, which waits for a CPU: 11 runnable on 2 CPUs"),
    ]
    driver.ended(driver.starts[0].key)
    assert started(driver) == ["j0", "j1", "j2"]


def test_more_start_while_few_tasks_are_runnable_and_those_just_admitted_count() -> None:
    driver = Machine(jobs(9), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(9)})
    driver.says(QUIET, 10)
    # Up to two for each CPU and two more at once; after a hundredth of a second sleepers do not count.
    assert len(driver.starts) == 6
    driver.at(10.02)
    assert len(driver.starts) == 9


def test_those_that_run_since_the_last_look_are_added_and_those_that_ended_taken_off() -> None:
    driver = Machine(jobs(9), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(9)})
    driver.says(replace(QUIET, runnable=2), 10)
    assert len(driver.starts) == 4
    driver.at(10.02)
    reads = driver.reads
    assert len(driver.starts) == 8
    driver.now = driver.now._replace(elapsed_ns=driver.now.elapsed_ns + 1)
    driver.ended(driver.starts[0].key)
    assert (len(driver.starts), driver.reads) == (9, reads)


def test_however_many_cpus_there_are_the_same_few_more_may_run() -> None:
    tuning = AdmissionTuning(runnable_per_cpu=1, runnable_spare=3)
    driver = Machine(jobs(9), replace(AUTO, admission_tuning=tuning))
    known(driver, **{f"j{n}": 1 for n in range(9)})
    driver.says(replace(QUIET, cpus=4), 10)
    assert len(driver.starts) == 7


def test_while_one_waits_for_a_cpu_the_machine_is_looked_at_more_often() -> None:
    driver = Machine((*jobs(3), named("late", first_s=10.005)), AUTO)
    known(driver, j0=1, j1=1, j2=1, late=1)
    driver.says(BUSY, 10)
    reads = driver.reads
    driver.says(QUIET, 10.005)
    assert (driver.reads, len(driver.starts)) == (reads + 1, 4)


def test_a_denied_start_is_looked_at_again_after_a_tenth_of_the_time_that_it_has_waited() -> None:
    driver = Machine(jobs(3), replace(AUTO, admission_patience_ns=seconds(10**6)))
    known(driver, j0=1, j1=1, j2=1)
    driver.says(BUSY, 10)
    wakes = {}
    for _ in range(90):
        wake_s = driver.wake_s[1]
        assert wake_s is not None
        wakes[round(wakes_from(driver) - 10, 2)] = round(wake_s - wakes_from(driver), 3)
        driver.at(wake_s)
    # At least a hundredth of a second, at most one.
    assert [wakes[after] for after in (0, 0.01, 0.1)] == [0.01, 0.01, 0.01]
    assert all(
        pause == pytest.approx(after / 10, rel=0.1) for after, pause in wakes.items() if 0.2 < after < 9
    )
    assert max(wakes.values()) == 1.0
    driver.signals = QUIET
    driver.at(driver.wake_s[1] or 0)
    assert len(driver.starts) == 3
    assert driver.wake_s[1] is None  # nothing polls when nothing waits


def wakes_from(driver: Driver) -> float:
    return (driver.now.elapsed_ns - START.elapsed_ns) / 1e9


def test_the_load_of_others_holds_the_first_back_only_as_long_as_the_patience_lasts() -> None:
    driver = Machine(jobs(4), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(4)})
    driver.says(BUSY, 10)
    driver.at(19.9)
    assert len(driver.starts) == 2
    driver.at(20)
    assert len(driver.starts) == 3
    driver.says(replace(BUSY, runnable=10), 29.9)
    assert len(driver.starts) == 3
    driver.at(30.1)
    assert len(driver.starts) == 4


@pytest.mark.no_cover
@pytest.mark.parametrize("length_s", [1, 5, 1000])
def test_on_a_machine_that_is_always_busy_what_sleeps_waits_only_as_long_as_the_patience_lasts(
    length_s: int,
) -> None:
    driver = Machine(jobs(100), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(100)})
    chance, ended = random.Random(1), 0
    for hundredths in range(1300):
        driver.says(replace(BUSY, runnable=chance.randint(8, 20)), 10 + hundredths / 100)
        assert len(driver.starts) <= 2 + ended or hundredths >= 1000
        if ended < len(driver.starts) and hundredths >= (ended // 2 + 1) * length_s * 100:
            driver.ended(driver.starts[ended].key)
            ended += 1
    assert len(driver.starts) == 100


def test_a_moment_without_load_does_not_make_it_unusual() -> None:
    driver = Machine(jobs(100), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(100)})
    for hundredths in range(1010):
        driver.says(BUSY, 10 + hundredths / 100)
    count = len(driver.starts)
    driver.says(QUIET, 20.15)
    assert len(driver.starts) - count >= 4
    for hundredths in range(100):
        driver.says(replace(BUSY, runnable=8), 20.2 + hundredths / 100)
    assert len(driver.starts) - count > 40


@pytest.mark.no_cover
def test_what_adds_to_the_load_is_held_back_again() -> None:
    driver = Machine(jobs(60), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(60)})
    for hundredths in range(10_000):
        load = 7 + max(0, len(driver.starts) - 2)  # of others; and what starts here never sleeps
        driver.says(replace(BUSY, runnable=load), 10 + hundredths / 100)
    assert 10 <= len(driver.starts) <= 20, "about one in each patience"


@pytest.mark.no_cover
def test_sixty_that_sleep_five_seconds_beside_a_load_of_fourteen_take_little_longer_than_the_patience() -> (
    None
):
    driver = Machine(jobs(60), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(60)})
    ends: dict[str, int] = {}
    for hundredths in range(1700):
        for start in driver.starts[len(ends) :]:
            ends[start.key] = hundredths + 500
        for key in [key for key, at in ends.items() if at == hundredths]:
            driver.ended(key)
        driver.says(replace(BUSY, runnable=14 + (hundredths % 12 == 0)), 10 + hundredths / 100)
    assert len(driver.starts) == 60
    assert max(ends.values()) < 1700


def test_a_load_that_is_our_own_never_becomes_the_usual_one() -> None:
    driver = Machine(jobs(60), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(60)})
    for hundredths in range(0, 10, 2):  # they look like sleepers
        driver.says(QUIET, 10 + hundredths / 100)
    count, ended = len(driver.starts), 0
    assert count == 30
    for tenths in range(200):  # and then they burn
        driver.says(replace(BUSY, runnable=len(driver.starts) - ended), 10.1 + tenths / 10)
        if tenths % 10 == 9:
            driver.ended(driver.starts[ended].key)
            ended += 1
    assert len(driver.starts) == count + 1, "one in each patience"


@pytest.mark.no_cover
def test_when_the_others_have_left_what_burns_here_does_not_take_their_place() -> None:
    driver = Machine(jobs(300), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(300)})
    running = most = 0
    for tenths in range(1000):
        others = 30 if tenths < 150 else 0
        most = max(most, running)
        driver.says(replace(BUSY, runnable=running + others), 10 + tenths / 10)
        if tenths % 5 == 4:
            driver.ended(driver.starts[tenths // 5].key)
        running = len(driver.starts) - (tenths + 1) // 5
    assert (running, most) == (6, 23)


@pytest.mark.parametrize(("between", "count"), [(QUIET, 4), (BUSY, 9)])
def test_a_load_that_was_low_meanwhile_is_not_the_usual_one_any_more(between: Signals, count: int) -> None:
    late = tuple(named(f"late{n}", first_s=60) for n in range(5))
    driver = Machine((*jobs(3), named("between", first_s=40), *late), AUTO)
    known(driver, j0=1, j1=1, j2=1, between=1, **{f"late{n}": 1 for n in range(5)})
    driver.says(BUSY, 10)
    driver.says(BUSY, 20)
    driver.says(between, 40)
    assert started(driver) == ["j0", "j1", "j2", "between"]
    for hundredths in range(30):
        driver.says(BUSY, 60 + hundredths / 100)
    assert len(driver.starts) == count


def test_an_urgent_job_has_a_seat_although_the_cpus_are_busy() -> None:
    two = (named("probe", priority=1, first_s=11), named("other", priority=1, first_s=12))
    driver = Machine((*jobs(4), *two), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(4)}, probe=1, other=1)
    driver.says(BUSY, 10)
    driver.at(11)
    assert started(driver) == ["j0", "j1", "probe"]
    driver.at(12)
    assert started(driver) == ["j0", "j1", "probe"]  # there is one such seat
    driver.ended(driver.starts[2].key)
    assert started(driver) == ["j0", "j1", "probe", "other"]


def test_an_urgent_job_waits_for_memory_like_the_others() -> None:
    patient = replace(AUTO, ageing_ns=seconds(1), admission_patience_ns=seconds(10**6))
    driver = Machine((*jobs(3), named("probe", ram=99 * GB, priority=1, first_s=100)), patient)
    known(driver, j0=1, j1=1, j2=1)
    driver.says(BUSY, 10)
    driver.at(100)
    assert started(driver) == ["j0", "j1"]
    assert waiting(driver)[0][0] == "cpu"


def test_what_is_held_back_and_then_taken_out_is_asked_for_no_more() -> None:
    driver = Machine(jobs(3), AUTO)
    known(driver, j0=1, j1=1, j2=1)
    driver.says(BUSY, 10)
    assert driver.wake_s[1] is not None
    driver.send(events.JobsReloaded(1, driver.jobs[:2], AUTO, (), "ann"))
    assert driver.wake_s[1] is None


def test_when_the_one_that_is_held_back_goes_and_the_next_lacks_a_resource_nothing_asks() -> None:
    settings = replace(AUTO, resources=(("db", Resource(1)),))
    db = Execution(resources=(("db", 1),))
    policy = Policy(start_deadline_ns=None, max_runs=1)
    holds, wants = (make_job(name, Interval(seconds(10)), policy=policy, execution=db) for name in ("x", "y"))
    driver = Machine((holds, *jobs(2), wants), settings)
    known(driver, x=1, y=1, j0=1, j1=1)
    driver.says(BUSY, 10)
    assert started(driver) == ["x", "j0"]
    driver.send(events.JobsReloaded(1, (holds, driver.jobs[1], wants), settings, (), "ann"))
    assert driver.engine.pool.gate is not None
    assert driver.engine.pool.gate.held is None


def test_an_urgent_job_passes_those_that_have_waited_long() -> None:
    driver = Machine((*jobs(4), named("probe", priority=1, first_s=100)), replace(AUTO, ageing_ns=seconds(1)))
    known(driver, **{f"j{n}": 1 for n in range(4)}, probe=1)
    patient = replace(AUTO, ageing_ns=seconds(1), admission_patience_ns=seconds(10**6))
    driver.engine.pool.configure(patient, driver.now.elapsed_ns)
    driver.says(BUSY, 10)
    driver.at(100)
    assert started(driver) == ["j0", "j1", "probe"]


def test_without_a_count_of_runnable_tasks_only_memory_and_the_cap_count() -> None:
    driver = Machine(jobs(6), replace(AUTO, max_workers=5))
    known(driver, **{f"j{n}": 1 for n in range(6)})
    driver.says(replace(BUSY, runnable=None), 10)
    assert len(driver.starts) == 5
    assert waiting(driver) == [("worker", "for a worker: all 5 are busy")]


def test_a_machine_that_says_nothing_refuses_nothing() -> None:
    driver = Machine(jobs(9), AUTO)
    driver.says(Signals(cpus=2), 10)
    assert len(driver.starts) == 9


def test_one_cpu_is_one() -> None:
    driver = Machine(jobs(3), AUTO)
    known(driver, j0=1, j1=1, j2=1)
    driver.says(replace(BUSY, cpus=1), 10)
    assert waiting(driver)[0][1].endswith("10 runnable on 1 CPU")


# --- memory ---


def test_memory_that_is_not_free_holds_the_first_back_only_as_long_as_the_patience_lasts() -> None:
    driver = Machine(jobs(2), AUTO)
    known(driver, j0=GB, j1=GB)
    driver.says(replace(QUIET, available_bytes=0), 10)
    assert started(driver) == ["j0"]
    driver.at(19.9)
    assert started(driver) == ["j0"]
    driver.at(20)
    assert started(driver) == ["j0", "j1"]


def test_needs_may_come_to_nine_tenths_of_the_memory() -> None:
    driver = Machine((named("backup", ram=6 * GB), named("small", ram=9 * GB), named("third", ram=1)), AUTO)
    driver.says(replace(QUIET, available_bytes=16 * GB), 10)
    assert started(driver) == ["backup"]
    assert waiting(driver) == [
        ("memory", "for 9 GB; backup (6 GB) holds most"),
        ("memory", "behind small, which waits for 9 GB"),
    ]
    driver.at(50)  # booked memory is not a matter of patience
    assert started(driver) == ["backup"]
    driver.ended()
    driver.at(52)  # when `small` is not young any more
    assert started(driver) == ["backup", "small", "third"]


def test_what_is_larger_than_the_machine_starts_alone() -> None:
    driver = Machine((named("huge", ram=99 * GB),), AUTO)
    driver.says(QUIET, 10)
    assert started(driver) == ["huge"]


def test_what_the_young_have_not_taken_yet_is_not_free() -> None:
    driver = Machine((named("a", ram=4 * GB), named("b", ram=3 * GB), named("c", ram=GB)), AUTO)
    driver.says(replace(QUIET, available_bytes=8 * GB), 10)
    # Free is 8 - 1.6, of which a young one has not taken 4.
    assert started(driver) == ["a"]
    assert waiting(driver)[0] == ("memory", "for 3 GB of free memory; a (4 GB) holds most")
    driver.says(replace(QUIET, available_bytes=6 * GB), 10.5)  # it has taken half
    assert started(driver) == ["a"]
    driver.says(replace(QUIET, available_bytes=7 * GB), 10.6)  # others have given some back
    assert started(driver) == ["a"]
    driver.at(12)  # it has had time enough
    assert started(driver) == ["a", "b", "c"]


def test_what_the_young_have_taken_is_free_no_more_and_counts_once() -> None:
    driver = Machine((named("first"), named("second", first_s=10.5)), AUTO)
    known(driver, first=4 * GB, second=2 * GB)
    driver.at(10)
    driver.send(events.SignalsRead(replace(QUIET, available_bytes=8 * GB)))
    driver.says(replace(QUIET, available_bytes=4 * GB), 10.5)  # of which 1.6 stay free
    assert started(driver) == ["first", "second"]


def test_of_what_is_free_the_young_of_unknown_need_may_take_half_as_long_as_nothing_is_known() -> None:
    tuning = AdmissionTuning(unknown_per_cpu=1, unknown_share=0.1)  # 1.6 GB each
    driver = Machine(jobs(6), replace(AUTO, admission_tuning=tuning))
    driver.says(replace(QUIET, available_bytes=12 * GB), 10)
    # Of 10.4 that are free, half may be spoken for: three times 1.6.
    assert started(driver) == ["j0", "j1", "j2"]
    driver.says(replace(QUIET, available_bytes=11 * GB), 10.1)
    assert started(driver) == ["j0", "j1", "j2"]
    known(driver, w=GB, x=GB, y=GB, z=GB)
    driver.at(10.2)  # with some known needs the guess is worth more
    assert len(started(driver)) > 3


def test_a_command_of_unknown_need_may_still_grow_until_the_last_look_at_it() -> None:
    tuning = AdmissionTuning(unknown_per_cpu=1, unknown_share=0.2)  # 3.2 GB each
    driver = Machine(
        (named("a"), named("b", first_s=12), named("c", first_s=14)), replace(AUTO, admission_tuning=tuning)
    )
    driver.says(replace(QUIET, available_bytes=8 * GB), 10)
    # Free are 6.4: too little for twice "b" and twice what "a", which is not young any more, may still take.
    driver.says(replace(QUIET, available_bytes=8 * GB), 12)
    assert started(driver) == ["a"]
    driver.says(replace(QUIET, available_bytes=8 * GB), 14)
    assert started(driver) == ["a", "b"]


def test_who_has_a_priority_seat_and_a_known_need_waits_for_no_guess() -> None:
    tuning = AdmissionTuning(unknown_per_cpu=1, unknown_share=0.44)
    two = (named("probe", priority=1, first_s=11), named("new", priority=1, first_s=12))
    settings = replace(AUTO, admission_tuning=tuning, priority_seats=2)
    driver = Machine((*jobs(3), *two), settings)
    driver.says(QUIET, 10)
    assert started(driver) == ["j0"]
    driver.at(10.9)
    known(driver, probe=GB)
    driver.says(QUIET, 11)
    assert started(driver) == ["j0", "probe"]  # not held back by what j0 may still take
    driver.at(12.0)
    assert started(driver) == ["j0", "probe"]  # what is new waits like others


def test_what_older_ones_give_back_is_not_taken_for_what_the_young_leave() -> None:
    driver = Machine(
        (named("old", ram=4 * GB), named("young", ram=4 * GB, first_s=12), named("c", ram=GB, first_s=12.5)),
        AUTO,
    )
    driver.says(QUIET, 10)
    driver.says(replace(QUIET, available_bytes=11 * GB), 12)
    assert started(driver) == ["old", "young"]
    driver.ended(driver.starts[0].key)
    driver.says(replace(QUIET, available_bytes=11 * GB), 12.5)  # 4 given back, 4 taken
    assert started(driver) == ["old", "young", "c"]


def test_waiting_for_memory_holds_everything_back() -> None:
    driver = Machine((named("a", ram=1), named("b", ram=1, first_s=12), named("c", ram=1, first_s=12)), AUTO)
    driver.says(QUIET, 10)
    driver.says(replace(QUIET, stalled_ns=seconds(3)), 12)
    assert waiting(driver)[0] == ("memory", "for memory: the machine waited for it 25% of the time")
    driver.says(replace(QUIET, stalled_ns=seconds(3)), 12.6)
    driver.says(replace(QUIET, stalled_ns=seconds(3)), 13.2)
    assert "b" in started(driver)
    driver.says(replace(QUIET, stalled_ns=None), 14)
    assert started(driver) == ["a", "b", "c"]


def test_what_runs_elsewhere_is_none_of_the_load_here_when_the_gate_opens_either() -> None:
    here, far = named("here", ram=4), named("far", ram=5)
    (task,) = far.tasks
    far = replace(far, tasks=(replace(task, execution=replace(task.execution, executor="far")),))
    driver = Driver((here, far), FIXED)
    driver.at(10)
    assert started(driver) == ["here", "far"]
    driver.send(events.JobsReloaded(1, (here, far), AUTO, (), "ann"))
    assert driver.engine.pool.memory.booked == 4


def test_what_only_if_lets_go_on_waits_for_memory_like_the_others() -> None:
    gate = Task(GATE, "true", Execution())
    driver = Machine(tuple(replace(job, gate=gate) for job in jobs(4)), AUTO)
    names = [f"j{n}" for n in range(4)]
    driver.engine.pool.memory.resume(
        {(name, task): need for name in names for task, need in ((GATE, 1), ("main", 6 * GB))}
    )
    driver.says(QUIET, 10)
    for start in [*driver.starts]:
        driver.ended(start.key)
    mains = [start for start in driver.starts if start.task.id == "main"]
    assert [start.job for start in mains] == names[:2]
    assert waiting(driver)[0] == ("memory", "for 6 GB; j1 (6 GB) holds most")
    driver.ended(mains[0].key)
    assert started(driver)[-1] == "j2"


def test_what_is_larger_than_the_machine_goes_on_after_only_if_when_nothing_else_runs() -> None:
    gated = replace(jobs(1)[0], gate=Task(GATE, "true", Execution()))
    driver = Machine((gated,), AUTO)
    driver.engine.pool.memory.resume({("j0", GATE): 1, ("j0", "main"): 60 * GB})
    driver.says(QUIET, 10)
    driver.ended(driver.last_key)
    assert [start.task.id for start in driver.starts] == [GATE, "main"]


def test_what_runs_elsewhere_holds_no_memory_here() -> None:
    far = named("far", first_s=5)
    (task,) = far.tasks
    far = replace(far, tasks=(replace(task, execution=replace(task.execution, executor="far")),))
    driver = Machine((far, named("a", ram=GB), named("b", ram=14 * GB)), AUTO)
    driver.says(QUIET, 5)
    driver.says(QUIET, 10)
    assert started(driver) == ["far", "a"]
    assert waiting(driver) == [("memory", "for 14 GB; a (1 GB) holds most")]


def test_memory_of_which_only_the_total_is_known_is_booked() -> None:
    driver = Machine((named("a", ram=9 * GB), named("b", ram=9 * GB)), AUTO)
    driver.says(replace(QUIET, available_bytes=None), 10)
    assert started(driver) == ["a"]


# --- with resources, holds and settings ---


def test_resources_come_before_the_gate() -> None:
    one = Execution(resources=(("db", 1),))
    settings = replace(AUTO, resources=(("db", Resource(1)),))
    driver = Machine((*jobs(2, execution=one), named("free", first_s=10)), settings)
    known(driver, j0=1, j1=1, free=1)
    driver.says(QUIET, 10)
    assert started(driver) == ["j0", "free"]
    driver.says(BUSY, 10.5)
    driver.ended(driver.starts[0].key)
    assert started(driver) == ["j0", "free", "j1"]


def test_nothing_is_held_back_any_more_when_only_resources_lack() -> None:
    one = Execution(resources=(("db", 1),))
    settings = replace(AUTO, resources=(("db", Resource(2)),))
    driver = Machine((*jobs(3, execution=one),), settings)
    known(driver, j0=1, j1=1, j2=1)
    driver.says(BUSY, 10)
    assert started(driver) == ["j0", "j1"]
    assert driver.engine.pool.gate is not None
    assert driver.engine.pool.gate.held is None
    assert waiting(driver)[0][0] == WaitsFor.RESOURCE


def test_a_pause_of_all_starts_is_no_matter_of_the_gate() -> None:
    driver = Machine(jobs(4), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(4)})
    driver.says(BUSY, 10)
    driver.failed(driver.starts[0].key, is_transient=True)
    assert driver.engine.pool.gate is not None
    assert driver.engine.pool.gate.held is None
    driver.at(30)
    assert len(driver.starts) == 3


def test_a_pause_of_one_user_lets_others_pass() -> None:
    from taskman_cli.core.model import Account

    ann = Execution(user=Account("ann", 1000))
    first, second = (
        make_job(name, Interval(seconds(10)), policy=Policy(max_runs=1), execution=ann) for name in "ab"
    )
    driver = Machine((first, second, named("c", first_s=10.01), named("d", first_s=10.01)), AUTO)
    known(driver, a=1, b=1, c=1, d=1)
    driver.signals = BUSY
    driver.at(10)
    driver.failed(driver.starts[0].key, is_transient=True, is_users=True)
    driver.at(10.01)
    assert sorted(started(driver)) == ["a", "b", "c"]
    driver.at(30)
    assert "a" in started(driver)[2:]


def test_a_reload_changes_the_numbers_at_once() -> None:
    driver = Machine(jobs(5), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(5)})
    driver.says(BUSY, 10)
    more = replace(AUTO, admission_tuning=AdmissionTuning(runnable_per_cpu=6))
    driver.send(events.JobsReloaded(1, driver.jobs, more, (), "ann"))
    driver.at(10.1)
    assert len(driver.starts) == 5


def test_a_reload_to_a_fixed_pool_and_back_books_what_runs() -> None:
    all_jobs = (
        named("a", ram=9 * GB),
        named("b", ram=9 * GB, first_s=12),
        named("c", ram=9 * GB, first_s=13),
    )
    driver = Machine(all_jobs, AUTO)
    driver.says(QUIET, 10)
    fixed = replace(FIXED, max_workers=2)
    driver.send(events.JobsReloaded(1, all_jobs, fixed, (), "ann"))
    driver.at(12)
    assert (started(driver), driver.engine.pool.gate) == (["a", "b"], None)
    driver.send(events.JobsReloaded(1, all_jobs, AUTO, (), "ann"))
    driver.at(13)
    assert started(driver) == ["a", "b"]
    assert driver.engine.pool.memory.booked == 18 * GB
    driver.ended(driver.starts[0].key)
    driver.ended(driver.starts[1].key)
    assert started(driver) == ["a", "b", "c"]


def test_a_signal_that_comes_after_a_reload_to_fixed_is_of_no_use() -> None:
    driver = Driver(jobs(1))
    driver.send(events.SignalsRead(QUIET))
    assert driver.engine.pool.gate is None


@pytest.mark.parametrize(
    ("settings", "most", "seats"),
    [
        (FIXED, None, 64),
        (Settings(), None, 512),
        (AUTO, None, 512),
        (AUTO, 100, 100),
        (AUTO, 0, 1),
        (replace(AUTO, max_workers=300), 100, 300),
    ],
)
def test_the_number_of_workers_if_it_is_not_set_is_what_the_limits_allow(
    settings: Settings, most: int | None, seats: int
) -> None:
    driver = Driver(jobs(1), settings)
    driver.send(events.SignalsRead(replace(QUIET, most_workers=most)))
    assert driver.engine.pool.seats == seats


def test_the_engine_wants_signals_first_and_then_only_when_something_waits_for_them() -> None:
    driver = Machine(jobs(2), AUTO)
    assert (driver.reads, driver.engine.pool.wants_signals) == (1, False)
    driver.at(5)
    assert driver.reads == 1
    driver.at(10)  # the first starts without them, since nothing of ours runs
    assert (driver.reads, len(driver.starts)) == (2, 2)
    assert driver.wake_s == (None, None)  # and wakes for nothing that it has done


def test_signals_that_nobody_asked_for_leave_the_time_of_the_next_look() -> None:
    driver = Machine(jobs(5), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(5)})
    driver.says(BUSY, 10)
    assert driver.wake_s == (None, 10.01)
    driver.send(events.SignalsRead(BUSY))
    assert driver.wake_s == (None, 10.01)


def test_an_engine_that_was_not_given_signals_asks_again() -> None:
    driver = Driver(jobs(2), AUTO)
    driver.send(events.SignalsRead(QUIET))
    driver.at(10)
    assert (len(driver.starts), driver.engine.pool.wants_signals) == (1, True)
    assert driver.wake_s[1] == 10
    driver.send(events.SignalsRead(QUIET))
    assert len(driver.starts) == 2


# --- the target ---


def test_the_target_is_what_ran_at_once_lately_and_is_on_record_with_its_reason() -> None:
    driver = Machine(jobs(8), AUTO)
    known(driver, **{f"j{n}": 1 for n in range(8)})
    driver.says(replace(QUIET, runnable=2), 10)
    assert status(driver.engine, driver.now, started_ns=0)["target"] == 4
    (change,) = of_type(driver.done, effects.TargetChanged)
    assert (change.before, change.target) == (0, 4)
    assert change.reason == "for a CPU: 6 runnable on 2 CPUs"
    driver.at(10.02)  # more run now, but a line was written this second
    driver.at(11.1)
    assert [change.target for change in of_type(driver.done, effects.TargetChanged)] == [4, 8]
    for start in driver.starts:
        driver.ended(start.key)
    driver.at(30)
    last = of_type(driver.done, effects.TargetChanged)[-1]
    assert (last.before, last.target, last.reason) == (8, 0, "less was due")


def test_a_target_that_the_cpus_alone_can_bear_is_no_line_in_the_journal() -> None:
    driver = Machine(jobs(2), AUTO)
    driver.says(QUIET, 10)
    driver.ended(driver.starts[0].key)
    driver.at(40)
    assert of_type(driver.done, effects.TargetChanged) == []


def test_the_target_rises_at_once_and_falls_by_a_good_part_only() -> None:
    target, tuning = Target(), AdmissionTuning(target_window_ns=seconds(10))
    assert target.value(0, tuning) == 0
    for second, running, value in (
        (0, 10, 10),
        (1, 20, 20),
        (2, 18, 20),
        (11, 18, 20),
        (12, 18, 20),
        (13, 5, 20),
        (24, 5, 5),
    ):
        target.note(running, seconds(second))
        assert target.value(seconds(second), tuning) == value


def test_a_target_is_looked_at_when_more_run_than_it_says_or_a_peak_is_over() -> None:
    target, tuning = Target(), AdmissionTuning(target_window_ns=seconds(10))
    looked = []
    for second, running in ((0, 4), (1, 6), (1.5, 5), (3, 6), (10.9, 6), (11.1, 1), (21, 1), (21.2, 1)):
        looked.append(target.note(running, seconds(second)))
        if looked[-1]:
            target.change(seconds(second), tuning, quiet=2)
    # It looks again ten seconds after what was the last peak then.
    assert looked == [True, True, False, False, False, True, False, True]


def test_a_rise_and_a_fall_between_two_lines_of_the_journal_are_no_small_fall() -> None:
    target, tuning = Target(), AdmissionTuning(target_window_ns=seconds(0.1))
    changes = []
    for second, running in ((0, 98), (0.2, 130), (0.4, 96), (2, 96), (3, 80)):
        target.note(running, seconds(second))
        target.value(seconds(second), tuning)
        target.note(running, seconds(second + 0.15))
        changes.append(target.change(seconds(second + 0.15), tuning, quiet=2))
    assert changes == [(0, 98), None, None, None, (98, 80)]
