"""What does the next slot of a cron expression cost, against croniter alone?

The first slot is parsing and one step; the following ones are steps of what is parsed already. croniter
gets naive wall time and no zone, so it does less: it maps nothing to an instant and knows no clock change.
Ours is asked for instants in a zone that has clock changes, as the engine asks.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from croniter import croniter
from harness import Figure, in_turn, main, paired_ratio, print_report

from taskman_cli.core.schedule import parse_cron

if TYPE_CHECKING:
    from collections.abc import Callable

ZONE = "Europe/Stockholm"
START = datetime(2026, 3, 20, 12, 34, 56, tzinfo=UTC)
START_NS = int(START.timestamp()) * 1_000_000_000
#: croniter is given the wall time, as our own use of it does.
START_WALL = START.replace(tzinfo=None)

EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "17 * * * *",
    "30 2 * * *",
    "0 9-17 * * MON-FRI",
    "0 0 1 * *",
    "0 12 13 * FRI",
    "15,45 */6 1-7 * *",
    "0 0 29 2 *",
    "*/15 * * * * *",
)


def croniter_of(expression: str) -> croniter:
    """Parse with croniter, with the options that come closest to Debian's cron."""
    return croniter(
        expression,
        START_WALL,
        ret_type=datetime,
        implement_cron_bug=True,
        second_at_beginning=len(expression.split()) == 6,
    )


def timed(operation: Callable[[], object], times: int) -> float:
    """Return the µs that `operation` takes."""
    begun = time.perf_counter()
    for _ in range(times):
        operation()
    return (time.perf_counter() - begun) / times * 1e6


def first_of_croniter(expression: str, times: int) -> float:
    return timed(lambda: croniter_of(expression).get_next(), times)


def first_of_ours(expression: str, times: int) -> float:
    """Time each first slot with nothing remembered of the expression, only of the zone."""
    spent_us = 0.0
    for _ in range(times):
        forget_expressions()
        # Nothing holds the schedule after the call, so the next one parses again.
        spent_us += timed(lambda: parse_cron(expression, timezone=ZONE).next_after(START_NS), 1)
    return spent_us / times


def forget_expressions() -> None:
    """Empty every cache of `core.schedule`, except those of the zones, which are read once a process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("taskman_cli.core.schedule") and not name.endswith(".zones"):
            for value in vars(module).values():
                # The package's own functions only: a cache that was imported is emptied where it lives.
                if hasattr(value, "cache_clear") and value.__module__ == name:
                    value.cache_clear()


def following_of_croniter(expression: str, times: int) -> float:
    return timed(croniter_of(expression).get_next, times)


def following_of_ours(expression: str, times: int) -> float:
    schedule = parse_cron(expression, timezone=ZONE)
    slot_ns = START_NS

    def step() -> None:
        nonlocal slot_ns
        next_ns = schedule.next_after(slot_ns)
        assert next_ns is not None
        slot_ns = next_ns

    return timed(step, times)


def measure(quick: bool) -> None:
    """Measure every expression, croniter and ours in turn."""
    rounds, times = (3, 50) if quick else (7, 200)
    table = [["expression", "croniter first µs", "ours", "ratio", "croniter next µs", "ours", "ratio"]]
    ratios: dict[str, list[float]] = {"first": [], "following": []}
    for expression in EXPRESSIONS:
        measured = in_turn(
            rounds,
            {
                "first_floor": partial(first_of_croniter, expression, times),
                "first": partial(first_of_ours, expression, times),
                "following_floor": partial(following_of_croniter, expression, times),
                "following": partial(following_of_ours, expression, times),
            },
        )
        row = [expression]
        for operation, found in ratios.items():
            ours, floor = measured[operation], measured[f"{operation}_floor"]
            found.append(paired_ratio(ours, floor))
            row += [f"{statistics.median(floor):.1f}", f"{statistics.median(ours):.1f}", f"{found[-1]:.2f}"]
        table.append(row)
    figures = [Figure(f"next_slot.{name}", statistics.median(found)) for name, found in ratios.items()]
    print_report(
        "next slot of a cron expression; the ratios below are medians over the table", table, figures
    )


if __name__ == "__main__":
    main(measure, __doc__)
