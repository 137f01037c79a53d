"""Crontabs read as Debian's own cron reads them (tests/data/crontabs/README.md tells how it was asked)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.jobfile.crontab.columns import LineSchedule
from taskman_cli.jobfile.crontab.parse import BadLine, Entry, parse_crontab
from taskman_cli.jobfile.crontab.text import fed

DATA = Path(__file__).parents[1] / "data" / "crontabs"
FILES = sorted([*DATA.glob("*.user"), *DATA.glob("*.system")])

#: Lines that we take and cron does not, as everybody else is told in the README.
TAKEN = {("last_line.user", 2)}


def answers(path: Path) -> list[dict[str, Any]]:
    lines = path.with_suffix(".json").read_text("utf-8").splitlines()
    return [answer for answer in map(json.loads, lines) if (path.name, answer["line"]) not in TAKEN]


def rows(path: Path) -> list[Entry | BadLine]:
    text = path.read_bytes().decode()
    found = parse_crontab(text, system=path.suffix == ".system")
    return [row for row in found if (path.name, row.line) not in TAKEN]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_same_lines_are_good_and_bad(path: Path) -> None:
    expected = [(answer["line"], "error" in answer) for answer in answers(path)]
    assert [(row.line, isinstance(row, BadLine)) for row in rows(path)] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_entries_have_the_same_user_command_input_and_variables(path: Path) -> None:
    for answer, row in zip(answers(path), rows(path), strict=True):
        if isinstance(row, Entry):
            stdin = fed(row.stdin) if row.stdin is not None else None
            actual = (row.user or answer["user"], row.command, stdin, dict(row.env))
            assert actual == (answer["user"], answer["command"], answer["stdin"], answer["env"]), row.line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_entries_are_due_at_the_same_times(path: Path) -> None:
    for answer, row in zip(answers(path), rows(path), strict=True):
        if isinstance(row, Entry):
            assert_same_times(answer, row.parsed)


def assert_same_times(answer: dict[str, Any], parsed: LineSchedule) -> None:
    if answer.get("reboot"):
        assert parsed.expression == "@reboot"
        return
    if parsed.expression is None:
        assert not has_any_day(answer)
        return
    ours = parse_expression(parsed.expression, name="")
    names = ("minute", "hour", "month")
    assert [answer[name] for name in names] == [list(getattr(ours, name).values) for name in names]
    assert answer["wildcard"] == ours.is_wildcard
    is_and = ours.day.is_star or ours.weekday.is_star
    assert days(answer["dom"], answer["dow"], is_and=answer["and"]) == days(
        ours.day.values, ours.weekday.values, is_and=is_and
    )


def days(of_month: Any, of_week: Any, *, is_and: bool) -> set[tuple[int, int]]:
    """Return the days of a month and a week that match together."""
    pairs = [(day, weekday) for day in range(1, 32) for weekday in range(7)]
    match = all if is_and else any
    return {pair for pair in pairs if match((pair[0] in of_month, pair[1] in of_week))}


def has_any_day(answer: dict[str, Any]) -> bool:
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    found = days(answer["dom"], answer["dow"], is_and=answer["and"])
    months = [month for month in answer["month"] if any(day <= longest.get(month, 31) for day, _ in found)]
    return bool(answer["minute"] and answer["hour"] and months)


def test_a_last_line_without_a_newline_is_accepted_and_noted() -> None:
    assert json.loads((DATA / "last_line.json").read_text().splitlines()[-1])["error"] == "missing newline"
    row = parse_crontab((DATA / "last_line.user").read_text(), system=False)[-1]
    assert isinstance(row, Entry)
    assert row.command == "b"
