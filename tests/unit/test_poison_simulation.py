"""The laws of the scheduler where a handler raises: no item ends it twice, and nothing else suffers.

Each handler of each table raises once, and then each time that it meets the same item. With `TASKMAN_SEED=N`
that history alone is played, with `TASKMAN_SEEDS=N` about so many, over all handlers.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from unit.simulated_poison import play_cursed, points
from unit.simulation import Unlawful

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = int(os.environ.get("TASKMAN_SEED", "0"))
SEEDS = range(FIRST, FIRST + (1 if "TASKMAN_SEED" in os.environ else 200))
#: After so many histories, one in which the handler has raised is enough; there are some two hundred tests.
ENOUGH = max(1, int(os.environ.get("TASKMAN_SEEDS", "600")) // 200)
#: What is of no single item, and comes again and again: no scheduler can do without it. While the disk is
#: full, each start is held; then nothing could start anyway, and the next scheduler comes after a pause.
OF_ALL = {"engine:JobsLoaded", "engine:Tick", "engine:StartHeld"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let what is set aside not fill the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.no_cover
@pytest.mark.parametrize("point", points())
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "each time"])
def test_a_handler_that_raises_ends_no_more_than_what_it_was_at(point: str, is_lasting: bool) -> None:
    if is_lasting and point in OF_ALL:
        pytest.skip("this is no single item that could be set aside")
    strikes = 0
    for seed in SEEDS:
        if seed >= FIRST + ENOUGH and strikes:
            break
        try:
            strikes += play_cursed(seed, point, is_lasting=is_lasting)
        except (Exception, Unlawful) as error:
            pytest.fail(f"TASKMAN_SEED={seed} plays it again: {type(error).__name__}: {error}")
    assert strikes or len(SEEDS) == 1, "it has raised"
