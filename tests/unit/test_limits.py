"""What `limits` means: its values, its words, and where it has no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskman_cli.core.limits import UNLIMITED, Limits, over_memory
from taskman_cli.core.model import Account, Execution, Job, Task
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.sizes import exact_size
from taskman_cli.insight.lint import lint_limits
from taskman_cli.jobfile import JobFileError, loads
from taskman_cli.jobfile.definition import definition

ALL = frozenset({"memory", "processes", "cpu"})
GAMES = Account("games", 5, 60)


def limits_of(text: str, *, defaults: str = "{}") -> Limits:
    file = f"[defaults]\nlimits = {defaults}\n[jobs.a]\nevery = '1m'\ncommand = 'true'\n{text}"
    (job,) = loads(file, path=Path("/j.toml"), timezone="UTC").jobs
    return job.tasks[0].execution.limits


def test_a_job_without_limits_has_none() -> None:
    assert limits_of("") is UNLIMITED or limits_of("") == UNLIMITED
    assert UNLIMITED.as_plain() == {}


def test_each_limit_has_a_unit_of_its_own() -> None:
    text = 'limits = { memory = "200MiB", cpu = 1.5, processes = 50, open_files = 1024, core_size = 0 }'
    found = limits_of(text)
    assert found == Limits(200 << 20, 1.5, 50, 1024, 0)
    assert found.as_plain() == {
        "memory": 200 << 20, "cpu": 1.5, "processes": 50, "open_files": 1024, "core_size": 0,
    }  # fmt: skip


def test_limits_of_defaults_are_replaced_as_a_whole() -> None:
    given = '{ memory = "1GiB", processes = 9 }'
    assert limits_of("", defaults=given) == Limits(memory_bytes=1 << 30, processes=9)
    assert limits_of("limits = { cpu = 1 }", defaults=given) == Limits(cpu=1.0)
    assert limits_of("limits = {}", defaults=given) == UNLIMITED


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ('"200MiB"', 'expected a table, got a string: write it as in { memory = "200MiB" }'),
        ("{ memory = 4096 }", 'too little for any program: write at least "1MiB"'),
        ('{ memory = "200M" }', '"200M" is not a valid size'),
        ("{ cpu = 0 }", "0 is out of range: it must be from 0.01 to 1024"),
        ("{ cpu = nan }", "nan is out of range"),
        ("{ open_files = 3 }", "3 is out of range"),
        ("{ core_size = -1 }", "-1 is out of range"),
        ("{ procs = 3 }", "unknown key"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(limits: str, words: str) -> None:
    with pytest.raises(JobFileError, match=r".") as caught:
        limits_of(f"limits = {limits}")
    assert words in caught.value.render()
    assert "jobs.a.limits" in caught.value.render()


def test_show_writes_them_as_a_job_file_has_them() -> None:
    job = Job("a", Reboot("UTC"), (Task("main", "true", Execution(limits=Limits(core_size_bytes=0))),))
    assert definition(job)["limits"] == {"core_size": 0}


@pytest.mark.parametrize(
    ("size", "words"),
    [(200 << 20, "200 MiB"), (3 << 30, "3 GiB"), (1 << 10, "1 KiB"), (1_500_000, "1.5 MB"), (7, "7 B")],
)
def test_a_size_is_written_in_the_unit_that_it_was_given_in(size: int, words: str) -> None:
    assert exact_size(size) == words


def test_the_words_name_the_limit() -> None:
    assert over_memory(200 << 20) == "over its memory limit of 200 MiB"


def job_with(execution: Execution, *, names: tuple[str, ...] = ("main",), enabled: bool = True) -> Job:
    tasks = tuple(Task(name, "true", execution) for name in names)
    return Job("a", Reboot("UTC"), tasks, enabled=enabled)


EVERYTHING = Limits(200 << 20, 1.5, 50, 1024, 0)


def test_limits_that_work_are_no_finding() -> None:
    assert list(lint_limits([job_with(Execution(limits=EVERYTHING))], ALL)) == []
    assert list(lint_limits([job_with(Execution())], ())) == []
    assert list(lint_limits([job_with(Execution(limits=EVERYTHING), enabled=False)], ())) == []


def test_limits_that_need_a_group_are_found_once_where_there_is_none() -> None:
    found = list(lint_limits([job_with(Execution(limits=EVERYTHING), names=("x", "y"))], ()))
    assert [one.path for one in found] == [
        ("tasks", "x", "limits", "memory"),
        ("tasks", "x", "limits", "cpu"),
        ("tasks", "x", "limits", "processes"),
    ]
    assert {one.name for one in found} == {"limit-without-effect"}


@pytest.mark.parametrize(
    ("user", "words"),
    [(None, "this has no effect"), (GAMES, "all processes of that user count")],
)
def test_processes_count_for_a_user_where_there_is_no_group(user: Account | None, words: str) -> None:
    execution = Execution(limits=Limits(processes=9), user=user)
    (found,) = lint_limits([job_with(execution)], {"memory"})
    assert found.path == ("limits", "processes")
    assert words in found.message
