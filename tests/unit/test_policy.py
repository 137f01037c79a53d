"""The rules: jitter, missed slots, retry, how an end is judged and told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import make_job, seconds

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.policy import (
    MAX_RERUNS,
    MAX_STEP_BACK_NS,
    describe,
    is_clock_put_back,
    is_late,
    judge,
    pause_after_ns,
    retry_pause_ns,
    sort_passed,
    spread_ns,
)
from taskman_cli.core.model import Execution, Exit, OnCrash, OnMissed, Policy, Retry, State

MINUTE = 60 * SECOND_NS


@given(st.integers(0, 10**12), st.text(max_size=20), st.integers())
def test_a_spread_lies_within_its_width_and_is_the_same_each_time(width: int, job: str, slot: int) -> None:
    spread = spread_ns(width, job, slot)
    assert 0 <= spread <= width
    assert spread == spread_ns(width, job, slot)


def test_spreads_of_many_jobs_fill_their_width_evenly() -> None:
    spreads = [spread_ns(1000, f"job{number}", 0) for number in range(10_000)]
    by_tenth = [sum(1 for spread in spreads if spread // 101 == tenth) for tenth in range(10)]
    assert all(850 < count < 1150 for count in by_tenth)


def due(*slots: int) -> list[tuple[int, int]]:
    return [(slot, slot) for slot in slots]


def test_slots_reached_in_time_are_no_catch_ups() -> None:
    slots = [seconds(58), seconds(59), seconds(60)]
    decided = sort_passed(due(*slots), wall_ns=seconds(61), policy=Policy(), missed_after_ns=seconds(5))
    assert decided == (slots, [], [])


@pytest.mark.parametrize(
    ("on_missed", "expected"),
    [
        (OnMissed.SKIP, ([], [0, 1, 2, 3])),
        (OnMissed.ONCE, ([3], [0, 1, 2])),
        (OnMissed.ALL, ([2, 3], [0, 1])),
    ],
    ids=["skip", "once", "all"],
)
def test_missed_slots_are_made_up_for_as_on_missed_says(
    on_missed: OnMissed, expected: tuple[list[int], list[int]]
) -> None:
    policy = Policy(on_missed=on_missed, start_deadline_ns=2 * MINUTE)
    slots = [minute * MINUTE for minute in range(4)]
    wall_ns = 4 * MINUTE
    decided = sort_passed(due(*slots), wall_ns=wall_ns, policy=policy, missed_after_ns=seconds(5))
    wanted, missed = expected
    assert decided == ([], [n * MINUTE for n in wanted], [n * MINUTE for n in missed])


def test_once_is_content_with_a_slot_in_time() -> None:
    decided = sort_passed(due(0, MINUTE), wall_ns=MINUTE + 1, policy=Policy(), missed_after_ns=seconds(5))
    assert decided == ([MINUTE], [], [0])


def test_without_a_start_deadline_nothing_is_too_old() -> None:
    policy = Policy(on_missed=OnMissed.ALL, start_deadline_ns=None)
    decided = sort_passed(due(0), wall_ns=10**18, policy=policy, missed_after_ns=seconds(5))
    assert decided == ([], [0], [])
    assert not is_late(0, wall_ns=10**18, policy=policy)


def test_a_slot_is_as_late_as_its_start_and_not_as_its_jitter() -> None:
    passed = [(0, MINUTE), (MINUTE, MINUTE + seconds(1))]
    decided = sort_passed(passed, wall_ns=MINUTE + seconds(2), policy=Policy(), missed_after_ns=seconds(5))
    assert decided == ([0, MINUTE], [], [])


@given(
    st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, 10**12)), unique_by=lambda pair: pair[0]),
    st.sampled_from(OnMissed),
    st.integers(0, 10**13),
)
def test_each_passed_slot_is_sorted_into_one_heap(
    pairs: list[tuple[int, int]], on_missed: OnMissed, deadline: int
) -> None:
    passed = sorted((slot, min(slot + jitter, 10**13)) for slot, jitter in pairs)
    policy = Policy(on_missed=on_missed, start_deadline_ns=deadline)
    decided = sort_passed(passed, wall_ns=10**13, policy=policy, missed_after_ns=seconds(5))
    assert [slot for slot, _ in passed] == sorted(decided.missed + decided.catch_up + decided.on_time)


def test_a_run_is_late_when_its_start_deadline_has_passed() -> None:
    policy = Policy(start_deadline_ns=MINUTE)
    assert not is_late(0, wall_ns=MINUTE, policy=policy)
    assert is_late(0, wall_ns=MINUTE + 1, policy=policy)


def test_success_is_an_exit_code_among_those_of_success() -> None:
    execution = Execution(success_exit_codes=(0, 24))
    assert State.SUCCEEDED is judge(Exit(exit_code=24), execution)
    assert State.FAILED is judge(Exit(exit_code=1), execution)
    assert State.FAILED is judge(Exit(signal=15), execution)


def test_of_an_end_without_code_and_signal_not_even_failure_is_known() -> None:
    assert State.LOST is judge(Exit(), Execution())


def test_a_moment_hours_ahead_tells_that_the_clock_was_put_back() -> None:
    assert not is_clock_put_back(MAX_STEP_BACK_NS, 0)
    assert is_clock_put_back(MAX_STEP_BACK_NS + 1, 0)
    assert not is_clock_put_back(0, MAX_STEP_BACK_NS * 9)


def pause(
    state: State,
    *,
    end: Exit | None = None,
    number: int = 1,
    lost: int = 0,
    on_crash: OnCrash = OnCrash.REPORT,
    retry: Retry | None = None,
) -> int | None:
    execution = Execution(retry=retry or Retry(max=2, delay_ns=seconds(3), backoff=2))
    job = make_job(policy=Policy(on_crash=on_crash), execution=execution)
    return pause_after_ns("run.main.1", state, job=job, task=job.tasks[0], number=number, end=end, lost=lost)


@pytest.mark.parametrize("end", [Exit(exit_code=3), Exit(signal=9), None], ids=["code", "signal", "no-start"])
@pytest.mark.parametrize("state", [State.FAILED, State.TIMED_OUT])
def test_a_failure_is_followed_by_a_retry_as_long_as_there_are_some(state: State, end: Exit | None) -> None:
    pauses = [pause(state, end=end, number=number) for number in (1, 2, 3)]
    assert pauses == [seconds(3), seconds(6), None]


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.CANCELLED])
def test_success_and_a_cancelled_attempt_are_followed_by_none(state: State) -> None:
    assert pause(state, end=Exit(exit_code=0), on_crash=OnCrash.RERUN) is None


def test_the_exit_code_of_what_was_told_to_end_is_not_its_own() -> None:
    retry = Retry(max=1, exit_codes=(3,))
    assert pause(State.FAILED, end=Exit(exit_code=3), retry=retry) is not None
    assert pause(State.TIMED_OUT, end=Exit(exit_code=3), retry=retry) is None


def test_what_is_lost_is_run_again_at_once_and_only_so_often_if_the_job_says_so() -> None:
    pauses = [pause(State.LOST, lost=lost, on_crash=OnCrash.RERUN) for lost in range(1, MAX_RERUNS + 2)]
    assert pauses == [*[0] * MAX_RERUNS, None]
    assert pause(State.LOST, lost=1) is None


def test_what_ran_to_an_end_that_nobody_knows_is_not_run_again() -> None:
    assert pause(State.LOST, end=Exit(), lost=1, on_crash=OnCrash.RERUN) is None


def test_pauses_grow_by_the_backoff_up_to_the_longest() -> None:
    retry = Retry(max=5, delay_ns=SECOND_NS, backoff=3, max_delay_ns=seconds(10))
    pauses = [retry_pause_ns(retry, attempt=n, exit_code=1, seed="") for n in range(1, 7)]
    assert pauses == [seconds(1), seconds(3), seconds(9), seconds(10), seconds(10), None]


def test_an_endless_backoff_ends_at_the_longest_pause() -> None:
    retry = Retry(max=10_000, delay_ns=SECOND_NS, backoff=10.0, max_delay_ns=seconds(10))
    assert seconds(10) == retry_pause_ns(retry, attempt=9_999, exit_code=1, seed="")


def test_jitter_comes_on_top_of_a_pause() -> None:
    retry = Retry(max=100, delay_ns=SECOND_NS, jitter_ns=SECOND_NS)
    pauses = {retry_pause_ns(retry, attempt=n, exit_code=1, seed="run") for n in range(1, 101)}
    assert len(pauses) > 90
    assert all(pause is not None and SECOND_NS <= pause <= 2 * SECOND_NS for pause in pauses)


@pytest.mark.parametrize(("exit_code", "is_retried"), [(75, True), (1, False), (None, False)])
def test_only_the_listed_exit_codes_are_retried(exit_code: int | None, is_retried: bool) -> None:
    retry = Retry(max=1, exit_codes=(75,))
    assert is_retried == (retry_pause_ns(retry, attempt=1, exit_code=exit_code, seed="") is not None)


@pytest.mark.parametrize(
    ("end", "is_shell", "expected"),
    [
        (Exit(exit_code=3), True, "exit 3"),
        (Exit(exit_code=127), True, "exit 127: command not found"),
        (Exit(exit_code=126), True, "exit 126: not executable"),
        (Exit(exit_code=127), False, "exit 127"),
        (Exit(signal=9), False, "killed by SIGKILL"),
        (Exit(signal=200), False, "killed by signal 200"),
        (Exit(), True, "exit code unknown: its supervisor had died"),
        (
            Exit(signal=9, memory="cgroup", over_memory_bytes=200 << 20),
            True,
            "killed by SIGKILL (over its memory limit of 200 MiB)",
        ),
        (Exit(exit_code=137, over_memory_bytes=1), True, "exit 137 (over its memory limit of 1 B)"),
    ],
    ids=[
        "code",
        "not-found",
        "not-executable",
        "no-shell",
        "signal",
        "unknown-signal",
        "unknown",
        "over",
        "child-over",
    ],
)
def test_an_end_is_told_in_words(end: Exit, is_shell: bool, expected: str) -> None:
    assert describe(end, is_shell=is_shell) == expected
