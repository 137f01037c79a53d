"""The latest result of each job in a few words: that of its latest run, or its series of failed runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.cli.render import note
from taskman_cli.core.model import State
from taskman_cli.errors import TaskmanError
from taskman_cli.ui.alarms import count_words, why_words
from taskman_cli.ui.amounts import ago, duration
from taskman_cli.ui.signs import SIGNS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskman_cli.ledger.queries.results import LastResult

#: Colours of the signs that a result begins with.
SIGN_COLOURS = {
    SIGNS[State.SUCCEEDED]: "green",
    SIGNS[State.FAILED]: "red",
    SIGNS[State.TIMED_OUT]: "magenta",
    SIGNS[State.CANCELLED]: "magenta",
    SIGNS[State.LOST]: "red",
}


def read_results(directory: Path, job: str = "") -> dict[str, LastResult]:
    """Read how the latest run of each job, or of one, ended; if the ledger cannot be read, say so."""
    from taskman_cli.ledger.queries.reader import NoLedger, reading
    from taskman_cli.ledger.queries.results import last_results

    try:
        with reading(directory) as ledger:
            return last_results(ledger, job)
    except NoLedger:
        return {}  # the scheduler has lost it, and will make another
    except TaskmanError as error:
        note(f"the latest results are unknown: {error}")
    return {}


def result_words(last: LastResult | None, failing: Mapping[str, Any] | None, *, now_ns: int) -> str:
    """Return the result in words: "✓ 2m ago 12s", "✗ ×12 exit 1"; "" if there is none."""
    if failing is not None:
        state = State(failing["state"])
        count = count_words(failing["failures"], is_more=failing["is_more"])
        return f"{SIGNS[state]} {count} {why_words(failing['task'], state, failing['detail'])}"
    if last is None:
        return ""
    when = ago(now_ns - last.ended_ns)
    if last.state is State.SUCCEEDED:
        took = "" if last.duration_ns is None else f" {duration(last.duration_ns)}"
        return f"{SIGNS[last.state]} {when}{took}"
    return f"{SIGNS[last.state]} {why_words(last.task, last.state, last.detail)}, {when}"


def result_item(last: LastResult | None) -> dict[str, Any] | None:
    """Return the result as JSON values."""
    from taskman_cli.cli.support.reply_times import moment
    from taskman_cli.core.clock import SECOND_NS

    if last is None:
        return None
    return {
        "run": last.run,
        "task": last.task,
        "state": last.state,
        "detail": last.detail,
        "ended_at": moment(last.ended_ns),
        "duration_s": None if last.duration_ns is None else last.duration_ns / SECOND_NS,
    }
