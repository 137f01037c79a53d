"""How an executor stands, as it travels: whole, bounded, and read with care."""

from __future__ import annotations

import asyncio
import marshal
from typing import Any

import pytest

from taskman_cli.core.conditions import (
    MOST_NAMED,
    Condition,
    FarWorker,
    Reach,
    as_values,
    condition_of,
    sum_of,
)
from taskman_cli.executors.base import Executor, Result, Work
from taskman_cli.executors.telling import Telling

WORKER = FarWorker("tcp://a", 2, 4, 8 << 30, (("gpu", 1.0),))


def test_a_condition_comes_back_as_it_was() -> None:
    condition = Condition(Reach.DOWN, 7, "no connection", sum_of([WORKER, FarWorker("b", 1, 2)]))
    assert condition_of(marshal.loads(marshal.dumps(as_values(condition)))) == condition
    assert condition_of(as_values(Condition(Reach.UP))) == Condition(Reach.UP)


def test_workers_are_summed() -> None:
    far = sum_of([WORKER, FarWorker("b", 1, 2, 1, (("gpu", 2.0), ("a", 1.0)))])
    assert far.total == FarWorker("", 3, 6, (8 << 30) + 1, (("a", 1.0), ("gpu", 3.0)))
    assert (far.count, [one.name for one in far.first]) == (2, ["b", "tcp://a"])


def test_a_thousand_workers_with_long_names_fill_no_message() -> None:
    resources = tuple((f"{number}" * 1000, 1.0) for number in range(100))
    far = sum_of([FarWorker("x" * 10_000 + str(number), 1, 1, 1, resources) for number in range(1000)])
    values = as_values(Condition(Reach.UP, 0, "y" * 100_000, far))
    assert len(marshal.dumps(values)) < 32_768
    read = condition_of(values).workers
    assert read is not None
    assert (read.count, read.total.running, len(read.first)) == (1000, 1000, MOST_NAMED)


def test_what_is_no_number_is_left_out() -> None:
    values = as_values(Condition(Reach.UP, 0, "", sum_of([FarWorker("a", resources=(("x", float("nan")),))])))
    read = condition_of(values).workers
    assert read is not None
    assert read.first[0].resources == ()


@pytest.mark.parametrize(
    "values",
    [{}, {"reach": "sideways"}, {"reach": "up", "workers": {"count": "many"}}, {"reach": "up", "workers": 3}],
    ids=["nothing", "no reach", "no number", "no workers"],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        condition_of(values)


class FakeLoop:
    """Keeps what is to be called later, until a test lets time pass."""

    def __init__(self) -> None:
        self.later: list[Any] = []

    def call_later(self, _: float, call: Any) -> object:
        self.later.append(call)
        return object()

    def pass_time(self) -> None:
        calls, self.later = self.later, []
        for call in calls:
            call()


class Heard:
    """What is told of an executor, as (reach, words)."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.said: list[dict[str, Any]] = []
        loop: Any = self.loop
        self.telling = Telling(self.said.append, loop)

    @property
    def brief(self) -> list[tuple[str, str]]:
        return [(one["reach"], one["words"]) for one in self.said]


def test_however_often_it_changes_it_is_told_once_a_second() -> None:
    heard = Heard()
    for number in range(100):
        heard.telling.unwell(f"no {number}")
    assert heard.brief == [("down", "no 0")]
    heard.loop.pass_time()
    assert heard.brief == [("down", "no 0"), ("down", "no 99")]
    assert heard.said[0]["since_ns"] == heard.said[1]["since_ns"]
    heard.loop.pass_time()
    assert (len(heard.said), heard.loop.later) == (2, [])


def test_what_is_as_before_is_not_told_again() -> None:
    heard = Heard()
    heard.telling.well()
    heard.telling.unwell("gone")
    heard.telling.well()
    heard.loop.pass_time()
    assert [reach for reach, _ in heard.brief][:1] == ["up"]
    assert heard.said[-1]["words"] == ""


def test_an_executor_that_speaks_for_itself_is_believed() -> None:
    heard = Heard()
    heard.telling.tell("connecting", "first time", [WORKER])
    heard.telling.well()
    heard.telling.unwell("one attempt failed")
    heard.loop.pass_time()
    assert heard.brief == [("connecting", "first time")]
    assert heard.said[0]["workers"]["count"] == 1
    with pytest.raises(ValueError, match="sideways"):
        heard.telling.tell("sideways")


class Plain(Executor):
    """Says nothing of itself."""

    async def run(self, work: Work) -> Result:
        return Result(exit_code=0)

    async def signal(self, work: Work, number: int) -> None:
        pass


def test_to_tell_is_nothing_where_nobody_listens() -> None:
    executor, said = Plain(), []
    executor.tell("up")
    executor.listener = lambda *told: said.append(told)
    executor.tell("down", "away")
    assert said == [("down", "away", None)]
    assert asyncio.run(executor.check()) == ()
