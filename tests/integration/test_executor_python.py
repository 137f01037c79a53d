"""Calls of functions in warm workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from integration.executing import Attempt, begin, order, with_executor
from wait import wait_until

from taskman_cli.executors.base import Result, StartFailed
from taskman_cli.executors.python import PythonExecutor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FUNCTIONS = r"""
import asyncio, ctypes, os, signal, subprocess, sys, threading, time
from taskman_cli.jobs import current

calls = 0

def add(a, b=1):
    print("adding")
    return a + b

def count():
    global calls
    calls += 1
    return [os.getpid(), calls]

def loud():
    print("text")
    print("error", file=sys.stderr)
    os.write(1, b"bytes \xff\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a program"])

def fail():
    raise ValueError("no such thing")

def base():
    raise GeneratorExit("odd")

def leave(code):
    sys.exit(code)

def vanish(code):
    os._exit(code)

def die(number):
    os.kill(os.getpid(), number)
    time.sleep(60)

def close_all():
    os.closerange(0, 4096)
    time.sleep(60)

def close_output():
    sys.stdout.close()
    os.close(1)
    os.close(2)

def fork():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    print("I am", "the parent" if pid else "the child")
    return bool(pid)

def odd(kind):
    class Bad(Exception):
        def __str__(self): raise RuntimeError
        __repr__ = __str__
    if kind == "raises":
        raise Bad
    return {"set": {1}, "self": Bad(), "nan": float("nan")}[kind]

def much():
    line = b"x" * 99 + b"\n"
    for _ in range(1000):
        os.write(1, line * 1000)

def sleep():
    try:
        print("sleeping")
        time.sleep(60)
    finally:
        print("let go")

def polite():
    context = current()
    assert not context.cancelled()
    print("working")
    while not context.cancelled():
        time.sleep(0.01)
    print("stopped")
    return "half"

def stubborn():
    child = subprocess.Popen(["sleep", "1000"])
    assert not current().cancelled()
    print(child.pid, flush=True)
    while not (current().cancelled() and False):
        time.sleep(0.01)

def tell():
    context = current()
    context.progress(0.5, "half way")
    return [context.job, context.task, context.run, context.attempt, context.parameters,
            context.deadline.isoformat(), context.remaining_s()]

def surroundings():
    return [os.environ.get("COLOUR"), os.getcwd(), oct(os.umask(0)), sys.stdin.read(), sys.path[0]]

def spoil():
    os.environ["COLOUR"] = "spoilt"
    os.chdir("/")
    os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = None

def shallow():
    sys.setrecursionlimit(30)

def alarm():
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

def busy():
    until = time.monotonic() + 0.1
    while time.monotonic() < until: pass
    return deep(200)

def deep(levels):
    return levels and deep(levels - 1)

def change(what):
    import resource
    if what == "nice": os.nice(1)
    if what == "limit": resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))
    if what == "user": os.setuid(65534)
    if what == "root": os.chroot("/proc")
    return os.getpid()

def leave_running():
    subprocess.Popen(["sh", "-c", "while sleep 0.01; do echo late || exit; done"])

def pool():
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

def lie():
    import json, struct
    def send(frame):
        data = json.dumps(frame).encode()
        return struct.pack("!I", len(data)) + data
    import stat
    for fd in range(100, 120):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, send({"type": "progress", "part": "x", "words": ["\ud800\n"]}) + send(
                    {"type": "done", "status": -5, "signal": 1 << 70, "error": "\ud800\n",
                     "cpu_s": float("inf"), "peak_bytes": 1 << 90, "rss_bytes": "many",
                     "value": {"a": "\ud800"}}))
        except OSError:
            pass

def flood():
    import stat
    for fd in range(100, 120):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                while True:
                    os.write(fd, b"\0\0\0\2{}" * 1000)
        except OSError:
            pass
    time.sleep(60)

def one_by_one():
    yield 1

async def one_by_one_later():
    yield 1

async def later():
    await asyncio.sleep(0)
    return "later"

def grow():
    global kept
    kept = bytearray(b"x" * (80 << 20))
    return os.getpid()

def write_to_the_line():
    import stat
    for fd in range(100, 120):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"\xff" * 64)
        except OSError:
            pass
    time.sleep(60)

not_callable = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


def a_call(path: Path, name: str, *args: Any, kwargs: dict[str, Any] | None = None, **fields: Any) -> Any:
    keys = {"call": f"{path}:{name}", "args": list(args), "kwargs": kwargs or {}}
    return order(keys=keys, **fields)


def outcomes(*orders: Any, **settings: Any) -> list[tuple[Result, str]]:
    """Carry out orders one after the other, by one executor."""

    async def body(executor: PythonExecutor) -> list[tuple[Result, str]]:
        found = []
        for an_order in orders:
            attempt = begin(executor, an_order)
            result = await attempt.task
            found.append((result, attempt.text))
        return found

    made: list[tuple[Result, str]] = with_executor(lambda: PythonExecutor(settings), body)
    return made


def outcome(path: Path, name: str, *args: Any, settings: dict[str, Any] | None = None, **fields: Any) -> Any:
    ((result, text),) = outcomes(a_call(path, name, *args, **fields), **(settings or {}))
    return result, text


def value(text: str) -> Any:
    import json

    return json.loads(text.rpartition("return value: ")[2])


def test_a_function_is_called_with_its_arguments_and_what_it_returns_is_shown(functions: Path) -> None:
    result, text = outcome(functions, "add", 2, kwargs={"b": 40})
    assert (result.exit_code, result.signal, result.error) == (0, None, "")
    assert text == "adding\nreturn value: 42\n"
    assert result.peak_rss_bytes > 1 << 20


def test_a_function_of_a_module_is_found_on_the_path(functions: Path) -> None:
    keys = {"call": "functions:add", "args": [1]}
    ((result, text),) = outcomes(order(keys=keys), path=[str(functions.parent)])
    assert (result.exit_code, text) == (0, "adding\nreturn value: 2\n")


def test_the_next_call_finds_a_warm_worker(functions: Path) -> None:
    (_, first), (_, second) = outcomes(a_call(functions, "count"), a_call(functions, "count"))
    assert value(second) == [value(first)[0], 2]


def test_output_of_every_kind_is_the_attempts_own(functions: Path) -> None:
    result, text = outcome(functions, "loud")
    assert result.exit_code == 0
    assert sorted(text.splitlines()) == sorted(["text", "error", "bytes \udcff", "from C", "from a program"])


def test_an_exception_fails_the_attempt_with_a_traceback_of_the_users_code_alone(functions: Path) -> None:
    result, text = outcome(functions, "fail")
    assert (result.exit_code, result.error) == (1, "ValueError: no such thing")
    assert f'File "{functions}"' in text
    assert "<taskman>" not in text


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("base", (), (1, None, "GeneratorExit: odd")),
        ("leave", (None,), (0, None, "")),
        ("leave", (3,), (3, None, "")),
        ("leave", ("words",), (1, None, "SystemExit: words")),
        ("vanish", (7,), (7, None, "")),
        ("die", (signal.SIGKILL,), (None, signal.SIGKILL, "")),
        ("die", (signal.SIGSEGV,), (None, signal.SIGSEGV, "")),
        ("odd", ("raises",), (1, None, "Bad")),
        ("odd", ("set",), (0, None, "")),
        ("odd", ("self",), (0, None, "")),
        ("odd", ("nan",), (0, None, "")),
        ("close_output", (), (0, None, "")),
        ("later", (), (0, None, "")),
    ],
)
def test_each_way_to_end_is_told_apart(
    functions: Path, name: str, args: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    (first, _), (second, text) = outcomes(a_call(functions, name, *args), a_call(functions, "add", 1))
    assert (first.exit_code, first.signal, first.error) == expected
    assert (second.exit_code, text) == (0, "adding\nreturn value: 2\n")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:no_such", "AttributeError: module 'json' has no attribute 'no_such'"),
        ("{}:not_callable", "TypeError: {}:not_callable is not a function"),
        ("/nowhere/x.py:f", "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/x.py'"),
    ],
)
def test_a_function_that_is_not_there_fails_the_attempt(functions: Path, call: str, words: str) -> None:
    keys = {"call": call.format(functions)}
    ((result, _),) = outcomes(order(keys=keys))
    assert (result.exit_code, result.error) == (1, words.format(functions))


@pytest.mark.parametrize("name", ["one_by_one", "one_by_one_later"])
def test_a_generator_whose_function_has_not_run_is_no_success(functions: Path, name: str) -> None:
    ((result, text),) = outcomes(a_call(functions, name))
    assert (result.exit_code, result.error.partition(":")[0]) == (1, "TypeError")
    assert "a function with yield does nothing when it is called" in text


def test_a_call_that_closes_all_descriptors_is_killed_and_told(functions: Path) -> None:
    result, _ = outcome(functions, "close_all")
    assert result.signal == signal.SIGKILL
    assert result.error == "the call has closed the connection of its worker"


def test_a_call_that_writes_to_the_connection_is_killed_and_told(functions: Path) -> None:
    result, _ = outcome(functions, "write_to_the_line")
    assert result.signal == signal.SIGKILL
    assert result.error.startswith("the call has written to the connection of its worker")


def test_what_a_worker_says_wrongly_is_made_harmless(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> Attempt:
        attempt = begin(executor, a_call(functions, "lie"))
        await attempt.task
        return attempt

    attempt = with_executor(lambda: PythonExecutor({}), body)
    assert attempt.task.result() == Result(exit_code=0, error=r"\ud800\n")
    assert attempt.told == [(None, r"['\ud800\n']")]


def test_a_flood_of_frames_is_ended(functions: Path) -> None:
    result, _ = outcome(functions, "flood")
    assert result.signal == signal.SIGKILL
    assert "frames that nobody has asked for" in result.error


def test_children_that_a_call_has_forked_end_by_signals(functions: Path) -> None:
    _, text = outcome(functions, "pool")
    assert value(text) == -signal.SIGTERM


def test_a_deadline_beyond_the_calendar_is_none(functions: Path) -> None:
    result, _ = outcome(functions, "add", 1, deadline_ns=1 << 90)
    assert result.exit_code == 0


def test_a_fork_that_comes_back_from_the_call_answers_nothing(functions: Path) -> None:
    result, text = outcome(functions, "fork")
    assert result.exit_code == 0
    assert text == "I am the child\nI am the parent\nreturn value: true\n"


def test_a_hundred_megabytes_of_output_pass(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> int:
        attempt = begin(executor, a_call(functions, "much"))
        count = 0

        def add(data: bytes) -> None:
            nonlocal count
            count += len(data)

        attempt.work._on_output = add
        assert (await attempt.task).exit_code == 0
        return count

    assert with_executor(lambda: PythonExecutor({}), body) == 100_000_000


def cancelled(path: Path, name: str, said: str, *numbers: int) -> tuple[Result, Attempt]:
    """Begin a call, send it signals once it has said something, and return its end."""

    async def body(executor: PythonExecutor) -> tuple[Result, Attempt]:
        attempt = begin(executor, a_call(path, name))
        await attempt.until(lambda: said in attempt.text)
        for number in numbers:
            await executor.signal(attempt.work, number)
        return await attempt.task, attempt

    made: tuple[Result, Attempt] = with_executor(lambda: PythonExecutor({}), body)
    return made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_that_never_asks_is_broken_off_where_it_is(functions: Path, number: int) -> None:
    result, attempt = cancelled(functions, "sleep", "sleeping", number)
    assert result.signal == signal.SIGTERM
    assert "let go" in attempt.text


def test_a_call_that_asks_ends_by_itself(functions: Path) -> None:
    result, attempt = cancelled(functions, "polite", "working", signal.SIGTERM)
    assert (result.exit_code, result.signal) == (0, None)
    assert attempt.text == 'working\nstopped\nreturn value: "half"\n'


def test_a_call_that_goes_on_is_killed_with_what_it_has_started(functions: Path) -> None:
    result, attempt = cancelled(functions, "stubborn", "\n", signal.SIGTERM, signal.SIGKILL)
    assert result.signal == signal.SIGKILL
    child = int(attempt.text.split()[0])
    wait_until(lambda: is_gone(child), what="the child of a killed call")


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_call_that_is_given_up_leaves_no_process(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> int:
        attempt = begin(executor, a_call(functions, "stubborn"))
        await attempt.until(lambda: "\n" in attempt.text)
        attempt.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt.task
        return int(attempt.text.split()[0])

    child = with_executor(lambda: PythonExecutor({}), body)
    wait_until(lambda: is_gone(child), what="the child of a call that was given up")


def test_a_killed_executor_takes_its_calls_with_it(functions: Path, tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from integration.executing import begin, order\n"
        "from taskman_cli.executors.python import PythonExecutor\n"
        "async def main():\n"
        f"    work = order(keys={{'call': {str(functions) + ':stubborn'!r}}})\n"
        "    attempt = begin(PythonExecutor({}), work)\n"
        "    await attempt.until(lambda: '\\n' in attempt.text)\n"
        "    print(attempt.text, flush=True)\n"
        "    await attempt.task\n"
        "asyncio.run(main())\n"
    )
    host = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert host.stdout is not None
        child = int(host.stdout.readline())
    finally:
        host.kill()
        host.communicate()
    wait_until(lambda: is_gone(child), what="what a call of a killed executor had started")


def test_the_context_tells_a_call_about_itself(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> Attempt:
        deadline_ns = 4_000_000_000 * 1_000_000_000
        attempt = begin(
            executor, a_call(functions, "tell", env={"A": "1", "TASKMAN_JOB": "x"}, deadline_ns=deadline_ns)
        )
        await attempt.task
        return attempt

    attempt = with_executor(lambda: PythonExecutor({}), body)
    job, task, run, number, parameters, deadline, remaining_s = value(attempt.text)
    assert [job, task, run, number, parameters] == ["load", "main", "r1", 1, {"A": "1"}]
    assert deadline == "2096-10-02T07:06:40+00:00"
    assert 0 < remaining_s < 4_000_000_000 - time.time() + 60
    assert attempt.told == [(0.5, "half way")]


def test_each_call_has_its_own_environment_directory_umask_and_input(functions: Path, tmp_path: Path) -> None:
    fields = {"cwd": str(tmp_path), "umask": 0o027, "stdin": b"in\xff"}
    first = a_call(functions, "surroundings", local_env={"COLOUR": "red"}, **fields)
    spoilt = a_call(functions, "spoil", local_env={"COLOUR": "red"})
    ((_, text), _, (_, again)) = outcomes(first, spoilt, first)
    assert value(text) == ["red", str(tmp_path), "0o27", "in\udcff", str(tmp_path)]
    assert value(again) == value(text)


def test_what_a_call_leaves_running_writes_into_no_other_output(functions: Path) -> None:
    _, (_, text) = outcomes(a_call(functions, "leave_running"), a_call(functions, "loud"))
    assert "late" not in text


def test_a_directory_that_is_not_there_fails_the_attempt_in_words(tmp_path: Path, functions: Path) -> None:
    there, gone = a_call(functions, "add", 1), a_call(functions, "add", 1, cwd=str(tmp_path / "none"))
    (first, _), (second, _) = outcomes(gone, there)
    assert first == Result(error=f"[Errno 2] No such file or directory: '{tmp_path / 'none'}'")
    assert second.exit_code == 0


def test_an_interpreter_that_is_not_there_is_no_start(functions: Path) -> None:
    with pytest.raises(StartFailed, match="cannot run /nowhere/python: no such file or directory"):
        outcome(functions, "add", 1, settings={"python": "/nowhere/python"})


def test_an_interpreter_that_is_none_says_what_it_said(functions: Path, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho I am no snake >&2\n")
    fake.chmod(0o755)
    with pytest.raises(StartFailed, match="ended before it was ready: I am no snake"):
        outcome(functions, "add", 1, settings={"python": str(fake)})


def test_a_worker_is_replaced_after_so_many_calls(functions: Path) -> None:
    (_, first), (_, second), (_, third) = outcomes(
        *(a_call(functions, "count") for _ in range(3)), max_calls=2
    )
    assert value(first)[0] == value(second)[0] != value(third)[0]


def test_a_worker_that_has_grown_is_replaced(functions: Path) -> None:
    (_, first), (_, second) = outcomes(
        a_call(functions, "grow"), a_call(functions, "count"), max_memory_bytes=64 << 20
    )
    assert value(first) != value(second)[0]


def test_a_changed_file_is_read_again(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> list[str]:
        texts = []
        for change in ("adding", "summing"):
            functions.write_text(FUNCTIONS.replace("adding", change))
            os.utime(functions, ns=(len(texts), len(texts)))
            attempt = begin(executor, a_call(functions, "add", 1))
            assert (await attempt.task).exit_code == 0
            texts.append(attempt.text.splitlines()[0])
        return texts

    assert with_executor(lambda: PythonExecutor({}), body) == ["adding", "summing"]


def test_a_file_that_changes_while_its_call_runs_is_read_again(functions: Path) -> None:
    changing = (
        "def go():\n    with open(__file__, 'w') as file: file.write('def go(): return 2')\n    return 1\n"
    )
    functions.write_text(changing)
    assert [text for _, text in outcomes(a_call(functions, "go"), a_call(functions, "go"))] == [
        "return value: 1\n",
        "return value: 2\n",
    ]


@pytest.mark.parametrize("spoiler", ["shallow", "alarm"])
def test_what_a_call_sets_for_itself_breaks_no_later_one(functions: Path, spoiler: str) -> None:
    calls = outcomes(*(a_call(functions, name) for name in ("count", spoiler, "busy", "count")))
    assert [(result.exit_code, result.signal) for result, _ in calls] == [(0, None)] * 4
    assert value(calls[3][1])[1] == 2  # the worker is the same


@pytest.mark.parametrize(
    "what",
    ["nice", "limit", *(pytest.param(one, marks=as_root) for one in ("user", "root"))],
)
def test_a_call_that_changes_its_process_for_life_is_its_workers_last(functions: Path, what: str) -> None:
    pids = [value(text) for _, text in outcomes(*[a_call(functions, "change", what)] * 2)]
    assert len(set(pids)) == 2


def test_a_dead_idle_worker_costs_no_attempt(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> int | None:
        attempt = begin(executor, a_call(functions, "count"))
        await attempt.task
        pid = value(attempt.text)[0]
        os.kill(pid, signal.SIGKILL)
        # Not awaited: the executor has no chance to see it before the next call.
        wait_until(lambda: is_gone(pid), what="the worker")
        return (await begin(executor, a_call(functions, "count")).task).exit_code

    assert with_executor(lambda: PythonExecutor({}), body) == 0


def test_calls_at_the_same_time_have_workers_of_their_own(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> set[int]:
        attempts = [begin(executor, a_call(functions, "count")) for _ in range(3)]
        await asyncio.gather(*(attempt.task for attempt in attempts))
        return {value(attempt.text)[0] for attempt in attempts}

    assert len(with_executor(lambda: PythonExecutor({}), body)) == 3


def test_an_idle_worker_ends_after_a_while(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> None:
        attempt = begin(executor, a_call(functions, "count"))
        await attempt.task
        await attempt.until(lambda: is_gone(value(attempt.text)[0]))

    with_executor(lambda: PythonExecutor({"idle_timeout_ns": 50_000_000}), body)


def test_no_descriptor_is_left_behind(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> tuple[int, int]:
        counts = []
        for name in ("add", "vanish", "fail"):
            await begin(executor, a_call(functions, "count")).task
            counts.append(len([*Path("/proc/self/fd").iterdir()]))
            await begin(executor, a_call(functions, name, *([1] if name != "fail" else []))).task
        return counts[0], counts[-1]

    first, last = with_executor(lambda: PythonExecutor({}), body)
    assert first == last


@as_root
def test_a_call_runs_as_the_jobs_user_with_all_of_its_groups() -> None:
    # The directory of a test is root's alone: these functions are in the standard library.
    keys = {"call": "os:getresuid"}
    groups = {"call": "os:getgroups"}
    user = (65534, 65534, (65534, 12))
    (_, ids), (_, members), (_, own) = outcomes(
        order(keys=keys, user=user, nice=5),
        order(keys=groups, user=user, nice=5),
        order(keys=keys),
        python="/usr/bin/python3",  # which has no taskman
    )
    assert value(ids) == [65534, 65534, 65534]
    assert sorted(value(members)) == [12, 65534]
    assert value(own) == [0, 0, 0]


@as_root
def test_the_interpreter_of_another_user_is_not_started_as_root_to_look_at_it(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-started\n")
    fake.chmod(0o755)
    os.chown(fake, 65534, 65534)
    (finding,) = with_executor(lambda: PythonExecutor({"python": str(fake)}), lambda one: one.check())
    assert "is not started as root" in finding.words
    assert not (tmp_path / "was-started").exists()


@pytest.mark.parametrize("version", ["3.8.18", "3.9.18", "3.13.0"])
def test_older_and_newer_interpreters_do(functions: Path, version: str) -> None:
    python = Path.home() / f".pyenv/versions/{version}/bin/python"
    if not python.exists():
        pytest.skip(f"no Python {version}")
    result, text = outcome(functions, "add", 1, settings={"python": str(python)})
    assert (result.exit_code, text) == (0, "adding\nreturn value: 2\n")


def test_the_check_tells_the_version() -> None:
    (finding,) = with_executor(lambda: PythonExecutor({}), lambda executor: executor.check())
    assert finding.is_good
    assert finding.words == f"{sys.executable} is Python {'.'.join(map(str, sys.version_info[:3]))}"
