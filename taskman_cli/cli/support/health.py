"""Whether a scheduler does what it is there for, for health checks of containers and monitors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.control.client import connect
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.protocol import Status
from taskman_cli.instance.silence import STOPPED, in_words, state_of
from taskman_cli.ui.amounts import span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long to wait for a scheduler that is just being restarted, and for the answer: less than 3 s together.
PATIENCE_S, ANSWER_S = 1.0, 1.5
#: A start that is later than this, or an answer that takes longer, means that the loop lags.
LATE_NS, SLOW_S = 2 * SECOND_NS, 1.0


class Problem(NamedTuple):
    """One thing that is not as it should be."""

    #: "ledger", "lag", "supervisor", "parked" or "overdue".
    kind: str
    #: The job that it is about, or None.
    job: str | None
    words: str


def look(directory: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Ask the scheduler, within 3 seconds, and return its status and what is wrong.

    Raises NoScheduler if none runs, or if it does not answer.
    """
    begin_s = time.monotonic()
    with connect(directory, patience_s=PATIENCE_S) as connection:
        asked_s = time.monotonic()
        reply = connection.ask(Status(), timeout_s=max(0.5, begin_s + PATIENCE_S + ANSWER_S - asked_s))
        answer_s = time.monotonic() - asked_s
    return reply, [*_stopped(reply["pid"]), *problems(reply, answer_s=answer_s)]


def _stopped(pid: int) -> Iterator[Problem]:
    if state_of(pid) in STOPPED:
        words = f"nothing starts, and no end is noticed: {in_words(pid, what='supervisor')}"
        yield Problem("supervisor", None, words)


def problems(reply: dict[str, Any], *, answer_s: float) -> Iterator[Problem]:
    """Yield what is wrong by the status of a scheduler that took `answer_s` to answer."""
    if reply["ledger"]:
        yield Problem("ledger", None, f"nothing starts, because it cannot be recorded: {reply['ledger']}")
    late_ns = max((reply["now_ns"] - row["due_ns"] for row in reply["next"]), default=0)
    if late_ns > LATE_NS and not reply["stopping"]:
        yield Problem("lag", None, f"the scheduler is {span(late_ns)} behind with what is due")
    elif answer_s > SLOW_S:
        yield Problem("lag", None, f"the scheduler took {answer_s:.1f} s to answer")
    now_ns = reply["now_ns"]
    # An older scheduler sends neither.
    for item in reply.get("parked", ()):
        park = item["park"]
        since = span(now_ns - park["since_ns"])
        yield Problem("parked", item["job"], f"{item['job']} has been parked for {since}: {park['reason']}")
    for item in reply.get("overdue", ()):
        since = span(now_ns - item["since_ns"])
        yield Problem("overdue", item["job"], f"{item['job']} is overdue: no success for {since}")
