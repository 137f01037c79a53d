"""What goes on in one line: what runs, what is next, and what is not as it should be."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from unit.engine_driver import Driver, make_job, seconds

from taskman_cli.core.engine import events
from taskman_cli.core.engine.statusline import status_line
from taskman_cli.core.model import Policy, Settings
from taskman_cli.core.schedule import Interval

STOCKHOLM = ZoneInfo("Europe/Stockholm")  # an hour later than UTC in November


def line(driver: Driver, **more: object) -> str:
    return status_line(driver.engine, driver.now, STOCKHOLM, **more)  # type: ignore[arg-type]


def test_it_says_what_runs_what_waits_and_what_is_next() -> None:
    jobs = [make_job(name, Interval(seconds(10))) for name in ("first", "second")]
    driver = Driver((*jobs, make_job("backup", Interval(seconds(5_400)))), Settings(max_workers=1))
    assert line(driver) == "idle, next first at 05:00:10"
    driver.at(10)
    assert line(driver) == "1 running, 1 waiting, next first at 05:00:20"


def test_a_time_has_seconds_and_a_date_where_it_needs_them() -> None:
    assert line(Driver((make_job("backup", Interval(seconds(5_400))),))) == "idle, next backup at 06:30"
    assert line(Driver((make_job("backup", Interval(seconds(86_400))),))) == (
        "idle, next backup at 2026-11-25 05:00"
    )


def test_nothing_may_be_scheduled_and_long_names_are_cut() -> None:
    assert line(Driver(())) == "idle, nothing scheduled"
    driver = Driver((make_job("x" * 100, Interval(seconds(60))),))
    assert line(driver) == f"idle, next {'x' * 39}… at 05:01"


def test_jobs_that_fail_and_parked_ones_are_counted_and_the_first_is_named() -> None:
    park = Policy(max_failures=1)
    driver = Driver((make_job("a"), make_job("b"), make_job("c", policy=park)))
    driver.at(10)
    for start in driver.starts:
        driver.began(start.key)
        driver.ended(start.key, code=1)
    assert line(driver) == "idle, next a at 05:00:20; 1 job parked (c); 2 jobs failing (a, …)"


def test_a_ledger_that_cannot_be_written_and_bad_job_files_are_told() -> None:
    driver = Driver((make_job(),))
    assert line(driver, trouble="disk full", has_bad_files=True) == (
        "nothing starts, because it cannot be recorded: disk full; the job files have errors"
    )


def test_a_stop_says_what_becomes_of_running_commands() -> None:
    driver = Driver((make_job("a"),))
    driver.at(10)
    driver.began()
    driver.send(events.DrainRequested())
    assert line(driver) == "stopping, 1 may finish"
    driver.send(events.StopRequested())
    assert line(driver) == "stopping, 1 being ended"
    driver.ended(signum=15)
    assert line(driver) == "stopping"
