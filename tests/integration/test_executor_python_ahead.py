"""Calls without a seat, which wait behind others in a worker."""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING, Any

import pytest
from integration.executing import Attempt, begin, order, with_executor

from taskman_cli.executors import pyhost
from taskman_cli.executors.base import NoSeat, Order, Result, Work
from taskman_cli.executors.orders import Layers
from taskman_cli.executors.python import PythonExecutor

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = """
import os, resource, time

def gate(path, note):
    with open(note, "a") as file:
        file.write(f"{os.getpid()}\\n")
    while os.path.exists(path):
        time.sleep(0.001)

def length(text):
    return len(text)

made = 0
def limit_at(number):
    global made
    made += 1
    if made == number:
        soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
        most = 1 << 40 if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_STACK, (most - 1, most - 1))

def limits(note):
    with open(note, "w") as file:
        file.write(repr(resource.getrlimit(resource.RLIMIT_STACK)))
"""


class Calls:
    """Calls on one executor, and what became of them."""

    def __init__(self, executor: PythonExecutor, directory: Path) -> None:
        self.executor = executor
        self.file, self.note, self.closed = (directory / name for name in ("short.py", "note", "closed"))
        self.file.write_text(FUNCTIONS)
        #: In the order in which they ended.
        self.ended: list[tuple[Work, Result | BaseException]] = []
        self._learnt = 0

    def _order(self, name: str, *args: str) -> Any:
        return order(keys={"call": f"{self.file}:{name}", "args": [*args]})

    async def learn(self, name: str = "gate", *args: str) -> None:
        """Have a function known to be short."""
        while f"{self.file}:{name}" not in self.executor._short:
            attempt = begin(self.executor, self._order(name, *(args or ("none", str(self.note)))))
            assert (await attempt.task).exit_code == 0
            self.executor._short.add(
                f"{self.file}:{name}"
            )  # on a machine that is at work, it may take longer
        self._learnt = self.begun()

    def work(self, name: str = "gate", *args: str) -> Work:
        an_order = self._order(name, *(args or ("none", str(self.note))))
        return work_of(an_order)

    def begin(self, work: Work) -> Work:
        assert self.executor.begin(work, lambda outcome: self.ended.append((work, outcome)))
        return work

    def begin_behind(self, work: Work) -> bool:
        work.has_seat = False
        return self.executor.begin_behind(work, lambda outcome: self.ended.append((work, outcome)))

    def behind(self) -> Work:
        """Begin one that waits behind what was begun before."""
        work = self.work()
        assert self.begin_behind(work)
        return work

    async def begin_closed(self) -> Work:
        """Begin one that runs until `open`."""
        self.closed.touch()
        return self.begin(self.work("gate", str(self.closed), str(self.note)))

    def open(self) -> None:
        self.closed.unlink()

    def begun(self) -> int:
        return len(self.note.read_text().splitlines()) - self._learnt if self.note.exists() else 0

    async def until(self, condition: Any) -> None:
        await Attempt(order()).until(condition)

    async def until_ended(self, *works: Work) -> list[Any]:
        """Wait for the end of some; return how each ended."""
        await self.until(lambda: {*works} <= {work for work, _ in self.ended})
        how = dict(self.ended)
        return [how[work] for work in works]


def work_of(an_order: Order) -> Work:
    return Work(an_order, on_started=lambda: None, on_output=lambda _: None, on_progress=lambda *_: None)


def with_calls(directory: Path, body: Any) -> None:
    with_executor(lambda: PythonExecutor({}), lambda executor: body(Calls(executor, directory)))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes its time holds up what is behind it."""
    monkeypatch.setattr(pyhost, "_BEHIND_S", 60.0)
    monkeypatch.setattr(pyhost, "_LOOKS_S", (60.0,))


@pytest.mark.usefixtures("patient")
def test_each_begins_when_the_one_before_it_ends_and_has_its_seat(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        works = [calls.begin(calls.work()), calls.behind(), calls.behind()]
        assert [how.exit_code for how in await calls.until_ended(*works)] == [0, 0, 0]
        assert [work for work, _ in calls.ended] == works
        assert works[0].heir is works[1]
        assert len({*calls.note.read_text().split()}) == 1

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
def test_what_has_ended_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        works = [calls.begin(calls.work()), calls.behind()]
        await calls.until_ended(*works)
        assert calls.executor.take_back(works[1:]) == []

    with_calls(tmp_path, body)


def test_what_is_behind_one_that_takes_its_time_is_not_begun(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        first = await calls.begin_closed()
        second = calls.behind()
        (how,) = await calls.until_ended(second)
        assert isinstance(how, NoSeat)
        calls.open()
        await calls.until_ended(first)
        assert calls.begun() == 1

    with_calls(tmp_path, body)


def test_with_a_seat_by_then_it_moves_to_another_worker(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        first = await calls.begin_closed()
        second = calls.behind()
        second.has_seat = True
        (how,) = await calls.until_ended(second)
        assert how.exit_code == 0
        calls.open()
        await calls.until_ended(first)

    with_calls(tmp_path, body)


def test_it_cannot_wait_where_nothing_runs_or_what_runs_may_take_long(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        assert not calls.begin_behind(calls.work())  # there is no worker
        await calls.learn()
        assert not calls.begin_behind(calls.work())  # it rests
        first = calls.begin(calls.work("length", "abc"))  # nobody knows how long that takes
        assert not calls.begin_behind(calls.work())
        await calls.until_ended(first)
        assert not calls.executor._calls

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
def test_what_has_not_begun_is_taken_back_and_what_has_a_seat_goes_on(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        first = await calls.begin_closed()
        second, third = calls.behind(), calls.behind()
        third.has_seat = True
        await calls.until(lambda: calls.begun() == 1)
        assert calls.executor.take_back([second]) == [second]
        calls.open()
        await calls.until_ended(first, third)
        assert calls.begun() == 2
        assert {work for work, _ in calls.ended} == {first, third}

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
def test_what_has_begun_unseen_is_not_taken_back(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        first = calls.begin(calls.work())
        second = calls.work("gate", str(calls.closed), str(calls.note))
        calls.closed.touch()
        assert calls.begin_behind(second)
        calls.executor._go()
        while calls.begun() < 2:  # the loop has no turn, and hears of nothing
            pass
        assert calls.executor.take_back([second]) == []
        assert [work for work, _ in calls.ended] == [first]
        assert first.heir is second
        calls.open()
        await calls.until_ended(second)

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
def test_what_is_behind_a_call_whose_worker_dies_is_not_begun(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn()
        first = await calls.begin_closed()
        second = calls.behind()
        await calls.until(lambda: calls.begun() == 1)
        os.kill(int(calls.note.read_text().split()[-1]), signal.SIGKILL)
        how = await calls.until_ended(first, second)
        assert how[0].signal == signal.SIGKILL
        assert isinstance(how[1], NoSeat)

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
def test_no_more_wait_than_fit_into_the_queue_of_a_stopped_worker(tmp_path: Path) -> None:
    async def body(calls: Calls) -> None:
        text = "x" * 3900
        await calls.learn("length", text)
        await calls.learn()
        (worker,) = calls.executor._all
        os.kill(worker.program.pid, signal.SIGSTOP)
        works = [calls.begin(calls.work("length", text))]
        while calls.begin_behind(work := calls.work("length", text)):
            works.append(work)
        os.kill(worker.program.pid, signal.SIGCONT)
        assert {how.exit_code for how in await calls.until_ended(*works)} == {0}
        assert len(works) >= 16

    with_calls(tmp_path, body)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("number", [7, 20, 24])
def test_what_one_of_many_calls_changes_for_life_is_not_found_later(tmp_path: Path, number: int) -> None:
    async def body(calls: Calls) -> None:
        await calls.learn("length", "abc")
        call = f"{calls.file}:limit_at"
        calls.executor._short.add(call)
        # All of one job: they are not looked at one by one.
        same: dict[str, Any] = {
            "keys": {"call": call, "args": [number]},
            "env": Layers({}, {}),
            "local_env": Layers({"PATH": os.defpath, "HOME": "/"}, {}),
        }
        (worker,) = calls.executor._all
        os.kill(worker.program.pid, signal.SIGSTOP)
        works = [calls.begin(work_of(order(**same)))]
        for _ in range(23):
            works.append(work_of(order(**same)))
            assert calls.begin_behind(works[-1])
            works[-1].has_seat = True
        os.kill(worker.program.pid, signal.SIGCONT)
        assert {how.exit_code for how in await calls.until_ended(*works)} == {0}
        await calls.until_ended(calls.begin(calls.work("limits", str(calls.note))))
        assert calls.note.read_text() == repr(resource.getrlimit(resource.RLIMIT_STACK))

    with_calls(tmp_path, body)
