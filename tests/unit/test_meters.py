"""How full the scheduler's queues are, and the most that was in each."""

from __future__ import annotations

from taskman_cli.core.engine.view import Depth
from taskman_cli.scheduler.meters import Depths, Meters


def test_a_queue_is_told_with_the_most_that_was_in_it_when_the_loop_looked() -> None:
    depths, queue = Depths(), [1, 2, 3]
    depths.watch("lines", lambda: len(queue))
    depths.watch("frames", lambda: 5, is_bytes=True)
    depths.look()
    queue.clear()
    assert depths.rows() == [Depth("lines", 0, 3, is_bytes=False), Depth("frames", 5, 5, is_bytes=True)]


def test_a_queue_that_is_gone_is_not_told_and_one_of_its_name_begins_anew() -> None:
    depths = Depths()
    depths.watch("sink.ops", lambda: 7)
    depths.look()
    depths.forget("sink.ops")
    depths.forget("sink.ops")
    assert depths.rows() == []
    depths.watch("sink.ops", lambda: 1)
    assert depths.rows() == [Depth("sink.ops", 1, 1, is_bytes=False)]


def test_the_loop_looks_in_the_first_turn_of_a_burst_and_then_every_ten_milliseconds() -> None:
    depths, queue = Depths(), [1]
    looks: list[int] = []
    depths.watch("lines", lambda: looks.append(1) or len(queue))  # type: ignore[func-returns-value]
    for elapsed_ns in (0, 1_000_000, 9_999_999, 10_000_000, 10_000_001, 60_000_000):
        depths.turn(elapsed_ns)
    assert len(looks) == 3


def test_all_of_it_is_plain_data() -> None:
    meters = Meters()
    meters.commits.observe(5_000_000)
    told = meters.as_json()
    assert told["log_lines_dropped"] == 0
    assert sum(told["ledger_commit"]["counts"]) == 1
    assert told.keys() == {"queues", "ledger_commit", "loop_lag", "log_lines_dropped"}
