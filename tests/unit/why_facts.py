"""Facts made by hand, and what `why` makes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from taskman_cli.core.engine.definition import job_from
from taskman_cli.core.engine.runs import encode_run_id, run_number
from taskman_cli.insight.why import (
    Calendar,
    Diagnosis,
    diagnose,
    document,
    find_latest_slot,
    find_slot,
    paragraph,
    parse_time_query,
)
from taskman_cli.insight.why.facts import (
    AttemptFacts,
    EventFacts,
    JobFacts,
    RunFacts,
    SchedulerFacts,
    SkipFacts,
    SlotRecord,
)
from taskman_cli.insight.why.slots import Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONE = "Europe/Stockholm"


def ns(text: str) -> int:
    """Return the instant of an ISO 8601 time; without an offset it is in Stockholm."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(ZONE))
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


NOW = "2026-11-24T10:00"


def job(name: str = "backup", *, since: str = "2026-11-01T00:00", **definition: Any) -> JobFacts:
    """Make a job; a daily one at 02:30 unless its definition says something else."""
    columns = {key: definition.pop(key, None) for key in ("finish", "removed", "anchor", "run_count")}
    if not definition.keys() & {"cron", "every_ns", "at_ns", "reboot"}:
        definition |= {"cron": "30 2 * * *"}
    if "every_ns" not in definition:
        definition |= {"timezone": definition.get("timezone", ZONE)}
    return JobFacts(
        1, name, json.dumps(definition), ns(since), ns(columns["anchor"] or since),
        run_count=columns["run_count"] or 0,
        finish_ns=None if columns["finish"] is None else ns(columns["finish"]),
        removed_ns=None if columns["removed"] is None else ns(columns["removed"]),
    )  # fmt: skip


def run(slot: str | None, *, queued: str | None = None, state: str = "succeeded", **values: Any) -> RunFacts:
    """Make a run, with one attempt if it has begun; by default it was on time and took a second."""
    queued_ns = ns(queued or slot or NOW)
    is_over = state not in ("queued", "running")
    begun_ns = None if state == "queued" else ns(values.pop("begun")) if "begun" in values else queued_ns
    ended_ns = None if not is_over or begun_ns is None else begun_ns + 1_000_000_000
    started_ns = None if begun_ns is None else begun_ns + values.pop("spawn_ns", 2_000_000)
    attempts = values.pop("attempts", None)
    if attempts is None:
        attempts = () if begun_ns is None else (
            AttemptFacts(
                "main", 1, state, begun_ns, 4711, started_ns, ended_ns,
                exit_code=0 if state == "succeeded" else None,
            ),
        )  # fmt: skip
    slot_ns = None if slot is None else ns(slot)
    due_ns = ns(values.pop("due")) if "due" in values else queued_ns if slot_ns is None else slot_ns
    found = RunFacts(
        encode_run_id(run_number(queued_ns, last=0)), slot_ns, values.pop("trigger", "slot"), due_ns, state,
        queued_ns, begun_ns, ended_ns, values.pop("detail", ""), tuple(attempts),
    )  # fmt: skip
    assert not values, values
    return found


def skip(slot: str, reason: str, detail: str = "", *, at: str | None = None, **values: Any) -> SkipFacts:
    at_ns = ns(at or slot)
    return SkipFacts(
        ns(slot), ns(values.pop("to", slot)), values.pop("count", 1), reason, detail, at_ns,
        ns(values.pop("at_to")) if "at_to" in values else at_ns, **values,
    )  # fmt: skip


def event(at: str, kind: str, *, detail: str = "", **data: Any) -> EventFacts:
    return EventFacts(ns(at), kind, detail, data)


def why(
    facts: JobFacts,
    at: str | None = None,
    *,
    recorded: Recorded | Sequence[str] = (),
    latest: str | None = None,
    record: SlotRecord | None = None,
    before: SlotRecord | None = None,
    scheduler: SchedulerFacts | None = None,
    now: str = NOW,
) -> Diagnosis:
    """Answer, as the command does.

    `recorded` are the slots on record within the moment; `record` is that of the slot that is found, `before`
    that of `latest` where another one is found.
    """
    now_ns = ns(now)
    calendar = Calendar(job_from(facts.name, facts.definition), facts)
    if not isinstance(recorded, Recorded):
        recorded = Recorded(tuple(map(ns, recorded)))
    asked = None if at is None else parse_time_query(at, timezone=ZONE, now_ns=now_ns)
    if asked is None:
        sought = find_latest_slot(calendar, None if latest is None else ns(latest), now_ns=now_ns)
    else:
        sought = find_slot(calendar, asked, recorded)
    slots = {sought.slot_ns: record, sought.recorded_ns: before}
    records = {
        slot_ns: found for slot_ns, found in slots.items() if slot_ns is not None and found is not None
    }
    return diagnose(calendar, asked, sought, records, scheduler=scheduler or SchedulerFacts(), now_ns=now_ns)


def text(found: Diagnosis) -> str:
    return paragraph(found, ZoneInfo(ZONE))


def as_document(found: Diagnosis) -> dict[str, Any]:
    document_ = document(found, ZoneInfo(ZONE), text=text(found))
    json.dumps(document_)
    return document_
