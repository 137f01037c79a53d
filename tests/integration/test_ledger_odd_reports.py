"""Rows about sinks that are damaged are set aside one by one; what waits is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from integration.ledger_tables import second
from integration.test_ledger_unreadable import damage, open_ledger, rows

from taskman_cli.core.engine import effects
from taskman_cli.core.sinks import ReportKind
from taskman_cli.ledger.reportqueue import trim_reports

if TYPE_CHECKING:
    from pathlib import Path

    from taskman_cli.ledger.ledger import Ledger

NOW = second(100)


def told(kind: ReportKind = ReportKind.FAILED, **to: int) -> list[effects.Record]:
    """Return a line of the journal, and a report of it."""
    return [
        effects.SchedulerNoted("stalled"),
        effects.Reported(kind, tuple(to.items()), job="job", run="67avwsa1m4", detail="exit \udcff 3"),
    ]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a directory with a ledger of two sinks and three reports."""
    ledger = open_ledger(tmp_path)
    ledger.write(
        [
            effects.LifeBegun("this", 1), effects.Accounted(NOW.wall_ns),
            effects.SinksTaken(("ops", "mail")), *told(ops=1), *told(ops=3, mail=1), *told(mail=1),
            effects.SeriesNoted("job", "ops", "failed", NOW.wall_ns, 2, "67avwsa1m4"),
            effects.SinkDelivered("ops", 1, NOW.wall_ns, "OK"),
            effects.ReportSetAside("mail", (2,), NOW.wall_ns, "no such user"),
        ],
        NOW,
    )  # fmt: skip
    ledger.close()
    return tmp_path


def waiting(ledger: Ledger, sink: str) -> list[int]:
    row = ledger.reports.sinks()[sink]
    return ledger.reports.next_of(sink, row.cursor, 100)[0]


def test_each_sink_is_told_what_is_for_it_after_its_cursor(state: Path) -> None:
    ledger = open_ledger(state)
    assert (waiting(ledger, "ops"), waiting(ledger, "mail")) == ([2], [3])
    found = ledger.reports.read(2)
    assert found is not None
    assert (found.kind, found.job, found.counts) == ("failed", "job", {"ops": 3, "mail": 1})
    assert found.values["detail"] == "exit \udcff 3"
    assert [(row.seq, row.why, row.job) for row in ledger.reports.refused("mail", 10)] == [
        (2, "no such user", "job")
    ]
    assert ledger.series == (effects.SeriesNoted("job", "ops", "failed", NOW.wall_ns, 2, "67avwsa1m4"),)
    ledger.write([effects.ReportSkipped("ops", 2), effects.ReportSkipped("mail", 2)], NOW)
    assert (waiting(ledger, "ops"), ledger.reports.refused_count("mail")) == ([], 0)
    ledger.write([effects.SinkMoved("ops", 0)], NOW)
    assert waiting(ledger, "ops") == [1]
    ledger.write([effects.SinksTaken(("mail", "new"))], NOW)
    assert set(ledger.reports.sinks()) == {"mail", "new"}
    assert ledger.reports.sinks()["new"].cursor == 3
    ledger.close()


@pytest.mark.parametrize(
    ("change", "cursor"),
    [
        ("cursor = 'x'", 1), ("delivered = -1", 1), ("delivered_ns = 1.5", 1), ("answer = x'ff'", 1),
        ("failing_ns = 'x'", 1), ("error = x'ff'", 1), ("cursor = NULL, delivered_seq = 'y'", 0),
        ("cut_seq = 'x'", 1), ("cut_seq = 4", 1), ("cut_seq = -1", 1),
    ],
)  # fmt: skip
def test_a_sink_whose_row_is_damaged_is_told_rather_twice_than_never(
    state: Path, change: str, cursor: int
) -> None:
    damage(state, f"UPDATE sinks SET {change} WHERE name = 'ops'")
    ledger = open_ledger(state)
    assert (ledger.set_aside, ledger.reports.sinks()["ops"].cursor) == (None, cursor)
    (found,) = ledger.unreadable
    assert found.source == "sinks"
    ledger.close()
    again = open_ledger(state)
    assert again.unreadable == []
    again.close()


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("sinks", "name = x'ff'"), ("refused", "why = x'ff'"), ("refused", "at_ns = 'x'"),
        ("refused", "seq = 'x'"), ("refused", "sink = CAST(x'7bff7d' AS TEXT)"),
        ("troubles", "job = CAST(x'7bff7d' AS TEXT)"),
        ("troubles", "job = CAST(x'7bff7d' AS TEXT), run = CAST(x'7bff7d' AS TEXT)"),
        ("troubles", "told_ns = 'x'"), ("troubles", "untold = -1"), ("troubles", "run = NULL"),
    ],
)  # fmt: skip
def test_what_else_is_damaged_is_set_aside_by_itself(state: Path, table: str, change: str) -> None:
    damage(state, f"UPDATE {table} SET {change}" + (" WHERE name = 'mail'" if table == "sinks" else ""))
    ledger = open_ledger(state)
    assert ledger.set_aside is None
    assert [row.source for row in ledger.unreadable] == [table]
    assert waiting(ledger, "ops") == [2]
    ledger.close()


ODD_VALUES = [
    '{"output": 5}', '{"output": [5]}', '{"output": "text"}', '{"exit_code": "x"}', '{"slot_ns": 1.5}',
    '{"attempt": true}', '{"detail": 7}', '{"run": null}', '{"cpu_s": []}', '{"duration_ns": {}}',
]  # fmt: skip


@pytest.mark.parametrize("text", ["'{'", "'[1]'", "''", "x'ff'", "7", *map("'{}'".format, ODD_VALUES)])
def test_a_report_that_cannot_be_read_is_no_report(state: Path, text: str) -> None:
    damage(state, f"UPDATE reports SET report = {text} WHERE seq = 2")
    ledger = open_ledger(state)
    assert ledger.reports.read(2) is None
    assert ledger.reports.read(1) is not None
    ledger.close()


def test_a_report_of_what_nobody_knows_is_no_report(state: Path) -> None:
    damage(state, "UPDATE reports SET kind = 'nonsense' WHERE seq = 2")
    ledger = open_ledger(state)
    assert ledger.reports.read(2) is None
    ledger.close()


def test_a_sink_that_is_ahead_of_the_journal_is_told_what_comes_next(state: Path) -> None:
    damage(state, "UPDATE sinks SET cursor = 999999 WHERE name = 'ops'")
    ledger = open_ledger(state)
    (found,) = ledger.unreadable
    assert found.source == "sinks"
    assert waiting(ledger, "ops") == [2]
    ledger.close()


def test_a_report_keeps_its_number_if_the_journal_is_gone(state: Path) -> None:
    damage(state, "DELETE FROM events")
    ledger = open_ledger(state)
    ledger.write(told(ops=1), NOW)
    assert waiting(ledger, "ops") == [2, 4]
    ledger.close()


def test_reports_go_when_nobody_is_told_of_them_and_their_line_is_gone(state: Path) -> None:
    ledger = open_ledger(state)
    ledger.write([effects.SinkDelivered("ops", 2, NOW.wall_ns, "")], NOW)
    connection: Any = ledger._connection
    assert trim_reports(connection, 0) is None
    assert [seq for (seq,) in rows(state, "SELECT seq FROM reports")] == [1, 2, 3]
    connection.execute("DELETE FROM events WHERE seq <= 2")
    assert trim_reports(connection, 0) is None
    # The second was set aside, the line of the third is there.
    assert [seq for (seq,) in connection.execute("SELECT seq FROM reports")] == [2, 3]
    ledger.close()


def test_a_sink_that_is_seldom_told_keeps_no_reports_of_others(state: Path) -> None:
    ledger = open_ledger(state)
    for _ in range(150):
        ledger.write(told(mail=1), NOW)
    ledger.write([*told(ops=1), effects.SinkDelivered("mail", 153, NOW.wall_ns, "")], NOW)
    connection: Any = ledger._connection
    connection.execute("DELETE FROM events")
    connection.execute("INSERT INTO events (seq, at_ns, kind) VALUES (1000, 0, 'x')")
    after: int | None = 0
    while after is not None:
        after = trim_reports(connection, after)
    # For ops the second and the last wait; the second was set aside too.
    assert [seq for (seq,) in connection.execute("SELECT seq FROM reports")] == [2, 154]
    ledger.close()


def test_what_expects_a_success_is_checked_like_the_rest_of_a_job(state: Path) -> None:
    ledger = open_ledger(state)
    ledger.write([effects.JobArmed("job", "{}", 0, 0), effects.JobExpected("job", 5, 7)], NOW)
    ledger.close()
    ledger = open_ledger(state)
    assert ledger.jobs["job"].expected == effects.JobExpected("job", 5, 7)
    ledger.close()
    for text in ("'{'", "'[1]'", "'[1, \"x\"]'", "'7'"):
        damage(state, f"UPDATE job_state SET expected = {text} WHERE name = 'job'")
        ledger = open_ledger(state)
        assert ledger.jobs["job"].expected is None
        assert [row.job for row in ledger.unreadable] == ["job"]
        ledger.close()


def test_a_ledger_has_a_name_that_no_other_has(state: Path, tmp_path_factory: Any) -> None:
    ledger = open_ledger(state)
    other = open_ledger(tmp_path_factory.mktemp("other"))
    assert len(ledger.reports.identity()) == 12
    assert ledger.reports.identity() != other.reports.identity()
    for one in (ledger, other):
        one.close()
