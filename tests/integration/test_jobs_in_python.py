"""Job files in Python: read by a process with their own interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process_table import is_alive
from wait import wait_until

from taskman_cli.jobfile import load
from taskman_cli.jobfile.problems import JobFileError
from taskman_cli.jobfile.pysource import PythonSource, interpreter_of, read_python
from taskman_cli.trust import Trust

_ANYBODY = Trust(is_checked=False)


def read(directory: Path, text: str | bytes, name: str = "jobs.py") -> PythonSource:
    path = directory / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    return read_python(path, data, _ANYBODY)


def refusal(directory: Path, text: str | bytes) -> str:
    with pytest.raises(JobFileError) as caught:
        read(directory, text)
    return str(caught.value)


def test_marked_functions_become_jobs(tmp_path: Path) -> None:
    source = read(
        tmp_path,
        '''
import datetime, pathlib
from taskman_cli.jobs import defaults, executor, job

defaults(timeout="1h", timezone=None)
executor(max_calls=10)

@job(every=datetime.timedelta(minutes=5), retry={"max": 3, "exit_codes": (75,)}, cwd=pathlib.Path("/srv"))
def clean_up():
    """Remove what is old.

    And more.
    """

@job(cron="@daily", name="nightly", executor="other", args=[1, 2.5, True], at=datetime.date(2026, 1, 2))
def build():
    pass

print("this is not a definition")
''',
    )
    path = tmp_path / "jobs.py"
    assert source.faults == ()
    assert source.tables == {
        "defaults": {"timeout": "1h", "timezone": "none"},
        "executors": {
            "python-jobs": {
                "type": "python",
                "python": sys.executable,
                "path": [str(tmp_path)],
                "max_calls": 10,
            }
        },
        "jobs": {
            "clean-up": {
                "description": "Remove what is old.",
                "call": f"{path}:clean_up",
                "every": "300000ms",
                "retry": {"max": 3, "exit_codes": [75]},
                "cwd": "/srv",
                "executor": "python-jobs",
            },
            "nightly": {
                "call": f"{path}:build",
                "cron": "@daily",
                "executor": "other",
                "args": [1, 2.5, True],
                "at": "2026-01-02",
            },
        },
    }


def test_files_beside_it_can_be_imported_and_are_noted(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        "from taskman_cli.jobs import job\n@job(every='1h')\ndef there(): pass\n"
    )
    source = read(tmp_path, "import beside, json\n")
    assert source.tables["jobs"]["there"]["call"] == "beside:there"
    assert source.imported == (tmp_path / "beside.py",)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("x = 1\ndef f(:\n", "2:7", "cannot be imported: SyntaxError: "),
        ("x = 1\n\nraise ValueError('no')\n", "3:1", "cannot be imported: ValueError: no"),
        ("def f():\n    1 / 0\n\nf()\n", "2:1", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import no_such\n", "1:1", "cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("import sys\nsys.exit(3)\n", "2:1", "cannot be imported: SystemExit: 3"),
        (
            "import os, sys\nprint('so there', flush=True)\nos._exit(3)\n",
            "1:1",
            "cannot be imported: the interpreter ended with exit 3: so there",
        ),
        ("import os\nos.kill(os.getpid(), 9)\n", "1:1", "cannot be imported: killed by signal 9"),
        ("import os\nos.closerange(3, 999)\n", "1:1", "cannot be imported: the interpreter ended with exit "),
        ("raise BaseException('odd')\n", "1:1", "cannot be imported: BaseException: odd"),
        (b"x = '\xff'\n", "1:", "cannot be imported: SyntaxError: "),
        ("x = 1\0\n", "1:1", "cannot be imported: "),
        (
            "from taskman_cli.jobs import job\njob(3)\n",
            "2:1",
            "cannot be imported: TypeError: @job takes keys",
        ),
    ],
)
def test_what_cannot_be_imported_is_told_with_its_place(
    tmp_path: Path, text: str | bytes, place: str, words: str
) -> None:
    told = refusal(tmp_path, text)
    assert told.startswith(f"{tmp_path}/jobs.py:{place}")
    assert words in told


def test_an_import_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskman_cli.jobfile.pysource.IMPORT_LIMIT_S", 0.5)
    told = refusal(tmp_path, "import time\nprint('dreaming', flush=True)\ntime.sleep(60)\n")
    assert "cannot be imported: it took more than 0.5 s: dreaming" in told


def test_endless_output_of_an_import_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskman_cli.jobfile.pysource.IMPORT_LIMIT_S", 0.5)
    assert "it took more than" in refusal(tmp_path, "while True: print('x' * 1000)\n")


def test_what_an_import_leaves_running_is_ended(tmp_path: Path) -> None:
    text = "import subprocess, sys\nsys.exit(str(subprocess.Popen(['sleep', '1000']).pid))\n"
    pid = int(refusal(tmp_path, text).split("SystemExit: ")[1].split()[0])
    wait_until(lambda: not is_alive(pid), what="what an import had started")


def test_a_file_that_forks_is_told_of_once(tmp_path: Path) -> None:
    text = "import os\nfrom taskman_cli.jobs import job\nos.fork()\n@job(every='1h')\ndef a(): ...\n"
    assert [*read(tmp_path, text).tables["jobs"]] == ["a"]


def test_an_import_ends_with_the_process_that_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.py"
    path.write_text(
        "import os, subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}\\n')\n"
        "time.sleep(1000)\n"
    )
    reader = subprocess.Popen([sys.executable, "-m", "taskman_cli", "check", str(path)])
    pids = tmp_path / "pids"
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), what="the import")
    reader.kill()
    reader.wait()
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not is_alive(pid), what=f"the end of {pid}")  # type: ignore[misc]


def fault_of(source: PythonSource) -> str:
    (fault,) = source.faults
    return source.problem(fault).render()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "@job(\n    every='1h',\n    env={'A': object()},\n)\ndef f(): pass\n",
            """{}:4:9: jobs.f.env.A: no value of a job file: object
    4 |     env={{'A': object()}},
      |         ^^^^^^^^^^^^^^^""",
        ),
        (
            "@job(every='1h', env={'A': '\\ud800'})\ndef f(): pass\n",
            """{}:2:22: jobs.f.env.A: no text, but half of a character: '\\ud800'
    2 | @job(every='1h', env={{'A': '\\ud800'}})
      |                      ^^^^^^^^^^^^^^^""",
        ),
        (
            "@job(every='1h', kwargs={'\\ud800': 1})\ndef f(): pass\n",
            """{}:2:25: jobs.f.kwargs: a key is no text
    2 | @job(every='1h', kwargs={{'\\ud800': 1}})
      |                         ^^^^^^^^^^^^^""",
        ),
        (
            "def outer():\n    @job(every='1h')\n    def f(): pass\nouter()\n",
            """{}:3:1: jobs.f: only functions at the top of a file can be called: move it there
    3 |     @job(every='1h')
      | ^""",
        ),
        (
            "@job(every='1h')\ndef f(): pass\n@job(every='1h', name='f')\ndef g(): pass\n",
            """{}:4:1: f: a job of this name is defined in line 2: set another name
    4 | @job(every='1h', name='f')
      | ^""",
        ),
    ],
)
def test_a_fault_is_shown_where_it_stands(tmp_path: Path, text: str, expected: str) -> None:
    source = read(tmp_path, "from taskman_cli.jobs import job\n" + text)
    assert fault_of(source) == expected.format(tmp_path / "jobs.py")


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("", sys.executable),
        ("#!/opt/venv/bin/python\n", "/opt/venv/bin/python"),
        ("#! /usr/bin/python3.9 -u\n", sys.executable),
        ("#!/bin/sh\n", sys.executable),
        ("#!/opt/python\0x\n", sys.executable),
        ("#!/usr/bin/env python\0x\n", sys.executable),
        ("#!/usr/bin/env no-such-python3\n", sys.executable),
        ("#!/usr/bin/env python-of-nobody\n", "python-of-nobody"),
    ],
)
def test_the_first_line_names_the_interpreter(first: str, expected: str) -> None:
    assert interpreter_of(first.encode() + b"import os\n") == expected


@pytest.mark.parametrize("version", ["3.8.18", "3.13.0"])
def test_another_interpreter_reads_it(tmp_path: Path, version: str) -> None:
    python = Path.home() / f".pyenv/versions/{version}/bin/python"
    if not python.exists():
        pytest.skip(f"no Python {version}")
    text = "import sys\nfrom taskman_cli.jobs import job\n@job(tags=[sys.version[:4]])\ndef f(): pass\n"
    source = read(tmp_path, f"#!{python}\n{text}")
    assert source.tables["jobs"]["f"]["tags"] == [version[:4]]
    assert source.tables["executors"]["python-jobs"]["python"] == str(python)


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    words = "its interpreter /nowhere/python cannot be run: no such file or directory"
    assert words in refusal(tmp_path, "#!/nowhere/python\n")


def test_an_odd_function_is_named_by_what_it_says(tmp_path: Path) -> None:
    text = (
        "class Odd:\n    __name__ = 5\n    __qualname__ = 'odd'\n    def __call__(self): pass\njob(Odd())\n"
    )
    assert [*read(tmp_path, "from taskman_cli.jobs import job\n" + text).tables["jobs"]] == ["5"]


def test_bytes_that_are_no_utf_8_are_kept(tmp_path: Path) -> None:
    text = "import os\nfrom taskman_cli.jobs import job\n@job(args=[os.fsdecode(b'\\xff')])\ndef f(): pass\n"
    assert read(tmp_path, text).tables["jobs"]["f"]["args"] == ["\udcff"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("is_included", [False, True])
def test_root_imports_nothing_of_others_to_look_at_it_only(tmp_path: Path, is_included: bool) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir()
    path = directory / "jobs.py"
    path.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n")
    os.chown(path, 1234, 1234)
    if is_included:
        path = tmp_path / "jobs.toml"
        path.write_text('[taskman]\ninclude = ["theirs/jobs.py"]\n')
    with pytest.raises(JobFileError, match=r"jobs\.py belongs to"):
        load([path], is_run_here=False)
    assert not (tmp_path / "imported").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("what", ["directory", "interpreter"])
def test_root_imports_nothing_that_others_can_change(tmp_path: Path, what: str) -> None:
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    directory = tmp_path / "jobs"
    directory.mkdir()
    changed: Any = {"directory": directory, "interpreter": python.parent}[what]
    changed.chmod(0o777)
    path = directory / "jobs.py"
    text = f"#!{python}\nimport pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
    path.write_text(text)
    trust = Trust(paths=frozenset())
    with pytest.raises(JobFileError, match="anybody can"):
        read_python(path, text.encode(), trust)
    assert not (tmp_path / "imported").exists()
