"""Which known word a mistyped one was meant to be, and when nobody can tell."""

from __future__ import annotations

import pytest

from taskman_cli.core.nearest import did_you_mean, meant_or_known, nearest, typing_errors

COMMANDS = [
    *["run", "check", "next", "explain", "import", "export", "test", "doctor", "init", "schema", "restart"],
    *["history", "log", "events", "why", "status", "list", "show", "once", "trigger", "pause", "resume"],
    *["cancel", "wait", "remove", "restore", "add", "reload", "stop", "completion"],
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lst", "list"),
        ("lsit", "list"),
        ("sotp", "stop"),
        ("stauts", "status"),
        ("STATUS", "status"),
        ("canel", "cancel"),
        ("cancle", "cancel"),
        ("hsitory", "history"),
        ("istory", "history"),
        ("hist", "history"),
        ("triger", "trigger"),
        ("tirgger", "trigger"),
        ("relaod", "reload"),
        ("complete", None),
        ("checks", "check"),
        ("top", None),
        ("it", None),
        ("ps", None),
        ("", None),
        ("rest", None),  # restart and restore begin so
        ("res", None),
        ("x" * 10_000, None),
        ("-", None),
    ],
)
def test_a_mistyped_command_is_recognised_and_another_word_is_not(word: str, meant: str | None) -> None:
    assert nearest(word, COMMANDS) == meant


def test_a_suggestion_is_a_question() -> None:
    assert did_you_mean("lsit", COMMANDS) == ' (did you mean "list"?)'


def test_nothing_is_suggested_for_a_word_that_resembles_none() -> None:
    assert did_you_mean("edit", COMMANDS) == ""


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("backup_db", ["backup-db", "backup"], "backup-db"),
        ("Backup", ["backup", "backups"], "backup"),
        ("backup-d", ["backup-db", "backup"], "backup-db"),
        ("job-9", ["job-1", "job-2"], None),
        ("job-9", ["job-1", "other"], "job-1"),
        ("overlpa", ["overlap", "output"], "overlap"),
        ("verlap", ["overlap"], "overlap"),
        ("startDeadline", ["start_deadline", "starts_at"], "start_deadline"),
        ("start", ["start_deadline", "starts_at"], None),
        ("CEST", ["EST", "CET", "CST6CDT"], "CET"),
        ("log", [], None),
        ("", ["-"], None),
        ("-", ["-", "_"], None),
        ("a", ["", "-", "b"], None),
        ("caf\udce9", ["cafe"], "cafe"),
    ],
)
def test_names_differ_by_separators_case_and_errors(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("given", "meant", "errors"),
    [
        ("a", "a", 0),
        ("ab", "ba", 1),
        ("abc", "ac", 1),
        ("ac", "abc", 1),
        ("abc", "xyz", 3),
        ("a", "abcdef", 4),
    ],
)
def test_errors_are_counted_up_to_a_limit(given: str, meant: str, errors: int) -> None:
    assert errors == typing_errors(given, meant, most=3)


def test_among_thousands_of_similar_names_only_an_exact_one_is_recognised() -> None:
    names = [f"job-{number:04}" for number in range(3_000)]
    assert nearest("job-29999", names) is None  # it would take long to find out that it is job-2999
    assert nearest("JOB_2999", names) == "job-2999"
    assert nearest("job-29999", names[2_999:]) == "job-2999"


@pytest.mark.parametrize(
    ("word", "meant"), [("minuts", "minutes"), ("minut", "minute"), ("minites", "minutes")]
)
def test_between_a_word_and_its_plural_the_ending_decides(word: str, meant: str) -> None:
    assert nearest(word, ["minute", "minutes", "month"]) == meant


def test_if_none_is_near_the_known_words_are_listed_as_long_as_they_are_few() -> None:
    assert meant_or_known("bakup", ["backup", "report"]) == ' (did you mean "backup"?)'
    assert meant_or_known("nightly", ["report", "backup"]) == " (known: backup, report)"
    assert meant_or_known("nightly", []) == ""
    assert meant_or_known("nightly", [f"job{number}" for number in range(9)]) == ""


def test_the_same_mistake_in_a_hundred_thousand_jobs_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []

    def count(given: str, meant: str, *, most: int) -> int:
        looked.append(meant)
        return typing_errors(given, meant, most=most)

    monkeypatch.setattr("taskman_cli.core.nearest.typing_errors", count)
    assert [nearest("comandd", ["command", "cron"]) for _ in range(5)] == ["command"] * 5
    assert looked == ["command"]
    many = [f"job-{number:04}" for number in range(1_000)]
    assert [nearest("jab-0999", many) for _ in range(2)] == ["job-0999"] * 2  # nothing of it is kept
