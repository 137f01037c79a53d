"""The schema that editors check a job file with, against the reader, by a validator from outside."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.test_jobfile_fuzz import ANYTHING, EXECUTION, RETRY, TASKS

from taskman_cli.core.sinks import SINK_TYPES
from taskman_cli.jobfile import JobFileError, loads
from taskman_cli.jobfile.keys import DEFAULT_KEYS, JOB_KEYS, OWN_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.logs import LOGGING_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.problems import Rejected
from taskman_cli.jobfile.schema import schema
from taskman_cli.jobfile.sinks import SINK_KEYS
from taskman_cli.jobfile.sinktypes import keys_of
from taskman_cli.jobfile.tables import Key
from taskman_cli.jobfile.tasks import RETRY_KEYS, TASK_KEYS
from taskman_cli.jobfile.values import Context
from taskman_cli.launch.accounts import Accounts

ROOT = Path(__file__).parents[2]
CONTEXT = Context(Path("/"), ZoneInfo("UTC"), None, Accounts(is_run_here=False))
SCHEMA = schema()
TABLES = {
    "taskman": (SCHEMA["properties"]["taskman"], TASKMAN_KEYS.keys() - POOL_KEYS.keys()),
    "pool": (SCHEMA["properties"]["pool"], POOL_KEYS.keys()),
    "metrics": (SCHEMA["properties"]["metrics"], METRICS_KEYS.keys()),
    "logging": (SCHEMA["properties"]["logging"], LOGGING_KEYS.keys()),
    "defaults": (SCHEMA["properties"]["defaults"], DEFAULT_KEYS.keys() - OWN_KEYS),
    "job": (SCHEMA["$defs"]["job"], JOB_KEYS.keys()),
    "task": (SCHEMA["$defs"]["task"], TASK_KEYS.keys()),
    "retry": (SCHEMA["$defs"]["retry"], RETRY_KEYS.keys()),
}
KEYS = (TASKMAN_KEYS, POOL_KEYS, METRICS_KEYS, LOGGING_KEYS, DEFAULT_KEYS, JOB_KEYS, TASK_KEYS, RETRY_KEYS)
for type_ in SINK_TYPES:
    sink_keys = SINK_KEYS | dict(keys_of(type_) or {})
    TABLES[type_] = (SCHEMA["$defs"][f"{type_}_sink"], sink_keys.keys())


def as_editors_see(value: Any) -> Any:
    """Return a value of TOML as JSON has it: date-times are strings."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: as_editors_see(item) for name, item in value.items()}
    return [as_editors_see(item) for item in value] if isinstance(value, list) else value


def is_valid(text: str) -> bool:
    return bool(Draft202012Validator(SCHEMA).is_valid(as_editors_see(tomllib.loads(text))))


def is_read(text: str) -> bool:
    try:
        loads(text, timezone="UTC")
    except JobFileError:
        return False
    return True


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    document = as_editors_see(tomllib.loads(path.read_text("utf-8")))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)] == []


@pytest.mark.parametrize(("shape", "known"), TABLES.values(), ids=list(TABLES))
def test_a_table_has_the_keys_that_the_reader_takes_and_no_other(shape: Any, known: set[str]) -> None:
    assert set(shape["properties"]) == set(known)
    assert shape["additionalProperties"] is False
    for of_key in shape["properties"].values():
        assert of_key["description"]
        assert of_key.keys() & {"type", "enum", "anyOf", "const"}


JOB = "[jobs.a]\nevery = '1m'\ncommand = 'true'\n"
BAD = {
    "an unknown key at the top": "title = 'x'",
    "an unknown table": "[job.a]\nevery = '1m'\ncommand = 'true'",
    "an unknown key of a job": JOB + "evry = '1s'",
    "an unknown key of taskman": "[taskman]\nzone = 'UTC'",
    "a key of the pool in taskman": "[taskman]\nmax_workers = 3",
    "a schedule in defaults": "[defaults]\ncron = '* * * * *'",
    "a command in defaults": "[defaults]\ncommand = 'true'",
    "no schedule": "[jobs.a]\ncommand = 'true'",
    "two schedules": JOB + "cron = '* * * * *'",
    "no command": "[jobs.a]\nevery = '1m'",
    "a command and tasks": JOB + "tasks = { b = 'true' }",
    "no task": "[jobs.a]\nevery = '1m'\ntasks = {}",
    "a task without a command": "[jobs.a]\nevery = '1m'\ntasks = { b = { nice = 3 } }",
    "a job's key in a task": "[jobs.a]\nevery = '1m'\ntasks = { b = { command = 'true', tags = [] } }",
    "an empty command": "[jobs.a]\nevery = '1m'\ncommand = ''",
    "a name with a dot": "[jobs.'a.b']\nevery = '1m'\ncommand = 'true'",
    "no such choice": JOB + "overlap = 'skp'",
    "a number for a duration": JOB + "timeout = 5",
    "a duration without a unit": JOB + "timeout = '5'",
    "a limit off that is none": JOB + "kill_timeout = 'none'",
    "a number too large": JOB + "nice = 20",
    "a text for a boolean": JOB + "enabled = 'yes'",
    "a text for a number": JOB + "priority = '1'",
    "an exit code too large": JOB + "success_exit_codes = [256]",
    "no exit code": JOB + "success_exit_codes = []",
    "a number for a umask": JOB + "umask = 22",
    "no such signal": JOB + "kill_signal = 'TREM'",
    "no such unit of size": JOB + "max_output = '5 apples'",
    "a relative shell": JOB + "shell = 'sh'",
    "a number in env": JOB + "env = { A = 1 }",
    "a bad name in env": JOB + "env = { 'A-B' = '1' }",
    "retries without a number": JOB + "retry = { delay = '1s' }",
    "an unknown key of retry": JOB + "retry = { max = 1, dealy = '1s' }",
    "every_from without every": "[jobs.a]\ncron = '@daily'\ncommand = 'x'\nevery_from = 'slot'",
    "a sink without a type": "[sinks.ops]\nurl = 'http://x/'",
    "a sink without what its type needs": "[sinks.ops]\ntype = 'webhook'",
    "a key of another type of sink": "[sinks.ops]\ntype = 'journald'\nurl = 'http://x/'",
    "no such event": "[sinks.ops]\ntype = 'journald'\non = ['faild']",
    "a name of a sink alone": JOB + "sinks = 'ops'",
    "mode without tasks": JOB + "mode = 'sequence'",
}


@pytest.mark.parametrize("text", BAD.values(), ids=list(BAD))
def test_what_the_reader_refuses_for_its_form_an_editor_marks(text: str) -> None:
    assert (is_read(text), is_valid(text)) == (False, False)


VALUES: list[Any] = [
    "jobs.py:run",
    True,
    False,
    -1,
    0,
    1,
    22,
    75,
    1000,
    5000,
    1.5,
    "none",
    "",
    "x",
    "skip",
    "allow",
    "once",
    "report",
    "power",
    "sequence",
    "slot",
    "auto",
    "info",
    "inherit",
    "TERM",
    "SIGKILL",
    "1h",
    "1m 30s",
    "1.5h",
    "0s",
    "022",
    "64KiB",
    "1 MB",
    "/bin/sh",
    "~/x",
    "a.env",
    "a.toml",
    "UTC",
    "2030-01-01T00:00:00",
    datetime(2030, 1, 1, tzinfo=UTC),
    [],
    ["x"],
    ["a", "b c"],
    ["failed", "all"],
    "first",
    "every",
    {"env": "A"},
    "http://example.org/",
    "127.0.0.1:9464",
    "./taskman.prom",
    "webhook",
    "starttls",
    "POST",
    "daemon",
    ["a@example.org"],
    [0, 75],
    {},
    {"A": "1"},
    {"max": 3},
    {"max": 3, "delay": "1s", "backoff": 2},
    {"b": "true"},
    {"b": {"command": ["a"]}},
]


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        pytest.param(SCHEMA | {"properties": shape["properties"]}, key, id=f"{table}.{name}")
        for (table, (shape, _)), known in zip(TABLES.items(), KEYS, strict=False)  # sinks come last
        for name, key in known.items()
        if name in shape["properties"]
    ],
)
def test_what_a_key_takes_an_editor_takes_and_what_it_is_by_default_too(shape: Any, key: Any) -> None:
    taken = 0
    for value in VALUES:
        try:
            key.read(value, CONTEXT)
        except Rejected:
            continue
        taken += 1
        assert Draft202012Validator(shape).is_valid({key.name: as_editors_see(value)}), value
    assert taken
    of_key = shape["properties"][key.name]
    if "default" in of_key:
        assert Draft202012Validator(shape).is_valid({key.name: of_key["default"]})
        key.read(of_key["default"], CONTEXT)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("overlap", "skip"),
        ("timeout", "none"),
        ("kill_timeout", "10s"),
        ("kill_signal", "TERM"),
        ("retry", 0),
        ("max_output", 1 << 20),
        ("enabled", True),
        ("every_from", "slot"),
        ("mode", "parallel"),
        ("tags", []),
        ("max_runs", "none"),
        ("starts_at", "none"),
        ("inherit_env", None),
        ("success_exit_codes", [0]),
        ("cwd", None),
        ("stdin", None),
        ("umask", None),
        ("every", None),
        ("keep_runs", None),
    ],
)
def test_the_defaults_are_those_of_the_readme(name: str, default: object) -> None:
    assert default == SCHEMA["$defs"]["job"]["properties"][name].get("default")


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(list(JOB_KEYS.values())), ANYTHING | RETRY | TASKS | EXECUTION["env"])
def test_no_value_that_a_key_takes_is_marked_by_an_editor(key: Key, value: Any) -> None:
    try:
        key.read(value, CONTEXT)
    except Rejected:
        return
    shape = SCHEMA | {"properties": {"jobs": SCHEMA["$defs"]["job"]["properties"][key.name]}}
    assert Draft202012Validator(shape).is_valid({"jobs": as_editors_see(value)})
