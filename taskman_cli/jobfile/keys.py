"""The keys of each table of the job file, apart from those of tasks.

Key names are the user's, values go into the model. A key that a later version brings is unknown until then.
"""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum

from taskman_cli.core.model import Durability, Mode, OnCrash, OnMissed, Overlap, Policy, Settings
from taskman_cli.jobfile.problems import did_you_mean
from taskman_cli.jobfile.tables import Key, keys, refused
from taskman_cli.jobfile.tasks import EXECUTION_KEYS, read_command, read_tasks
from taskman_cli.jobfile.units import duration, read_instant, read_instant_or_none, read_pattern, read_zone
from taskman_cli.jobfile.values import (
    array,
    choice,
    integer,
    read_boolean,
    read_line,
    read_text,
    read_word,
    unless_none,
)


class EveryFrom(StrEnum):
    """What an interval counts from."""

    SLOT = "slot"
    FINISH = "finish"


_BILLION = 1_000_000_000

#: One of these is the job's schedule.
SCHEDULE_KEYS = keys(
    Key("cron", read_word),
    Key("every", duration("10ms")),
    Key("at", read_instant),
)

#: How slots become runs.
POLICY_KEYS = keys(
    Key("overlap", choice(Overlap)),
    Key("max_running", unless_none(integer(1, _BILLION))),
    Key("on_missed", choice(OnMissed)),
    Key("start_deadline", duration("1ms", or_none=True), field="start_deadline_ns"),
    Key("jitter", duration("0s"), field="jitter_ns"),
    Key("run_on_start", read_boolean),
    Key("max_runs", unless_none(integer(1, _BILLION))),
    Key("starts_at", read_instant_or_none, field="starts_at_ns"),
    Key("expires_at", read_instant_or_none, field="expires_at_ns"),
    Key("priority", integer(-_BILLION, _BILLION)),
    Key("mode", choice(Mode)),
    Key("on_crash", choice(OnCrash)),
    Key("keep_runs", integer(1, 1_000_000)),
    Key("keep_for", duration("1m", or_none=True), field="keep_for_ns"),
)
assert {key.field or key.name for key in POLICY_KEYS.values()} == {field.name for field in fields(Policy)}

#: What a job and `[defaults]` can say besides.
_SHARED_KEYS = keys(
    Key("enabled", read_boolean),
    Key("every_from", choice(EveryFrom)),
    Key("tags", array(read_line, example='["backup"]')),
    Key("timezone", read_zone),
)

_RUN_KEYS = keys(Key("command", read_command), Key("tasks", read_tasks), Key("description", read_text))

#: What no two jobs need have in common.
OWN_KEYS = frozenset(SCHEDULE_KEYS | _RUN_KEYS)

#: All keys of `[jobs.NAME]`.
JOB_KEYS = SCHEDULE_KEYS | _RUN_KEYS | _SHARED_KEYS | POLICY_KEYS | EXECUTION_KEYS

#: All keys of `[defaults]`.
DEFAULT_KEYS = (
    _SHARED_KEYS
    | POLICY_KEYS
    | EXECUTION_KEYS
    | keys(
        *(Key(name, refused("each job has a schedule of its own: no default")) for name in SCHEDULE_KEYS),
        *(Key(name, refused("each job says this for itself: no default")) for name in _RUN_KEYS),
    )
)

#: All keys of `[pool]`.
POOL_KEYS = keys(Key("max_workers", integer(1, 100_000)))

#: All keys of `[taskman]`. The least values keep the scheduler from spinning, and from taking its own work
#: for a missed slot or a step of the clock.
TASKMAN_KEYS = keys(
    Key("timezone", read_zone),
    Key("include", array(read_pattern, example='["jobs.d/*.toml"]')),
    Key("missed_after", duration("100ms"), field="missed_after_ns"),
    Key("clock_step", duration("100ms"), field="clock_step_ns"),
    Key("spawn_retry", duration("10ms"), field="spawn_retry_ns"),
    Key("spawn_retry_max", duration("10ms"), field="spawn_retry_max_ns"),
    Key("output_grace", duration("0s"), field="output_grace_ns"),
    Key("restart_delay", duration("10ms"), field="restart_delay_ns"),
    Key("restart_delay_max", duration("10ms"), field="restart_delay_max_ns"),
    Key("watch", read_boolean),
    Key("durability", choice(Durability)),
    Key("keep_events", integer(1_000, _BILLION)),
    Key("refresh", duration("50ms"), field="refresh_ns"),
)

#: Keys of the scheduler that fill `Settings`, whichever table they stand in.
SETTINGS_KEYS = {
    name: key for name, key in (TASKMAN_KEYS | POOL_KEYS).items() if name not in ("timezone", "include")
}
assert {key.field or key.name for key in SETTINGS_KEYS.values()} == {field.name for field in fields(Settings)}

TASKMAN_KEYS["max_workers"] = Key("max_workers", refused("belongs in [pool]"))

#: A first pause and the longest it grows to.
PAUSES = (("spawn_retry", "spawn_retry_max"), ("restart_delay", "restart_delay_max"))

#: The tables at the top of a file.
TOP = ("taskman", "pool", "defaults", "jobs")

_HOMES = {"[taskman]": TASKMAN_KEYS, "[pool]": POOL_KEYS, "[jobs.NAME] or [defaults]": JOB_KEYS}


def misplaced(name: str) -> str:
    """Say what is wrong with a key at the top of the file."""
    for home, known in _HOMES.items():
        if name in known:
            return f"not at the top of the file: it belongs in {home}"
    return f"unknown key{did_you_mean(name, TOP)}"
