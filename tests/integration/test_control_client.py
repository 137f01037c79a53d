"""The control socket's client, and which scheduler is meant: with real servers that come and go."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from integration.control_driver import Served, ServerDriver
from wait import wait_until

from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.control import reach
from taskman_cli.control.client import connect, running_directories
from taskman_cli.core.protocol import (
    MAX_LINE_BYTES,
    ListJobs,
    PauseJobs,
    Reload,
    Request,
    RunOnce,
    Show,
    Status,
    Stop,
    TriggerJob,
    Wait,
)
from taskman_cli.errors import (
    ControlError,
    InstanceError,
    NoScheduler,
    SchedulerGone,
    SchedulerUnresponsive,
    TaskmanError,
)
from taskman_cli.instance.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIXED: list[Request] = [
    Status(),
    ListJobs(tags=["db"]),
    Show(job="a"),
    TriggerJob(job="a", env={"A": "x" * 5000}),
    Reload(),
    RunOnce(command="true", cwd="/", env=dict(os.environ), umask=0o22),
]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    """Start servers of the test's directory; all are ended with the test."""
    made: list[Served] = []

    def serve() -> Served:
        made.append(Served(tmp_path))
        return made[-1]

    yield serve
    for served in made:
        served.close()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock, as the supervisor does however many schedulers come and go."""
    directory.mkdir(parents=True, exist_ok=True)
    fd = take_lock(directory)
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def answering(directory: Path, *lines: bytes) -> Iterator[None]:
    """Let something listen that says a line to each client, one after the other, when it was asked."""
    path = directory / "taskman.sock"

    def run() -> None:
        for line in lines:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1 << 16)
                sock.sendall(line)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join()
            path.unlink()


def failure(directory: Path, request: Request, **options: Any) -> TaskmanError:
    with pytest.raises(TaskmanError) as raised, connect(directory, patience_s=0.2) as connection:
        connection.ask(request, **options)
    return raised.value


# --- long replies ---

#: Two portions and a rest, as a scheduler sends them; one text has what looks like the end of a portion.
TABBED = b'{"jobs":[{"job":"a,\\t["},{"job":"b"},\t{"job":"c"},\t{"job":"d"}],"ok":true}\n'


class Pieces:
    """Listens, and sends pieces: the next one when the client has done something with the one before."""

    def __init__(self, directory: Path, *conversations: tuple[bytes, ...]) -> None:
        self._path = directory / "taskman.sock"
        self._conversations = conversations
        self.go_on = threading.Semaphore(0)

    def __enter__(self) -> Pieces:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()
        self._path.unlink()

    def _run(self) -> None:
        for pieces in self._conversations:
            sock, _ = self._listener.accept()
            with sock:
                sock.recv(1 << 16)
                for number, piece in enumerate(pieces):
                    assert number == 0 or self.go_on.acquire(timeout=30)
                    with suppress(BrokenPipeError):
                        sock.sendall(piece)


def test_items_of_a_long_reply_are_taken_while_the_rest_comes(tmp_path: Path) -> None:
    taken: list[str] = []
    first, second, rest = TABBED.split(b"\t", 2)

    def take(item: dict[str, str]) -> str:
        taken.append(item["job"])
        if item["job"] in ("b", "c"):  # only now does the next piece come
            pieces.go_on.release()
        return item["job"].upper()

    with Pieces(tmp_path, (first + b"\t", second + b"\t", rest)) as pieces, connect(tmp_path) as connection:
        reply = connection.ask(ListJobs(), each=take)
    assert reply == {"jobs": ["A,\t[", "B", "C", "D"], "ok": True}
    assert taken == ["a,\t[", "b", "c", "d"]


@pytest.mark.parametrize(
    "line", [TABBED, TABBED.replace(b",\t", b",")], ids=["in portions", "of an older one"]
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_long_reply_is_the_same_however_it_comes(tmp_path: Path, line: bytes, size: int) -> None:
    pieces = [line[at : at + size] for at in range(0, len(line), size)]
    with Pieces(tmp_path, tuple(pieces)) as sender, connect(tmp_path) as connection:
        for _ in pieces:
            sender.go_on.release()
        reply = connection.ask(ListJobs(), each=lambda item: item["job"])
    assert reply == {"jobs": ["a,\t[", "b", "c", "d"], "ok": True}


def test_a_long_reply_begins_anew_with_the_next_scheduler(tmp_path: Path) -> None:
    half = TABBED.rpartition(b"\t")[0] + b"\t"
    again = b'{"jobs":[{"job":"x"},\t{"job":"y"}],"ok":false,"error":"later","code":1,"again":true}\n'
    with Pieces(tmp_path, (half,), (again,), (TABBED,)), connect(tmp_path) as connection:
        reply = connection.ask(ListJobs(), each=lambda item: item["job"])
    assert reply["jobs"] == ["a,\t[", "b", "c", "d"]


def test_what_follows_a_long_reply_is_read_as_it_is(tmp_path: Path) -> None:
    with (
        Pieces(tmp_path, (TABBED + b'{"ok":true,"final":true,"rows":[1]}\n',)),
        connect(tmp_path) as connection,
    ):
        connection.ask(ListJobs(), each=dict)
        assert connection.read() == {"ok": True, "final": True, "rows": [1]}


@pytest.mark.parametrize(
    "line",
    [b'{"jobs":[{"job":1],\t{}],"ok":true}\n', b'{"jobs":[{},\t]"ok":true}\n', b"x,\ty\n", b"[1,\t2]\n"],
)
def test_a_long_reply_that_is_none_is_recognized(tmp_path: Path, line: bytes) -> None:
    with answering(tmp_path, line):
        assert "is not taskman" in str(failure(tmp_path, ListJobs(), each=dict))


# --- asking ---


def test_a_request_gets_its_reply(tmp_path: Path, serve: Callable[[], Served]) -> None:
    served = serve()
    with connect(tmp_path) as connection:
        assert [connection.ask(request)["did"] for request in (Status(), Show(job="a"))] == ["status", "show"]
    wait_until(lambda: served.driver.clients() == 0)


def test_further_lines_are_read_as_they_arrive(tmp_path: Path) -> None:
    lines = b'{"ok":true,"run":"r1"}\n{"ok":true,"final":true}\n{"ok":false,"error":"no","code":4}\n'
    with answering(tmp_path, lines), connect(tmp_path) as connection:
        assert connection.ask(TriggerJob(job="a", wait=True)) == {"ok": True, "run": "r1"}
        assert connection.read() == {"ok": True, "final": True}
        with pytest.raises(ControlError) as raised:
            connection.read()
        assert (str(raised.value), raised.value.exit_code) == ("no", 4)


def test_reading_times_out_after_a_silence(tmp_path: Path, serve: Callable[[], Served]) -> None:
    serve()
    with connect(tmp_path) as connection, pytest.raises(TimeoutError):
        connection.read(0.01)


def test_a_long_reply_arrives_whole(tmp_path: Path, serve: Callable[[], Served]) -> None:
    serve().driver.more = {"text": "å" * 1_000_000}
    with connect(tmp_path) as connection:
        assert connection.ask(ListJobs())["text"] == "å" * 1_000_000


def test_a_path_that_is_too_long_for_an_address_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 150)
    directory.mkdir()
    served = Served(directory)
    with connect(directory) as connection:
        assert connection.ask(Status())["did"] == "status"
    served.close()


def test_200_clients_with_mixed_requests_are_all_answered(
    tmp_path: Path, serve: Callable[[], Served]
) -> None:
    served = serve()

    def ask_all(number: int) -> list[str]:
        with connect(tmp_path) as connection:
            barrier.wait()
            turned = MIXED[number % len(MIXED) :] + MIXED[: number % len(MIXED)]
            return [connection.ask(request)["did"] for request in turned]

    barrier = threading.Barrier(200)
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask_all, range(200)))
    assert {tuple(sorted(request.do for request in MIXED))} == {tuple(sorted(each)) for each in answers}
    assert len(served.driver.asked) == 1200
    # The loop was never away for long; starts are done between two turns.
    assert statistics.median(served.turn_s) < 0.5


# --- errors ---


def test_an_error_is_raised_with_its_message_and_exit_code(tmp_path: Path) -> None:
    with answering(tmp_path, b'{"ok":false,"error":"there is no job x","code":4}\n'):
        error = failure(tmp_path, Show(job="x"))
    assert (error.render(), error.exit_code) == ("taskman: there is no job x", 4)


def test_the_report_of_a_job_file_is_printed_above_the_error(tmp_path: Path) -> None:
    line = b'{"ok":false,"error":"nothing was changed","code":2,"errors":"a.toml:1:1: bad\\n"}\n'
    with answering(tmp_path, line):
        error = failure(tmp_path, Reload())
    assert (error.render(), error.exit_code) == ("a.toml:1:1: bad\ntaskman: nothing was changed", 2)


@pytest.mark.parametrize("code", [b"0", b"256", b"null", b'"4"', b"-1"])
def test_an_invalid_exit_code_becomes_1(tmp_path: Path, code: bytes) -> None:
    with answering(tmp_path, b'{"ok":false,"error":"no","code":' + code + b"}\n"):
        assert failure(tmp_path, Status()).exit_code == 1


def test_a_scheduler_of_another_version_is_recognized(tmp_path: Path) -> None:
    with answering(tmp_path, b'{"ok":false,"error":"version 1 is not supported","code":2,"v":3}\n'):
        error = failure(tmp_path, Status())
    assert (
        f"the scheduler with the state in {tmp_path} is another version of taskman: it speaks version 3 of "
        "the protocol, and this one 1 (run `taskman restart`)"
    ) == str(error)


@pytest.mark.parametrize("line", [b"SSH-2.0-OpenSSH_9.2\n", b"[]\n", b"\xff\n"])
def test_a_listener_that_is_not_taskman_is_recognized(tmp_path: Path, line: bytes) -> None:
    with answering(tmp_path, line):
        error = failure(tmp_path, Status())
    assert str(error) == f"what listens on {tmp_path}/taskman.sock is not taskman"


def test_waiting_for_a_scheduler_that_does_not_answer_ends(tmp_path: Path) -> None:
    driver = ServerDriver(tmp_path)  # and nobody turns it
    error = failure(tmp_path, Status(), timeout_s=0.05)
    said = rf"no answer for 0.05 s: the scheduler \(process {os.getpid()}, state \w\) .*taskman restart.*"
    assert re.fullmatch(said, str(error))
    assert (type(error), error.exit_code) == (SchedulerUnresponsive, 3)
    wish = failure(tmp_path, PauseJobs(all=True), timeout_s=0.05)
    assert str(wish).endswith(
        "; the request is dropped unless it was already recorded: check before you repeat it"
    )
    driver.close()


def test_a_request_that_is_too_long_is_not_sent(tmp_path: Path, serve: Callable[[], Served]) -> None:
    served = serve()
    request = RunOnce(command="true", cwd="/", env={"A": "x" * MAX_LINE_BYTES}, umask=0)
    with connect(tmp_path) as connection:
        with pytest.raises(
            ControlError, match=r"the request is too large: 1,048,\d+ bytes, and the maximum is 1,048,576"
        ):
            connection.ask(request)
        assert connection.ask(Status())["did"] == "status"
    assert [request for _, request in served.driver.asked] == [Status()]


# --- nobody there ---


@pytest.mark.parametrize("kind", ["empty", "missing", "file", "lock of a dead one", "stale socket"])
def test_without_a_scheduler_the_error_comes_at_once(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "state"
    if kind == "file":
        directory.touch()
    elif kind != "missing":
        directory.mkdir()
    if kind == "lock of a dead one":
        (directory / "lock").write_text("1\n")
    if kind == "stale socket":
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(directory / "taskman.sock"))
    with pytest.raises(NoScheduler) as raised:
        connect(directory, patience_s=60)
    words = f"no taskman is running with the state in {directory} (`taskman run FILE` starts one)"
    assert (str(raised.value), raised.value.exit_code) == (words, 3)


def test_waiting_for_the_scheduler_of_a_running_taskman_ends(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(NoScheduler) as raised:
        connect(tmp_path, patience_s=0.1)
    assert str(raised.value) == (
        f"taskman (process {os.getpid()}) runs with the state in {tmp_path}, but its scheduler accepts no "
        "connection: it is starting, stopping or busy, or it failed and will be restarted"
    )


def test_a_client_waits_for_a_scheduler_that_is_just_starting(
    tmp_path: Path, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            serve()

    monkeypatch.setattr("taskman_cli.control.reach.time.sleep", pause)
    with locked(tmp_path), connect(tmp_path) as connection:
        assert connection.ask(Status())["did"] == "status"
    assert len(pauses) == 3


@contextmanager
def loading(body: str) -> Iterator[int]:
    """Have a scheduler of ours that does not listen yet."""
    argv = [sys.executable, "-c", body, "-m", "taskman_cli.scheduler", "{}"]
    process = subprocess.Popen(argv)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_client_waits_for_a_scheduler_that_loads_its_jobs_and_says_so(
    tmp_path: Path, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        serve()

    monkeypatch.setattr(reach, "PATIENCE_S", 0.7)
    monkeypatch.setattr(reach, "on_wait", tell)
    with locked(tmp_path), loading("while True: pass") as pid, connect(tmp_path) as connection:
        assert connection.ask(Status())["did"] == "status"
    assert told == [f"the scheduler (process {pid}) is loading its jobs: waiting for it"]


@pytest.mark.parametrize(
    ("body", "loading_s", "idle_s", "words"),
    [
        ("import time; time.sleep(600)", 60, 1, "and has done nothing for 1 s: the scheduler"),
        ("while True: pass", 3, 60, "though it has been at work for 3 s: the scheduler"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
            60,
            60,
            "as it is stopped: the scheduler",
        ),
    ],
    ids=["idle", "too long", "stopped"],
)
def test_a_scheduler_that_does_not_come_up_is_told_of_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, loading_s: float, idle_s: float, words: str
) -> None:
    monkeypatch.setattr(reach, "PATIENCE_S", 0.7)
    monkeypatch.setattr(reach, "LOADING_S", loading_s)
    monkeypatch.setattr(reach, "IDLE_S", idle_s)
    with locked(tmp_path), loading(body), pytest.raises(SchedulerUnresponsive) as raised:
        connect(tmp_path)
    assert f"the scheduler with the state in {tmp_path} does not come up, {words}" in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"f_bavail": 0, "f_bfree": 0}, "; the disk of {} is full"),
        ({"f_favail": 0, "f_ffree": 0}, "; the disk of {} is full"),
        ({"f_files": 0, "f_favail": 0, "f_ffree": 0}, ""),
        ({"f_flag": os.ST_RDONLY}, "; the file system of {} is read-only"),
    ],
    ids=["well", "full", "no more files", "does not count files", "read-only"],
)
def test_what_is_wrong_with_the_disk_is_told_with_a_scheduler_that_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, int], words: str
) -> None:
    sizes = ("f_blocks", "f_bavail", "f_bfree", "f_files", "f_favail", "f_ffree")
    found = SimpleNamespace(**(dict.fromkeys(sizes, 9) | {"f_flag": 0} | fields))
    monkeypatch.setattr("taskman_cli.instance.silence.os.statvfs", lambda _: found)
    with locked(tmp_path), pytest.raises(NoScheduler) as raised:
        connect(tmp_path, patience_s=0.1)
    assert str(raised.value).endswith(f"or it failed and will be restarted{words.format(tmp_path)}")


def test_a_scheduler_that_waits_for_its_disk_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE_S", 0.7)
    monkeypatch.setattr(reach, "disk_trouble", lambda _: "; the disk is full")
    words = f"the scheduler with the state in {tmp_path} does not come up; the disk is full"
    with locked(tmp_path), loading("import time; time.sleep(600)"), pytest.raises(TaskmanError) as raised:
        connect(tmp_path)
    assert str(raised.value) == words


def test_one_scheduler_after_the_other_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisors = iter(range(1, 100))
    monkeypatch.setattr(reach, "scheduler_of", lambda _: next(supervisors))
    look = reach.Loading(Path())
    assert [look.goes_on(os.getpid()) for _ in range(4)] == [True, True, False, False]


def test_a_directory_without_access_is_an_error(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may look into any directory
    try:
        with pytest.raises(TaskmanError) as raised:
            connect(directory)
    finally:
        os.seteuid(before)
    message = f"cannot reach {directory}/taskman.sock: Permission denied"
    assert (message, 1) == (str(raised.value), raised.value.exit_code)


# --- a scheduler that leaves ---


@pytest.mark.parametrize("request_", [Reload(), Status()], ids=["a change", "a question"])
def test_a_request_that_was_not_handled_is_sent_to_the_next_scheduler(
    tmp_path: Path, serve: Callable[[], Served], request_: Request
) -> None:
    leaving = ServerDriver(tmp_path)
    with locked(tmp_path), connect(tmp_path) as connection, ThreadPoolExecutor(1) as pool:
        leaving.settle()
        answer = pool.submit(connection.ask, request_)
        leaving.close()
        following = serve()
        assert request_.do == answer.result(60)["did"]
    assert ([], [request_]) == (leaving.asked, [each for _, each in following.driver.asked])


def test_a_query_without_an_answer_is_sent_again(tmp_path: Path, serve: Callable[[], Served]) -> None:
    with locked(tmp_path), ThreadPoolExecutor(1) as pool:
        with answering(tmp_path, b""):
            connection = connect(tmp_path)
            answer = pool.submit(connection.ask, Status())
        serve()
        assert answer.result(60)["did"] == "status"
        connection.close()


def test_a_change_without_an_answer_is_not_sent_again(tmp_path: Path) -> None:
    with locked(tmp_path), answering(tmp_path, b""):
        error = failure(tmp_path, TriggerJob(job="a"))
    assert isinstance(error, SchedulerGone)
    assert str(error) == (
        f"the scheduler with the state in {tmp_path} exited before it answered: check whether it carried out "
        "the request before you repeat it"
    )
    assert error.exit_code == 3


def test_a_client_that_waits_for_a_run_learns_that_the_scheduler_exited(tmp_path: Path) -> None:
    with answering(tmp_path, b'{"ok":true,"run":"r1"}\n'), connect(tmp_path) as connection:
        connection.ask(TriggerJob(job="a", wait=True))
        with pytest.raises(SchedulerGone) as raised:
            connection.read()
    assert str(raised.value) == f"the scheduler with the state in {tmp_path} exited"


def test_schedulers_that_keep_exiting_are_given_up(tmp_path: Path) -> None:
    with locked(tmp_path), answering(tmp_path, *[b'{"ok":false,"again":true}\n'] * 3):
        error = failure(tmp_path, Stop())
    assert str(error) == f"the scheduler with the state in {tmp_path} keeps exiting"


def test_a_client_that_waits_for_a_run_is_not_moved_to_another_scheduler(tmp_path: Path) -> None:
    lines = b'{"ok":true,"runs":["r1"]}\n'
    with locked(tmp_path), answering(tmp_path, lines), connect(tmp_path) as connection:
        connection.ask(Wait(target="r1"))
        with pytest.raises(SchedulerGone):
            connection.ask(Status())


# --- which one is meant ---


@click.command()
@with_running_directory
def tell(*, directory: Path) -> None:
    """Print the state directory that a command would be about."""
    click.echo(directory)


def told(base: Path, *arguments: str, **environ: str) -> Path:
    environment = {"STATE_DIRECTORY": str(base), "TASKMAN_INSTANCE": None, **environ}
    result = CliRunner().invoke(tell, arguments, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Path(result.output.strip())


def test_without_a_running_instance_the_unnamed_one_is_used(tmp_path: Path) -> None:
    (tmp_path / "instances" / "web").mkdir(parents=True)
    assert running_directories(tmp_path) == []
    assert tmp_path == told(tmp_path)


def test_the_only_running_instance_is_used(tmp_path: Path) -> None:
    (tmp_path / "instances" / "db").mkdir(parents=True)
    web = tmp_path / "instances" / "web"
    with locked(web):
        assert running_directories(tmp_path) == [web]
        assert web == told(tmp_path)
    assert tmp_path == told(tmp_path)


def test_the_unnamed_instance_is_used_if_it_runs(tmp_path: Path) -> None:
    web = tmp_path / "instances" / "web"
    with locked(tmp_path), locked(web):
        assert running_directories(tmp_path) == [tmp_path, web]
        assert tmp_path == told(tmp_path)


def test_if_several_instances_run_one_has_to_be_named(tmp_path: Path) -> None:
    db, web = (tmp_path / "instances" / name for name in ("db", "web"))
    with locked(web), locked(db):
        with pytest.raises(InstanceError) as raised:
            told(tmp_path)
        assert (
            str(raised.value),
            raised.value.exit_code,
        ) == ("several instances are running: db, web (choose one with -i NAME)", 2)
        assert db == told(tmp_path, "-i", "db")
        assert web == told(tmp_path, TASKMAN_INSTANCE="web")
        assert tmp_path == told(tmp_path, "--state-dir", str(tmp_path))
        assert tmp_path == told(tmp_path, "--state-dir", str(tmp_path), TASKMAN_INSTANCE="web")
        assert tmp_path / "instances" / "new" == told(tmp_path, "-i", "new")


def test_the_client_imports_no_heavy_modules() -> None:
    heavy = {
        "asyncio", "logging", "platformdirs", "rich", "selectors", "sqlite3", "ssl", "subprocess",
        "tempfile", "threading", "zoneinfo",
    }  # fmt: skip
    code = "import sys, taskman_cli.control.client; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(modules.stdout.split()) == {"selectors"}
