"""What `why` says to do: by the cause of a failure, and what to type next."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from unit.why_facts import NOW, as_document, job, ns, run, skip, text, why

from taskman_cli.core.engine.definition import job_from
from taskman_cli.insight.why import Calendar, advice, diagnose, find_run_slot
from taskman_cli.insight.why.facts import AttemptFacts, SchedulerFacts, SlotRecord, WaitFacts

if TYPE_CHECKING:
    from taskman_cli.insight.why.facts import RunFacts

SLOT = "2026-11-24T02:30"


def failed(state: str = "failed", detail: str = "exit 1", task: str = "main", **values: object) -> RunFacts:
    attempt = AttemptFacts(task, 1, state, ns(SLOT), started_ns=ns(SLOT), detail=detail, **values)  # type: ignore[arg-type]
    return run(SLOT, state=state, attempts=(attempt,))


def told(
    found: RunFacts, task: str | None = None, *, is_running: bool | None = True
) -> list[tuple[str, str]]:
    answer = why(job(), SLOT, record=SlotRecord(found), scheduler=SchedulerFacts(is_running=is_running))
    return [(one.command, one.words) for one in advice(answer, task=task)]


@pytest.mark.parametrize("record", [SlotRecord(failed()), SlotRecord(None, skip(SLOT, "only_if"))])
def test_nothing_is_to_be_done_with_a_job_that_is_there_no_more(record: SlotRecord) -> None:
    for removed, is_there in ((None, True), (NOW, False)):
        found = advice(why(job(removed=removed), SLOT, recorded=[SLOT], record=record))
        commands = {one.command.split()[1] for one in found if one.command}
        assert bool(commands & {"test", "trigger", "resume", "show"}) is is_there


def words(found: RunFacts) -> str:
    return " / ".join(words for command, words in told(found) if not command)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (failed(detail="exit 127: command not found", exit_code=127), "not on the job's PATH"),
        (failed(detail="not found: frob"), "not on the job's PATH"),
        (failed(detail="exit 126: not executable", exit_code=126), "chmod +x"),
        (failed(detail="permission denied: ./x"), "chmod +x"),
        (failed(detail="killed by SIGSEGV", signal=signal.SIGSEGV), "has crashed"),
        (failed(detail="killed by SIGTERM", signal=signal.SIGTERM), "did not send that signal"),
        (failed(detail="exit 137 (over its memory limit of 1 GiB)", exit_code=137), "raise `limits.memory`"),
        (failed("timed_out", detail="killed by SIGTERM", signal=signal.SIGTERM), "longer than its `timeout`"),
        (failed("timed_out", task="only_if"), "raise `only_if_timeout`"),
        (failed("lost", detail=""), "on_crash"),
        (failed(output_error="disk full"), "disk is full"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_the_usual_cause_of_an_end_is_told(found: RunFacts, cause: str) -> None:
    assert cause in words(found)


def test_a_kill_that_taskman_did_not_send_leads_to_the_kernels_log() -> None:
    found = failed(detail="killed by SIGKILL", signal=signal.SIGKILL)
    assert [command for command, _ in told(found)] == [
        "journalctl -k",
        "taskman test backup",
        "taskman trigger backup",
    ]


def test_after_a_failure_there_is_its_output_a_trial_and_another_run() -> None:
    found = failed(output_bytes=5)
    assert [command for command, _ in told(found)] == [
        f"taskman log {found.id}", "taskman test backup", "taskman trigger backup",
    ]  # fmt: skip
    assert words(found) == ""
    of_task = failed(output_bytes=5, task="db")
    assert told(of_task, "db")[0][0] == f"taskman log {of_task.id}.db"
    assert [command for command, _ in told(of_task, "web")] == [
        "taskman test backup",
        "taskman trigger backup",
    ]


def test_after_a_success_there_is_only_its_output() -> None:
    assert told(run(SLOT)) == []
    good = failed("succeeded", "", output_bytes=5)
    assert [command for command, _ in told(good)] == [f"taskman log {good.id}"]


def test_a_run_that_never_began_can_be_repeated() -> None:
    assert told(run(SLOT, state="cancelled", attempts=())) == [
        ("taskman trigger backup", "runs it again now")
    ]
    assert [command for command, _ in told(run(SLOT, state="lost", attempts=()))] == [
        "", "taskman test backup", "taskman trigger backup"
    ]  # fmt: skip


def test_without_a_scheduler_one_is_started_first() -> None:
    commands = [command for command, _ in told(failed(), is_running=False)]
    assert commands == ["taskman run FILE", "taskman test backup"]


def test_a_run_that_goes_on_can_be_followed_or_ended() -> None:
    going, waiting = run(SLOT, state="running"), run(SLOT, state="queued")
    assert [command for command, _ in told(going)] == [
        f"taskman log -f {going.id}",
        f"taskman cancel {going.id}",
    ]
    assert [command for command, _ in told(waiting)] == ["taskman status", f"taskman cancel {waiting.id}"]


@pytest.mark.parametrize(
    ("reason", "commands"),
    [
        ("overlap", ["taskman why 1234567890", "", "taskman trigger backup"]),
        ("paused", ["taskman resume backup", "taskman trigger backup"]),
        (
            "parked",
            ["taskman history backup --state failed", "taskman resume backup", "taskman trigger backup"],
        ),
        ("disabled", ["taskman reload", "taskman trigger backup"]),
        ("missed", ["", "taskman trigger backup"]),
        ("late", ["", "taskman trigger backup"]),
        ("other", ["taskman trigger backup"]),
    ],
)
def test_what_to_do_about_a_skip_depends_on_its_reason(reason: str, commands: list[str]) -> None:
    blocker = "1234567890" if reason == "overlap" else None
    answer = why(job(), SLOT, record=SlotRecord(skip=skip(SLOT, reason, blocker_id=blocker)))
    assert [one.command for one in advice(answer)] == commands


def test_an_overlap_without_the_run_in_the_way_names_none() -> None:
    answer = why(job(), SLOT, record=SlotRecord(skip=skip(SLOT, "overlap")))
    assert [one.command for one in advice(answer)] == ["", "taskman trigger backup"]


def test_what_has_no_slot_or_no_record_leads_elsewhere() -> None:
    assert advice(why(job(), "03:00")) == []
    assert advice(why(job(), "2026-11-25T02:30")) == []
    unseen = why(job(), SLOT, scheduler=SchedulerFacts(ns("2026-11-23T00:00")))
    assert [one.command for one in advice(unseen)] == ["taskman doctor"]
    old = why(job(), SLOT, scheduler=SchedulerFacts(ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-24T08:00")))
    assert [one.command for one in advice(old)] == ["taskman history backup"]


# --- the latest run ---


def test_a_run_of_any_kind_is_explained_as_the_latest() -> None:
    facts, now_ns = job(), ns("2026-11-24T10:00")
    calendar = Calendar(job_from(facts.name, facts.definition), facts)
    by_hand = run(None, queued="2026-11-24T09:00", trigger="manual")
    sought = find_run_slot(calendar, by_hand.due_ns, now_ns=now_ns)
    found = diagnose(
        calendar,
        None,
        sought,
        {by_hand.due_ns: SlotRecord(by_hand)},
        scheduler=SchedulerFacts(),
        now_ns=now_ns,
    )
    assert found.run == by_hand
    assert text(found).startswith(f"backup ran as run {by_hand.id}, triggered on demand, at ")
    assert "The next slot is Wed 2026-11-25 02:30:00, in 16h30m." in text(found)
    assert as_document(found)["run"] == by_hand.id


def test_after_a_skip_the_latest_run_is_told_too() -> None:
    facts, now_ns = job(), ns("2026-11-24T10:00")
    calendar = Calendar(job_from(facts.name, facts.definition), facts)
    before = run("2026-11-23T02:30", state="failed")
    slot_ns = ns(SLOT)
    found = diagnose(
        calendar,
        None,
        find_run_slot(calendar, slot_ns, now_ns=now_ns),
        {slot_ns: SlotRecord(skip=skip(SLOT, "paused")), before.due_ns: SlotRecord(before)},
        scheduler=SchedulerFacts(),
        now_ns=now_ns,
        latest_ns=before.due_ns,
    )
    assert found.run == before
    assert "Its latest run: backup ran for its slot Mon 2026-11-23 02:30:00" in text(found)
    assert why(job(), "03:00").run is None


def test_a_series_of_failed_runs_is_told() -> None:
    from dataclasses import replace

    found = replace(failed(), failures=12, failing_since_ns=ns("2026-11-12T02:31"))
    assert "That made 12 failed runs in a row, since Thu 2026-11-12 02:31:00" in text(
        why(job(), SLOT, record=SlotRecord(found))
    )
    unknown = replace(failed(), failures=2)
    assert "That made 2 failed runs in a row." in text(why(job(), SLOT, record=SlotRecord(unknown)))


def test_a_run_that_waits_for_an_executor_leads_to_how_that_stands() -> None:
    waiting = run(SLOT, state="queued")
    waits = {waiting.id: (WaitFacts(None, "executor", "for executor far: no connection"),)}
    answer = why(
        job(), SLOT, record=SlotRecord(waiting), scheduler=SchedulerFacts(is_running=True, waits=waits)
    )
    assert advice(answer)[0].command == "taskman status --executors"
