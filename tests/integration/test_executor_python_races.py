"""Calls that are given ahead: what comes together with an answer, a move, or a want of descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.executing import Attempt, begin, order, with_executor
from process_table import descriptors, is_gone, state_of
from wait import wait_until

from taskman_cli.executors import pyhost
from taskman_cli.executors.base import Order, Result, StartFailed, Work
from taskman_cli.executors.carried import Carried
from taskman_cli.executors.host import ExecutorHost
from taskman_cli.executors.messages import Messages
from taskman_cli.executors.program import Launch, Program
from taskman_cli.executors.pyhost import Worker
from taskman_cli.executors.python import PythonExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = r"""
import os, time

def note(path, closed=None):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    while closed and os.path.exists(closed):
        time.sleep(0.001)

def length(text):
    return len(text)

def misuse(note):
    import stat
    open(note, "w").close()
    for fd in range(100, 120):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"\xff" * 64)
        except OSError:
            pass
    time.sleep(60)

def leave_thread(noted, closed):
    import threading
    from taskman_cli.jobs import current
    context = current()
    def report():
        while os.path.exists(closed):
            time.sleep(0.001)
        context.progress(0.5, "late")
        note(noted)
    threading.Thread(target=report, daemon=True).start()

def have_more_told(noted, closed):
    import socket
    for fd in range(100, 120):
        try:
            end = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    note(noted, closed)
"""


class Calls:
    """Calls of one executor, each of which notes in a file of its own that it was begun."""

    def __init__(self, executor: PythonExecutor, directory: Path) -> None:
        self.executor = executor
        self.file = directory / "short.py"
        self.file.write_text(FUNCTIONS)
        self.closed = directory / "closed"
        self._directory = directory

    def call(self, name: str, *args: Any) -> Attempt:
        return begin(self.executor, order(keys={"call": f"{self.file}:{name}", "args": list(args)}))

    def noted(self, name: str) -> Path:
        return self._directory / name

    def note(self, name: str, *more: Any) -> Attempt:
        return self.call("note", str(self.noted(name)), *more)

    async def learn(self, *names: str) -> Worker:
        """Have functions be known as short; return the worker, which is idle."""
        for name in ("note", *names):
            function = f"{self.file}:{name}"
            while function not in self.executor._short:
                assert (await self.call(name, str(self.noted("learnt"))).task).exit_code == 0
                self.executor._short.add(function)  # on a machine that is at work, it may take longer
        (worker,) = self.executor._all
        return worker

    async def give(self, *attempts: Attempt) -> None:
        """Have the calls be given to the worker, which has not been told yet."""
        await asyncio.sleep(0)
        assert len({call.worker for call in self.executor._calls.values()}) == 1
        assert len(self.executor._calls) == len(attempts)


def with_calls(directory: Path, body: Any) -> None:
    troubles: list[Any] = []

    async def watched(executor: PythonExecutor) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: troubles.append(about))
        await body(Calls(executor, directory))

    with_executor(lambda: PythonExecutor({}), watched)
    assert troubles == []


def wait_for_answer(worker: Worker) -> None:
    """Wait until a worker has answered, without letting the loop see it."""
    worker.go()
    assert select.select([worker._line._answers], [], [], 30)[0]


def test_an_answer_that_comes_with_a_cancel_harms_no_other_call(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        first, second = calls.note("first"), calls.note("second")
        await calls.give(first, second)
        wait_for_answer(worker)
        first.task.cancel()
        worker.hear()
        assert (await second.task).exit_code == 0
        assert (await calls.note("third").task).exit_code == 0

    with_calls(tmp_path, body)


@pytest.mark.parametrize("way", ["give_up", "kill"])
def test_to_end_a_call_that_has_ended_unheard_ends_no_other(tmp_path: Path, way: str) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        calls.closed.touch()
        first, second = calls.note("first"), calls.note("second", str(calls.closed))
        await calls.give(first, second)
        worker.go()
        wait_until(calls.noted("second").exists, what="the second call")
        if way == "kill":
            await calls.executor.signal(first.work, signal.SIGKILL)
        else:
            calls.executor.give_up(first.work)
        calls.closed.unlink()
        assert await second.task == Result(
            exit_code=0, cpu_s=second.task.result().cpu_s, peak_rss_bytes=second.task.result().peak_rss_bytes
        )
        assert len(calls.noted("second").read_text().splitlines()) == 1

    with_calls(tmp_path, body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_follows_a_call_that_moves(tmp_path: Path, number: int) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        calls.file.write_text(FUNCTIONS + "#\n")  # so the worker begins none of them
        first, second = calls.note("first"), calls.note("second")
        await calls.give(first, second)
        wait_for_answer(worker)
        await calls.executor.signal(second.work, number)
        assert await second.task == Result(signal=number)
        assert (await first.task).exit_code == 0
        assert not calls.noted("second").exists()

    with_calls(tmp_path, body)


def test_a_signal_that_ends_nothing_does_not_reach_the_call_ahead(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        calls.closed.touch()
        first, *others = calls.note("first", str(calls.closed)), *map(calls.note, ("second", "third"))
        await calls.give(first, *others)
        worker.go()
        wait_until(calls.noted("first").exists, what="the first call")
        await calls.executor.signal(others[0].work, signal.SIGSTOP)
        assert state_of(worker.program.pid) != "T"
        calls.closed.unlink()
        assert [(await one.task).exit_code for one in (first, *others)] == [0] * 3

    with_calls(tmp_path, body)


def test_long_arguments_of_many_calls_fit_into_the_queue(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn("length")
        texts = [str(number) * 32_000 for number in range(8)]
        attempts = [calls.call("length", text) for text in texts]
        await calls.give(*attempts)
        assert len(worker.calls) == 8
        assert [(await one.task).exit_code for one in attempts] == [0] * 8

    with_calls(tmp_path, body)


def test_misuse_of_the_line_takes_no_answer_that_was_given_before(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        calls.executor._short.add(f"{calls.file}:misuse")
        first, second = calls.note("first"), calls.call("misuse", str(calls.noted("second")))
        await calls.give(first, second)
        worker = next(iter(calls.executor._all))
        worker.go()
        wait_until(calls.noted("second").exists, what="the second call")
        assert (await first.task).exit_code == 0
        assert "connection of its worker" in (await second.task).error

    with_calls(tmp_path, body)


def test_what_a_call_has_told_beside_others_closes_no_descriptor(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        calls.executor._short.add(f"{calls.file}:have_more_told")
        calls.closed.touch()
        first = calls.call("have_more_told", str(calls.noted("first")), str(calls.closed))
        others = [calls.note(name) for name in ("second", "third")]
        await calls.give(first, *others)
        (worker,) = calls.executor._all
        worker.go()
        wait_until(calls.noted("first").exists, what="the first call")
        before = {*descriptors(os.getpid())}
        assert [call.work for call in worker._take_back()] == [one.work for one in others]
        assert {*descriptors(os.getpid())} <= before
        assert 0 in descriptors(os.getpid())
        for one in others:
            calls.executor.again(calls.executor._calls[one.work])
        calls.closed.unlink()
        assert [(await one.task).exit_code for one in (first, *others)] == [0] * 3

    with_calls(tmp_path, body)


@pytest.mark.parametrize("way", ["look", "signal"])
def test_a_worker_that_was_stopped_while_it_was_idle_keeps_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(pyhost, "_END_LIMIT_S", 0.05)

    async def body(calls: Calls) -> None:
        pid = (await calls.learn()).program.pid
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state_of(pid) == "T", what="the stop")
        calls.executor._short.clear()
        first = calls.note("first")
        if way == "signal":  # as of a timeout that is shorter than the worker is waited for
            await first.started.wait()
            await asyncio.sleep(0.05)
            await calls.executor.signal(first.work, signal.SIGTERM)
            assert await first.task == Result(signal=signal.SIGTERM)
        async with asyncio.timeout(20):
            assert (await calls.note("second").task).exit_code == 0
            assert way == "signal" or (await first.task).exit_code == 0
        assert str(pid) not in calls.noted("second").read_text()
        await first.until(lambda: is_gone(pid))

    with_calls(tmp_path, body)


def test_a_thread_that_a_call_has_left_hides_not_that_its_worker_rests(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        calls.closed.touch()
        left = calls.noted("left")
        first = calls.call("leave_thread", str(left), str(calls.closed))
        assert (await first.task).exit_code == 0
        await first.until(lambda: worker._line.is_resting)
        calls.closed.unlink()
        wait_until(left.exists, what="what the thread says")
        worker._line.read()
        assert worker._line.is_resting
        assert (await calls.note("second").task).exit_code == 0
        assert calls.noted("second").read_text() == f"{worker.program.pid}\n"

    with_calls(tmp_path, body)


@contextmanager
def no_descriptors() -> Iterator[list[int]]:
    """Open as many descriptors as can be open; closing one makes room for one."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    # Low, so that it does not take long; a worker needs more than a hundred.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 512), limits[1]))
    try:
        with suppress(OSError):
            while True:
                opened.append(os.dup(0))
        yield opened
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in opened:
            os.close(fd)


def test_a_worker_that_cannot_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        calls.closed.touch()
        held = calls.note("held", str(calls.closed))  # so a second call needs a second worker
        await held.until(calls.noted("held").exists)
        held.work.started()
        before, refused = len(descriptors(os.getpid())), 0
        with no_descriptors() as opened:
            while True:  # each gets a little further than the one before
                ended = calls.note("other").task
                await asyncio.wait([ended])
                if ended.exception() is None:
                    break
                assert "Too many open files" in str(ended.exception())
                refused += 1
                os.close(opened.pop())
        assert refused > 5
        (other,) = [worker for worker in calls.executor._all if not worker.calls]
        other.retire()
        await held.until(lambda: len(descriptors(os.getpid())) <= before)
        calls.closed.unlink()
        assert (await held.task).exit_code == 0

    with_calls(tmp_path, body)


def test_a_worker_that_is_refused_a_call_is_idle_once(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        worker = await calls.learn()
        attempt = calls.note("waits", str(calls.closed))  # not there: it returns at once
        with no_descriptors():
            attempt.work.started()  # as if it had been with a worker that died
            with pytest.raises(StartFailed, match="Too many open files") as refused:
                await attempt.task
            assert refused.value.is_transient
            worker.hear()
        (lane,) = calls.executor._lanes.values()
        assert lane.idle == [worker]
        calls.executor._short.clear()
        calls.closed.touch()
        held = calls.note("held", str(calls.closed))
        assert (await calls.note("other").task).exit_code == 0
        calls.closed.unlink()
        assert (await held.task).exit_code == 0
        assert calls.noted("held").read_text() != calls.noted("other").read_text()

    with_calls(tmp_path, body)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_a_call_that_is_cancelled_while_its_worker_starts_never_begins(
    tmp_path: Path, number: int, *, is_first: bool
) -> None:
    file, closed, noted = (tmp_path / name for name in ("short.py", "closed", "noted"))
    file.write_text(FUNCTIONS)
    closed.touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nwhile test -e {closed}; do sleep 0.01; done\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    def order_of(key: str) -> dict[str, Any]:
        keys = {"call": f"{file}:note", "args": [str(noted)]}
        whole = order(key, keys=keys)
        return {name: getattr(whole, name) for name in Order.__slots__}

    async def body() -> list[Any]:
        loop = asyncio.get_running_loop()
        said: list[Any] = []
        host = ExecutorHost(Messages(said.extend, loop), loop)
        facts = {"instance": "i", "ledger": "l", "state_directory": str(tmp_path), "hidden": []}
        definition = {"name": "python", "type": "python", "settings": {"python": str(python)}}
        host.take(("configure", definition, facts | {"is_brief": True}))

        async def until_ended(key: str) -> dict[str, Any]:
            async with asyncio.timeout(60):
                while not (found := [message[2] for message in said if message[:2] == ("ended", key)]):
                    await asyncio.sleep(0.005)
            ((how,),) = [found]
            return dict(how)

        if not is_first:
            closed.unlink()
            host.take(("start", "a", order_of("a"), None, 0, 0))
            assert (await until_ended("a"))["exit_code"] == 0
            closed.touch()
            for worker in host._executor._all:  # type: ignore[union-attr]
                worker.retire()
        host.take(("start", "b", order_of("b"), None, 0, 0))
        await asyncio.sleep(0)
        host.take(("signal", "b", number))
        assert (await until_ended("b"))["signal"] == number
        closed.unlink()
        host.take(("start", "c", order_of("c"), None, 0, 0))
        assert (await until_ended("c"))["exit_code"] == 0
        await host.close()
        return said

    asyncio.run(body())
    assert len(noted.read_text().splitlines()) == (1 if is_first else 2)


def test_nothing_of_a_call_that_has_ended_waits_for_the_garbage_collector(tmp_path: Path) -> None:
    """Thousands of short ones would each have memory of its own, that no cache holds."""
    said: list[Any] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        host = ExecutorHost(Messages(said.extend, loop), loop)
        facts = {"instance": "i", "ledger": "l", "state_directory": str(tmp_path), "hidden": []}
        definition = {"name": "python", "type": "python", "settings": {}}
        host.take(("configure", definition, facts | {"is_brief": True}))
        for key in "abc":
            whole = order(key, keys={"call": "os:getpid"})
            values = {name: getattr(whole, name) for name in Order.__slots__}
            host.take(("start", key, values, None, 0, 0))
            async with asyncio.timeout(60):
                while ("ended", key) not in [message[:2] for message in said]:
                    await asyncio.sleep(0.005)
            if key == "a":  # a task has made it, since the executor was not ready
                gc.collect()
        assert [each.key for each in gc.get_objects() if type(each) is Carried] == []
        assert [each for each in gc.get_objects() if type(each) is Work] == []
        await host.close()

    gc.disable()
    try:
        asyncio.run(body())
    finally:
        gc.enable()


def test_only_a_few_workers_are_on_their_way_at_a_time(tmp_path: Path) -> None:
    python, starts, held = (tmp_path / name for name in ("python", "starts", "held"))
    python.write_text(
        f'#!/bin/sh\necho >>{starts}\nwhile test -e {held}; do sleep 0.01; done\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    held.touch()
    most = 8 * len(os.sched_getaffinity(0))

    async def body(executor: PythonExecutor) -> None:
        calls = Calls(executor, tmp_path)
        calls.closed.touch()
        attempts = [calls.note("noted", str(calls.closed)) for _ in range(most + 3)]
        await attempts[0].until(lambda: starts.exists() and len(starts.read_text()) == most)
        assert len(executor._starts) == most
        held.unlink()
        # Each call needs a worker of its own, and gets it.
        noted = calls.noted("noted")
        await attempts[0].until(lambda: noted.exists() and len(noted.read_text().splitlines()) == most + 3)
        assert len(set(noted.read_text().splitlines())) == most + 3
        calls.closed.unlink()
        assert [(await one.task).exit_code for one in attempts] == [0] * (most + 3)

    with_executor(lambda: PythonExecutor({"python": str(python)}), body)


def test_only_the_calls_of_a_user_wait_who_has_no_room_for_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Worker.start

    async def refused(python: str, text: bytes, launch: Launch, keeper: Any) -> Worker:
        if "PYTHONHASHSEED" in launch.env and (tmp_path / "closed").exists():
            raise StartFailed("no room", is_transient=True, is_users=True)
        return await start(python, text, launch, keeper)

    monkeypatch.setattr(Worker, "start", refused)

    async def body(calls: Calls) -> None:
        calls.closed.touch()
        keys = {"call": f"{calls.file}:note", "args": [str(calls.noted("theirs"))]}
        others = [
            begin(calls.executor, order(keys=keys, local_env={"PATH": os.defpath, "PYTHONHASHSEED": "7"}))
            for _ in range(3)
        ]
        assert (await calls.note("ours").task).exit_code == 0
        await others[0].until(lambda: others[0].told)
        assert others[0].told[0] == (None, "no room")
        assert not any(one.task.done() for one in others)
        await calls.executor.signal(others[1].work, signal.SIGTERM)
        assert await others[1].task == Result(signal=signal.SIGTERM)
        calls.closed.unlink()
        assert [(await one.task).exit_code for one in (others[0], others[2])] == [0, 0]

    with_calls(tmp_path, body)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_want_of_processes_is_the_users_who_may_not_have_more() -> None:
    async def body() -> None:
        await Program.start(Launch(argv=("/bin/true",), env={}, user=(65533, 65533, ())), [])

    limits = resource.getrlimit(resource.RLIMIT_NPROC)
    other = subprocess.Popen(["/bin/sleep", "60"], user=65533, group=65533, extra_groups=())
    resource.setrlimit(resource.RLIMIT_NPROC, (0, limits[1]))
    try:
        with pytest.raises(StartFailed, match="temporarily unavailable") as failed:
            asyncio.run(body())
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, limits)
        other.kill()
        other.wait()
    assert (failed.value.is_transient, failed.value.is_users) == (True, True)
