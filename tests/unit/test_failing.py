"""Which jobs fail, how often in a row and why: a run counts, whatever its attempts and tasks did."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.engine import answers, effects, events
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.engine.view import Failing
from taskman_cli.core.model import Execution, Mode, Policy, Retry, State
from taskman_cli.core.protocol import Cancel, PauseJobs
from taskman_cli.core.schedule import Once, load_zone

if TYPE_CHECKING:
    from taskman_cli.core.engine.view import AlarmRow


def run_of(driver: Driver, second: float, *codes: int | None) -> None:
    """Let a slot come, and its attempts or tasks end with these exit codes; None: it is cancelled."""
    driver.at(second)
    keys = [start.key for start in driver.starts[-len(codes) :]]
    for key in keys:
        driver.began(key)
    for key, code in zip(keys, codes, strict=True):
        if code is None:
            run = key.partition(".")[0]
            driver.send(events.RequestReceived(1, Cancel(target=run), "ann"))
            driver.ended(key, signum=15)
        else:
            driver.ended(key, code=code)


def alarms(driver: Driver) -> tuple[AlarmRow, ...]:
    return take_snapshot(driver.engine, driver.now, started_ns=0, rows=9).alarms


def test_a_series_is_counted_with_its_beginning_and_its_latest_reason() -> None:
    driver = Driver((make_job(),))
    for second, code in ((10, 1), (20, 0), (30, 3), (40, 4)):
        run_of(driver, second, code)
    failing = driver.engine.failing.of("job")
    assert failing == Failing(
        "job", driver.last_key.partition(".")[0], "main", State.FAILED, "exit 4", failures=2,
        since_ns=START.wall_ns + seconds(30), ended_ns=START.wall_ns + seconds(40),
    )  # fmt: skip
    assert [end.failing for end in of_type(driver.done, effects.RunFinished)][-1] == failing
    run_of(driver, 50, 0)
    assert driver.engine.failing.of("job") is None
    assert of_type(driver.done, effects.RunFinished)[-1].failing is None


def test_the_retries_of_a_run_are_one_failure_and_are_told_with_their_countdown() -> None:
    driver = Driver((make_job(execution=Execution(retry=Retry(max=1, delay_ns=seconds(3)))),))
    run_of(driver, 10, 1)
    assert driver.engine.failing.of("job") is None
    [retry] = take_snapshot(driver.engine, driver.now, started_ns=0, rows=9).retries
    assert (retry.words, retry.due_ns, retry.attempt) == ("retry 1 of 1", START.wall_ns + seconds(13), 2)
    armed = driver.engine.timetable.jobs["job"]
    assert answers.job_item(driver.engine, armed, driver.now)["retrying"] == [asdict(retry)]
    driver.at(13)
    driver.began()
    driver.ended(code=1)
    assert [row.failing.failures for row in alarms(driver)] == [1]
    run_of(driver, 20, 1)
    assert [(row.failing.failures, row.note, row.due_ns) for row in alarms(driver)] == [
        (1, "retry 1 of 1", START.wall_ns + seconds(23))
    ]


def test_of_several_tasks_the_one_that_failed_is_named() -> None:
    driver = Driver((make_job(tasks=("a", "b", "c")),))
    run_of(driver, 10, 0, 7, 0)
    failing = driver.engine.failing.of("job")
    assert failing is not None
    assert (failing.task, failing.detail, failing.failures) == ("b", "exit 7", 1)


def test_a_run_that_timed_out_or_was_lost_counts() -> None:
    driver = Driver((make_job(execution=Execution(timeout_ns=seconds(2))),))
    driver.at(10)
    driver.began()
    driver.at(12)
    driver.ended(signum=15)
    driver.at(20)
    driver.began()
    driver.send(events.AttemptGone(driver.last_key, "its supervisor had died"))
    failing = driver.engine.failing.of("job")
    assert failing is not None
    assert (failing.state, failing.failures, failing.detail) == (State.LOST, 2, "its supervisor had died")


def test_a_cancelled_run_neither_counts_nor_ends_a_series() -> None:
    driver = Driver((make_job(),))
    for second, code in ((10, 1), (20, None), (30, 1)):
        run_of(driver, second, code)
    assert [row.failing.failures for row in alarms(driver)] == [2]


def test_a_series_on_record_goes_on() -> None:
    driver = Driver((make_job(),))
    driver.engine.failing.resume([Failing("job", "r", "main", State.LOST, "", 11, 5, 6, is_more=True)])
    run_of(driver, 10, 1)
    [row] = alarms(driver)
    assert (row.failing.failures, row.failing.since_ns, row.failing.is_more) == (12, 5, True)


def test_the_longest_series_comes_first_and_says_when_the_job_runs_next() -> None:
    jobs = (
        make_job("new"), make_job("old"), make_job("off", enabled=False), make_job("busy"),
        make_job("once", Once(START.wall_ns + seconds(5), load_zone("UTC"))), make_job("held"),
    )  # fmt: skip
    driver = Driver(jobs)
    driver.engine.failing.resume(
        Failing(name, "r", "main", State.FAILED, "exit 1", count, since_ns, 9)
        for name, count, since_ns in (
            ("gone", 99, 1), ("new", 2, 5), ("old", 2, 4), ("off", 1, 3), ("busy", 9, 1), ("once", 1, 1),
            ("held", 1, 2),
        )
    )  # fmt: skip
    driver.at(5)
    driver.began()
    driver.ended()
    driver.engine.failing.resume([Failing("once", "r", "main", State.FAILED, "exit 1", 1, 1, 9)])
    driver.send(events.RequestReceived(1, PauseJobs(jobs=["held"]), "ann"))
    driver.at(10)
    assert [(row.failing.job, row.note, row.due_ns) for row in alarms(driver)] == [
        ("busy", "running", None),
        ("old", "running", None),
        ("new", "running", None),
        ("once", "", None),
        ("held", "paused", None),
        ("off", "disabled", None),
    ]
    status = answers.status(driver.engine, driver.now, started_ns=0)
    assert [row["job"] for row in status["failing"]] == ["busy", "old", "new", "once", "held", "off"]
    assert (status["failing_count"], status["failing"][0]["kind"]) == (6, "failing")


def test_a_failing_job_that_waits_tells_its_next_start() -> None:
    driver = Driver((make_job(),))
    run_of(driver, 10, 1)
    assert [(row.note, row.due_ns) for row in alarms(driver)] == [("", START.wall_ns + seconds(20))]


@given(st.lists(st.sampled_from([0, 1, None]), max_size=12))
def test_the_count_is_the_number_of_failed_runs_since_the_last_success(codes: list[int | None]) -> None:
    driver = Driver((make_job(policy=Policy(mode=Mode.SEQUENCE)),))
    for number, code in enumerate(codes, 1):
        run_of(driver, 10 * number, code)
    since = codes[::-1].index(0) if 0 in codes else len(codes)
    expected = codes[len(codes) - since :].count(1)
    failing = driver.engine.failing.of("job")
    assert (failing.failures if failing else 0) == expected
