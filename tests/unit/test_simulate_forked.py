"""How many players share a scenario, and how far it seems to be."""

from __future__ import annotations

import pytest

from taskman_cli.cli.support.simulated import most_players
from taskman_cli.core.engine.admission import Signals
from taskman_cli.simulate.forked import _with_others

MIB = 1 << 20


@pytest.mark.parametrize(
    ("cpus", "available_bytes", "own_bytes", "most"),
    [
        (8, None, 100 * MIB, 8),
        (8, 100_000 * MIB, 100 * MIB, 8),
        (1.5, None, 100 * MIB, 1),
        (0.1, None, 100 * MIB, 0),
        (8, 300 * MIB, 100 * MIB, 2),
        (8, 299 * MIB, 100 * MIB, 1),
        (8, 0, 100 * MIB, 1),
        (8, 600 * MIB, 1 * MIB, 4),
    ],
)
def test_each_player_finds_a_cpu_and_memory(
    cpus: float, available_bytes: int | None, own_bytes: int, most: int
) -> None:
    assert most_players(Signals(cpus, available_bytes=available_bytes), own_bytes) == most


def test_what_seems_done_never_goes_back_and_never_stops_before_the_end() -> None:
    shown: list[float] = []
    watch = _with_others(shown.append, 0.4)
    for percent in range(101):
        watch(percent / 100)
    assert shown == sorted(set(shown))
    assert shown[40] == pytest.approx(0.9)
    assert shown[-1] == pytest.approx(1.0)
    assert all(seems >= percent / 100 for percent, seems in enumerate(shown))
