"""A ledger written by hand, for tests of what is read from one: rows as the scheduler would add them."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.runs import encode_run_id, run_number
from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_NS = 1_000_000_000


def ns(text: str) -> int:
    """Return the instant of an ISO 8601 time; without an offset it is in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def in_ns(at: str | int | None) -> int | None:
    return ns(at) if isinstance(at, str) else at


class Ledger:
    """Rows, in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.connection = sqlite3.connect(directory / "ledger.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript("".join(MIGRATIONS))
        self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def close(self) -> None:
        self.connection.close()

    def insert(self, table: str, **values: Any) -> int:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        cursor = self.connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values())
        )
        return cursor.lastrowid or 0

    def job(self, name: str, *, since: str, anchor: str | None = None, **definition: Any) -> int:
        """Add a job; `removed`, `finish` and `run_count` are columns of its own."""
        own = {key: definition.pop(key, None) for key in ("removed", "finish")}
        return self.insert(
            "job_state", name=name, since_ns=ns(since), anchor_ns=ns(anchor or since),
            run_count=definition.pop("run_count", 0), removed_ns=in_ns(own["removed"]),
            finish_ns=in_ns(own["finish"]), definition=json.dumps(definition),
        )  # fmt: skip

    def run(self, job: int, slot: str | None, *, queued: str, state: str = "succeeded", **values: Any) -> str:
        """Add a run; its times are texts. Returns its id."""
        queued_ns = ns(queued)
        (last,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()
        number = run_number(queued_ns, last=last)
        slot_ns = in_ns(slot)
        due_ns = in_ns(values.pop("due", None)) or slot_ns or queued_ns
        self.insert(
            "runs", id=number, job=job, slot_ns=slot_ns, trigger=values.pop("trigger", "slot"), due_ns=due_ns,
            state=state, queued_ns=queued_ns, begun_ns=in_ns(values.pop("begun", None)),
            ended_ns=in_ns(values.pop("ended", None)), detail=values.pop("detail", None),
        )  # fmt: skip
        assert not values
        return encode_run_id(number)

    def attempt(
        self, run: str, *, number: int = 1, task: str = "main", state: str = "succeeded", **values: Any
    ) -> None:
        from taskman_cli.core.engine.runs import decode_run_id

        times = {f"{key}_ns": in_ns(values.pop(key, None)) for key in ("begun", "started", "ended")}
        self.insert(
            "attempts", run=decode_run_id(run), task=task, number=number, state=state, supervisor=1,
            **times, **values,
        )  # fmt: skip

    def finished(self, job: int, slot: str, *, took_s: float = 1, exit_code: int = 0, **values: Any) -> str:
        """Add a run of one attempt that started on time and ended."""
        end_ns = ns(slot) + int(took_s * SECOND_NS)
        state = "succeeded" if exit_code == 0 else "failed"
        run = self.run(job, slot, queued=slot, begun=slot, ended=end_ns, state=state, **values)
        detail = f"exit {exit_code}" if exit_code else None
        self.attempt(
            run, state=state, begun=slot, started=ns(slot) + 2_000_000, ended=end_ns, exit_code=exit_code,
            detail=detail, pid=4711,
        )  # fmt: skip
        return run

    def skip(self, job: int, slot: str, reason: str, detail: str, *, at: str, **values: Any) -> None:
        """Add a row of skipped slots."""
        from taskman_cli.core.engine.runs import decode_run_id

        runs = {
            key: None if values.get(key) is None else decode_run_id(values[key]) for key in ("run", "blocker")
        }
        self.insert(
            "skips", job=job, slot_ns=ns(slot), slot_to_ns=ns(values.get("to", slot)),
            count=values.get("count", 1), reason=reason, detail=detail, at_ns=ns(at),
            at_to_ns=ns(values.get("at_to", at)), **runs,
        )  # fmt: skip

    def event(self, at: str, kind: str, *, detail: str | None = None, **data: Any) -> None:
        """Add a line of the journal."""
        self.insert("events", at_ns=ns(at), kind=kind, detail=detail, data=json.dumps(data) if data else None)

    def accounted(self, until: str) -> None:
        self.connection.execute("UPDATE standing SET accounted_ns = ?", (ns(until),))
