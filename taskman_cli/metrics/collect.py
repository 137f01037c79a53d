"""Collects the figures of a running scheduler over its control socket, in portions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.protocol import CollectMetrics
from taskman_cli.errors import ControlError
from taskman_cli.metrics.families import Collected
from taskman_cli.metrics.processes import uses_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.control.client import Connection

#: How often a collection is begun again that the scheduler has given up, for a restart or for others.
_MOST_TRIES = 3


def collect(connection: Connection, *, timeout_s: float, also: Mapping[str, int] | None = None) -> Collected:
    """Collect all figures; each portion takes the scheduler's loop under a millisecond.

    `also` are further processes to tell of, by what they are.

    Raises ControlError or another TaskmanError if there is no answer, or an error.
    """
    for left in reversed(range(_MOST_TRIES)):
        try:
            return _collect(connection, timeout_s, also or {})
        except ControlError:
            if not left:
                raise
    raise AssertionError


def _collect(connection: Connection, timeout_s: float, also: Mapping[str, int]) -> Collected:
    reply = connection.ask(CollectMetrics(), timeout_s=timeout_s)
    whole, jobs = reply, list(reply["rows"])
    # Another scheduler may have taken over meanwhile: it does not know the number, and refuses.
    while (start := reply["next"]) is not None:
        reply = connection.ask(
            CollectMetrics(collection=whole["collection"], start=start), timeout_s=timeout_s
        )
        jobs += reply["rows"]
    return Collected(whole, jobs, uses_of(whole["pids"] | also))
