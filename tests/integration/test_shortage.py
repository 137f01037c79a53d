"""Where no thread, process or descriptor can be had for now, the scheduler says so and goes on."""

from __future__ import annotations

import ast
import os
import select
import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from wait import wait_until

import taskman_cli
from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.model import Settings
from taskman_cli.jobfile import load
from taskman_cli.jobfile.fingerprint import file_at
from taskman_cli.jobfile.timeout import NoThread
from taskman_cli.scheduler import jobcontrol
from taskman_cli.scheduler.exporter import Exporter
from taskman_cli.scheduler.jobcontrol import JobControl
from taskman_cli.scheduler.outlets.link import Link
from taskman_cli.scheduler.outlets.process import SinkProcess
from taskman_cli.scheduler.requests.file_changes import Watcher
from taskman_cli.scheduler.requests.job_files import TRY_AGAIN_NS, JobFiles
from taskman_cli.scheduler.requests.reload import Reloader
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEDULER = Path(taskman_cli.__file__).parent / "scheduler"


class Shortage:
    """A time in which no thread can be started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._is_on = True
        really = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if self._is_on:
                raise RuntimeError("can't start new thread")
            really(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    def end(self) -> None:
        self._is_on = False


@pytest.fixture
def shortage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shortage]:
    shortage = Shortage(monkeypatch)
    yield shortage
    shortage.end()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_all_threads_of_the_scheduler_are_started_where_that_may_fail() -> None:
    # The file watcher is a process of its own, which another one replaces.
    files = set(SCHEDULER.rglob("*.py")) - {SCHEDULER / "threads.py", SCHEDULER / "file_watcher.py"}
    found = [
        f"{file.name}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Thread", "Timer")
        and "threading" in ast.unparse(node.func)
    ]  # fmt: skip
    assert found == []


def test_files_that_no_thread_can_read_are_an_answer_in_words(tmp_path: Path, shortage: Shortage) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    trust = Trust(is_checked=False).as_json()
    arguments = {"files": ["jobs.toml"], "user_crontabs": [], "skip_bad": False, "trust": trust}
    reloader = Reloader(arguments, start=str(tmp_path))
    reloader.start(limit_s=60)
    reading = reloader.result()
    assert reading.words == "the job files cannot be read: no thread can be started for that now"
    assert (reading.jobfile, reading.seen) == (None, None)
    shortage.end()
    reloader.start(limit_s=60)
    wait_until(lambda: select.select([reloader], [], [], 0)[0], timeout_s=60)
    assert reloader.result().jobfile is not None
    reloader.close()


def test_a_reader_whose_thread_never_began_can_be_closed(tmp_path: Path, shortage: Shortage) -> None:
    reloader = Reloader({}, start=str(tmp_path))
    reloader.start(limit_s=60)
    reloader.close()


def test_whatever_raises_while_files_are_read_is_a_result(tmp_path: Path) -> None:
    reloader = Reloader({"files": object()}, start=str(tmp_path))  # no JSON
    reloader.start(limit_s=60)
    wait_until(lambda: select.select([reloader], [], [], 0)[0], timeout_s=60)
    assert "TypeError while they were read" in reloader.result().words
    reloader.close()


def test_the_time_limit_of_reading_needs_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    trust = Trust(is_checked=False).as_json()
    arguments = {"files": ["jobs.toml"], "user_crontabs": [], "skip_bad": False, "trust": trust}
    reloader = Reloader(arguments, start=str(tmp_path))
    started: list[str] = []
    really = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda thread: (started.append(thread.name), really(thread))[1]
    )
    reloader.start(limit_s=60)
    wait_until(lambda: select.select([reloader], [], [], 0)[0], timeout_s=60)
    assert started == ["reload"]
    reloader.close()


def test_files_that_no_thread_can_watch_are_read_again_later(
    tmp_path: Path, shortage: Shortage, caplog: pytest.LogCaptureFixture
) -> None:
    driver: Any = SimpleNamespace(
        engine=SimpleNamespace(settings=Settings(watch=True)), now=Now(0, 5 * SECOND_NS)
    )
    watcher = Watcher(start=str(tmp_path))
    files = JobFiles(driver, cast("Any", None), watcher, cast("Any", None))
    seen = {file_at("jobs.toml"): None}
    for _ in range(2):
        files.watch(seen)
    assert files.retry_at_ns == 5 * SECOND_NS + TRY_AGAIN_NS
    assert caplog.text.count("the job files are not watched: no thread can be started") == 1
    shortage.end()
    files.watch(seen)
    assert files.retry_at_ns is None
    wait_until(lambda: watcher._process)
    watcher.close()


def test_a_watcher_whose_thread_never_began_can_be_closed(tmp_path: Path, shortage: Shortage) -> None:
    before = open_fds()
    watcher = Watcher(start=str(tmp_path))
    assert not watcher.watch({file_at("jobs.toml"): None})
    assert watcher.watch(None)
    watcher.close()
    assert open_fds() == before


def test_metrics_are_served_as_soon_as_there_is_a_thread(
    tmp_path: Path, shortage: Shortage, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = Exporter(str(tmp_path), Trust(is_checked=False))
    exporter.configure(Settings(metrics_textfile=str(tmp_path / "x.prom")))
    for now_s in (1, 12):
        exporter.look(1, now_s * SECOND_NS)
    assert exporter.next_timer() == 22 * SECOND_NS
    assert caplog.text.count("metrics: not served: no thread can be started") == 1
    shortage.end()
    exporter.look(1, 23 * SECOND_NS)
    assert exporter.next_timer() is None
    assert exporter._thread is not None
    exporter.close()


def test_metrics_that_are_not_wanted_any_more_need_no_thread(tmp_path: Path, shortage: Shortage) -> None:
    exporter = Exporter(str(tmp_path), Trust(is_checked=False))
    exporter.configure(Settings(metrics_textfile=str(tmp_path / "x.prom")))
    exporter.look(1, SECOND_NS)
    exporter.configure(Settings())
    assert exporter.next_timer() is None
    exporter.close()


def new_link() -> Link:
    return Link(is_owed=lambda: False, began=lambda: None, ended=lambda: None)


def test_the_process_of_the_sinks_is_started_as_soon_as_there_is_a_thread(
    shortage: Shortage, caplog: pytest.LogCaptureFixture
) -> None:
    link = new_link()
    before = open_fds()
    for now_s in (1, 2, 12):
        link.turn(set(), now_s * SECOND_NS)
        link.start(now_s * SECOND_NS)
    assert (link.next_timer(), open_fds()) == (22 * SECOND_NS, before)
    assert caplog.text.count("sinks: their process cannot be started") == 1
    shortage.end()
    link.turn(set(), 22 * SECOND_NS)
    link.start(22 * SECOND_NS)
    assert (link.next_timer(), list(link.filenos().values())) == (None, [False])
    link.close()


def test_a_process_for_which_no_descriptor_was_left_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    really, failures = socket.socketpair, []

    def fail_once() -> tuple[socket.socket, socket.socket]:
        if failures:
            return really()
        failures.append(1)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", fail_once)
    monkeypatch.setattr("taskman_cli.scheduler.outlets.process._LONGEST_S", 0.01)
    process = SinkProcess()
    wait_until(lambda: select.select([process], [], [], 0)[0], timeout_s=60)
    assert failures == [1]
    process.close()


def test_ctrl_z_stops_nothing_that_no_thread_would_continue(
    shortage: Shortage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped: list[int] = []
    before = open_fds()
    terminal = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(os, "open", lambda *_: terminal)
    monkeypatch.setattr(jobcontrol, "is_in_front", lambda *_: True)
    monkeypatch.setattr(os, "kill", lambda _, signum: stopped.append(signum))
    view: Any = SimpleNamespace(suspend=lambda: stopped.append(0))
    JobControl(view).suspend()
    assert (stopped, open_fds()) == ([], before)
    assert "Ctrl-Z: not now, since no thread can be started" in caplog.text


def test_ctrl_z_continues_the_supervisor_after_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "open", lambda *_: os.dup(0))
    answers = iter([True])
    monkeypatch.setattr(jobcontrol, "is_in_front", lambda *_: next(answers, False))
    monkeypatch.setattr(os, "kill", lambda _, signum: sent.append(signum))
    control = JobControl(None)
    control.suspend()
    wait_until(lambda: len(sent) == 2)
    assert sent == [signal.SIGSTOP, signal.SIGCONT]


def test_job_files_that_no_thread_can_read_are_an_error_in_words(tmp_path: Path, shortage: Shortage) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    with pytest.raises(NoThread, match="no thread can be started; try again later"):
        load([path], timezone="UTC")
