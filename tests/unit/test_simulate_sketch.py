"""Quantiles in little room: right to one percent, however many durations there are."""

from __future__ import annotations

import random

from taskman_cli.simulate.sketch import Sketch


def test_without_durations_there_is_nothing() -> None:
    sketch = Sketch()
    assert (sketch.count, sketch.quantile(0.95), sketch.worst_ns) == (0, 0, 0)


def test_what_did_not_wait_counts_as_nothing() -> None:
    sketch = Sketch()
    for duration_ns in (0, 0, -5, 1_000_000):
        sketch.add(duration_ns)
    assert (sketch.quantile(0.5), sketch.quantile(0.75), sketch.worst_ns) == (0, 0, 1_000_000)
    assert abs(sketch.quantile(1) / 1_000_000 - 1) < 0.011


def test_quantiles_are_right_to_one_percent_in_a_room_that_does_not_grow() -> None:
    chance = random.Random(1)
    durations = sorted(int(chance.lognormvariate(20, 3)) + 1 for _ in range(20_000))
    sketch = Sketch()
    for duration_ns in durations:
        sketch.add(duration_ns)
    for share in (0.01, 0.5, 0.95, 0.999):
        exact = durations[-(-int(share * 20_000 * 1000) // 1000) - 1]
        assert abs(sketch.quantile(share) / exact - 1) < 0.011
    assert sketch.quantile(1) <= sketch.worst_ns == durations[-1]
    assert len(sketch._counts) < 2000
