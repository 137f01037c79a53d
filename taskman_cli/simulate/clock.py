"""Virtual time: both clocks as a value, and when an engine wants to be woken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.clock import Now

if TYPE_CHECKING:
    from taskman_cli.core.engine.engine import Engine


def later(now: Now, length_ns: int) -> Now:
    """Return the moment so much later on both clocks."""
    wall_ns, elapsed_ns = now
    return Now(wall_ns + length_ns, elapsed_ns + length_ns)


def stepped(now: Now, delta_ns: int) -> Now:
    """Return the same moment after the wall clock was set."""
    return Now(now.wall_ns + delta_ns, now.elapsed_ns)


def next_wake(engine: Engine, now: Now) -> int | None:
    """Return when an engine wants its next tick, on the elapsed clock as it runs now, or None."""
    wall_ns, elapsed_ns = engine.next_wake()
    if wall_ns is None:
        return elapsed_ns
    now_wall_ns, now_elapsed_ns = now
    wall_ns += now_elapsed_ns - now_wall_ns
    return wall_ns if elapsed_ns is None or wall_ns < elapsed_ns else elapsed_ns


def is_tick_due(engine: Engine, now: Now) -> bool:
    """Tell whether an engine wants a tick by now."""
    due_ns = next_wake(engine, now)
    return due_ns is not None and due_ns <= now.elapsed_ns
