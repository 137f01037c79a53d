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
from process_table import descriptors, is_alive
from wait import wait_until

from taskman_cli.executors.base import Result, StartFailed
from taskman_cli.executors.orders import Layers
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

def ends_of(kind):
    import stat
    for fd in range(100, 120):
        try:
            if getattr(stat, kind)(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            pass

def send_all(data, kind="S_ISSOCK"):
    for fd in ends_of(kind):
        try:
            os.write(fd, data)
        except OSError:
            pass

def lie():
    import json, struct
    data = json.dumps({"number": 1, "part": "x", "words": ["\ud800\n"]}).encode()
    send_all(struct.pack("!I", len(data)) + data)
    most = (1 << 64) - 1
    told = struct.pack("!?BBIQQQI", False, 0, 255, (1 << 32) - 1, most, most, most, 5) + b"\xed\xa0\x80\n\0"
    send_all(struct.pack("!IcQ", 9 + len(told), b"d", 1) + told, "S_ISFIFO")
    send_all(bytes(4))

def answer(kind, number, words):
    import struct
    send_all(struct.pack("!IcQ", 9 + len(words), kind, number) + words, "S_ISFIFO")
    send_all(bytes(4))
    time.sleep(60)

def answer_at_length():
    send_all(b"\xff" * 64, "S_ISFIFO")
    send_all(bytes(4))
    time.sleep(60)

def flood(kind, data):
    threading.Timer(0.1, send_all, (bytes(4),)).start()
    for fd in ends_of(kind):
        try:
            while True:
                os.write(fd, data.encode("latin-1") * 1000)
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

def gate(path, note=None):
    if note:
        with open(note, "a") as file:
            file.write(f"{os.getpid()}\n")
    while os.path.exists(path):
        time.sleep(0.001)
    return os.getpid()

def meet(directory, count):
    open(os.path.join(directory, str(os.getpid())), "w").close()
    while len(os.listdir(directory)) < count:
        time.sleep(0.001)

def length(text, more=()):
    more.append(1)
    return [len(text), len(more)]

def variables(*names):
    return [os.environ.get(name) for name in names] + [current().parameters, len(os.environ)]

def litter():
    os.environ["LITTER"] = "1"
    os.environ.pop("PATH")
    os.environ["TASKMAN_JOB"] = "other"

def grow():
    global kept
    kept = bytearray(b"x" * (80 << 20))
    return os.getpid()

def write_to_the_line():
    send_all(b"\xff" * 64)
    time.sleep(60)

def shut_down():
    import socket
    for fd in ends_of("S_ISSOCK"):
        end = socket.socket(fileno=fd)
        if end.type == socket.SOCK_SEQPACKET:
            end.shutdown(socket.SHUT_RDWR)
        end.detach()
    return os.getpid()

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


def test_what_a_worker_says_wrongly_is_made_harmless(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> Attempt:
        attempt = begin(executor, a_call(functions, "lie"))
        await attempt.task
        return attempt

    attempt = with_executor(lambda: PythonExecutor({}), body)
    assert attempt.task.result() == Result(exit_code=0, error="\ufffd\ufffd\ufffd\\n\\x00")
    assert attempt.told == [(None, r"['\ud800\n']")]


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("answer", (b"d", 7, b""), "an answer that nobody has asked for"),
        ("answer", (b"d", 1, b"short"), "an answer that is none"),
        ("answer", (b"?", 1, b""), "an answer that is none"),
        ("answer_at_length", (), "what is no answer"),
        ("flood", ("S_ISSOCK", "\0\0\0\2{}"), "a frame that nobody has asked for"),
        ("flood", ("S_ISFIFO", "\0\0\0\x09d\0\0\0\0\0\0\0\7"), "an answer that nobody has asked for"),
        ("write_to_the_line", (), "a frame that is too long"),
    ],
    ids=["other", "short", "strange", "long", "frames", "answers", "line"],
)
def test_a_call_that_speaks_for_its_worker_is_killed_and_told(
    functions: Path, name: str, args: tuple[Any, ...], words: str
) -> None:
    caller = functions.with_name("caller.py")
    caller.write_text(f"from functions import {name}\ndef go():\n    {name}(*{args!r})\n")
    result, _ = outcome(caller, "go")
    assert result.signal == signal.SIGKILL
    assert result.error == f"the call has written to the connection of its worker: {words}"


def test_a_call_that_shuts_the_queue_down_breaks_no_other(functions: Path) -> None:
    calls = outcomes(*(a_call(functions, name) for name in ("shut_down", "count", "count")))
    assert [(result.exit_code, result.signal) for result, _ in calls] == [(0, None)] * 3
    assert value(calls[0][1]) != value(calls[1][1])[0] == value(calls[2][1])[0]


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
    wait_until(lambda: not is_alive(child), what="the child of a killed call")


def test_a_call_that_is_given_up_leaves_no_process(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> int:
        attempt = begin(executor, a_call(functions, "stubborn"))
        await attempt.until(lambda: "\n" in attempt.text)
        attempt.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt.task
        return int(attempt.text.split()[0])

    child = with_executor(lambda: PythonExecutor({}), body)
    wait_until(lambda: not is_alive(child), what="the child of a call that was given up")


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
    wait_until(lambda: not is_alive(child), what="what a call of a killed executor had started")


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
        wait_until(lambda: not is_alive(pid), what="the worker")
        return (await begin(executor, a_call(functions, "count")).task).exit_code

    assert with_executor(lambda: PythonExecutor({}), body) == 0


def test_calls_at_the_same_time_have_workers_of_their_own(functions: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()

    async def body(executor: PythonExecutor) -> set[int | None]:
        attempts = [begin(executor, a_call(functions, "meet", str(tmp_path / "here"), 3)) for _ in range(3)]
        return {(await attempt.task).exit_code for attempt in attempts}

    assert with_executor(lambda: PythonExecutor({}), body) == {0}


class Behind:
    """Calls that were given to one worker: the first holds it up for as long as the test wants."""

    def __init__(self, executor: PythonExecutor, functions: Path) -> None:
        self.executor = executor
        self._functions = functions
        self.closed = functions.with_name("closed")
        self.note = functions.with_name("note")
        self._learnt = 0

    async def begin(self, *names: str) -> list[Attempt]:
        """Begin calls by their arguments, behind one that waits until `open`."""
        await self.learn()
        self.closed.touch()
        attempts = [self.call(str(self.closed)), *map(self.call, names)]
        await asyncio.sleep(0)
        assert self.are_together()
        await attempts[0].until(lambda: self.begun() > 0)
        return attempts

    async def learn(self) -> int:
        """Have the function known to be short; return the process of the worker."""
        function = f"{self._functions}:gate"
        while function not in self.executor._short or not self._learnt:
            self._learnt += 1
            attempt = self.call("none")
            assert (await attempt.task).exit_code == 0
            self.executor._short.add(function)  # on a machine that is at work, it may take longer
        pid: int = value(attempt.text)
        return pid

    def are_together(self) -> bool:
        return len({call.worker for call in self.executor._calls.values()}) == 1

    def call(self, path: str) -> Attempt:
        return begin(self.executor, a_call(self._functions, "gate", path, str(self.note)))

    def open(self) -> None:
        self.closed.unlink()

    def begun(self) -> int:
        return len(self.note.read_text().splitlines()) - self._learnt


def behind(functions: Path, body: Any, **settings: Any) -> None:
    with_executor(lambda: PythonExecutor(settings), lambda executor: body(Behind(executor, functions)))


def test_short_calls_at_the_same_time_share_a_worker(functions: Path) -> None:
    async def body(calls: Behind) -> None:
        await calls.learn()
        attempts = [calls.call("none") for _ in range(4)]
        await asyncio.sleep(0)
        assert calls.are_together()
        assert [(await attempt.task).exit_code for attempt in attempts] == [0] * 4
        assert calls.begun() == 4

    behind(functions, body)


def test_what_waits_behind_a_call_that_takes_longer_than_usual_moves_to_other_workers(
    functions: Path,
) -> None:
    async def body(calls: Behind) -> None:
        first, *others = await calls.begin("none", "none")
        for other in others:
            assert (await other.task).exit_code == 0
        assert not first.task.done()
        calls.open()
        assert (await first.task).exit_code == 0
        pids = [value(attempt.text) for attempt in (first, *others)]
        assert pids[0] not in pids[1:]
        assert calls.begun() == 3

    behind(functions, body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_ends_a_call_that_was_not_begun_and_no_other(functions: Path, number: int) -> None:
    async def body(calls: Behind) -> None:
        await calls.learn()
        calls.closed.touch()
        first, second, third = (calls.call(path) for path in (str(calls.closed), "none", "none"))
        await asyncio.sleep(0)  # each was given, and the worker was not told yet
        await calls.executor.signal(second.work, number)
        assert await second.task == Result(signal=number)
        calls.open()
        assert [(await one.task).exit_code for one in (first, third)] == [0, 0]
        assert calls.begun() == 2

    behind(functions, body)


def test_a_call_that_is_given_up_before_it_was_begun_never_is(functions: Path) -> None:
    async def body(calls: Behind) -> None:
        await calls.learn()
        calls.closed.touch()
        first, second = calls.call(str(calls.closed)), calls.call("none")
        await asyncio.sleep(0)
        second.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second.task
        calls.open()
        assert (await first.task).exit_code == 0
        assert calls.begun() == 1

    behind(functions, body)


def test_a_signal_that_ends_nothing_moves_the_others_away(functions: Path) -> None:
    async def body(calls: Behind) -> None:
        first, second = await calls.begin("none")
        await calls.executor.signal(first.work, signal.SIGSTOP)
        assert (await second.task).exit_code == 0
        await calls.executor.signal(first.work, signal.SIGCONT)
        calls.open()
        assert (await first.task).exit_code == 0

    behind(functions, body)


def test_a_worker_that_dies_takes_only_the_call_with_it_that_it_makes(functions: Path) -> None:
    async def body(calls: Behind) -> None:
        first, second, third = await calls.begin("none", "none")
        await calls.executor.signal(first.work, signal.SIGKILL)
        assert (await first.task).signal == signal.SIGKILL
        assert [(await one.task).exit_code for one in (second, third)] == [0, 0]
        assert calls.begun() == 3

    behind(functions, body)


def test_a_worker_that_was_killed_unseen_loses_no_call_that_it_had_not_begun(functions: Path) -> None:
    async def body(calls: Behind) -> None:
        pid = await calls.learn()
        os.kill(pid, signal.SIGSTOP)
        attempts = [calls.call("none") for _ in range(3)]
        await asyncio.sleep(0)
        assert calls.are_together()
        os.kill(pid, signal.SIGKILL)
        assert [(await one.task).exit_code for one in attempts] == [0] * 3
        assert calls.begun() == 3

    behind(functions, body)


@pytest.mark.parametrize("what", ["changes", "stale", "worn"])
def test_a_worker_that_has_done_its_share_leaves_those_behind_it_to_others(
    functions: Path, what: str
) -> None:
    flag, short = functions.with_name("flag"), functions.with_name("short.py")
    short.write_text(
        "import os\ndef go(flag):\n    if os.path.exists(flag):\n        os.unlink(flag), os.nice(1)\n"
        "    return os.getpid()\n"
    )
    call = a_call(short, "go", str(flag))

    async def body(executor: PythonExecutor) -> list[int]:
        while f"{short}:go" not in executor._short:
            first = begin(executor, call)
            assert (await first.task).exit_code == 0
            executor._short.add(f"{short}:go")  # on a machine that is at work, it may take longer
        executor._max_calls = next(iter(executor._all)).count + 1 if what == "worn" else 1000
        if what == "stale":
            short.write_text(short.read_text() + "#\n")
        elif what == "changes":
            flag.touch()
        attempts = [begin(executor, call) for _ in range(3)]
        assert [(await attempt.task).exit_code for attempt in attempts] == [0] * 3
        return [value(attempt.text) for attempt in (first, *attempts)]

    before, *pids = with_executor(lambda: PythonExecutor({}), body)
    assert [pid == before for pid in pids] == [what != "stale", False, False]


def test_arguments_longer_than_a_packet_travel_and_are_anew_for_each_call(functions: Path) -> None:
    texts = [outcome for _, outcome in outcomes(*[a_call(functions, "length", "x" * 200_000, [])] * 2)]
    assert [value(text) for text in texts] == [[200_000, 1]] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [("'x' * 65000", 65_002), ("{'\\u00e9\\u20ac' * 30000}", 60_004)],
    ids=["json", "shown"],
)
def test_a_value_longer_than_a_pipe_holds_comes_whole(functions: Path, name: str, expected: int) -> None:
    functions.with_name("long.py").write_text(f"def go():\n    return {name}\n")
    calls = outcomes(*[a_call(functions.with_name("long.py"), "go")] * 2)
    for result, text in calls:
        assert result.exit_code == 0
        assert len(text.removeprefix("return value: ").rstrip("\n")) == expected


def test_what_a_call_adds_to_the_environment_is_gone_for_the_next(functions: Path) -> None:
    shared = {"PATH": "/bin", "A": "shared"}
    names = ("PATH", "A", "B", "LITTER", "TASKMAN_JOB")
    keys = {"call": f"{functions}:variables", "args": list(names), "kwargs": {}}
    litter = {"call": f"{functions}:litter", "args": [], "kwargs": {}}

    def one(keys: dict[str, Any], **added: str) -> Any:
        layers = {"env": Layers({"A": "shared"}, added), "local_env": Layers(shared, added)}
        return order(keys=keys, **layers)

    found = outcomes(
        one(keys, A="own", TASKMAN_JOB="1"),
        one(keys, B="\udcff", TASKMAN_JOB="2"),
        one(litter),
        one(keys, TASKMAN_JOB="3"),
        one(keys, PYTHONHASHSEED="7", TASKMAN_JOB="4"),
    )
    values = [value(text) for _, text in (*found[:2], *found[3:])]
    assert [each[:5] for each in values] == [
        ["/bin", "own", None, None, "1"],
        ["/bin", "shared", "\udcff", None, "2"],
        ["/bin", "shared", None, None, "3"],
        ["/bin", "shared", None, None, "4"],
    ]
    assert [each[5] for each in values] == [
        {"A": "own"},
        {"A": "shared", "B": "\udcff"},
        {"A": "shared"},
        {"A": "shared", "PYTHONHASHSEED": "7"},
    ]


def test_text_reaches_an_interpreter_whose_names_are_ascii_as_the_bytes_that_a_command_gets(
    functions: Path, tmp_path: Path
) -> None:
    path, directory = tmp_path / "look.py", tmp_path / "\u20ac"
    path.write_text(
        "import os\ndef look(): return [os.environb[b'A'].hex(), os.environb[b'B'].hex(), os.getcwdb().hex()]"
    )
    directory.mkdir()
    ascii_only = {"PATH": os.defpath, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env = Layers(ascii_only | {"A": "\u20ac"}, {"B": "\u20ac\udcff"})
    keys = {"call": f"{path}:look", "args": [], "kwargs": {}}
    an_order = order(keys=keys, env=Layers({}, {}), local_env=env, cwd=str(directory))
    ((result, text),) = outcomes(an_order)
    assert (result.exit_code, result.error) == (0, "")
    assert value(text) == ["e282ac", "e282acff", os.fsencode(directory).hex()]


def test_an_idle_worker_ends_after_a_while(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> None:
        attempt = begin(executor, a_call(functions, "count"))
        await attempt.task
        await attempt.until(lambda: not is_alive(value(attempt.text)[0]))

    with_executor(lambda: PythonExecutor({"idle_timeout_ns": 50_000_000}), body)


def test_no_descriptor_is_left_behind(functions: Path) -> None:
    async def body(executor: PythonExecutor) -> tuple[int, int]:
        counts = []
        for name in ("add", "vanish", "fail"):
            await begin(executor, a_call(functions, "count")).task
            counts.append(len(descriptors(os.getpid())))
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
