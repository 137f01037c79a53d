"""What a job file may say about functions and consumers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from taskman_cli.jobfile import JobFileError, loads
from taskman_cli.jobfile.definition import definition

PYTHON = '[executors.x]\ntype = "python"\n'
CONSUMER = '[executors.x]\ntype = "consumer"\ncommand = ["/bin/serve", "-q"]\n'
JOB = '[jobs.a]\nevery = "1h"\nexecutor = "x"\n'


def keys_of(text: str) -> dict[str, Any]:
    """Return the keys that only the executor's type has, as the executor gets them."""
    (job,) = loads(text, path=Path("/etc/jobs.toml"), is_run_here=False).jobs
    return {name: json.loads(value) for name, value in job.tasks[0].execution.executor_keys}


def settings_of(text: str) -> dict[str, Any]:
    jobfile = loads(text, path=Path("/etc/jobs.toml"), is_run_here=False)
    return dict(jobfile.settings.executors[0].settings)


def refusals(text: str) -> list[str]:
    with pytest.raises(JobFileError) as refused:
        loads(text, path=Path("/etc/jobs.toml"), is_run_here=False)
    return [f"{problem.key}: {problem.message}" for problem in refused.value.problems]


def test_a_call_keeps_its_arguments_as_they_are() -> None:
    text = (
        PYTHON + JOB + 'call = "a.b:C.d"\nargs = [1, 2.5, true, "x", [1], { y = 2 }]\nkwargs = { z = [{}] }\n'
    )
    assert keys_of(text) == {
        "call": "a.b:C.d",
        "args": [1, 2.5, True, "x", [1], {"y": 2}],
        "kwargs": {"z": [{}]},
    }


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("jobs.py:f", "/etc/jobs.py:f"),
        ("../lib/my jobs.py:f", "/etc/../lib/my jobs.py:f"),
        ("/srv/a:b.py:f", "/srv/a:b.py:f"),
        ("größe:müll", "größe:müll"),
    ],
)
def test_a_file_is_relative_to_the_job_file(call: str, expected: str) -> None:
    assert keys_of(PYTHON + JOB + f'call = "{call}"\n') == {"call": expected}


@pytest.mark.parametrize("call", ["f", "m:", ":f", "m:f()", "m f:g", "a/b:f", "m:f:g", "m:1", "jobs.py", ""])
def test_a_call_that_names_no_function_is_refused(call: str) -> None:
    (told,) = refusals(PYTHON + JOB + f'call = "{call}"\n')
    assert told.startswith("jobs.a.call: ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("args = 'x'", 'jobs.a.args: expected an array, got a string: write it as in ["left", 2]'),
        ("args = [[nan]]", "jobs.a.args[0][0]: not a number that JSON has"),
        (
            "kwargs = { a = { b = 2026-01-02 } }",
            "jobs.a.kwargs.a.b: a date or time is not allowed here: put it in quotes",
        ),
        ("kwargs = []", "jobs.a.kwargs: expected a table, got an array: write it as in { days = 3 }"),
        (
            "shell = '/bin/bash'",
            'jobs.a.shell: not with executor "x" (type python): a function needs none',
        ),
    ],
)
def test_arguments_that_cannot_travel_are_refused_at_their_place(line: str, expected: str) -> None:
    assert refusals(PYTHON + JOB + f'call = "m:f"\n{line}\n') == [expected]


def test_a_command_is_refused_where_functions_are_called_and_a_call_elsewhere() -> None:
    assert refusals(PYTHON + JOB + 'command = "true"\n')
    assert refusals(CONSUMER + JOB + 'command = "x"\ncall = "m:f"\n')
    assert refusals('[jobs.a]\nevery = "1h"\ncall = "m:f"\n')


@pytest.mark.parametrize(
    "what",
    [
        'call = "m:f"\nargs = [1]\n',
        'tasks.a.call = "m:f"\ntasks.b = { call = "m:g", kwargs = { x = [1] } }\n',
    ],
    ids=["job", "tasks"],
)
def test_a_call_is_written_as_it_was_read(what: str) -> None:
    (job,) = loads(PYTHON + JOB + what, path=Path("/etc/jobs.toml"), is_run_here=False).jobs
    text = PYTHON + written(definition(job))
    (again,) = loads(text, path=Path("/etc/jobs.toml"), is_run_here=False).jobs
    assert [(task.id, task.execution.executor_keys) for task in again.tasks] == [
        (task.id, task.execution.executor_keys) for task in job.tasks
    ]


def written(values: dict[str, Any]) -> str:
    """Return a job as TOML, without keys that are not set."""
    return tomli_w.dumps({"jobs": {"a": without_none(values)}})


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value


def test_the_settings_of_python_are_plain() -> None:
    text = (
        PYTHON + 'python = "venv/bin/python"\npath = "lib"\nmax_calls = 5\nmax_memory = "200MiB"\n'
        'idle_timeout = "1m"\n'
    )
    assert settings_of(text + JOB + 'call = "m:f"\n') == {
        "python": "/etc/venv/bin/python",
        "path": ["/etc/lib"],
        "max_calls": 5,
        "max_memory_bytes": 200 << 20,
        "idle_timeout_ns": 60_000_000_000,
    }


def test_the_settings_of_a_consumer_are_plain() -> None:
    text = CONSUMER + 'concurrency = 3\ncwd = "run"\nenv = { A = "1" }\nuser = "games"\n'
    assert settings_of(text + JOB + 'command = "x"\n') == {
        "command": ["/bin/serve", "-q"],
        "concurrency": 3,
        "cwd": "/etc/run",
        "env": {"A": "1"},
        "user": "games",
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [("", 1), ("concurrency = 3\n", 3), ("concurrency = 3\nmax_workers = 2\n", 2), ("max_workers = 9\n", 1)],
)
def test_what_a_consumer_has_no_room_for_waits_in_the_pool(lines: str, expected: int) -> None:
    text = CONSUMER + lines + JOB + 'command = "x"\n'
    jobfile = loads(text, path=Path("/etc/jobs.toml"), is_run_here=False)
    assert dict(jobfile.settings.resources)["executor:x"].limit == expected


def test_a_consumer_needs_a_program() -> None:
    text = '[executors.x]\ntype = "consumer"\n' + JOB + 'command = "x"\n'
    assert refusals(text)[0] == (
        'executors.x: command is missing: an executor of type "consumer" needs a program'
    )


@pytest.mark.parametrize("line", ['user = "games"', "nice = 5", 'umask = "022"', "inherit_env = true"])
def test_what_could_only_be_set_for_one_job_is_refused_for_a_consumer(line: str) -> None:
    (told,) = refusals(CONSUMER + JOB + f'command = "x"\n{line}\n')
    key = line.partition(" ")[0]
    assert told.startswith(f'jobs.a.{key}: not with executor "x" (type consumer): it is one process for all')
