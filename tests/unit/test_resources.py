"""Resources: all or nothing, held to the end; the first that does not fit reserves; rates of starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.resources import Resources, cost_ns
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.model import (
    Amounts,
    Execution,
    Job,
    Mode,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
    State,
    Trigger,
)
from taskman_cli.core.protocol import LAST_NS
from taskman_cli.core.schedule import Interval
from tests.unit.engine_driver import START, Driver, make_job, of_type, seconds

DB = Settings(resources=(("db", Resource(2)),))
API = Settings(resources=(("api", Resource(rate=1, per_ns=seconds(10), burst=2)),))


def needing(name: str, first_s: float = 10, *, priority: int = 0, **amounts: int) -> Job:
    """Make a job that is due each `first_s`, each run of which needs these amounts."""
    execution = Execution(resources=tuple(sorted(amounts.items())), retry=Retry(max=1, delay_ns=1))
    policy = Policy(priority=priority, overlap=Overlap.QUEUE, start_deadline_ns=None)
    return make_job(name, Interval(seconds(first_s)), policy=policy, execution=execution)


def started(driver: Driver) -> list[str]:
    return [start.job for start in driver.starts]


# --- limits ---


def test_attempts_that_need_more_than_is_free_wait_until_others_end() -> None:
    driver = Driver((needing("a", db=1), needing("b", db=1), needing("c", db=1)), DB)
    driver.at(10)
    assert started(driver) == ["a", "b"]
    driver.ended(driver.starts[0].key)
    assert started(driver) == ["a", "b", "c"]


def test_an_attempt_takes_all_that_it_needs_or_nothing() -> None:
    both = replace(DB, resources=(("api", Resource(1)), ("db", Resource(2))))
    driver = Driver((needing("a", api=1), needing("b", api=1, db=2), needing("c", 11, db=1)), both)
    driver.at(10)
    assert driver.engine.pool.resources.held == {"api": 1}


def test_what_comes_behind_may_pass_if_it_takes_nothing_of_what_is_reserved() -> None:
    both = replace(DB, resources=(("api", Resource(1)), ("db", Resource(2))))
    jobs = (needing("a", db=1), needing("large", db=2), needing("b", db=1), needing("c", api=1), needing("d"))
    driver = Driver(jobs, both)
    driver.at(10)
    assert started(driver) == ["a", "c", "d"]
    driver.ended(driver.starts[0].key)
    assert started(driver) == ["a", "c", "d", "large"]


def test_what_is_left_beside_the_reservation_is_free() -> None:
    settings = Settings(resources=(("api", Resource(1)), ("db", Resource(4))))
    jobs = (needing("a", api=1), needing("first", api=1, db=2), needing("b", db=2), needing("c", db=1))
    driver = Driver(jobs, settings)
    driver.at(10)
    # `first` waits for api, and has reserved 2 of db; b takes the other 2, and c would take of the reserved.
    assert started(driver) == ["a", "b"]


def test_only_the_first_that_does_not_fit_reserves() -> None:
    settings = Settings(resources=(("api", Resource(1)), ("db", Resource(2))))
    jobs = (needing("a", api=1), needing("first", api=1), needing("second", api=1, db=2), needing("b", db=1))
    driver = Driver(jobs, settings)
    driver.at(10)
    assert started(driver) == ["a", "b"]


def test_a_large_need_starts_although_small_ones_keep_coming() -> None:
    policy = Policy(overlap=Overlap.ALLOW, start_deadline_ns=None)
    small = make_job(
        "small", Interval(seconds(1)), policy=policy, execution=Execution(resources=(("db", 1),))
    )
    driver = Driver((small, needing("large", 5, db=2)), DB)
    for second in range(1, 8):
        driver.at(second)
        if second > 2:
            driver.ended(driver.starts[second - 3].key)
    assert "large" in started(driver)


def test_resources_are_given_back_at_the_end_however_it_comes() -> None:
    driver = Driver((needing("a", db=2), needing("b", 11, db=2)), DB)
    driver.at(10)
    driver.ended(code=1)
    assert driver.engine.pool.resources.held == {}
    driver.at(11)
    assert started(driver) == ["a", "a"]
    driver.failed(is_transient=True)
    assert driver.engine.pool.resources.held == {}


def test_a_job_without_needs_never_waits_for_resources() -> None:
    driver = Driver((needing("a", db=2), needing("b", db=1), needing("c")), DB)
    driver.at(10)
    assert started(driver) == ["a", "c"]


def test_a_waiting_attempt_that_is_cancelled_reserves_nothing_any_more() -> None:
    driver = Driver((needing("a", db=1), needing("large", db=2), needing("b", db=1)), DB)
    driver.at(10)
    driver.send(events.JobsReloaded(1, (driver.jobs[0], driver.jobs[2]), DB, (), "ann"))
    assert started(driver) == ["a", "b"]


def test_an_attempt_that_rests_can_be_taken_out_too() -> None:
    execution = Execution(resources=(("db", 1),), retry=Retry(max=1, delay_ns=seconds(60)))
    driver = Driver((make_job("a", execution=execution),), DB)
    driver.at(10)
    driver.ended(code=1)
    driver.send(events.StopRequested())
    assert driver.engine.pool.resting_count == 0


def test_resources_that_nobody_declared_have_no_limit() -> None:
    driver = Driver((needing("a", ram=10**12), needing("b", ram=10**12)))
    driver.at(10)
    assert started(driver) == ["a", "b"]
    assert driver.engine.pool.resources.held == {"ram": 2 * 10**12}


def test_a_slot_that_comes_while_its_job_waits_says_for_what() -> None:
    waiting = make_job("b", execution=Execution(resources=(("db", 1),)))
    driver = Driver((needing("a", db=2), waiting), DB)
    driver.at(10)
    driver.at(20)
    (skip,) = of_type(driver.done, effects.SlotsSkipped)
    assert skip.detail.endswith(" still waits for db")


# --- reload and restart ---


def test_a_reload_with_lower_limits_leaves_what_runs_alone_and_starts_nothing_more() -> None:
    jobs = (needing("a", db=1), needing("b", db=1), needing("c", 11, db=1))
    driver = Driver(jobs, DB)
    driver.at(10)
    driver.send(events.JobsReloaded(1, jobs, Settings(resources=(("db", Resource(1)),)), (), "ann"))
    assert driver.engine.pool.resources.held == {"db": 2}
    driver.at(11)
    driver.ended(driver.starts[0].key)
    assert started(driver) == ["a", "b"]
    driver.ended(driver.starts[1].key)
    assert started(driver) == ["a", "b", "c"]


def test_a_later_task_that_needs_more_than_there_is_now_takes_all_of_it() -> None:
    execution = Execution(resources=(("db", 2),))
    job = make_job(tasks=("a", "b"), execution=execution, policy=Policy(mode=Mode.SEQUENCE))
    driver = Driver((job,), DB)
    driver.at(10)
    lower = Settings(resources=(("db", Resource(1)),))
    driver.send(events.JobsReloaded(1, (make_job(command="false"),), lower, (), "ann"))
    driver.ended()
    assert driver.starts[-1].task.id == "b"
    assert driver.engine.pool.resources.held == {"db": 1}


def going(holds: Amounts | None, job: str = "old", **more: object) -> events.OpenRun:
    fate = events.Going(77, START, is_orphan=True)
    attempt = events.OpenAttempt("main", 1, fate, holds=holds)
    return events.OpenRun(encode_run_id(9), job, None, Trigger.MANUAL, (attempt,), **more)


def test_an_adopted_run_holds_what_it_held_even_if_its_job_is_gone() -> None:
    driver = Driver((needing("a", db=1),), DB, is_first=False, runs=(going((("db", 2),)),))
    driver.at(10)
    assert started(driver) == []
    driver.send(events.AttemptGone(driver.engine.pool.running.copy().popitem()[0]))
    assert started(driver) == ["a"]


def test_a_run_that_the_ledger_lost_holds_what_its_job_needs_today() -> None:
    run = going(None, "a", is_on_record=False)
    driver = Driver((needing("a", db=2),), DB, is_first=False, runs=(run,))
    assert driver.engine.pool.resources.held == {"db": 2}
    (begun,) = of_type(driver.done, effects.AttemptBegun)
    assert begun.holds == (("db", 2),)


def test_what_an_attempt_holds_is_on_record_with_its_begin() -> None:
    driver = Driver((needing("a", db=1),), DB)
    driver.at(10)
    assert of_type(driver.done, effects.AttemptBegun)[0].holds == (("db", 1),)
    restated = of_type(driver.engine.restate(driver.now), effects.AttemptBegun)
    assert [record.holds for record in restated] == [(("db", 1),)]


# --- rates ---


def flood(settings: Settings = API, **more: object) -> Driver:
    policy = Policy(overlap=Overlap.ALLOW, start_deadline_ns=None)
    job = make_job("a", Interval(seconds(1)), policy=policy, execution=Execution(resources=(("api", 1),)))
    return Driver((job,), settings, **more)


def test_a_rate_lets_a_burst_start_at_once_and_the_rest_one_after_the_other() -> None:
    driver = flood()
    starts = []
    for second in range(1, 40):
        driver.at(second)
        starts += [second] * (len(driver.starts) - len(starts))
    assert starts == [1, 2, 11, 21, 31]


def test_the_engine_wakes_when_the_rate_lets_the_next_start() -> None:
    driver = flood(Settings(resources=(("api", Resource(rate=2, per_ns=seconds(5), burst=1)),)))
    driver.at(1)
    driver.at(2)
    assert driver.wake_s[1] == 3.5
    driver.at(3.5)
    assert len(driver.starts) == 2


def test_a_rate_counts_starts_and_a_limit_what_runs() -> None:
    resource = Resource(1, rate=100, per_ns=seconds(1), burst=100)
    driver = flood(Settings(resources=(("api", resource),)))
    driver.at(1)
    driver.at(2)
    assert len(driver.starts) == 1
    assert driver.wake_s[1] is None  # it waits for an end


def test_a_start_that_did_not_happen_does_not_count() -> None:
    driver = flood()
    driver.at(1)
    driver.failed(is_transient=True)
    assert driver.engine.pool.resources.tokens("api", driver.now.elapsed_ns) == 2


def test_a_restart_continues_with_what_the_rate_has_left() -> None:
    driver = flood()
    driver.at(1)
    driver.at(2)
    (mark,) = driver.engine.pool.resources.restate()
    assert of_type(driver.done, effects.RateUsed)[-1] == mark
    resources = Resources(API.resources)
    resources.resume({"api": mark.full_elapsed_ns, "gone": 5}, driver.now.elapsed_ns)
    assert resources.tokens("api", driver.now.elapsed_ns) == 0
    assert resources.tokens("api", mark.full_elapsed_ns) == 2


def test_a_wrong_clock_empties_the_bucket_at_most() -> None:
    resources = Resources(API.resources)
    resources.resume({"api": 10**18}, 0)
    assert resources.ready_ns("api", 1, {}, 0) == seconds(10)
    # As time passes, it fills up from then on.
    assert resources.ready_ns("api", 1, {}, seconds(10)) == seconds(10)
    assert resources.tokens("api", seconds(20)) == 2
    resources.resume({"api": -(10**18)}, 0)
    assert resources.ready_ns("api", 2, {}, 0) == 0


def test_what_the_clock_of_another_start_of_the_machine_said_is_put_on_record_by_that_of_this_one() -> None:
    # Otherwise the next scheduler after the same start would take the old numbers for its own.
    driver = Driver((), API, rates={"api": 10**18, "gone": 3 * 10**18, "odd": 2**63 - 1, "past": -5})
    empty_ns = START.elapsed_ns + seconds(20)
    assert of_type(driver.done, effects.RateUsed) == [
        effects.RateUsed("api", empty_ns),
        effects.RateUsed("gone", 3 * 10**18),
        effects.RateUsed("odd", LAST_NS),
        effects.RateUsed("past", 0),
    ]


def test_a_step_of_the_clock_puts_rates_on_record_by_the_new_one() -> None:
    driver = flood()
    driver.at(1)
    (used,) = of_type(driver.done, effects.RateUsed)
    stepped = driver.send(events.ClockStepped(seconds(10**9)))
    assert of_type(stepped, effects.RateUsed) == [used]


#: How much is there after the same four starts, and a reload with this rate; and when the next one may start.
RATES = {
    "faster": (Resource(rate=100, per_ns=seconds(1), burst=4), 0, 0.01),
    "slower": (Resource(rate=1, per_ns=seconds(100), burst=4), 0, 100),
    "the same": (Resource(rate=1, per_ns=seconds(10), burst=4), 0, 10),
    "a smaller burst": (Resource(rate=1, per_ns=seconds(10), burst=1), 0, 10),
    "a larger burst": (Resource(rate=1, per_ns=seconds(10), burst=6), 2, 0),
    "another limit": (Resource(3, rate=1, per_ns=seconds(10), burst=4), 0, 10),
}


@pytest.mark.parametrize(("resource", "tokens", "next_s"), RATES.values(), ids=RATES)
def test_after_a_reload_a_rate_lacks_as_much_as_before_and_it_comes_at_the_new_pace(
    resource: Resource, tokens: int, next_s: float
) -> None:
    before = Resource(rate=1, per_ns=seconds(10), burst=4)
    driver = flood(Settings(resources=(("api", before),)))
    for second in range(1, 5):
        driver.at(second)
    resources, now_ns = driver.engine.pool.resources, driver.now.elapsed_ns
    assert len(driver.starts) == 4
    resources.resume({"api": now_ns + seconds(40)}, now_ns)  # empty just now
    marks = resources.configure([("api", resource)], now_ns)
    assert resources.tokens("api", now_ns) == tokens
    assert resources.ready_ns("api", 1, {}, now_ns) == now_ns + seconds(next_s)
    restated = resources.restate()
    assert marks == (restated if restated[0].full_elapsed_ns != now_ns + seconds(40) else [])


def test_a_rate_that_was_set_by_mistake_holds_nothing_back_after_it_was_put_right() -> None:
    jobs = flood().jobs
    driver = flood(Settings(resources=(("api", Resource(rate=1, per_ns=seconds(86_400))),)))
    driver.at(1)
    driver.at(2)
    assert len(driver.starts) == 1
    right = Settings(resources=(("api", Resource(rate=60, per_ns=seconds(60))),))
    done = driver.send(events.JobsReloaded(1, jobs, right, (), "ann"))
    (mark,) = of_type(done, effects.RateUsed)
    assert 0 < mark.full_elapsed_ns - driver.now.elapsed_ns <= seconds(1)
    driver.at(3)
    assert len(driver.starts) == 2


def test_a_rate_that_comes_back_lets_its_resource_wait_no_longer_than_from_empty() -> None:
    resources = Resources(API.resources)
    resources.start((("api", 2),), 0)
    slow = Resource(rate=1, per_ns=seconds(1000))
    resources.configure([("api", slow)], 0)
    assert resources.configure([], 0) == []
    (mark,) = resources.configure(API.resources, 0)
    assert mark.full_elapsed_ns == seconds(20)


@pytest.mark.parametrize("full_s", [20, 0, -500])
def test_an_attempt_whose_start_was_on_record_and_not_asked_for_counts_when_it_starts(full_s: int) -> None:
    # Its token was taken when it was put on record, and may have come back since.
    begun = events.OpenAttempt("main", 1, events.Unstarted())
    run = events.OpenRun(encode_run_id(9), "a", None, Trigger.MANUAL, (begun,))
    rates = {"api": START.elapsed_ns + seconds(full_s)}
    driver = flood(is_first=False, runs=(run,), rates=rates)
    tokens = driver.engine.pool.resources.tokens("api", driver.now.elapsed_ns)
    assert (started(driver), tokens) == (["a"], 1 if full_s <= 0 else 0)
    # A second restart, before it is asked for again, must not put the token back once more.
    kinds = (effects.AttemptWithdrawn, effects.AttemptBegun)
    assert [type(effect) for effect in driver.done if isinstance(effect, kinds)] == [*kinds]


def test_an_attempt_that_was_told_to_end_before_it_was_asked_for_puts_back_what_it_took() -> None:
    begun = events.OpenAttempt("main", 1, events.Unstarted(ending=State.CANCELLED))
    run = events.OpenRun(encode_run_id(9), "a", None, Trigger.MANUAL, (begun,))
    driver = flood(is_first=False, runs=(run,), rates={"api": START.elapsed_ns + seconds(20)})
    tokens = driver.engine.pool.resources.tokens("api", driver.now.elapsed_ns)
    assert (started(driver), tokens) == ([], 1)


def test_rates_come_with_the_jobs() -> None:
    driver = flood()
    engine = driver.engine
    engine.pool.resources.resume({"api": START.elapsed_ns + seconds(20)}, START.elapsed_ns)
    driver.at(1)
    assert driver.starts == []


def test_tokens_are_none_where_there_is_no_rate() -> None:
    assert Resources(DB.resources).tokens("db", 0) is None


# --- laws ---

NAMES = ("api", "db", "ram")
AMOUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)).map(
    lambda found: tuple(sorted(found.items()))
)


@given(
    st.lists(st.tuples(AMOUNTS, st.integers(-3, 3)), min_size=1, max_size=7),
    st.lists(st.integers(0, 6), max_size=40),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_sums_never_exceed_limits_and_nothing_waits_while_all_is_free(
    wanted: list[tuple[Amounts, int]], ends: list[int], seats: int
) -> None:
    limits = (("api", Resource(3)), ("db", Resource(3)), ("ram", Resource(4)))
    jobs = tuple(
        needing(f"j{number}", 1 + number, priority=priority, **dict(amounts))
        for number, (amounts, priority) in enumerate(wanted)
    )
    driver = Driver(jobs, Settings(max_workers=seats, resources=limits))
    pool = driver.engine.pool
    for second, which in enumerate(ends, start=1):
        driver.at(second)
        running = list(pool.running)
        if running and which < len(running):
            driver.ended(running[which])
        held = dict.fromkeys(NAMES, 0)
        for attempt in pool.running.values():
            for name, amount in attempt.holds:
                held[name] += amount
        assert {name: amount for name, amount in held.items() if amount} == pool.resources.held
        assert all(held[name] <= (limit.limit or 0) for name, limit in limits)
        assert bool(pool.running) or not pool.ready_count


@given(
    st.integers(1, 50), st.integers(1, 10**10), st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 9)), max_size=60),
)  # fmt: skip
def test_no_window_has_more_starts_than_the_burst_and_what_the_rate_adds(
    rate: int, per_ns: int, burst: int, asks: list[tuple[int, int]]
) -> None:
    resource = Resource(rate=rate, per_ns=per_ns, burst=burst)
    resources = Resources((("api", resource),))
    now_ns, done = 0, []
    for wait_ns, amount in asks:
        now_ns += wait_ns
        taken = min(amount, burst)
        ready_ns = resources.ready_ns("api", amount, {}, now_ns)
        assert ready_ns <= now_ns + cost_ns(resource, burst)
        if ready_ns <= now_ns:
            resources.start((("api", amount),), now_ns)
            done.append((now_ns, taken))
    for index, (since_ns, _) in enumerate(done):
        total = 0
        for at_ns, taken in done[index:]:
            total += taken
            assert (total - burst) * per_ns <= (at_ns - since_ns) * rate + rate


def test_a_start_costs_the_time_in_which_the_rate_makes_up_for_it() -> None:
    assert cost_ns(Resource(rate=3, per_ns=SECOND_NS), 1) == 333_333_334
