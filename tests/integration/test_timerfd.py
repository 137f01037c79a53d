"""Timers as descriptors, by the kernel's own clocks."""

from __future__ import annotations

import select
import time
from datetime import datetime

import pytest

from taskman_cli.scheduler.timers import Timer

CLOCKS = {"wall": time.CLOCK_REALTIME, "elapsed": time.CLOCK_BOOTTIME}


def is_readable(timer: Timer, *, within_ms: int) -> bool:
    poll = select.poll()
    poll.register(timer.fd, select.POLLIN)
    return bool(poll.poll(within_ms))


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_timer_fires_at_its_time_and_not_before(clock: str) -> None:
    timer = Timer(clock)
    assert not is_readable(timer, within_ms=0)
    due_ns = time.clock_gettime_ns(CLOCKS[clock]) + 30_000_000
    timer.set(due_ns)
    assert not is_readable(timer, within_ms=0) or time.clock_gettime_ns(CLOCKS[clock]) >= due_ns
    assert is_readable(timer, within_ms=30_000)
    assert time.clock_gettime_ns(CLOCKS[clock]) >= due_ns
    timer.clear()
    assert not is_readable(timer, within_ms=0)
    timer.close()


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_time_that_has_passed_fires_at_once(clock: str) -> None:
    timer = Timer(clock)
    for due_ns in (0, 1):
        timer.set(due_ns)
        assert is_readable(timer, within_ms=30_000)
        timer.clear()
    timer.close()


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_timer_can_be_taken_back(clock: str) -> None:
    timer = Timer(clock)
    timer.set(1)
    timer.set(None)
    assert not is_readable(timer, within_ms=20)
    timer.close()


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_time_past_all_times_is_as_good_as_never(clock: str) -> None:
    end_of_time = datetime.fromisoformat("9999-12-31T23:59:59+00:00")
    timer = Timer(clock)
    for due_ns in (int(end_of_time.timestamp()) * 10**9, 2**63 - 1, 2**63, 2**80):
        timer.set(1)
        timer.set(due_ns)
        assert not is_readable(timer, within_ms=5)
    timer.close()


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_time_before_all_times_fires_at_once(clock: str) -> None:
    timer = Timer(clock)
    timer.set(-(2**80))
    assert is_readable(timer, within_ms=30_000)
    timer.close()


def test_a_timer_that_has_fired_fires_again_for_the_same_time() -> None:
    timer = Timer("elapsed")
    timer.set(1)
    timer.clear()
    timer.set(1)
    assert is_readable(timer, within_ms=30_000)
    timer.close()
