"""Ids of runs, and what a run knows of its tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, make_job

from taskman_cli.core.engine.runs import (
    Run,
    decode_run_id,
    encode_run_id,
    numbers_of,
    queued_at_ns,
    run_number,
)
from taskman_cli.core.model import Mode, Policy, State, Trigger

numbers = st.integers(0, 2**50 - 1)


@given(numbers)
def test_an_id_is_read_as_the_number_it_was_written_for(number: int) -> None:
    assert number == decode_run_id(encode_run_id(number))


@given(numbers, numbers)
def test_ids_sort_as_their_numbers_do(one: int, other: int) -> None:
    assert (one < other) == (encode_run_id(one) < encode_run_id(other))


def test_a_whole_id_stands_for_its_run() -> None:
    assert numbers_of(encode_run_id(7)) == (7, 7)


@given(numbers, numbers, st.integers(1, 10))
def test_the_beginning_of_an_id_stands_for_all_that_begin_like_it(number: int, other: int, size: int) -> None:
    prefix = encode_run_id(number)[:size]
    bounds = numbers_of(prefix)
    assert bounds is not None
    first, last = bounds
    assert (first <= other <= last) == encode_run_id(other).startswith(prefix)


@pytest.mark.parametrize("text", ["", "backup", "67avwsa1mee", "67AV", "67.main", "caf\udce9"])
def test_what_no_id_begins_with_stands_for_none(text: str) -> None:
    assert numbers_of(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "67avwsa1m", "67avwsa1mee", "67AVWSA1ME", "67avwsa1mi", "67avws a1m", "-7avwsa1me", "67avws_1me"],
)
def test_what_is_no_id_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a run"):
        decode_run_id(text)


def test_a_number_is_the_time_unless_there_was_a_later_run() -> None:
    number = run_number(START.wall_ns, last=0)
    assert number + 1 == run_number(START.wall_ns, last=number)
    assert number + 8 == run_number(START.wall_ns, last=number + 7)


@given(st.integers(8192, 2**62))
def test_an_id_tells_when_its_run_was_made(wall_ns: int) -> None:
    made_ns = queued_at_ns(encode_run_id(run_number(wall_ns, last=0)))
    assert made_ns <= wall_ns < made_ns + 8192


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((State.SUCCEEDED, State.SUCCEEDED), State.SUCCEEDED),
        ((State.LOST, State.SUCCEEDED), State.LOST),
        ((State.LOST, State.TIMED_OUT), State.TIMED_OUT),
        ((State.FAILED, State.TIMED_OUT), State.FAILED),
        ((State.SUCCEEDED, State.CANCELLED), State.CANCELLED),
        ((State.FAILED, State.CANCELLED), State.FAILED),
    ],
)
def test_a_run_ends_as_the_worst_of_its_tasks(results: tuple[State, State], expected: State) -> None:
    run = Run("r", make_job(tasks=("a", "b"), policy=Policy(mode=Mode.PARALLEL)), None, Trigger.SLOT, 0)
    for task, state in zip("ab", results, strict=True):
        run.close_task(task, state)
    assert run.verdict() == expected
    run.is_cancelled = True
    assert run.verdict() == State.CANCELLED
