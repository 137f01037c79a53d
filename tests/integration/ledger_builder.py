"""A ledger with the rows that a test wants, written by plain SQL as a scheduler would write them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from taskman_cli.core.engine.runs import decode_run_id, encode_run_id
from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS

SECOND_NS = 1_000_000_000
#: 2026-11-24T04:00:00Z: seconds of a test count from here.
START_NS = 1_795_492_800 * SECOND_NS


class LedgerBuilder:
    """Writes a ledger, and keeps it open like a scheduler does. Instants are seconds after the start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(directory / "ledger.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript(
            "BEGIN;" + "".join(MIGRATIONS) + f"PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
        )

    def close(self) -> None:
        self.connection.close()

    def job(self, name: str, **definition: Any) -> None:
        text = json.dumps(definition or {"every_ns": SECOND_NS})
        self._insert("job_state", name=name, definition=text, since_ns=START_NS, anchor_ns=START_NS)

    def run(self, job: str, state: str = "succeeded", *, at: float = 0, **values: Any) -> str:
        """Write a run queued at that time, begun at once unless it is queued; return its id."""
        queued_ns = _ns(at)
        is_open = state in ("queued", "running")
        row = {
            "id": queued_ns >> 13,
            "job": self._job_id(job),
            "slot_ns": queued_ns,
            "trigger": "slot",
            "due_ns": queued_ns,
            "state": state,
            "queued_ns": queued_ns,
            "begun_ns": None if state in ("queued", "skipped") else queued_ns,
            "ended_ns": None if is_open else queued_ns + SECOND_NS,
            "ended_seq": None if is_open else self._next_end(),
        }
        self._insert("runs", **row | values)
        return encode_run_id(queued_ns >> 13)

    def attempt(
        self, run: str, state: str = "succeeded", *, task: str = "main", number: int = 1, at: float = 0,
        took: float | None = 1.5, **values: Any,
    ) -> None:  # fmt: skip
        """Write an attempt; one that is running has neither end nor exit code."""
        begun_ns = _ns(at)
        is_over = state != "running"
        row = {
            "run": decode_run_id(run),
            "task": task,
            "number": number,
            "state": state,
            "supervisor": 1,
            "begun_ns": begun_ns,
            "pid": 4711,
            "started_ns": begun_ns,
            "started_elapsed_ns": 5,
            "ended_ns": begun_ns + int((took or 0) * SECOND_NS) if is_over else None,
            "duration_ns": int(took * SECOND_NS) if is_over and took is not None else None,
            "exit_code": {"succeeded": 0, "failed": 3}.get(state),
            "cpu_s": 0.25 if is_over else None,
            "output_bytes": 0 if is_over else None,
            "detail": "exit 3" if state == "failed" else None,
        }
        self._insert("attempts", **row | values)

    def skip(
        self, job: str, reason: str = "overlap", *, at: float = 0, until: float | None = None, **values: Any
    ) -> None:
        """Write skips from `at` to `until`, of slots at the same times."""
        at_ns, to_ns = _ns(at), _ns(at if until is None else until)
        row = {
            "job": self._job_id(job),
            "slot_ns": at_ns,
            "slot_to_ns": to_ns,
            "count": 1,
            "reason": reason,
            "detail": "run 0 is not over",
            "at_ns": at_ns,
            "at_to_ns": to_ns,
        }
        self._insert("skips", **row | values)

    def event(self, kind: str, *, at: float = 0, **values: Any) -> None:
        if "run" in values:
            values["run"] = decode_run_id(values["run"])
        if "data" in values:
            values["data"] = json.dumps(values["data"])
        self._insert("events", at_ns=_ns(at), kind=kind, **values)

    def end(self, run: str, state: str = "succeeded", *, number: int = 1, is_last: bool = True) -> None:
        """Let the attempts of that number end, and the run unless another attempt follows."""
        self.connection.execute("BEGIN")
        self.connection.execute(
            "UPDATE attempts SET state = ?, ended_ns = begun_ns + 5 WHERE run = ? AND number = ?",
            (state, decode_run_id(run), number),
        )
        if is_last:
            self.end_run(run, state)
        self.connection.execute("COMMIT")

    def end_run(self, run: str, state: str) -> None:
        self.connection.execute(
            "UPDATE runs SET state = ?, ended_ns = queued_ns + 5, ended_seq = ? WHERE id = ?",
            (state, self._next_end(), decode_run_id(run)),
        )

    def _next_end(self) -> int:
        found: int = self.connection.execute("SELECT coalesce(max(ended_seq), 0) + 1 FROM runs").fetchone()[0]
        return found

    def output_path(self, job: str, run: str, *, task: str = "main", number: int = 1) -> Path:
        """Return where an attempt's output is, with the directory made."""
        path = self.directory / "output" / job / f"{run}.{task}.{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _job_id(self, name: str) -> int:
        found = self.connection.execute("SELECT id FROM job_state WHERE name = ?", (name,)).fetchone()
        if found is None:
            self.job(name)
            return self._job_id(name)
        id_: int = found[0]
        return id_

    def _insert(self, table: str, **values: Any) -> None:
        marks = ", ".join("?" * len(values))
        self.connection.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
        )


def _ns(seconds: float) -> int:
    return START_NS + int(seconds * 1000) * (SECOND_NS // 1000)
