"""`taskman next` on job files, cron expressions and intervals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Next = Callable[..., list[tuple[str | None, str]]]

JOBS = """
[taskman]
timezone = "Europe/Paris"
[jobs]
noon = "0 12 * * * true"
[jobs.tokyo]
cron = "0 20 * * *"
timezone = "Asia/Tokyo"
command = "true"
[jobs.tick]
every = "5h"
command = "true"
[jobs.off]
every = "1m"
enabled = false
command = "true"
[jobs.twice]
cron = "30 * * * *"
max_runs = 2
jitter = "10m"
command = "true"
"""


@pytest.fixture
def next_slots(capsys: pytest.CaptureFixture[str]) -> Next:
    """Run `taskman next --json` and return its slots."""

    def run(*arguments: str | Path) -> list[tuple[str | None, str]]:
        assert main(["next", "--json", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        document = json.loads(out)
        assert document.keys() == {"slots", "retries"}
        assert all(slot.keys() == {"job", "slot"} for slot in document["slots"])
        return [(slot["job"], slot["slot"]) for slot in document["slots"]]

    return run


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.toml"
    path.write_text(JOBS, "utf-8")
    return path


def test_cron_gives_slots_in_its_zone_across_a_clock_change(next_slots: Next) -> None:
    arguments = [
        "--cron",
        "30 2 * * *",
        "--timezone",
        "America/New_York",
        "--from",
        "2024-03-09T12:00",
        "-n",
        "2",
    ]
    assert next_slots(*arguments) == [
        (None, "2024-03-10T03:00:00-04:00"),
        (None, "2024-03-11T02:30:00-04:00"),
    ]


def test_every_counts_elapsed_time_from_the_start(next_slots: Next) -> None:
    arguments = ["--every", "12h", "--timezone", "America/New_York", "--from", "2024-03-09T12:00", "-n", "2"]
    assert next_slots(*arguments) == [
        (None, "2024-03-10T00:00:00-05:00"),
        (None, "2024-03-10T13:00:00-04:00"),
    ]


@pytest.mark.parametrize(
    "start", ["2024-03-09", "2024-03-09T00:00", "2024-03-09T06:00:00+01:00", "2024-03-09T05:00:00Z"]
)
def test_the_start_is_a_date_or_a_time_with_or_without_an_offset(start: str, next_slots: Next) -> None:
    arguments = ["--every", "1m", "--timezone", "America/New_York", "--from", start, "-n", "1"]
    assert next_slots(*arguments) == [(None, "2024-03-09T00:01:00-05:00")]


def test_jobs_come_merged_by_time_within_their_limits_and_each_in_its_zone(
    jobs: Path, next_slots: Next
) -> None:
    assert next_slots(jobs, "--from", "2024-07-01T10:00:00+02:00", "-n", "6") == [
        ("twice", "2024-07-01T10:30:00+02:00"),
        ("twice", "2024-07-01T11:30:00+02:00"),
        ("noon", "2024-07-01T12:00:00+02:00"),
        ("tokyo", "2024-07-01T20:00:00+09:00"),
        ("tick", "2024-07-01T15:00:00+02:00"),
        ("tick", "2024-07-01T20:00:00+02:00"),
    ]


def test_the_start_without_an_offset_is_in_the_files_zone_unless_one_is_given(
    jobs: Path, next_slots: Next
) -> None:
    assert next_slots(jobs, "--from", "2024-07-01T10:00", "-n", "1") == [
        ("twice", "2024-07-01T10:30:00+02:00")
    ]
    assert next_slots(jobs, "--from", "2024-07-01T10:00", "--timezone", "UTC", "-n", "1") == [
        ("twice", "2024-07-01T12:30:00+02:00")
    ]


def test_timezone_is_that_of_jobs_whose_file_names_none(tmp_path: Path, next_slots: Next) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[jobs]\nnoon = "0 12 * * * true"\n', "utf-8")
    assert next_slots(path, "--timezone", "Asia/Kolkata", "--from", "2024-07-01", "-n", "1") == [
        ("noon", "2024-07-01T12:00:00+05:30")
    ]


def test_an_interval_is_shown_in_the_zone_that_its_file_gives_to_all_jobs(
    tmp_path: Path, next_slots: Next
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(
        '[defaults]\ntimezone = "Asia/Tokyo"\n[jobs.a]\nevery = "6h"\ncommand = "true"\n', "utf-8"
    )
    assert next_slots(path, "--from", "2024-07-01T00:00Z", "-n", "1") == [("a", "2024-07-01T15:00:00+09:00")]


def test_text_has_weekday_time_countdown_and_job(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["next", str(jobs), "--from", "2024-07-01T10:48", "-n", "3"]) == 0
    assert capsys.readouterr() == (
        "times in Europe/Paris, counted from Mon 2024-07-01 10:48:00+02:00\n"
        "Mon 2024-07-01 11:30:00+02:00  in 42m 00s  twice\n"
        "Mon 2024-07-01 12:00:00+02:00  in 1h 12m   noon\n"
        "Mon 2024-07-01 12:30:00+02:00  in 1h 42m   twice\n",
        "",
    )


def test_by_default_ten_slots_are_shown(next_slots: Next) -> None:
    assert len(next_slots("--cron", "* * * * *")) == 10
    assert next_slots("--cron", "* * * * *", "-n", "0") == []
    assert len(next_slots("--cron", "* * * * * *", "--count", "5000")) == 5000


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        pytest.param(["--cron", "@reboot"], "no slots: @reboot runs when taskman starts", id="@reboot"),
        pytest.param(["--every", "1h", "--from", "9999-12-31"], "no more slots", id="the end of dates"),
    ],
)
def test_no_slots_are_reported_and_are_not_an_error(
    arguments: list[str], note: str, next_slots: Next, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["next", *arguments]) == 0
    assert capsys.readouterr() == ("", f"taskman: {note}\n")
    assert next_slots(*arguments) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "no FILE given", id="nothing to show"),
        pytest.param(["x.toml", "--cron", "@daily"], "only one of these", id="a file and --cron"),
        pytest.param(["--every", "1m", "--cron", "@daily"], "only one of these", id="--every and --cron"),
        pytest.param(["--cron", ""], "--cron", id="an empty expression"),
        pytest.param(["--cron", "0 0 31 2 *"], "--cron", id="an expression that never fires"),
        pytest.param(["--cron", "0 0 * * * * * *"], "--cron", id="too many fields"),
        pytest.param(["--every", ""], "--every", id="an empty interval"),
        pytest.param(["--every", "0s"], "--every", id="no interval"),
        pytest.param(["--every", "5M"], "--every", id="a wrong unit"),
        pytest.param(["--every", "9" * 5000 + "s"], "--every", id="an endless interval"),
        pytest.param(["--cron", "@daily", "--timezone", "Mars/Olympus"], "--timezone", id="no zone"),
        pytest.param(
            ["--cron", "@daily", "--timezone", "../../etc/passwd"], "--timezone", id="a path for a zone"
        ),
        pytest.param(
            ["--cron", "@daily", "--from", "yesterday-ish"],
            "\n  yesterday-ish\n            ^\n",
            id="no time",
        ),
        pytest.param(["--cron", "@daily", "--from", "2024-02-30"], "--from", id="no such day"),
        pytest.param(
            ["--cron", "@daily", "--from", "2024-03-10T02:30:00+99:00"],
            "no such offset: +99:00",
            id="no such offset",
        ),
        *(
            pytest.param(
                ["--cron", "@daily", "-n", count],
                f'--count: "{shown}" is not a whole number from 0 to 1000000\n',
                id=f"-n: {id_}",
            )
            for count, shown, id_ in [
                ("-1", "-1", "a negative number"),
                ("1000001", "1000001", "too many"),
                ("9" * 5000, "9" * 59 + "…", "an endless number"),
                ("ten", "ten", "no number"),
                ("1.5", "1.5", "a fraction"),
                ("\u0663", "\u0663", "a digit of another script"),
                ("", "", "nothing"),
            ]
        ),
        pytest.param(["--every", "9ms"], "the shortest interval is 10ms", id="too short an interval"),
        pytest.param(["missing.toml"], "missing.toml", id="no such file"),
    ],
)
def test_wrong_usage_is_an_error_in_one_line_and_exits_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["next", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) <= 4


def test_an_invalid_tz_is_an_error_if_the_zone_is_needed(
    tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "UTC+3")
    assert main(["next", "--every", "1h"]) == 2
    assert capsys.readouterr().err == (
        "taskman: TZ=UTC+3 is not a time zone name: give --timezone, "
        "or set TZ to one such as Europe/Stockholm\nTry 'taskman next --help'.\n"
    )
    assert main(["next", "--every", "1h", "--timezone", "UTC"]) == 0
    assert main(["next", str(jobs)]) == 0
    zoneless = tmp_path / "zoneless.toml"
    zoneless.write_text('[jobs]\nnoon = "0 12 * * * true"\n', "utf-8")
    assert main(["next", str(zoneless), "--timezone", "UTC"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["next", str(zoneless)]) == 2
    assert "taskman.timezone: TZ=UTC+3 is not a time zone name: " in capsys.readouterr().err


def test_a_bad_expression_is_marked_below_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["next", "--cron", "0  5,61 10-7 * *"]) == 2
    assert "\n  0 5,61 10-7 * *\n      ^^\n" in capsys.readouterr().err
    assert main(["next", "--cron", "0 " * 200]) == 2
    assert "^" not in capsys.readouterr().err


@pytest.mark.parametrize("expression", ["H H * * *", "h(0-9)/5 * * * *"])
def test_the_slots_of_a_hash_without_a_job_are_called_an_example(
    expression: str, next_slots: Next, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["next", "--cron", expression]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 10
    assert err == "taskman: H depends on the name of the job, so these times are only an example\n"
    assert len(next_slots("--cron", expression)) == 10


def test_an_invalid_file_is_reported_as_by_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[jobs.x]\nevery = 5\n", "utf-8")
    assert main(["next", str(path)]) == 2
    told = capsys.readouterr()
    assert main(["check", str(path)]) == 2
    checked = capsys.readouterr()
    assert (checked.out, checked.err) == (told.out, f"{told.err}found 2 errors in 1 file\n")
