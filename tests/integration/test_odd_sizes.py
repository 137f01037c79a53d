"""Job files and crontabs of odd shapes: what they cost grows no faster than they do."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main
from taskman_cli.core.model import Task
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.dump import dump, load_dump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1 << 20
#: Far more than any of these takes on a slow machine, and far less than what grows with the square.
CPU_S = 20


@pytest.fixture
def tab(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "tab"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "line",
    [
        "0 1 * * * echo " + "x" * 2 * MB,
        "0 1 * * * cat" + "%x" * MB,
        "0 1 * * * cat" + "\\" * 2 * MB,
        "0 1 * * * " + "a=1;" * (MB // 2) + "x",
        "0 1 * * * " + "nice " * (MB // 2) + "x",
        "0 1 * * *" + " " * 2 * MB + "x",
        "0" + ",1" * (MB // 4) + " * * * * x",
        "# " + "x" * 2 * MB,
        "X=" + "y" * 2 * MB,
        "X" * 2 * MB + "=y",
        "y" * 2 * MB,
    ],
    ids=[
        "echo",
        "percents",
        "backslashes",
        "assignments",
        "wrappers",
        "blanks",
        "list",
        "comment",
        "value",
        "name",
        "junk",
    ],
)
def test_a_line_of_two_megabytes_is_read_at_once(tab: Callable[[str], Path], line: str) -> None:
    begin = time.process_time()
    load([], user_crontabs=[tab(f"{line}\n")], skip_bad=True)
    assert time.process_time() - begin < CPU_S


def test_a_line_that_no_program_can_be_given_is_left_out_alone(tab: Callable[[str], Path]) -> None:
    path = tab(f"0 1 * * * echo {'x' * 131_072}\n0 2 * * * date\n")
    with pytest.raises(JobFileError, match="tab:1:11: longer than 131,071 bytes, the limit of the system"):
        load([], user_crontabs=[path])
    job_file = load([], user_crontabs=[path], skip_bad=True)
    assert [task.command for job in job_file.jobs for task in job.tasks] == ["date"]


@pytest.mark.parametrize("is_first", [False, True], ids=["alternating", "assignments first"])
def test_many_assignments_and_entries_take_little_memory(tab: Callable[[str], Path], is_first: bool) -> None:
    count = 1000
    assignments = [f"V{number}={'x' * 20}" for number in range(count)]
    entries = [f"0 1 * * * date {number}" for number in range(count)]
    lines = assignments + entries
    if not is_first:
        lines = [line for pair in zip(assignments, entries, strict=True) for line in pair]
    path = tab("".join(f"{line}\n" for line in lines))
    tracemalloc.start()
    try:
        job_file = load([], user_crontabs=[path])
        data = dump(job_file)
        again = load_dump(data)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20 * MB
    assert len(data) < 4 * MB
    assert again == job_file
    jobs = again.jobs
    last: Task = jobs[-1].tasks[0]
    assert last.execution.env == {f"V{number}": "x" * 20 for number in range(count)} | {
        "PATH": "/usr/bin:/bin"
    }
    if not is_first:
        assert jobs[7].tasks[0].execution.env.keys() == {*(f"V{number}" for number in range(8)), "PATH"}


def test_jobs_that_lay_a_variable_over_many_share_them(tab: Callable[[str], Path]) -> None:
    count = 1000
    variables = "".join(f'V{number} = "x"\n' for number in range(count))
    jobs = "".join(
        f'[jobs.j{number}]\ncron = "@daily"\ncommand = "x"\nenv = {{ A = "{number}" }}\n'
        for number in range(count)
    )
    path = tab(f"[defaults.env]\n{variables}{jobs}")
    tracemalloc.start()
    try:
        job_file = load([path])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20 * MB
    again = load_dump(dump(job_file))
    assert again == job_file
    env = again.jobs[-1].tasks[0].execution.env
    assert (len(env), env["A"], env["V0"]) == (count + 1, str(count - 1), "x")


def test_many_jobs_of_one_name_are_numbered_at_once(tab: Callable[[str], Path]) -> None:
    begin = time.process_time()
    jobs = load([], user_crontabs=[tab("0 1 * * * date\n" * 5_000)]).jobs
    assert time.process_time() - begin < CPU_S
    assert [jobs[0].id, jobs[1].id, jobs[-1].id] == ["date", "date-2", "date-5000"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[jobs]\n" + "x." * MB + 'y = "@daily true"\n', "a key of more than 200 parts"),
        ("[" + '"x" . ' * MB + "y]\n", "a key of more than 200 parts"),
        ('[jobs.a]\ncommand = "x"\ncron = "0' + ",1" * (MB // 2) + ',61 * * * *"\n', '"61": not in 0-59'),
        ('[jobs.a]\ncommand = "x"\ncron = "@daily"\noverlap = "' + "x" * MB + '"\n', "is not one of"),
    ],
    ids=["dotted key", "dotted header", "list", "word"],
)
def test_what_is_wrong_in_a_long_line_is_told_at_once(
    tab: Callable[[str], Path], text: str, message: str
) -> None:
    begin = time.process_time()
    with pytest.raises(JobFileError, match=message):
        load([tab(text)])
    assert time.process_time() - begin < CPU_S


@pytest.mark.parametrize(
    "text",
    [
        '[jobs.a]\ncron = "@daily"\ncommand = "' + "curl -u x " * (MB // 100) + '"\n',
        '[jobs]\na = "@daily true" # taskman: allow ' + "x, " * (MB // 3) + "\n",
        '[jobs]\na = "@daily true"\n' + "# taskman: allow herd\n" * 1000,
    ],
    ids=["secret", "one comment", "comments"],
)
def test_the_lint_of_a_long_file_comes_at_once(tab: Callable[[str], Path], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "check", str(tab(text))],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[1].startswith(b"a ")


KEY = ".".join(["a"] * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY} = 1", f"[{KEY}]", f"[[ {KEY} ]]", f"x = {{ {KEY} = 1 }}", f"x = {{ y = 1, {KEY} = 1 }}",
        f"x = [\n  {{{KEY} = 1}}\n]", f"'a' . {KEY} = 1", ".".join(['"a\\""'] * 100_000) + " = 1",
    ],
    ids=["line", "header", "array", "inline", "second", "nested", "quoted", "escaped"],
)  # fmt: skip
def test_a_key_of_very_many_parts_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(text)
    with pytest.raises(JobFileError, match="a key of more than 200 parts"):
        load([path], timezone="UTC")


def test_an_import_that_would_be_out_of_all_measure_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tab"
    path.write_text("".join(f"V{number}=x\n* * * * * echo {number}\n" for number in range(3000)))
    assert main(["import", "--user", str(path)]) == 2
    assert "its 3,000 entries have 4,501,500 variables in all" in capsys.readouterr().err
