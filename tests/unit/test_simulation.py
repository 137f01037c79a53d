"""The laws of the scheduler over thousands of histories with crashes, clock steps and full disks.

`TASKMAN_SEED=N pytest tests/unit/test_simulation.py` plays one history again; `TASKMAN_SEEDS=N`: so many.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from unit.simulation import Unlawful, play

if TYPE_CHECKING:
    from collections.abc import Iterator

#: `make torture` plays 10,000. Of nine faults put into the engine at random, seven showed within 20, the last
#: after 759.
SEEDS = int(os.environ.get("TASKMAN_SEEDS", "1000"))
FIRST = int(os.environ.get("TASKMAN_SEED", "0"))
LAST = FIRST + 1 if "TASKMAN_SEED" in os.environ else SEEDS
#: Histories over years take seven times as long.
YEARS = LAST if "TASKMAN_SEED" in os.environ else (LAST + 7) // 8
#: Histories of herds take twice as long.
HERDS = LAST if "TASKMAN_SEED" in os.environ else (LAST + 7) // 8
BOTH = LAST if "TASKMAN_SEED" in os.environ else (LAST + 39) // 40
CHUNK = 250


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let full disks not fill the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.no_cover  # counting lines would make it three times as long; the other tests reach them all
@pytest.mark.parametrize("first", range(FIRST, LAST, CHUNK))
def test_nothing_is_lost_and_nothing_is_done_twice_whatever_dies_when(first: int) -> None:
    play_all(first, LAST)


@pytest.mark.no_cover  # faults put into what is done about such clocks show within 120 of these
@pytest.mark.parametrize("first", range(FIRST, YEARS, CHUNK))
def test_a_clock_that_is_wrong_by_years_and_put_right_leaves_nothing_behind(first: int) -> None:
    play_all(first, YEARS, has_years=True)


@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(FIRST, HERDS, CHUNK))
def test_every_slot_of_a_herd_is_decided_on_once_wherever_a_crash_cuts_it(first: int) -> None:
    play_all(first, HERDS, has_herd=True)


@pytest.mark.no_cover  # a fault put into what is done about such marks shows within 20 of these
@pytest.mark.parametrize("first", range(FIRST, BOTH, CHUNK))
def test_what_is_decided_of_a_herd_by_a_clock_that_is_wrong_by_years_is_put_right(first: int) -> None:
    play_all(first, BOTH, has_herd=True, has_years=True)


def test_crashes_cut_herds() -> None:
    assert sum(play(seed, has_herd=True).halves for seed in range(20)) >= 10


def play_all(first: int, last: int, **options: bool) -> None:
    for seed in range(first, min(first + CHUNK, last)):
        try:
            play(seed, **options)
        except (Exception, Unlawful) as error:
            pytest.fail(f"TASKMAN_SEED={seed} plays it again: {type(error).__name__}: {error}")
