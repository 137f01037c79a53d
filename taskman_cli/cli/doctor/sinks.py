"""Check of the sinks: whether results reach those who are to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.cli.doctor.result import CheckResult, ok, warn
from taskman_cli.cli.support.sink_words import trouble_of
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.store import NAME

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S = 1.0


def look_at_sinks(directory: Path) -> list[dict[str, Any]]:
    """Ask the scheduler, or else the ledger, how the sinks stand."""
    from taskman_cli.control.client import connect
    from taskman_cli.core.protocol import Status

    try:
        with connect(directory, patience_s=_ANSWER_S) as connection:
            found = connection.ask(Status(), timeout_s=_ANSWER_S).get("sinks", [])
            return list(found)
    except TaskmanError:
        if not (directory / NAME).exists():
            return []
        from taskman_cli.ledger.queries.reader import reading
        from taskman_cli.ledger.reportqueue import sinks_on_record

        with reading(directory) as ledger:
            return sinks_on_record(ledger)


def judge_sinks(found: list[dict[str, Any]], *, now_ns: int) -> CheckResult:
    """Judge whether deliveries fail, or have been given up."""
    troubles = [f"{item['sink']} {words}" for item in found if (words := trouble_of(item, now_ns))]
    if troubles:
        return warn(
            "; ".join(troubles), "taskman sinks shows more; taskman sinks test NAME tries one, and replay or "
            "skip deals with what was set aside"
        )  # fmt: skip
    if not found:
        return ok("there are none")
    return ok(f"{len(found):,} sink{'s' if len(found) > 1 else ''}, no delivery fails")
