"""Crontabs as cronie, busybox's crond and supercronic read them, and how each is told from the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.cli.options.crontabs import DIALECTS
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.schedule.interval import Interval
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.crontab.dialect import Dialect, dialect_of, tell
from taskman_cli.jobfile.crontab.parse import BadLine, Crontab, Entry, read_crontab
from taskman_cli.jobfile.crontab.tables import convert

CRONIE, BUSYBOX, SUPERCRONIC = Dialect.CRONIE, Dialect.BUSYBOX, Dialect.SUPERCRONIC


def entry(line: str, dialect: Dialect, *, system: bool = False) -> Entry:
    (row,) = read_crontab(line + "\n", system=system, dialect=dialect).rows
    assert isinstance(row, Entry), row
    return row


def bad(line: str, dialect: Dialect, *, system: bool = False) -> BadLine:
    (row,) = read_crontab(line + "\n", system=system, dialect=dialect).rows
    assert isinstance(row, BadLine), row
    return row


def notes(text: str, dialect: Dialect) -> list[str]:
    return [note.message for note in read_crontab(text, system=False, dialect=dialect).notes]


def jobs(text: str, dialect: Dialect, *, system: bool = False) -> Crontab:
    return read_crontab(text, system=system, dialect=dialect)


#: What each reads, in taskman's own grammar; None: it never runs. Those of busybox are from the real crond.
READ = [
    (CRONIE, "0~59 3 * * *", "H(0-59) 3 * * *"),
    (CRONIE, "~ ~ ~ ~ ~", "H(0-59) H(0-23) H(1-31) H(1-12) H(0-7)"),
    (CRONIE, "30~ ~6 * * mon~fri", "H(30-59) H(0-6) * * H(1-5)"),
    (CRONIE, "7~7,0~10 * * * *", "7,H(0-10) * * * *"),
    (CRONIE, "0 0 * * sat-sun", "0 0 * * 6-7"),
    (CRONIE, "0 0 * * 5-0", "0 0 * * 5-7"),
    (CRONIE, "0 0 * * 0-0", "0 0 * * 0-0"),
    (CRONIE, "*/90 1-5/2 1,*/2 jan MON-FRI", "*/90 1-5/2 1,*/2 jan MON-FRI"),
    (CRONIE, "0 22-2 * * *", None),
    (CRONIE, "0 22-2,5 * * *", "0 5 * * *"),
    (CRONIE, "0 0 * * fri-sun/2", None),
    (CRONIE, "0 2-0 * * *", "0 2-7 * * *"),
    (CRONIE, "0 7-0 * * *", "0 7 * * *"),
    (CRONIE, "0 22-0 * * *", None),
    (CRONIE, "33-60/5,60-45 * * * *", "33,38,43,48,53,58 * * * *"),
    (CRONIE, "60-45,*/20,0~10 * * * *", "0,20,40,H(0-10) * * * *"),
    (CRONIE, "0 0 31 2 *", None),
    (CRONIE, "@daily", "@daily"),
    (CRONIE, "@reboot", "@reboot"),
    (BUSYBOX, "*/20 22-2 * * *", "*/20 0-2,22,23 * * *"),
    (BUSYBOX, "0 0 */10 * *", "0 0 10,20,30 * *"),
    (BUSYBOX, "0 0 28-3/2 11-2 *", "0 0 2,28,30 1,2,11,12 *"),
    (BUSYBOX, "5/15 */2 * */5 *", "5 */2 * 1,6,11 *"),
    (BUSYBOX, "0 0 * * fri-mon/2,2", "0 0 * * 0,2,5"),
    (BUSYBOX, "0 0 * * 7-wed", "0 0 * * 0-3"),
    (BUSYBOX, "0 0 * * sun-sat", "0 0 * * *"),
    (BUSYBOX, "0 0 0-31 * 5", "0 0 * * 5"),
    (BUSYBOX, "0 0 1-31 * 5", "0 0 1-31 * 5"),
    (BUSYBOX, "0 0 */2 * 5", "0 0 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 * 5"),
    (BUSYBOX, "59-58/50,3 * 0 * 1", "3,49,59 * * * 1"),
    (BUSYBOX, "0 0 0 * *", None),
    (BUSYBOX, "@hourly", "@hourly"),
    (SUPERCRONIC, "*/5 * * * *", "*/5 * * * *"),
    (SUPERCRONIC, "0 0 1 1 * 2030", "0 0 1 1 * 2030"),
    (SUPERCRONIC, "0 0 28 02 * *", "0 0 28 2 *"),
    (SUPERCRONIC, "*/10 0 0 1 1 * *", "*/10 0 0 1 1 *"),
    (SUPERCRONIC, "30 0 0 1 1 * 2030/2", None),
    (SUPERCRONIC, "0 0/12 10/10 * FRIDAY", "0 0,12 10,20,30 * 5"),
    (SUPERCRONIC, "0 0 */2 * MON", "0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 1"),
    (SUPERCRONIC, "0 0 ? * 1/2", "0 0 * * 1,3,5"),
    (SUPERCRONIC, "0 0 L,15W,3 * *", "0 0 3,L,15W * *"),
    (SUPERCRONIC, "0 0 lw * *", "0 0 lw * *"),
    (SUPERCRONIC, "0 0 * * 5L,fri#2", "0 0 * * 5L,fri#2"),
    (SUPERCRONIC, "0 0 * * 6,7", "0 0 * * 0,6"),
    (SUPERCRONIC, "5,,7 0 * January *", "5,7 0 * 1 *"),
    (SUPERCRONIC, "1,* 0 * * *", "* 0 * * *"),
    (SUPERCRONIC, "@every 1h30m", "@every 1h30m"),
]


@pytest.mark.parametrize(("dialect", "columns", "expression"), READ, ids=[f"{d}: {c}" for d, c, _ in READ])
def test_columns_mean_what_their_program_takes_them_for(
    dialect: Dialect, columns: str, expression: str | None
) -> None:
    if columns.endswith("2030/2"):
        expression = "30 0 0 1 1 * " + ",".join(map(str, range(2030, 2100, 2)))
    read = entry(f"{columns} x", dialect)
    assert (read.schedule, read.parsed.expression, read.command) == (columns, expression, "x")
    if expression is not None and not expression.startswith("@"):
        parse_expression(expression, name="x")
    else:
        assert expression is not None or "never matches" in " ".join(read.parsed.notes)


@pytest.mark.parametrize(
    ("dialect", "line", "part"),
    [
        (CRONIE, "9~5 * * * * x", 'minute "9~5": the range runs backwards'),
        (CRONIE, "0~59/5 * * * * x", 'minute "0~59/5"'),
        (CRONIE, "0~60 * * * * x", 'minute "0~60": not in 0-59'),
        (CRONIE, "30-60 * * * * x", 'minute "30-60": not in 0-59'),
        (CRONIE, "0 0 * * 8 x", 'day of week "8": not in 0-7'),
        (CRONIE, "1-5-7 * * * * x", 'minute "1-5-7"'),
        (CRONIE, "5/15 * * * * x", "a step needs a range or *"),
        (CRONIE, "*/0 * * * * x", "the step must be at least 1"),
        (CRONIE, "0 0 * * monday x", "valid in a taskman job file, but not in this crontab"),
        (CRONIE, "0 0 L * * x", "valid in a taskman job file, but not in this crontab"),
        (CRONIE, "@every 5m x", "only supercronic has intervals (--dialect supercronic)"),
        (CRONIE, "0 0 * * * -x y", "an option that cronie does not have: only -n, once"),
        (CRONIE, "0 0 * * * -n -n y", "an option that cronie does not have: only -n, once"),
        (CRONIE, "0 0 * * * * y", "a sixth time column"),
        (CRONIE, "-", "only 0 columns for the time"),
        (CRONIE, "- \t", "only 0 columns for the time"),
        (BUSYBOX, "60 * * * * x", 'minute "60": not in 0-59'),
        (BUSYBOX, "0 0 * * 7 x", 'day of week "7": not in 0-6'),
        (BUSYBOX, "0 0 * * monday x", "valid in a taskman job file, but not in this crontab"),
        (BUSYBOX, "0~5 * * * * x", 'minute "0~5"'),
        (BUSYBOX, "*/0 * * * * x", "the step must be at least 1"),
        (SUPERCRONIC, "0 22-2 * * * x", "the range runs backwards, which supercronic rejects"),
        (SUPERCRONIC, "0 0 * * 5-7 x", "the range runs backwards, which supercronic rejects"),
        (SUPERCRONIC, "*/60 * * * * x", "supercronic's steps end at 59"),
        (SUPERCRONIC, "0 0 * * tues x", "valid in a taskman job file, but not in this crontab"),
        (SUPERCRONIC, "0 0 * * XL x", 'day of week "XL"'),
        (SUPERCRONIC, "0 0 * * H x", "valid in a taskman job file, but not in this crontab"),
        (SUPERCRONIC, ", 0 * * * x", "the value is missing"),
        (SUPERCRONIC, "0 0 * *", "only 4 columns for the time"),
        (SUPERCRONIC, "@midnight x", "supercronic does not have it"),
        (SUPERCRONIC, "@reboot x", "supercronic does not have it"),
        (SUPERCRONIC, "@every soon x", "@every: "),
        (SUPERCRONIC, "@every", "@every: the duration is empty"),
    ],
)
def test_what_a_program_rejects_is_a_bad_line(dialect: Dialect, line: str, part: str) -> None:
    assert part in bad(line, dialect).error


def test_a_percent_is_an_ordinary_character_for_busybox_and_supercronic() -> None:
    for dialect in (BUSYBOX, SUPERCRONIC):
        read = entry("0 5 * * * date +%F \\% x", dialect)
        assert (read.command, read.stdin) == ("date +%F \\% x", None)
    assert entry("0 5 * * * date +%F", CRONIE).stdin == "F"


def test_cronies_options_before_the_minute_and_the_command_change_nothing_else() -> None:
    read = entry("-*/5 * * * * root -n  x -n", CRONIE, system=True)
    assert (read.schedule, read.user, read.command) == ("*/5 * * * *", "root", "x -n")
    assert entry("0 5 * * * -n x", CRONIE).command == "x"
    assert entry("-@daily x", CRONIE).parsed.expression == "@daily"


def test_only_root_may_leave_out_cronies_log_line() -> None:
    text = "-0 5 * * * x\n"
    (row,) = read_crontab(text, system=False, user="joe", dialect=CRONIE).rows
    assert isinstance(row, BadLine)
    assert "cronie takes it from root only" in row.error
    (row,) = read_crontab(text, system=False, user="root", dialect=CRONIE).rows
    assert isinstance(row, Entry)


@pytest.mark.parametrize(
    ("dialect", "line", "env"),
    [
        (CRONIE, "MAILTO=", {"MAILTO": ""}),
        (CRONIE, "A = ", {"A": ""}),
        (CRONIE, "A=\"'b'\"", {"A": "'b'"}),
        (CRONIE, "A='b '", {"A": "b "}),
        (CRONIE, "A=b  ", {"A": "b"}),
        (BUSYBOX, "MAILTO=joe", {"MAILTO": "joe"}),
        (BUSYBOX, 'SHELL="/bin/sh" x', {"SHELL": '"/bin/sh"'}),
        (BUSYBOX, "PATH=/x", {}),
        (SUPERCRONIC, "A='b'", {"A": "b"}),
        (SUPERCRONIC, 'A = "b" c', {"A": '"b" c'}),
        (SUPERCRONIC, "A=", {"A": ""}),
    ],
)
def test_an_assignment_is_what_its_program_takes_for_one(
    dialect: Dialect, line: str, env: dict[str, str]
) -> None:
    (row,) = read_crontab(f"{line}\n0 5 * * * x\n", system=False, dialect=dialect).entries
    assert dict(row.env) == env


def test_an_assignment_of_supercronic_holds_for_the_lines_above_too() -> None:
    text = "0 5 * * * x\nA=1\n0 6 * * * y\nA=2\nSHELL=/bin/bash\n"
    crontab = read_crontab(text, system=False, dialect=SUPERCRONIC)
    assert [dict(one.env) for one in crontab.entries] == [{"A": "2", "SHELL": "/bin/bash"}] * 2
    tables = convert(crontab, taken={}, accounts=None).tables
    assert tables["defaults"] == {
        "shell": "/bin/bash", "inherit_env": True, "overlap": "skip", "timeout": "none", "on_missed": "skip",
        "env": {"A": "2", "SHELL": "/bin/bash"},
    }  # fmt: skip


def test_a_bad_assignment_below_a_line_of_supercronic_is_pointed_at() -> None:
    crontab = read_crontab("0 5 * * * x\nCRON_TZ=Nowhere\n", system=False, dialect=SUPERCRONIC)
    (line,) = convert(crontab, taken={}, accounts=None).bad_lines
    assert (line.line, "CRON_TZ" in line.error) == (2, True)


def test_busybox_joins_lines_and_ends_them_at_a_hash() -> None:
    text = "# c \\\n0 1 * * * no\n0 2 * * * a \\\n b  \nA=1\n0 3 * * * echo x#y z\n1 2\n0 4 * * * end \\\n"
    crontab = read_crontab(text, system=False, dialect=BUSYBOX)
    assert [(one.line, one.command) for one in crontab.entries] == [(3, "a  b"), (6, "echo x"), (8, "end")]
    assert [(note.line, note.message[:40]) for note in crontab.notes] == [
        (5, "busybox's crond ignores this line: it ha"),
        (6, "busybox's crond ends the line here: a # "),
        (7, "busybox's crond ignores this line: it ha"),
    ]


def test_what_a_program_ignores_is_noted() -> None:
    assert notes("5/15 0 * * * x\n", BUSYBOX) == ['busybox\'s crond reads minute "5/15" as "5"']
    assert notes("0 22-2,5 * * * x\n", CRONIE) == ['cronie reads hour "22-2,5" as "5"']
    assert notes("0 2-0 * * * x\n", CRONIE) == ['cronie reads hour "2-0" as "2-7"']
    assert "cronie ignores it" in notes("0 5 * * * x", CRONIE)[0]
    assert notes("0 5 * * * x", BUSYBOX) + notes("0 5 * * * x", SUPERCRONIC) == []


@pytest.mark.parametrize(
    ("value", "jitter"), [("45", "45m"), ("1440", "1440m"), ("0", None), ("1441", None), ("5m", None)]
)
def test_a_random_delay_of_cronie_is_jitter(value: str, jitter: str | None) -> None:
    text = f"RANDOM_DELAY={value}\n0 5 * * * x\n"
    for dialect, expected in ((CRONIE, jitter), (Dialect.DEBIAN, None)):
        crontab = read_crontab(text, system=False, dialect=dialect)
        tables = convert(crontab, taken={}, accounts=None).tables
        assert tables["defaults"].get("jitter") == expected
        assert any("RANDOM_DELAY" in note.message for note in crontab.notes) is False


def test_the_random_times_of_two_jobs_differ_and_stay_the_same() -> None:
    crontab = read_crontab("0~59 0~23 * * * alpha\n0~59 0~23 * * * beta\n", system=False, dialect=CRONIE)
    jobs = convert(crontab, taken={}, accounts=None).tables["jobs"]
    times = {name: parse_expression(job["cron"], name=name) for name, job in jobs.items()}
    assert times == {name: parse_expression(job["cron"], name=name) for name, job in jobs.items()}
    assert times["alpha"].minute.values != times["beta"].minute.values


def test_an_interval_of_supercronic_is_one() -> None:
    job = loads('[jobs]\na = "@every 90m x"').jobs[0]
    assert job.schedule == Interval(5400 * 10**9, timezone=job.schedule.timezone)  # type: ignore[union-attr]


# --- which it is ---


@pytest.mark.parametrize(
    ("text", "dialect", "why"),
    [
        ("0 5 * * * x\n@every 5m y\n", SUPERCRONIC, "line 2 has @every"),
        ("  -*/5 * * * * root y\n", CRONIE, "line 1 has a - before the minute"),
        ("RANDOM_DELAY=5\n", CRONIE, "line 1 sets RANDOM_DELAY"),
        ("0~5 * * * * x\n# @every 5m\n", Dialect.DEBIAN, ""),
        ("", Dialect.DEBIAN, ""),
    ],
)
def test_what_only_one_program_has_tells_it(text: str, dialect: Dialect, why: str) -> None:
    told = tell(None, text, None)
    assert (told.dialect, told.why) == (dialect, why)
    assert tell(Path("/x/tab"), text, BUSYBOX).dialect is BUSYBOX


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/var/spool/cron/joe", CRONIE),
        ("/var/spool/cron/tabs/joe", CRONIE),
        ("/backup/spool/cron/joe", CRONIE),
        ("/etc/crontabs/root", BUSYBOX),
        ("/var/spool/cron/crontabs/joe", None),
        ("/var/cron/tabs/joe", None),
        ("/etc/crontab", None),
        ("/etc/cron.d/x", None),
        ("/home/joe/tab", None),
    ],
)
def test_the_place_of_a_crontab_tells_its_dialect(path: str, dialect: Dialect | None) -> None:
    assert dialect_of(Path(path)) == dialect


def test_the_option_has_every_dialect() -> None:
    assert list(Dialect) == list(DIALECTS)


LINES = st.text(alphabet="0123456789*/-,~@#%\\ LWHabcmon=\n\r\t", max_size=60)


@given(LINES, st.sampled_from(Dialect), st.booleans())
def test_reading_never_fails_in_any_dialect(text: str, dialect: Dialect, system: bool) -> None:
    crontab = read_crontab(text, system=system and dialect.has_users, dialect=dialect)
    for row in crontab.entries:
        if row.parsed.expression is not None and not row.parsed.expression.startswith("@"):
            parse_expression(row.parsed.expression, name="x")
    convert(crontab, taken={}, accounts=None)
