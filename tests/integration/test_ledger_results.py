"""The latest results on record, and the series of failed runs, with real rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from integration.ledger_builder import SECOND_NS, START_NS, LedgerBuilder

from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import State
from taskman_cli.ledger.queries import results
from taskman_cli.ledger.queries.reader import reading
from taskman_cli.ledger.queries.results import LastResult, last_results, read_failing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskman_cli.core.engine.view import Failing


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path / "state")
    yield builder
    builder.close()


def failing_of(ledger: LedgerBuilder) -> dict[str, Failing]:
    with reading(ledger.directory) as connection:
        return {row.job: row for row in read_failing(connection)}


def results_of(ledger: LedgerBuilder, job: str = "") -> dict[str, LastResult]:
    with reading(ledger.directory) as connection:
        return last_results(connection, job)


def failed(ledger: LedgerBuilder, job: str, *, at: float, state: str = "failed", **data: object) -> str:
    """Write a failed run, with its line in the journal."""
    run = ledger.run(job, state, at=at)
    ledger.attempt(run, state, at=at)
    (seq,) = ledger.connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM events").fetchone()
    ledger.event("finished", at=at, job=job, run=run, state=state, data=data)
    ledger.connection.execute("UPDATE runs SET ended_seq = ? WHERE id = ?", (seq, decode_run_id(run)))
    return run


def test_the_latest_run_that_is_over_is_the_result_of_a_job(ledger: LedgerBuilder) -> None:
    for at, state in ((0, "succeeded"), (10, "failed"), (20, "skipped"), (30, "running"), (40, "queued")):
        run = ledger.run("job", state, at=at)
        if state == "failed":
            ledger.attempt(run, state, at=at)
            latest = run
    done = ledger.run("other", at=5)
    ledger.attempt(done, at=5)
    ledger.job("new")
    assert results_of(ledger) == {
        "job": LastResult(
            "job", latest, "main", State.FAILED, "exit 3", START_NS + 11 * SECOND_NS, 1_500_000_000
        ),
        "other": LastResult(
            "other", done, "main", State.SUCCEEDED, "", START_NS + 6 * SECOND_NS, 1_500_000_000
        ),
    }
    assert [*results_of(ledger, "other")] == ["other"]
    assert results_of(ledger, "caf\udce9") == {}


def test_runs_count_in_the_order_in_which_they_ended(ledger: LedgerBuilder) -> None:
    ledger.run("job", "failed", at=0, ended_seq=7)
    ledger.run("job", "succeeded", at=10, ended_seq=6)
    assert [row.state for row in results_of(ledger).values()] == [State.FAILED]
    assert [row.failures for row in failing_of(ledger).values()] == [1]


def test_of_several_tasks_the_first_that_ended_as_the_run_did_is_told(ledger: LedgerBuilder) -> None:
    run = ledger.run("job", "failed", at=0)
    ledger.attempt(run, "succeeded", task="a", at=0)
    ledger.attempt(run, "failed", task="c", at=0.2, detail="exit 9")
    ledger.attempt(run, "failed", task="b", at=0.1, detail="exit 1")
    ledger.attempt(run, "failed", task="b", number=2, at=0.5, detail="exit 2")
    [last] = results_of(ledger).values()
    assert (last.task, last.detail, last.duration_ns) == ("b", "exit 2", SECOND_NS)
    [failing] = failing_of(ledger).values()
    assert (failing.task, failing.detail) == ("b", "exit 2")


def test_the_journal_counts_what_retention_has_removed(ledger: LedgerBuilder) -> None:
    failed(ledger, "job", at=10, failures=11, since_ns=77)
    latest = failed(ledger, "job", at=20, failures=12, since_ns=77)
    failing = failing_of(ledger)["job"]
    assert (failing.run, failing.failures, failing.since_ns, failing.is_more) == (latest, 12, 77, False)


def test_what_the_journal_does_not_count_is_counted_on_from_what_it_does(ledger: LedgerBuilder) -> None:
    failed(ledger, "job", at=10, failures=11, since_ns=77)
    failed(ledger, "job", at=20)
    failed(ledger, "job", at=30, state="lost")
    failed(ledger, "fresh", at=11)
    failed(ledger, "fresh", at=21)
    ledger.run("ended", at=6)
    failed(ledger, "ended", at=12)
    ledger.run("ended", "cancelled", at=15)
    failed(ledger, "ended", at=22, state="timed_out")
    told = {name: (row.failures, row.is_more, row.state) for name, row in failing_of(ledger).items()}
    assert told == {
        "job": (13, False, State.LOST),
        # All runs on record failed: there may have been more before them.
        "fresh": (2, True, State.FAILED),
        "ended": (2, False, State.TIMED_OUT),
    }


def test_a_job_that_is_not_defined_any_more_and_one_whose_run_succeeded_do_not_fail(
    ledger: LedgerBuilder,
) -> None:
    failed(ledger, "gone", at=10)
    ledger.connection.execute("UPDATE job_state SET removed_ns = 5")
    failed(ledger, "well", at=11)
    ledger.run("well", at=20)
    ledger.run("well", "cancelled", at=30)
    assert failing_of(ledger) == {}
    assert [*results_of(ledger)] == ["well"]


@pytest.mark.parametrize("data", ['{"failures": 3}', "[" * 5000, "[1]", '{"failures": "3"}', '"', "7"])
def test_a_line_of_the_journal_that_nobody_can_read_breaks_nothing(ledger: LedgerBuilder, data: str) -> None:
    failed(ledger, "job", at=10)
    failed(ledger, "other", at=11, failures=2, since_ns=5)
    ledger.connection.execute("UPDATE events SET data = ? WHERE job = 'job'", (data,))
    assert failing_of(ledger)["other"].failures == 2
    assert results_of(ledger)["job"].state == State.FAILED


def test_a_row_that_nobody_can_read_is_left_out(ledger: LedgerBuilder) -> None:
    failed(ledger, "job", at=10)
    failed(ledger, "other", at=11, failures=2, since_ns=5)
    ledger.connection.execute("PRAGMA ignore_check_constraints = ON")
    ledger.connection.execute(
        "UPDATE runs SET state = 'danced' WHERE job = (SELECT id FROM job_state LIMIT 1)"
    )
    assert [*failing_of(ledger)] == ["other"]
    assert [*results_of(ledger)] == ["other"]


def test_a_long_series_is_counted_up_to_a_limit(
    ledger: LedgerBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_COUNTED", 3)
    for at in range(5):
        failed(ledger, "job", at=at)
    failing = failing_of(ledger)["job"]
    assert (failing.failures, failing.is_more) == (3, True)


def test_a_job_costs_one_look_up_however_many_runs_it_has(ledger: LedgerBuilder) -> None:
    for at in range(6):
        ledger.run("ab"[at % 2], "failed", at=at)
    for query, values in ((results._LATEST, ("",)), (results._FAILING, ()), (results._SERIES, (1, 5))):
        plan = [row[3] for row in ledger.connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        assert [line for line in plan if "TEMP B-TREE" in line] == []
        assert [line for line in plan if "runs_ended (job=?" in line] != []


def test_all_series_together_are_counted_up_to_a_limit(
    ledger: LedgerBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_ROWS", 4)
    for at in range(9):
        failed(ledger, "abc"[at % 3], at=at)
    assert [(row.failures, row.is_more) for row in failing_of(ledger).values()] == [
        (3, True),
        (1, True),
        (1, True),
    ]
