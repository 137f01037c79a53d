"""Rows of a wrong clock: it was hours ahead when they were made, and was corrected since.

Ids and numbers only grow, so such rows come before later ones, but with later times. A search for a point in
time must leave them out, or it finds a wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.runs import run_number

if TYPE_CHECKING:
    import sqlite3

#: The last instant that the ledger can contain, in the year 2262.
LAST_NS = 2**63 - 1
#: How many skips of a job are checked for times in the future.
_MAX_SKIPS = 1_000


def horizon_of(ledger: sqlite3.Connection, instant_ns: int = 0) -> int:
    """Return the latest time that rows around an instant can have: hours after the last line of the journal.

    For an instant beyond that there is no limit: the question is about what was recorded by the wrong clock.
    """
    last = ledger.execute("SELECT at_ns FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    if last is None:
        return LAST_NS
    horizon_ns = min(int(last[0]) + MAX_STEP_BACK_NS, LAST_NS)
    return LAST_NS if instant_ns > horizon_ns else horizon_ns


def is_displaced(ledger: sqlite3.Connection, job: int) -> bool:
    """Tell whether ids of a job's runs, which are times, are ahead of the clock."""
    (last,) = ledger.execute("SELECT max(id) FROM runs WHERE job = ?", (job,)).fetchone()
    return last is not None and int(last) > run_number(horizon_of(ledger), last=-1)


@dataclass(frozen=True, slots=True)
class Detour:
    """A period in which the clock was ahead, and which is over."""

    #: Rows with later times are from that period.
    horizon_ns: int
    #: When the clock was corrected, by the corrected clock.
    over_ns: int

    def rank(self, at_ns: int) -> int:
        """Return where a row with this time is: 2 after the detour, 1 within it, 0 before."""
        return 1 if at_ns > self.horizon_ns else 2 if at_ns >= self.over_ns else 0


def detour_of(ledger: sqlite3.Connection) -> Detour | None:
    """Return the detour that rows of the ledger are from; None: their times are in order."""
    horizon_ns = horizon_of(ledger)
    (last_run,) = ledger.execute("SELECT max(id) FROM runs").fetchone()
    (skipped_ns,) = ledger.execute(
        "SELECT max(at_to_ns) FROM (SELECT at_to_ns FROM skips ORDER BY id DESC LIMIT ?)", (_MAX_SKIPS,)
    ).fetchone()
    if (last_run or 0) <= run_number(horizon_ns, last=-1) and (skipped_ns or 0) <= horizon_ns:
        return None
    # The line of the journal after the last one of the detour says when; it may not be kept any more.
    found = [
        ledger.execute(
            f"SELECT {time} FROM {table} WHERE {key} > (SELECT max({key}) FROM {table} WHERE {time} > ?)"  # noqa: S608
            f" ORDER BY {key} LIMIT 1",
            (horizon_ns,),
        ).fetchone()
        for table, key, time in (
            ("events", "seq", "at_ns"), ("runs", "id", "queued_ns"), ("skips", "id", "at_to_ns"),
        )
    ]  # fmt: skip
    return Detour(horizon_ns, min((int(row[0]) for row in found if row), default=horizon_ns))


def latest_ahead(ledger: sqlite3.Connection, job: int, *, now_ns: int) -> int | None:
    """Return the latest time of a job's runs and skips that is hours in the future; None: there is none."""
    until_ns = min(now_ns + MAX_STEP_BACK_NS, LAST_NS)
    (queued_ns,) = ledger.execute(
        "SELECT max(queued_ns) FROM runs WHERE job = ? AND id >= ? AND queued_ns > ?",
        (job, run_number(until_ns, last=-1), until_ns),
    ).fetchone()
    (skipped_ns,) = ledger.execute(
        "SELECT max(at_to_ns) FROM (SELECT at_to_ns FROM skips WHERE job = ? ORDER BY id DESC LIMIT ?)"
        " WHERE at_to_ns > ?",
        (job, _MAX_SKIPS, until_ns),
    ).fetchone()
    return max((at_ns for at_ns in (queued_ns, skipped_ns) if at_ns is not None), default=None)
