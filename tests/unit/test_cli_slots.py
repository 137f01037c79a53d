"""Slots of many jobs in one order, within the limits of each job."""

from __future__ import annotations

from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.cli.support.slots import Slot, upcoming
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Job, Policy
from taskman_cli.core.schedule import Interval, Once, Reboot, parse_cron

UTC = ZoneInfo("UTC")
PARIS = ZoneInfo("Europe/Paris")
#: 2024-03-10T12:00:00Z
START_NS = 1_710_072_000 * SECOND_NS


def every(name: str, seconds: int, **policy: object) -> Job:
    return Job(name, Interval(seconds * SECOND_NS), (), Policy(**policy))  # type: ignore[arg-type]


def first(count: int, *jobs: Job) -> list[tuple[int, str]]:
    """Return (seconds after the start, job) of the first slots."""
    return [
        ((slot_ns - START_NS) // SECOND_NS, job.id)
        for slot_ns, job in islice(upcoming(jobs, start_ns=START_NS), count)
    ]


def test_slots_of_several_jobs_come_by_time_and_equal_ones_in_the_order_of_the_jobs() -> None:
    assert first(6, every("b", 20), every("a", 10)) == [
        (10, "a"), (20, "b"), (20, "a"), (30, "a"), (40, "b"), (40, "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("job", "seconds"),
    [
        pytest.param(every("j", 10, max_runs=2), [10, 20], id="max_runs"),
        pytest.param(
            every("j", 10, max_runs=2, run_on_start=True), [10], id="run_on_start is one of max_runs"
        ),
        pytest.param(every("j", 10, expires_at_ns=START_NS + 30 * SECOND_NS), [10, 20], id="expires_at"),
        pytest.param(every("j", 10, starts_at_ns=START_NS + 95 * SECOND_NS), [95, 105, 115], id="starts_at"),
        pytest.param(every("j", 10, jitter_ns=9 * SECOND_NS), [10, 20, 30], id="jitter moves no slot"),
        pytest.param(Job("j", Interval(10 * SECOND_NS), (), enabled=False), [], id="enabled = false"),
        pytest.param(Job("j", Interval(10 * SECOND_NS, from_finish=True), ()), [10], id="every_from finish"),
        pytest.param(Job("j", Once(START_NS + 7 * SECOND_NS, UTC), ()), [7], id="at"),
        pytest.param(Job("j", Once(START_NS, UTC), ()), [], id="at the start itself"),
        pytest.param(Job("j", Reboot(timezone="UTC"), ()), [], id="@reboot"),
        pytest.param(
            Job("j", parse_cron("0 13 * * *", timezone="UTC"), ()), [3600, 90_000, 176_400], id="cron"
        ),
    ],
)
def test_the_limits_of_a_job_count_as_if_taskman_had_just_started(job: Job, seconds: list[int]) -> None:
    assert [at_s for at_s, _ in first(3, job)] == seconds


def test_slots_end_where_dates_end() -> None:
    century = Job("century", Interval(36_525 * 86_400 * SECOND_NS), ())
    slots = [slot_ns for slot_ns, _ in upcoming([century], start_ns=START_NS)]
    assert len(slots) == 79
    assert Slot.of(century, slots[-1], ZoneInfo("Pacific/Kiritimati")).at.year == 9924


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(every("j", 10), "2024-03-10T13:00:00+01:00", id="an interval has the default zone"),
        pytest.param(
            Job("j", parse_cron("0 * * * *", timezone="Asia/Tokyo"), ()),
            "2024-03-10T21:00:00+09:00",
            id="cron",
        ),
        pytest.param(
            Job("j", Once(START_NS, ZoneInfo("Asia/Kolkata")), ()), "2024-03-10T17:30:00+05:30", id="at"
        ),
    ],
)
def test_a_slot_is_shown_in_the_zone_of_its_job(job: Job, expected: str) -> None:
    assert Slot.of(job, START_NS, PARIS).at.isoformat() == expected


def test_a_schedule_without_a_job_has_no_name() -> None:
    assert Slot.of(every("", 10), START_NS, PARIS).job is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 60))
def test_any_number_of_intervals_merge_like_one_sorted_list(lengths: list[int], count: int) -> None:
    jobs = [every(f"{index}", length) for index, length in enumerate(lengths)]
    every_slot = sorted(
        (length * number, index) for index, length in enumerate(lengths) for number in range(1, count + 1)
    )
    assert first(count, *jobs) == [(at_s, f"{index}") for at_s, index in every_slot[:count]]
