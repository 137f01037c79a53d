"""What tasks are taken to need of the memory: declared, learned from their runs, or guessed."""

from __future__ import annotations

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.memory import Memory, Needs
from taskman_cli.core.engine.runs import Attempt, Run
from taskman_cli.core.model import Execution, Exit, Settings, Trigger
from taskman_cli.core.tuning import Admission, AdmissionTuning
from tests.unit.engine_driver import Driver, make_job, of_type, seconds

MB = 1 << 20


class Books:
    """The books, and attempts that begin and end in them."""

    def __init__(self, *, runs_before: int = 0) -> None:
        self.memory = Memory(AdmissionTuning())
        self.memory.use()
        self.memory.total_bytes = 800 * MB
        self.running: dict[str, Attempt] = {}
        self._count = runs_before

    def begin(
        self,
        job: str,
        *,
        at_s: float = 0,
        ram: int | None = None,
        pid: int | None = 7,
        is_young: bool = False,
    ) -> Attempt:
        self._count += 1
        execution = Execution(resources=(("ram", ram),)) if ram else Execution()
        defined = make_job(job, execution=execution)
        run = Run(f"{self._count:010}", defined, None, Trigger.MANUAL, 0)
        attempt = Attempt.of(run, defined.tasks[0], 1)
        attempt.began_elapsed_ns = seconds(at_s)
        if pid is not None:
            attempt.spawned = effects.AttemptSpawned(run.id, job, "main", 1, pid, (0, 0))  # type: ignore[arg-type]
        self.memory.begin(attempt, is_young=is_young)
        self.running[attempt.key] = attempt
        return attempt

    def end(self, attempt: Attempt, peak: int) -> None:
        self.memory.learn(attempt, peak)
        self.memory.end(attempt)
        del self.running[attempt.key]

    def looks(self, at_s: float, used: int) -> int:
        """Look at all that is due; return how many attempts that was."""
        due = self.memory.due_looks(self.running, seconds(at_s))
        for attempt in due:
            self.memory.looked(attempt, used, seconds(at_s))
        return len(due)

    def need(self, job: str) -> int:
        attempt = self.begin(job)
        need = self.memory.need(attempt)
        self.memory.end(attempt)
        del self.running[attempt.key]
        return need


def test_a_declared_need_is_what_counts() -> None:
    books = Books()
    attempt = books.begin("a", ram=5 * MB)
    assert (books.memory.need(attempt), books.memory.booked) == (5 * MB, 5 * MB)
    assert books.memory.learn(attempt, 90 * MB) is None
    books.end(attempt, 90 * MB)
    assert (books.memory.booked, books.memory.restate()) == (0, [])


def test_a_task_that_never_ran_is_taken_for_an_eighth_of_the_memory() -> None:
    books = Books()
    books.begin("a")
    assert books.memory.booked == 100 * MB
    books.memory.total_bytes = None
    assert books.memory.booked == 0


def test_a_need_rises_at_once_and_falls_by_a_twentieth_of_the_difference() -> None:
    books = Books()
    for peak, need in ((40, 40.0), (80, 80.0), (40, 78.0), (78, 78.0)):
        books.end(books.begin("a"), int(peak * MB))
        assert books.need("a") == int(need * MB)


def test_with_four_known_needs_the_ninth_tenth_of_them_is_the_guess() -> None:
    books = Books()
    for number in range(1, 5):
        books.end(books.begin(f"j{number}"), number * MB)
    assert books.need("new") == 4 * MB
    assert books.need("newer") == 4 * MB
    for number in range(5, 31):
        books.end(books.begin(f"j{number}"), number * MB)
    # Up to the largest before the first look at it, and then the guess.
    assert books.need("new") == 30 * MB
    attempt = books.begin("new")
    books.looks(0.25, MB)
    assert 24 * MB <= books.memory.need(attempt) <= 28 * MB


def test_before_the_first_look_a_task_may_be_as_large_as_the_largest_but_not_beyond_the_first_guess() -> None:
    books = Books()
    for number in range(1, 30):
        books.end(books.begin(f"j{number}"), number * 10 * MB)
    attempt = books.begin("new")
    assert books.memory.need(attempt) == 270 * MB  # the quantile is more than an eighth
    books.memory.tuning = AdmissionTuning(known_quantile=0.1)
    for number in range(40, 50):
        books.end(books.begin(f"j{number}"), MB)
    assert books.memory.need(attempt) == 100 * MB


def test_with_many_cpus_the_first_guess_is_a_part_of_what_each_has_but_not_less_than_256_mb() -> None:
    books = Books()
    found = []
    for total_gb, cpus in ((16, 1), (16, 8), (16, 64), (1, 64), (64, 8)):
        books.memory.total_bytes, books.memory.cpus = total_gb << 30, cpus
        found.append(books.need("new") // MB)
    assert found == [2048, 512, 256, 128, 2048]


def test_what_an_attempt_uses_is_looked_at_until_it_grows_no_more() -> None:
    books = Books()
    books.begin("a")
    assert books.memory.next_look() == seconds(0.25)
    used = {0.25: 10, 0.5: 20, 1.0: 40, 2.0: 41}
    assert [books.looks(at_s, mb * MB) for at_s, mb in used.items()] == [1, 1, 1, 1]
    assert books.memory.booked == int(41 * MB * 1.15)
    # It may grow again, until the last look.
    assert books.looks(4.0, 80 * MB) == 1
    assert books.memory.booked == 80 * MB
    assert books.memory.next_look() is None


def test_what_a_look_found_gives_way_to_what_was_used_at_the_first_end() -> None:
    books = Books()
    first, second = books.begin("a"), books.begin("a")
    for at_s in (0.25, 0.5):
        books.looks(at_s, 100 * MB)
    assert books.memory.booked == 2 * int(100 * MB * 1.15)
    books.end(first, 0)
    assert books.memory.booked == 100 * MB
    books.end(second, 80 * MB)
    assert books.need("a") == 99 * MB  # from then on it falls slowly


def test_of_a_known_need_the_looks_end_when_it_grows_no_more() -> None:
    books = Books()
    books.end(books.begin("a"), 50 * MB)
    books.begin("a")
    assert [books.looks(at_s, 20 * MB) for at_s in (0.25, 0.5)] == [1, 1]
    assert books.memory.next_look() is None
    assert books.memory.booked == 50 * MB


def test_where_looks_tell_no_more_than_ends_one_attempt_in_ten_is_looked_at() -> None:
    books = Books()
    looked = []
    for _ in range(1000):
        attempt = books.begin("a")
        looked.append(books.looks(0.25, 52 * MB))
        books.end(attempt, 50 * MB)
    assert looked[0] == 1
    assert 70 <= sum(looked) <= 130


def test_which_attempts_are_looked_at_does_not_depend_on_what_was_before() -> None:
    def looked(*, skipped: int) -> list[str]:
        books, found = Books(runs_before=skipped), []
        for _ in range(200 - skipped):
            attempt = books.begin("a")
            if books.looks(0.25, 52 * MB):
                found.append(attempt.run.id)
            books.end(attempt, 50 * MB)
        return found

    later = looked(skipped=50)[1:]  # the first of a task is always looked at
    assert len(later) > 5
    assert looked(skipped=0)[-len(later) :] == later


def test_where_looks_tell_more_than_ends_each_attempt_is_looked_at() -> None:
    books = Books()
    for _ in range(3):
        attempt = books.begin("a")
        assert books.looks(0.25, 90 * MB) == 1
        books.end(attempt, 50 * MB)
    assert books.need("a") == 90 * MB


def test_a_job_that_is_forgotten_is_looked_at_again() -> None:
    books = Books()
    attempt = books.begin("a")
    books.looks(0.25, 50 * MB)
    books.end(attempt, 50 * MB)
    books.memory.forget(attempt.run.job)
    books.begin("a")
    assert books.looks(0.25, 50 * MB) == 1


def test_as_long_as_it_grows_it_is_taken_to_grow_on_as_it_did() -> None:
    books = Books()
    books.begin("a")
    books.begin("b")
    for at_s, mb, need_mb in ((0.25, 70, 280), (0.5, 90, 116), (1.0, 200, 400), (2.0, 100, 230)):
        books.looks(at_s, mb * MB)
        assert round(books.need("a") / MB) == need_mb


def test_growth_that_goes_on_is_looked_at_up_to_the_last_age() -> None:
    books = Books()
    books.begin("a")
    ages = [0.25, 0.5, 1, 2, 4]
    assert [books.looks(age, int((index + 1) * 50 * MB)) for index, age in enumerate(ages)] == [1] * 5
    assert books.memory.next_look() is None


def test_one_attempt_of_each_task_is_looked_at_and_the_next_after_its_end() -> None:
    books = Books()
    first, second = books.begin("a"), books.begin("a")
    assert books.looks(0.25, MB) == 1
    assert books.memory.plan_first_look(second) is None
    books.end(second, MB)
    assert books.memory.plan_first_look(first) == seconds(0.5)
    books.end(first, MB // 2)
    third = books.begin("a", at_s=9)
    assert books.memory.plan_first_look(third) == seconds(9.25)


def test_an_attempt_without_a_process_is_not_looked_at() -> None:
    books = Books()
    books.begin("a", pid=None)
    assert books.looks(1, MB) == 0


def test_many_are_looked_at_each_at_its_own_time_and_those_that_are_gone_are_not() -> None:
    books = Books()
    attempts = [books.begin(f"j{n}", at_s=n / 100) for n in range(40)]
    books.end(attempts[3], MB)
    del books.running[attempts[4].key]  # it has lost its seat, and is still on the books
    due = books.memory.due_looks(books.running, seconds(0.3))
    assert [attempt.run.job.id for attempt in due] == ["j0", "j1", "j2", "j5"]
    assert books.memory.next_look() == seconds(0.31)
    books.memory.clear()
    assert books.memory.next_look() is None


def test_a_known_need_is_raised_by_a_look_and_what_all_processes_used_counts_at_the_end() -> None:
    books = Books()
    books.end(books.begin("a"), 10 * MB)
    attempt = books.begin("a")
    books.looks(0.25, 60 * MB)
    assert books.memory.booked == 60 * MB
    books.end(attempt, 10 * MB)  # the largest process alone
    assert books.need("a") == 60 * MB
    again = books.begin("a")
    books.looks(0.25, 20 * MB)
    assert books.need("a") == 60 * MB
    books.end(again, 10 * MB)
    assert books.need("a") == 58 * MB


def test_a_look_that_finds_nothing_or_comes_too_late_changes_nothing() -> None:
    books = Books()
    attempt = books.begin("a")
    assert books.memory.looked(attempt, 0, seconds(1)) is None
    other = books.begin("a")
    assert books.memory.looked(other, MB, seconds(1)) is None
    books.end(attempt, 0)
    assert books.memory.looked(attempt, MB, seconds(1)) is None
    assert books.memory.restate() == []
    books.memory.end(attempt)  # it is not in the books any more


def test_a_need_is_recorded_again_when_it_has_changed_by_a_tenth() -> None:
    books = Books()
    recorded = []
    for peak in (100, 100, 105, 112, 10, 10, 10):
        attempt = books.begin("a")
        recorded.append(books.memory.learn(attempt, peak * MB) is not None)
        books.memory.end(attempt)
        del books.running[attempt.key]
    assert recorded == [True, False, False, True, False, False, True]


def test_what_an_earlier_scheduler_learned_goes_on() -> None:
    books = Books()
    books.memory.resume({("a", "main"): 3 * MB})
    assert books.need("a") == 3 * MB
    assert books.memory.restate() == [effects.NeedLearned("a", "main", 3 * MB)]


def test_what_a_job_needs_that_is_gone_is_forgotten_and_still_counts_for_the_guess() -> None:
    books = Books()
    for number in range(1, 5):
        attempt = books.begin(f"j{number}")
        books.end(attempt, number * MB)
        books.memory.forget(attempt.run.job)
    assert books.memory.restate() == []
    assert books.need("new") == 4 * MB


def test_a_job_that_goes_while_it_runs_stays_booked_until_its_end() -> None:
    books = Books()
    books.end(books.begin("a"), 5 * MB)
    attempt = books.begin("a")
    books.memory.forget(attempt.run.job)
    assert books.memory.booked == 5 * MB
    books.end(attempt, 0)
    assert books.memory.booked == 0


def test_of_an_adopted_command_what_was_looked_at_is_known() -> None:
    books = Books()
    attempt = books.begin("a")
    books.looks(0.25, 9 * MB)
    books.end(attempt, 0)  # nobody saw its end
    assert books.need("a") == 9 * MB


def test_the_engine_forgets_what_removed_jobs_need() -> None:
    auto = Settings(admission=Admission.AUTO)
    driver = Driver((make_job("a"), make_job("b")), auto)
    driver.engine.pool.memory.resume({("a", "main"): MB, ("b", "main"): MB})
    driver.send(events.JobsReloaded(1, (driver.jobs[0],), auto, (), "ann"))
    assert driver.engine.pool.memory.restate() == [effects.NeedLearned("a", "main", MB)]


def test_a_look_is_not_lost_when_the_attempt_before_it_ends() -> None:
    driver = Driver((make_job("a"), make_job("b")), Settings(admission=Admission.AUTO))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    driver.began(first)
    driver.at(10.1)
    driver.began(second)
    driver.ended(first)
    driver.at(10.25)
    driver.at(10.35)
    assert [look.attempts[0][0] for look in of_type(driver.done, effects.MeasureMemory)] == [second]


def test_the_engine_asks_for_looks_and_records_what_is_learned() -> None:
    driver = Driver((make_job(),), Settings(admission=Admission.AUTO))
    driver.at(10)
    driver.began(pid=77)
    assert driver.wake_s[1] == 10.25
    driver.at(10.25)
    (look,) = of_type(driver.done, effects.MeasureMemory)
    assert look.attempts == ((driver.last_key, 77),)
    driver.send(events.MemoryMeasured({driver.last_key: 5 * MB, "gone": MB}))
    driver.send(events.AttemptEnded(driver.last_key, Exit(exit_code=0, peak_rss_bytes=MB), driver.now))
    (mark,) = of_type(driver.done, effects.NeedLearned)
    assert mark == effects.NeedLearned("job", "main", 5 * MB)
    assert mark in driver.engine.restate(driver.now)


def test_when_the_last_look_is_done_nothing_wakes_the_engine() -> None:
    driver = Driver((make_job(),), Settings(admission=Admission.AUTO))
    driver.at(10)
    driver.began(pid=77)
    for second in (10.25, 10.5, 11, 12, 14):
        driver.at(second)
        driver.send(events.MemoryMeasured({driver.last_key: 5 * MB}))
    assert driver.wake_s[1] is None


def test_a_fixed_pool_looks_at_nothing() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.began()
    assert driver.wake_s[1] is None
    driver.send(events.MemoryMeasured({driver.last_key: MB}))
    driver.ended()
    assert of_type(driver.done, effects.NeedLearned) == []


def test_an_earlier_first_look_comes_first() -> None:
    jobs = (make_job("a"), make_job("b"))
    driver = Driver(jobs, Settings(admission=Admission.AUTO))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    driver.began(first)
    for second_s in (10.25, 10.5, 11):
        driver.at(second_s)
    assert driver.wake_s[1] == 12
    driver.began(second)
    assert driver.wake_s[1] == 11.25


def test_the_young_and_those_that_may_still_grow_have_books_of_their_own() -> None:
    books = Books()
    memory = books.memory
    new, declared = books.begin("new", is_young=True), books.begin("declared", ram=7 * MB, is_young=True)
    books.end(books.begin("old"), 9 * MB)
    old, other = books.begin("old", is_young=True), books.begin("other")
    assert memory.young == Needs(16 * MB, 100 * MB)
    books.looks(0.25, 30 * MB)  # "other" is looked at too, and is in no book of the young
    assert memory.need(other) == 120 * MB
    assert memory.young == Needs((30 + 7) * MB, 120 * MB)
    assert [memory.end_young(attempt.key) for attempt in (declared, old, new)] == [False, False, True]
    assert (memory.young, memory.growth) == (Needs(0, 0), 90 * MB)
    memory.end_growing(new.key)
    books.end(new, 40 * MB)
    assert memory.growth == 0


def test_what_nobody_has_looked_at_may_grow_by_all_of_its_guess() -> None:
    books = Books()
    attempt = books.begin("new", is_young=True)
    books.memory.end_young(attempt.key)
    assert books.memory.growth == 100 * MB
    books.memory.clear()
    assert (books.memory.growth, books.memory.booked) == (0, 0)


def test_each_of_several_attempts_may_grow_until_it_is_looked_at_no_more() -> None:
    books = Books()
    memory = books.memory
    first, second = books.begin("new", is_young=True), books.begin("new", is_young=True)
    assert [memory.end_young(attempt.key) for attempt in (first, second)] == [True, True]
    assert memory.growth == 200 * MB
    memory.end_growing(first.key)
    assert memory.growth == 100 * MB
    books.end(first, 30 * MB)  # its end says what the other one needs
    assert memory.growth == 0
    memory.end_growing(second.key)
    assert (memory.growth, memory.booked) == (0, 30 * MB)
