"""What the keys of a job file mean."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.limits import Limits
from taskman_cli.core.model import (
    Durability,
    Execution,
    Job,
    Mode,
    OnCrash,
    OnMissed,
    Output,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
)
from taskman_cli.core.schedule import CronSchedule, Interval, Once, Reboot
from taskman_cli.core.tuning import Admission, AdmissionTuning
from taskman_cli.jobfile import JobFile, JobFileError, loads

MINUTE_NS = 60 * SECOND_NS


def load(text: str) -> JobFile:
    return loads(text, path=Path("/etc/taskman/jobs.toml"), timezone="UTC")


def job(lines: str, *, above: str = "") -> Job:
    """Load one job that has a command and a schedule if its lines do not give it one."""
    schedule = "" if any(lines.startswith(key) for key in ("cron", "every", "at ")) else "every = '1m'\n"
    command = "" if "tasks" in lines or "command" in lines else "command = 'true'\n"
    (only,) = load(f"{above}\n[jobs.a]\n{schedule}{command}{lines}").jobs
    return only


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff", "[jobs]\n", "[taskman]\n[pool]\n"])
def test_a_file_without_jobs_is_a_job_file(text: str) -> None:
    assert load(text) == JobFile((), Settings(), "UTC", (Path("/etc/taskman/jobs.toml"),))


def test_a_minimal_job_has_all_defaults() -> None:
    only = job("cron = '30 2 * * *'")
    assert isinstance(only.schedule, CronSchedule)
    assert only.schedule.text == "30 2 * * *"
    assert (only.id, only.enabled, only.description, only.tags) == ("a", True, "", ())
    assert (only.policy, only.source) == (Policy(), "/etc/taskman/jobs.toml")
    assert [(task.id, task.command, task.execution) for task in only.tasks] == [("main", "true", Execution())]


EXECUTION = {
    "shell = '/bin/bash'": {"shell": "/bin/bash"},
    "cwd = '/srv'": {"cwd": "/srv"},
    "cwd = 'data/x'": {"cwd": "/etc/taskman/data/x"},
    "cwd = '.'": {"cwd": "/etc/taskman"},
    "env = { B = '2', A = '' }": {"env": {"A": "", "B": "2"}},
    "env_file = 'a.env'": {"env_file": ("/etc/taskman/a.env",)},
    "env_file = ['a.env', '/b.env']": {"env_file": ("/etc/taskman/a.env", "/b.env")},
    "inherit_env = false": {"inherit_env": False},
    "inherit_env = ['LANG', 'HOME']": {"inherit_env": ("LANG", "HOME")},
    "stdin = ''": {"stdin": ""},
    "umask = '022'": {"umask": 0o22},
    "umask = '77'": {"umask": 0o77},
    "nice = -20": {"nice": -20},
    "limits = { cpu = 2 }": {"limits": Limits(cpu=2.0)},
    "output = 'discard'": {"output": Output.DISCARD},
    "max_output = 10": {"max_output_bytes": 10},
    "max_output = '64KiB'": {"max_output_bytes": 65536},
    "max_output = '10MB'": {"max_output_bytes": 10_000_000},
    "timeout = '1h30m'": {"timeout_ns": 90 * MINUTE_NS},
    "timeout = 'none'": {"timeout_ns": None},
    "kill_timeout = '0s'": {"kill_timeout_ns": 0},
    "kill_orphans = false": {"kill_orphans": False},
    "kill_signal = 'INT'": {"kill_signal": 2},
    "kill_signal = 'SIGKILL'": {"kill_signal": 9},
    "kill_signal = 10": {"kill_signal": 10},
    "retry = 3": {"retry": Retry(max=3)},
    "retry = { max = 3, delay = '1m', backoff = 2, max_delay = '30m', jitter = '5s', exit_codes = [7, 1] }": {
        "retry": Retry(3, MINUTE_NS, 2.0, 30 * MINUTE_NS, 5 * SECOND_NS, (1, 7))
    },
    "retry = { max = 1, delay = '2h' }": {
        "retry": Retry(max=1, delay_ns=120 * MINUTE_NS, max_delay_ns=120 * MINUTE_NS)
    },
    "resources = { ram = '2GiB' }": {"resources": (("ram", 2 << 30),)},
    "resources = {}": {"resources": ()},
    "success_exit_codes = [3, 0, 3]": {"success_exit_codes": (0, 3)},
}


@pytest.mark.parametrize(("line", "fields"), EXECUTION.items(), ids=list(EXECUTION))
def test_a_key_of_execution_holds_in_a_job_in_a_task_and_in_defaults(
    line: str, fields: dict[str, Any]
) -> None:
    expected = Execution(**fields)
    in_task = f"[jobs.a.tasks.main]\ncommand = 'true'\n{line}"
    found = [job(line), job(in_task), job("", above=f"[defaults]\n{line}")]
    assert [expected] * 3 == [one.tasks[0].execution for one in found]


POLICY = {
    "overlap = 'replace'": {"overlap": Overlap.REPLACE},
    "overlap = 'allow'\nmax_running = 3": {"overlap": Overlap.ALLOW, "max_running": 3},
    "on_missed = 'all'": {"on_missed": OnMissed.ALL},
    "start_deadline = '30s'": {"start_deadline_ns": 30 * SECOND_NS},
    "on_crash = 'rerun'": {"on_crash": OnCrash.RERUN},
    "keep_runs = 1": {"keep_runs": 1},
    "keep_for = '2d'": {"keep_for_ns": 2 * 86_400 * SECOND_NS},
    "keep_for = 'none'": {"keep_for_ns": None},
    "start_deadline = 'none'": {"start_deadline_ns": None},
    "jitter = '1m'": {"jitter_ns": MINUTE_NS},
    "run_on_start = true": {"run_on_start": True},
    "max_runs = 5": {"max_runs": 5},
    "starts_at = 2026-01-01T00:00:00": {"starts_at_ns": ns("2026-01-01T00:00:00")},
    "starts_at = 'noon Jul 31 2027'": {"starts_at_ns": ns("2027-07-31T12:00:00")},
    "starts_at = '@1700000000'": {"starts_at_ns": 1_700_000_000 * SECOND_NS},
    "starts_at = '2027-03-01 04:00'": {"starts_at_ns": ns("2027-03-01T04:00:00")},
    "starts_at = '2026-01-01T01:00+01:00'": {"starts_at_ns": ns("2026-01-01T00:00:00")},
    "expires_at = 2026-01-01T00:00:00-02:30": {"expires_at_ns": ns("2026-01-01T02:30:00")},
    "timezone = 'Asia/Kolkata'\nexpires_at = 2026-01-01T00:00:00": {
        "expires_at_ns": ns("2025-12-31T18:30:00")
    },
    "priority = -7": {"priority": -7},
}


@pytest.mark.parametrize(("line", "fields"), POLICY.items(), ids=list(POLICY))
def test_a_key_of_policy_holds_in_a_job_and_in_defaults(line: str, fields: dict[str, Any]) -> None:
    assert [Policy(**fields)] * 2 == [job(line).policy, job("", above=f"[defaults]\n{line}").policy]


def test_the_rest_of_a_job() -> None:
    lines = "description = 'x'\ntags = ['b', 'a']\nenabled = false\nmode = 'sequence'\ntasks = { t = 'x' }"
    only = job(lines)
    assert (only.description, only.tags, only.enabled) == ("x", ("b", "a"), False)
    assert only.policy.mode is Mode.SEQUENCE


SCHEDULES = {
    "every = '15s'": Interval(15 * SECOND_NS, timezone="UTC"),
    "every = '15s'\nevery_from = 'finish'": Interval(15 * SECOND_NS, from_finish=True, timezone="UTC"),
    "every = '10ms'\nevery_from = 'slot'": Interval(SECOND_NS // 100, timezone="UTC"),
    "cron = '@reboot'": Reboot(timezone="UTC"),
}


@pytest.mark.parametrize(("lines", "schedule"), SCHEDULES.items(), ids=list(SCHEDULES))
def test_schedules(lines: str, schedule: object) -> None:
    assert job(lines).schedule == schedule


@pytest.mark.parametrize(
    "written",
    ["2026-12-24T15:00:00+01:00", "2026-12-24 15:00:00", '"2026-12-24T15:00"', "'2026-12-24T14:00:00Z'"],
)
def test_a_one_shot_is_in_the_zone_of_its_job(written: str) -> None:
    schedule = job(f"at = {written}\ntimezone = 'Europe/Stockholm'").schedule
    assert isinstance(schedule, Once)
    assert (schedule.at_ns, schedule.zone.key) == (ns("2026-12-24T14:00:00"), "Europe/Stockholm")


def test_a_skipped_wall_time_is_rejected() -> None:
    with pytest.raises(JobFileError, match=r"jobs\.a\.at: .* does not exist in Europe/Stockholm"):
        job("at = 2026-03-29T02:30:00\ntimezone = 'Europe/Stockholm'")


LINES = {
    "@daily find /tmp -mtime +7 -delete": ("0 0 * * *", "find /tmp -mtime +7 -delete"),
    "  30\t2 * * mon-fri   a  b % c ": ("30 2 * * mon-fri", "a  b % c"),
    "*/5 * * * * *.sh": ("*/5 * * * *", "*.sh"),
    "0 0 1 1 * 7z a x": ("0 0 1 1 *", "7z a x"),
    "0 0 1 1 * root": ("0 0 1 1 *", "root"),
    "@daily root -b -q x.C": ("0 0 * * *", "root -b -q x.C"),
    "@daily rootkit /": ("0 0 * * *", "rootkit /"),
}


@pytest.mark.parametrize(("line", "expected"), LINES.items(), ids=list(LINES))
def test_a_job_on_one_line(line: str, expected: tuple[str, str]) -> None:
    (only,) = load(f'[jobs]\na = "{line.replace(chr(9), chr(92) + "t")}"').jobs
    assert only.tasks[0].command == expected[1]
    assert only.schedule.text in (expected[0], line.split()[0])


def test_tasks_are_strings_arrays_or_tables_that_override_the_job() -> None:
    only = job(
        """every = "15s"
timeout = "1m"
env = { A = "job", B = "job" }
[jobs.a.tasks]
api = "curl x"
db = ["pg_isready", ""]
up = { command = ["up"], timeout = "5s", env = { B = "task" } }
"""
    )
    above = Execution(timeout_ns=MINUTE_NS, env={"A": "job", "B": "job"})
    assert [(task.id, task.command, task.execution) for task in only.tasks] == [
        ("api", "curl x", above),
        ("db", ("pg_isready", ""), above),
        ("up", ("up",), Execution(timeout_ns=5 * SECOND_NS, env={"A": "job", "B": "task"})),
    ]


def test_a_job_overrides_defaults_and_none_removes_a_limit() -> None:
    defaults = """[defaults]
timeout = "1h"
max_runs = 3
env = { A = "all", B = "all" }
tags = ["all"]
every_from = "finish"
timezone = "Asia/Tokyo"
"""
    mine = 'timeout = "none"\nmax_runs = "none"\nenv = { B = "mine" }\ntags = []\n'
    only = job(mine, above=defaults)
    assert only.tasks[0].execution == Execution(timeout_ns=None, env={"A": "all", "B": "mine"})
    assert (only.policy, only.tags) == (Policy(), ())
    assert only.schedule == Interval(MINUTE_NS, from_finish=True, timezone="Asia/Tokyo")
    (line,) = load(f"{defaults}[jobs]\na = '0 9 * * * x'").jobs
    assert isinstance(line.schedule, CronSchedule)
    assert (line.schedule.timezone, line.policy.max_runs, line.tags) == ("Asia/Tokyo", 3, ("all",))


def test_a_default_max_running_does_not_bind_jobs_that_do_not_overlap() -> None:
    only = job("overlap = 'queue'", above="[defaults]\noverlap = 'allow'\nmax_running = 2")
    assert only.policy.overlap is Overlap.QUEUE


def test_jobs_with_equal_settings_share_them() -> None:
    same = 'cron = "@daily"\nretry = { max = 3 }\nenv = { A = "1" }\noverlap = "queue"\n'
    one, two = load(f"[jobs.one]\ncommand = 'x'\n{same}[jobs.two]\ncommand = 'y'\n{same}").jobs
    assert one.policy is two.policy
    assert one.schedule is two.schedule
    assert one.source is two.source
    assert one.tasks[0].execution is two.tasks[0].execution


def test_the_numbers_of_the_scheduler() -> None:
    loaded = load(
        """[taskman]
timezone = "Europe/Stockholm"
missed_after = "1s"
clock_step = "2s"
spawn_retry = "3s"
spawn_retry_max = "4s"
output_grace = "5s"
restart_delay = "6s"
restart_delay_max = "7s"
hang_after = "8s"
durability = "power"
crontab_mail = true
watch = true
read_timeout = "9s"
keep_events = 1000
refresh = "11s"
[pool]
max_workers = 9
ageing = "10s"
admission = "auto"
priority_seats = 2
admission_patience = "3s"
admission_tuning = { pressure = 0.5, known_needs = 9 }
[pool.resources]
db = 2
ram = "8GiB"
api = { limit = 5, rate = "60/m", burst = 10 }
mail = { rate = "2/10s" }
"""
    )
    assert loaded.settings == Settings(
        9,
        10 * SECOND_NS,
        Admission.AUTO,
        2,
        3 * SECOND_NS,
        AdmissionTuning(pressure=0.5, known_needs=9),
        (
            ("api", Resource(5, 60, MINUTE_NS, 10)),
            ("db", Resource(2)),
            ("mail", Resource(None, 2, 10 * SECOND_NS, 1)),
            ("ram", Resource(8 << 30)),
        ),
        *(seconds * SECOND_NS for seconds in range(1, 9)),
        Durability.POWER,
        True,
        True,
        9 * SECOND_NS,
        1_000,
        11 * SECOND_NS,
    )
    assert loaded.timezone == "Europe/Stockholm"


def test_the_longest_pause_follows_a_first_one_that_is_longer_and_the_other_way_round() -> None:
    longer = load("[taskman]\nspawn_retry = '1h'").settings
    shorter = load("[taskman]\nspawn_retry_max = '10ms'").settings
    assert longer.spawn_retry_max_ns == 60 * MINUTE_NS
    assert shorter.spawn_retry_ns == shorter.spawn_retry_max_ns == SECOND_NS // 100


@pytest.mark.parametrize(
    ("key", "low"),
    [
        ("missed_after", "100ms"),
        ("clock_step", "100ms"),
        ("refresh", "50ms"),
        ("spawn_retry", "10ms"),
        ("restart_delay", "10ms"),
        ("output_grace", "0s"),
    ],
)
def test_the_numbers_of_the_scheduler_have_a_least_value_that_keeps_it_from_spinning(
    key: str, low: str
) -> None:
    lowest = load(f"[taskman]\n{key} = '{low}'").settings
    assert low.replace("0s", "0ms") == f"{getattr(lowest, key + '_ns') // 10**6}ms"


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n", "\r\r\r\n"], ids=["once", "twice", "three times"])
def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(end: str) -> None:
    text = "\ufeff[jobs.a]\nevery = '1m'\ncommand = '''\na\nb'''\n".replace("\n", end)
    (only,) = load(text).jobs
    assert only.tasks[0].command == "a\nb"


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("text", ["", "broken"])
def test_the_garbage_collector_is_left_as_it_was(text: str, is_enabled: bool) -> None:
    was_enabled = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    try:
        loads(text, timezone="UTC")
    except JobFileError:
        pass
    finally:
        found = gc.isenabled()
        (gc.enable if was_enabled else gc.disable)()
    assert found == is_enabled
