"""Hundreds of random histories of deliveries, with the real cursors on a simulated machine.

With `TASKMAN_SEED=N` it plays that history again, with `TASKMAN_SEEDS=N` so many.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from unit.simulated_deliveries import play

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = int(os.environ.get("TASKMAN_SEEDS", "200"))
FIRST = int(os.environ.get("TASKMAN_SEED", "0"))
LAST = FIRST + 1 if "TASKMAN_SEED" in os.environ else SEEDS
PARTS = max(2, SEEDS // 100)

pytestmark = pytest.mark.no_cover  # counting lines would make it three times as long


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let what sinks say not fill the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_sink_is_told_all_in_order_whatever_dies(part: int) -> None:
    for seed in range(FIRST + part, LAST, PARTS):
        try:
            play(seed)
        except BaseException as error:
            pytest.fail(f"TASKMAN_SEED={seed} plays it again: {type(error).__name__}: {error}")


def test_the_histories_have_all_that_may_happen_to_a_delivery() -> None:
    machines = [play(seed) for seed in range(FIRST, FIRST + 100)]
    arrived = [item for machine in machines for items in machine.arrived.values() for item in items]
    digests = [
        key for machine in machines for key, seqs in filter(None, machine.arrived["digest"]) if len(seqs) > 1
    ]
    assert len(digests) > len(set(digests))
    assert sum(item is not None for item in arrived) > 100
    assert None in arrived
    assert any(machine.crashes for machine in machines)
    assert any(machine.ledgers for machine in machines)
    assert any(any(machine.dropped.values()) for machine in machines)
    assert any(any(machine.disk.told.refused.values()) for machine in machines)
