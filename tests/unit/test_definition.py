"""When a job is due, written down: read again, it is due at the same instants; equal text, equal instants."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.engine.definition import definition_of, is_due_alike, job_from
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.model import Execution, Job, Mode, OnCrash, OnMissed, Overlap, Policy
from taskman_cli.core.schedule import Interval, Once, Reboot, Schedule, parse_cron
from taskman_cli.errors import ScheduleError

ZONES = ["UTC", "Europe/Stockholm", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
EXPRESSIONS = [
    "* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1,15 * FRI", "H H * * *", "H/15 * * * *", "@hourly",
    "@weekly", "15 30 2 * * *", "*/20 * * * * *", "0 9 L * *", "0 9 15W * *", "0 9 * * FRI#2", "0 0 29 FEB *",
    "0 9 * * MON-FRI", "0  9\t* * *",
]  # fmt: skip

crons = st.builds(
    lambda text, zone, name: (name, parse_cron(text, timezone=zone, name=name)),
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.sampled_from(["a", "backup", "nightly"]),
)
others = st.one_of(
    st.builds(
        Interval,
        st.integers(1, seconds(10**6)),
        from_finish=st.booleans(),
        timezone=st.sampled_from(["", *ZONES]),
    ),
    st.builds(
        Once,
        st.integers(START.wall_ns - seconds(10**6), START.wall_ns + seconds(10**6)),
        st.sampled_from([ZoneInfo(name) for name in ZONES]),
    ),
    st.builds(Reboot, st.sampled_from(ZONES)),
)
schedules = st.one_of(crons, st.tuples(st.sampled_from(["a", "b"]), others))
instants = st.none() | st.integers(START.wall_ns - seconds(10**6), START.wall_ns + seconds(10**6))
limits = st.builds(
    Policy,
    jitter_ns=st.sampled_from([0, 1, seconds(90)]),
    starts_at_ns=instants,
    expires_at_ns=instants,
    max_runs=st.none() | st.integers(1, 3),
)


def make(named: tuple[str, Schedule], policy: Policy, *, enabled: bool = True) -> Job:
    name, schedule = named
    return replace(make_job(name, schedule, policy=policy), enabled=enabled)


def dues(job: Job) -> list[int]:
    """Return when the next slots of a job are, and when they are due."""
    armed = ArmedJob.of(job, since_ns=START.wall_ns, anchor_ns=START.wall_ns)
    found: list[int] = []
    for _ in range(6):
        if armed.slot_ns is None:
            break
        found += [armed.slot_ns, armed.due_at(armed.slot_ns)]
        armed.slot_ns = armed.slot_after(armed.slot_ns)
        armed.run_count += 1
    return found


@given(schedules, limits, st.booleans())
def test_what_is_read_again_is_due_at_the_same_instants(
    named: tuple[str, Schedule], policy: Policy, enabled: bool
) -> None:
    job = make(named, policy, enabled=enabled)
    again = job_from(job.id, definition_of(job))
    assert dues(job) == dues(again)
    assert (job.id, job.enabled, job.schedule.text) == (again.id, again.enabled, again.schedule.text)
    assert definition_of(job) == definition_of(again)


@given(schedules, schedules, limits, limits)
def test_jobs_with_the_same_text_are_due_at_the_same_instants(
    one: tuple[str, Schedule], other: tuple[str, Schedule], policy: Policy, second: Policy
) -> None:
    # `H` and jitter are the name's: a job is only ever compared with one of its own name.
    first_job, second_job = make(one, policy), make((one[0], other[1]), second)
    if "H" in first_job.schedule.text and one[0] != other[0]:
        return
    if definition_of(first_job) == definition_of(second_job):
        assert dues(first_job) == dues(second_job)


DIFFERENT: dict[str, Job] = {
    "plain": make_job(),
    "slower": make_job(schedule=Interval(seconds(11))),
    "from-finish": make_job(schedule=Interval(seconds(10), from_finish=True)),
    "cron": make_job(schedule=parse_cron("0 9 * * *", timezone="UTC")),
    "zone": make_job(schedule=parse_cron("0 9 * * *", timezone="Asia/Kolkata")),
    "later": make_job(schedule=parse_cron("0 10 * * *", timezone="UTC")),
    "once": make_job(schedule=Once(START.wall_ns, ZoneInfo("UTC"))),
    "reboot": make_job(schedule=Reboot("UTC")),
    "jitter": make_job(policy=Policy(jitter_ns=1)),
    "starts": make_job(policy=Policy(starts_at_ns=START.wall_ns)),
    "expires": make_job(policy=Policy(expires_at_ns=START.wall_ns)),
    "max-runs": make_job(policy=Policy(max_runs=2)),
    "disabled": make_job(enabled=False),
}


def test_jobs_that_are_due_at_other_times_have_another_text() -> None:
    assert len(DIFFERENT) == len({definition_of(job) for job in DIFFERENT.values()})


@pytest.mark.parametrize(
    "changed",
    [
        {"overlap": Overlap.ALLOW, "max_running": 3},
        {"on_missed": OnMissed.ALL},
        {"start_deadline_ns": None},
        {"run_on_start": True},
        {"priority": 3},
        {"mode": Mode.SEQUENCE},
        {"on_crash": OnCrash.RERUN},
        {"keep_runs": 3, "keep_for_ns": 5},
    ],
    ids=lambda changed: ",".join(changed),
)
def test_what_a_job_does_with_a_slot_is_not_in_it(changed: dict[str, Any]) -> None:
    assert definition_of(make_job()) == definition_of(make_job(policy=Policy(**changed)))


def test_what_a_job_runs_is_not_in_it() -> None:
    other = make_job(command="false", tasks=("a", "b"), execution=Execution(timeout_ns=1))
    other = replace(other, description="x", tags=("y",), source="z:1")
    assert definition_of(make_job()) == definition_of(other)


def test_it_is_one_line_of_json_and_says_no_more_than_there_is() -> None:
    assert definition_of(make_job()) == '{"every_ns": 10000000000}'
    cron = make_job(
        schedule=parse_cron("0 9 * * *", timezone="UTC"), policy=Policy(max_runs=2), enabled=False
    )
    expected = {"cron": "0 9 * * *", "timezone": "UTC", "max_runs": 2, "enabled": False}
    assert json.loads(definition_of(cron)) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"cron": "0 9 * * *", "timezone": "Mars/Olympus"}',
        '{"cron": "nonsense", "timezone": "UTC"}',
        '{"at_ns": 1, "timezone": "Mars/Olympus"}',
    ],
    ids=["zone", "expression", "zone-of-at"],
)
def test_what_cannot_be_read_any_more_is_said_to_be_so(text: str) -> None:
    with pytest.raises(ScheduleError):
        job_from("job", text)


def test_a_schedule_of_another_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="unknown kind of schedule"):
        definition_of(make_job(schedule=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "is_alike"),
    [
        pytest.param(Interval(5, timezone="UTC"), Interval(5, timezone="Asia/Tokyo"), True, id="every"),
        pytest.param(Interval(5, timezone="UTC"), Interval(6, timezone="UTC"), False, id="another interval"),
        pytest.param(Interval(5), Interval(5, from_finish=True), False, id="from the end"),
        pytest.param(Reboot("UTC"), Reboot("Asia/Tokyo"), True, id="@reboot"),
        pytest.param(Once(5, ZoneInfo("UTC")), Once(5, ZoneInfo("Asia/Tokyo")), True, id="at"),
        pytest.param(
            parse_cron("0 4 * * *", timezone="UTC"), parse_cron("0 4 * * *", timezone="Asia/Tokyo"), False,
            id="cron",
        ),
    ],
)  # fmt: skip
def test_a_zone_that_slots_are_only_shown_in_moves_none(
    one: Schedule, other: Schedule, is_alike: bool
) -> None:
    texts = definition_of(make_job(schedule=one)), definition_of(make_job(schedule=other))
    assert is_alike is is_due_alike(*texts)
    assert is_due_alike(texts[0], texts[0])
