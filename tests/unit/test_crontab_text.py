"""Lines of a crontab by themselves: assignments, `%`, and what is wrong with a line."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taskman_cli.jobfile.crontab.names import name_of, names_of, unique
from taskman_cli.jobfile.crontab.parse import BadLine, Entry, parse_crontab, read_crontab
from taskman_cli.jobfile.crontab.text import assignment, fed, join_percent, read_assignment, split_percent

#: What crontabs are made of, and what breaks readers of them.
PIECES = st.lists(
    st.sampled_from(
        [
            *"*/,-0123456789=%\\'\"#@ \t\r\n\0\x0bé",
            "MON",
            "jan",
            "root ",
            "@daily ",
            "* * * * * ",
            "CRON_TZ=",
            "A=1\n",
        ]
    ),
    max_size=40,
).map("".join)
TEXTS = st.one_of(PIECES, st.text(max_size=60))
#: What a line can hold.
LINES = TEXTS.map(lambda text: text.replace("\n", "").replace("\0", ""))


def only(text: str, *, system: bool = False) -> Entry | BadLine:
    (row,) = parse_crontab(text, system=system)
    return row


def bad(text: str, *, system: bool = False) -> BadLine:
    row = only(text, system=system)
    assert isinstance(row, BadLine)
    return row


def entry(text: str, *, system: bool = False) -> Entry:
    row = only(text, system=system)
    assert isinstance(row, Entry)
    return row


# --- assignments ---


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", ("A", "1")),
        ("A = b c  ", ("A", "b c")),
        ('A=""', ("A", "")),
        ("A='it''s'", None),
        ('A="b" c', None),
        ("A=", None),
        ("A b=c", None),
        ("'A b'=c", ("A b", "c")),
        ("\"A=c", None),
        ("=c", ("", "c")),
        ("A=\"'b'\"", ("A", "b")),
        ("* * * * * A=b", None),
    ],
)  # fmt: skip
def test_an_assignment_is_what_cron_takes_for_one(line: str, expected: tuple[str, str] | None) -> None:
    assert read_assignment(line) == expected


@given(LINES, LINES)
def test_an_assignment_that_can_be_written_is_read_back(name: str, value: str) -> None:
    line = assignment(name, value)
    assert line is None or read_assignment(line) == (name, value)


@pytest.mark.parametrize("value", ["b", "", " b", "b c", "'b", "a#b", "a=b", 'say "x" now', "$A:/x"])
def test_ordinary_values_can_be_written(value: str) -> None:
    line = assignment("A", value)
    assert line is not None
    assert read_assignment(line) == ("A", value)


def test_a_value_that_no_line_says_is_not_written() -> None:
    assert assignment("A", "two\nlines") is None
    assert assignment("A", "blank at the end ") is None


# --- percent ---


@given(LINES)
def test_a_command_that_can_be_written_is_read_back(command: str) -> None:
    assert split_percent(join_percent(command, None)) == (command, None)


@given(LINES, st.lists(LINES.filter(lambda line: not line.endswith("\\")), min_size=1))
def test_input_that_can_be_written_is_read_back(command: str, lines: list[str]) -> None:
    stdin = "\n".join(lines)
    assume(stdin)
    read, given_ = split_percent(join_percent(command, fed(stdin)))
    assert read == command
    assert given_ is not None
    assert fed(given_) == fed(stdin)


# --- rows ---


def test_a_row_has_the_keys_of_the_json() -> None:
    text = "CRON_TZ=UTC\n5 4\t* * sun  root  date +\\%F%a%b\n"
    row = only(text, system=True)
    assert row.row() == {
        "line": 2,
        "schedule": "5 4 * * sun",
        "user": "root",
        "command": " date +%F",
        "stdin": "a\nb",
        "env": {"CRON_TZ": "UTC"},
        "tz": "UTC",
    }
    assert bad("61 * * * * x").row() == {"line": 1, "error": 'minute "61": not in 0-59'}


@pytest.mark.parametrize(
    ("line", "column", "length", "part"),
    [
        ("0 24 * * * x", 3, 2, 'hour "24": not in 0-23'),
        ("0 1,30 * * * x", 3, 4, 'hour "30": not in 0-23'),
        ("0 1 * *", 1, 7, "only 4 columns for the time"),
        ("  0 1 * foo * x", 9, 3, 'month "foo": not a number'),
        ("@Daily x", 1, 6, 'did you mean "@daily"?'),
        ("@dayly x", 1, 6, 'did you mean "@daily"?'),
        ("@minutely x", 1, 9, '(write "* * * * *")'),
        (
            "@every 5m x",
            1,
            6,
            "only supercronic has intervals (--dialect supercronic); in a job file, use every",
        ),
        ("0 9 * *\u00a0* echo x", 8, 1, "no-break space (U+00A0) in the schedule: write a space"),
        (" \u00a00 9 * * * x", 2, 1, "no-break space (U+00A0) in the schedule: write a space"),
        ("H * * * * x", 1, 1, "valid in a taskman job file, but not in a crontab"),
        ("1/5 * * * * x", 1, 3, "a step needs a range"),
        (
            "0~59 * * * * x",
            1,
            4,
            "a random value in a range is cronie's: read the file with --dialect cronie",
        ),
        ("0 1,~ * * * x", 3, 3, "read the file with --dialect cronie"),
        ("-5 * * * * x", 1, 2, "a - before the minute is cronie's: read the file with --dialect cronie"),
        ("MAILTO=", 1, 7, 'to set an empty value, write MAILTO=""'),
        ('A="b" c', 1, 5, "not a valid assignment"),
        ("0 5 * * 1 * x", 11, 1, "a sixth time column"),
        ("0 5 * * 1 * x", 11, 1, "supercronic has years and seconds: --dialect supercronic"),
        ("0 5 * * * a\0b", 12, 1, "NUL characters are not allowed"),
    ],
)
def test_a_bad_line_says_where_and_why(line: str, column: int, length: int, part: str) -> None:
    row = bad(line)
    assert (row.line, row.column, row.length) == (1, column, length)
    assert part in row.error


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("0 5 * * *", "the user and the command are missing"),
        ("0 5 * * * root", '"root" is all that follows the time'),
        ("0 5 * * * /usr/bin/backup --all", '"/usr/bin/backup" is not a valid user'),
    ],
)
def test_a_line_of_a_system_crontab_needs_a_user(line: str, part: str) -> None:
    assert part in bad(line, system=True).error


def test_every_bad_line_is_named_and_the_good_ones_are_read() -> None:
    rows = parse_crontab("61 * * * * a\n0 1 * * * b\nbad\n", system=False)
    assert [(row.line, isinstance(row, BadLine)) for row in rows] == [(1, True), (2, False), (3, True)]


def test_assignments_hold_for_the_lines_below_them() -> None:
    rows = parse_crontab("0 1 * * * a\nX=1\n0 2 * * * b\nX=2\n0 3 * * * c\n", system=False)
    assert [dict(row.env) for row in rows if isinstance(row, Entry)] == [{}, {"X": "1"}, {"X": "2"}]


def test_the_comment_right_above_is_the_lines_own() -> None:
    crontab = read_crontab("# file\n\n# one\n#  two\n0 1 * * * a\n# other\nX=1\n0 2 * * * b\n", system=False)
    assert [one.comment for one in crontab.entries] == ["one\ntwo", ""]
    assert crontab.comments == ["file", "other"]


def test_what_every_crontab_begins_with_is_no_comment_of_a_job() -> None:
    text = "# Edit this file\n#\n# m h  dom mon dow   command\n# mine\n0 1 * * * a\n"
    assert entry(text).comment == "mine"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0 1 * * * a", "the last line does not end in a newline"),
        ("0 1 * * * a\r\n", "lines end in CR LF"),
        ("0 0 31 2 * a\n", "never matches"),
        ("0 0 * * FRI#2 a\n", 'cron reads day of week "FRI#2" as "FRI"'),
        ("0 1 * * *\n", "the command is missing"),
        ("0 1 * * * root a\n", '"root" is taken as the command'),
        (f"0 1 * * * {'a' * 999}\n", "longer than 998 characters"),
        (f"A={'a' * 999}\n", "longer than 998 characters"),
    ],
)
def test_a_line_that_is_taken_may_come_with_a_note(text: str, part: str) -> None:
    (note,) = read_crontab(text, system=False).notes
    assert part in note.message


@given(TEXTS, st.booleans())
def test_reading_never_fails_and_each_row_is_of_one_line(text: str, system: bool) -> None:
    rows = parse_crontab(text, system=system)
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    for row in rows:
        assert row.text == text.split("\n")[row.line - 1]
        if isinstance(row, BadLine):
            assert row.error
            assert 1 <= row.column <= len(row.text) + 1
        else:
            assert (row.user is None) == (not system)


# --- names ---


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --all", "backup"),
        ("cd / && run-parts --report /etc/cron.hourly", "run-parts-cron-hourly"),
        ("test -x /sbin/x || { cd / && run-parts --report /etc/cron.daily; }", "run-parts-cron-daily"),
        ("LANG=C sudo -u joe nice -n 5 python3 -m tidy", "tidy"),
        ("flock -n /tmp/lock mail -s hi joe", "mail-joe"),
        ("[ -d /x ] && find /x -delete", "find-x"),
        ("$HOME/bin/daily.job >>$HOME/out 2>&1", "daily-job"),
        ("[ -x /etc/x ] && if [ ! -d /run ]; then /usr/sbin/sweep start >/dev/null; fi", "sweep"),
        ("if [ $(date +%d) -le 7 ]; then /usr/share/md/scan --all; fi", "scan"),
        ("for i in a b; do /opt/send $i; done", "send"),
        ("sleep $(( RANDOM % 60 )); /opt/pull", "pull"),
        ("sleep $(( ( RANDOM ", "sleep"),
        ("perl -e 'sleep int(rand(9))' && certbot -q renew", "certbot-renew"),
        ("perl -MHousehold -e 'sweep()'", "Household"),
        ("test -x /sbin/tig && { [ -r \"$D\" ] && . \"$D\" ; nice -n$N /sbin/tig -q ; }", "tig"),
        ("command -v sa1 > /dev/null && sa1 1 1", "sa1"),
        ("cd /app && node --import tsx server/sync-catalog.ts", "sync-catalog"),
        ("php /var/www/html/artisan schedule:run", "artisan-schedule-run"),
        ("php -d memory_limit=1G -f /var/www/shop/cron.php", "shop-cron"),
        ("docker exec -u www-data cloud php -f /var/www/html/occ files:scan", "occ-files-scan"),
        ("su - joe -c 'cd ~ && ./feed.sh'", "feed"),
        ("su -s /bin/sh -c 'nice /opt/index --all' www", "index"),
        ("bash -lc \"timeout -k 5 1h chronic flock -n /l -c 'python -u load_all.py'\"", "load_all"),
        ("curl -fsS -m 10 https://www.example.org/hooks/tick.php?k=1 >/dev/null", "example-org-hooks-tick"),
        ("wget -qO- 'http://me:pw@shop.example:81/cron.php'", "shop-example-cron"),
        ("$VV $ROOT/scripts/worker Import", "worker"),
        ("ssh -p 22 joe@far 'cd /srv; ./pull.sh'", "pull"),
        ("runuser -u git -- /usr/bin/git gc", "git-gc"),
        ("python -c 'import housekeeping; housekeeping.run()'", "housekeeping"),
        ("rm -rf /var/cache/thumbs/*", "rm-thumbs"),
        ("(date; echo start; rm -f /x/lock) >>/x/log", "echo-start"),
        ("cd /srv/shop/bin && ./run.sh", "shop-run"),
        ("expr `date +%W` % 2 >/dev/null || /opt/fortnight.sh", "fortnight"),
        ("test -d /x", "test"),
        ("$sweep_all ", "sweep_all"),
        ("…", "command"),
        ("", "command"),
    ],
)  # fmt: skip
def test_a_name_says_what_the_command_is_about(command: str, name: str) -> None:
    assert name_of(command) == name


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param(
            [("tidy --logs", "0 1 * * *"), ("tidy --spool", "0 1 * * *")], ["tidy-logs", "tidy-spool"],
            id="an option",
        ),
        pytest.param(
            [("copy a /dst", "@daily"), ("copy b /dst", "@daily"), ("copy", "@daily")],
            ["copy-a", "copy-b", "copy"],
            id="an argument",
        ),
        pytest.param(
            [("ring", "30 6 * * *"), ("ring", "5 19 * * *"), ("ring", "@reboot")],
            ["ring-0630", "ring-1905", "ring-reboot"],
            id="when nothing else differs, the time",
        ),
        pytest.param(
            [("ring", "0 * * * *"), ("ring", "15 * * * *")], ["ring-min-0", "ring-min-15"], id="a minute"
        ),
        pytest.param(
            [("ring", "0 30 6 * * *"), ("ring", "0 5 19 * * * 2030"), ("ring", "7 8 * * * 2030")],
            ["ring-0630", "ring-1905", "ring-0807"],
            id="of the minute and hour, not the second",
        ),
        pytest.param([("ring", "* * * * *"), ("ring", "* * * * *")], ["ring", "ring-2"], id="or a number"),
        pytest.param(
            [("date >>/tmp/one", "@daily"), ("date >>/tmp/two", "@daily")],
            ["date-one", "date-two"],
            id="what a plain program writes",
        ),
        pytest.param(
            [("d --password=a1b2 x", "@daily"), ("d -ptop99secret y", "@daily"), ("d -p q7 z", "@daily")],
            ["d-x", "d-y", "d-z"],
            id="never a secret",
        ),
        pytest.param(
            [("cd /srv/a && make all", "@daily"), ("cd /srv/b && make all", "@daily")],
            ["make-all-a", "make-all-b"],
            id="the directory",
        ),
        pytest.param(
            [("a.sh >/var/log/one.log", "@daily"), ("a.sh >/var/log/two.log", "@daily")],
            ["a-one-log", "a-two-log"],
            id="where the output goes",
        ),
    ],
)  # fmt: skip
def test_lines_of_one_name_are_told_apart_by_what_differs(
    lines: list[tuple[str, str]], names: list[str]
) -> None:
    assert names_of(lines, {}) == names


@given(st.lists(st.tuples(LINES, LINES), max_size=8))
def test_the_names_of_any_lines_differ_and_are_valid(lines: list[tuple[str, str]]) -> None:
    from taskman_cli.jobfile.values import NAME

    names = names_of(lines, {})
    assert len(set(names)) == len(lines)
    assert [name for name in names if not NAME.fullmatch(name)] == []


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        (
            "# .---------------- minute (0 - 59)\n# |  .------------- hour (0 - 23)\n# |  |  |  |  |\n"
            "# *  *  *  *  * user-name command to be executed\n# Sweep the floor\n",
            "Sweep the floor",
        ),
        ("# ┌───────────── minute (0 - 59)\n# │ ┌─────────── hour\n# │ │ │ │ │\n# * * * * *\n", ""),
        ("# mn hr  dom mon dow  cmd\n", ""),
        ("#minute\thour\tmday\tmonth\twday\twho\tcommand\n", ""),
        ("# period    delay   job-id          command to be executed\n", ""),
        ("# See crontab(5) for field format.\n", ""),
        ("#!/bin/bash\n", ""),
        ("# old\n#0 1 * * * sweep --old\n# new\n", "new"),
        ("#*/5 * * * * sweep --old\n", ""),
        ("#@daily sweep --old\n", ""),
        ("##### Floors #####\n", "Floors"),
        ("# ---- Floors ----\n# ----------------\n# twice\n", "Floors\ntwice"),
        ("# 5 floors to do * now and then\n", "5 floors to do * now and then"),
        ("# Minutes of hours are swept\n", "Minutes of hours are swept"),
        ("# @noon we rest\n", "@noon we rest"),
        ("# taskman: allow bare-percent\n", ""),
    ],
)
def test_a_description_is_what_the_comment_says_about_the_line(comment: str, words: str) -> None:
    (entry,) = read_crontab(f"{comment}0 2 * * * sweep\n", system=False).entries
    assert entry.comment == words


def test_a_job_that_was_commented_out_stays_among_the_comments() -> None:
    crontab = read_crontab("# old\n#0 1 * * * sweep --old\n0 2 * * * sweep\n", system=False)
    assert crontab.comments == ["old", "0 1 * * * sweep --old"]


def test_the_name_of_the_file_stands_before_unless_it_is_there_already() -> None:
    assert name_of("/usr/sbin/sweep", prefix="php") == "php-sweep"
    assert name_of("/usr/bin/php-sweep", prefix="php") == "php-sweep"


def test_a_name_that_is_taken_gets_a_number() -> None:
    taken = {"a": 1}
    assert [unique("a", taken), unique("a", taken), unique("b", taken)] == ["a-2", "a-3", "b"]


@given(LINES, LINES)
def test_any_command_gets_a_name_that_a_job_can_have(command: str, prefix: str) -> None:
    from taskman_cli.jobfile.values import NAME

    assert NAME.fullmatch(name_of(command, prefix=prefix))


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (
            "0 9 * * FRI-MON x",
            'cron reads day of week "FRI-MON" as no value: the range runs backwards: write "FRI-SAT,SUN-MON"',
        ),
        ("0 9 * * 1\u20135 x", 'day of week "1\u20135" as "1", because of en dash (U+2013): write -'),
    ],
)
def test_a_column_of_which_cron_reads_less_than_is_meant_is_told_with_what_to_write(
    line: str, note: str
) -> None:
    assert any(note in one.message for one in read_crontab(line + "\n", system=False).notes)
