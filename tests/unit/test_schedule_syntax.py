"""Which cron expressions are taken, what they mean, and what is said about the others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskman_cli.core.schedule import ScheduleError, next_slots
from taskman_cli.core.schedule.expression import clean, has_hash, parse_expression

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday


def slots(expression: str, *, count: int = 3) -> str:
    found = next_slots(expression, timezone="UTC", start=NEW_YEAR, count=count)
    return " ".join(slot.strftime("%y-%m-%dT%H:%M:%S") for slot in found)


#: Each with its first slots after 2024-01-01 00:00.
ACCEPTED = {
    "* * * * *": "24-01-01T00:01:00 24-01-01T00:02:00",
    "* * * * * *": "24-01-01T00:00:01 24-01-01T00:00:02",
    "30 0 0 1 1 *": "24-01-01T00:00:30 25-01-01T00:00:30",
    "0 0 * * 0": "24-01-07T00:00:00 24-01-14T00:00:00",
    "0 0 * * 7": "24-01-07T00:00:00 24-01-14T00:00:00",
    "0 0 * * 7-7": "24-01-07T00:00:00 24-01-14T00:00:00",
    "0 0 * * 5-7": "24-01-05T00:00:00 24-01-06T00:00:00 24-01-07T00:00:00 24-01-12T00:00:00",
    "0 0 * * SUN-MON": "24-01-07T00:00:00 24-01-08T00:00:00 24-01-14T00:00:00",
    "0 0 * * mOn": "24-01-08T00:00:00 24-01-15T00:00:00",
    "0 0 * * 1-FRI/2": "24-01-03T00:00:00 24-01-05T00:00:00 24-01-08T00:00:00",
    "0 0 * * */2": "24-01-02T00:00:00 24-01-04T00:00:00 24-01-06T00:00:00 24-01-07T00:00:00",
    "0 0 * * 1-7/3": "24-01-04T00:00:00 24-01-07T00:00:00 24-01-08T00:00:00",
    "0 0 1 feb,APR *": "24-02-01T00:00:00 24-04-01T00:00:00 25-02-01T00:00:00",
    "0 0 1 jan-mar/2 *": "24-03-01T00:00:00 25-01-01T00:00:00",
    "0-59/20 * * * *": "24-01-01T00:20:00 24-01-01T00:40:00 24-01-01T01:00:00",
    "*/90 * * * *": "24-01-01T01:00:00 24-01-01T02:00:00",
    "50-59/90 * * * *": "24-01-01T00:50:00 24-01-01T01:50:00",
    "0 */25 * * *": "24-01-02T00:00:00 24-01-03T00:00:00",
    "0 0 */32 * *": "24-02-01T00:00:00 24-03-01T00:00:00",
    "5-5 * * * *": "24-01-01T00:05:00 24-01-01T01:05:00",
    "5-5/3 * * * *": "24-01-01T00:05:00 24-01-01T01:05:00",
    "5,*/20 * * * *": "24-01-01T00:05:00 24-01-01T00:20:00 24-01-01T00:40:00 24-01-01T01:00:00",
    "00007 * * * *": "24-01-01T00:07:00 24-01-01T01:07:00",
    "  5\t5  * *\t*  ": "24-01-01T05:05:00 24-01-02T05:05:00",
    "@hourly": "24-01-01T01:00:00 24-01-01T02:00:00",
    "@daily": "24-01-02T00:00:00 24-01-03T00:00:00",
    "@midnight": "24-01-02T00:00:00 24-01-03T00:00:00",
    "@weekly": "24-01-07T00:00:00 24-01-14T00:00:00",
    "@monthly": "24-02-01T00:00:00 24-03-01T00:00:00",
    "@yearly ": "25-01-01T00:00:00 26-01-01T00:00:00",
    "\t@annually": "25-01-01T00:00:00 26-01-01T00:00:00",
    "@reboot": "",
    "0 0 L * *": "24-01-31T00:00:00 24-02-29T00:00:00 24-03-31T00:00:00",
    "0 0 15,l * *": "24-01-15T00:00:00 24-01-31T00:00:00 24-02-15T00:00:00",
    "0 0 * * L5": "24-01-26T00:00:00 24-02-23T00:00:00",
    "0 0 * * L7,FRI#1": "24-01-05T00:00:00 24-01-28T00:00:00 24-02-02T00:00:00",
    "0 0 * * fri#2": "24-01-12T00:00:00 24-02-09T00:00:00",
    "0 0 * * 7#5": "24-03-31T00:00:00 24-06-30T00:00:00",
    "0 0 6W * *": "24-01-05T00:00:00 24-02-06T00:00:00",
    "0 0 ? * MON": "24-01-08T00:00:00 24-01-15T00:00:00",
    "0 0 1 * ?": "24-02-01T00:00:00 24-03-01T00:00:00",
    "0 0 ? * ?": "24-01-02T00:00:00 24-01-03T00:00:00",
    "0/25 * * * *": "24-01-01T00:25:00 24-01-01T00:50:00 24-01-01T01:00:00",
    "5/15 0 * * *": "24-01-01T00:05:00 24-01-01T00:20:00 24-01-01T00:35:00 24-01-01T00:50:00",
    "0 0 28/2 * *": "24-01-28T00:00:00 24-01-30T00:00:00 24-02-28T00:00:00",
    "0 0 * * TUE/2": "24-01-02T00:00:00 24-01-04T00:00:00 24-01-06T00:00:00 24-01-09T00:00:00",
    "0 0 * * 7/3": "24-01-03T00:00:00 24-01-06T00:00:00 24-01-07T00:00:00",
    "0 22-2 * * *": "24-01-01T01:00:00 24-01-01T02:00:00 24-01-01T22:00:00 24-01-01T23:00:00",
    "0 23-2/2 * * *": "24-01-01T01:00:00 24-01-01T23:00:00 24-01-02T01:00:00",
    "58-1 0 * * *": "24-01-01T00:01:00 24-01-01T00:58:00 24-01-01T00:59:00 24-01-02T00:00:00",
    "0 0 1 NOV-FEB *": "24-02-01T00:00:00 24-11-01T00:00:00 24-12-01T00:00:00 25-01-01T00:00:00",
    "0 0 1 11-2/2 *": "24-11-01T00:00:00 25-01-01T00:00:00",
    "0 0 30-1 * *": "24-01-30T00:00:00 24-01-31T00:00:00 24-02-01T00:00:00 24-03-01T00:00:00",
    "0 0 * * FRI-MON": "24-01-05T00:00:00 24-01-06T00:00:00 24-01-07T00:00:00 24-01-08T00:00:00",
    "0 0 * * MON-SUN/2": "24-01-03T00:00:00 24-01-05T00:00:00 24-01-07T00:00:00",
    "0 0 * * 7-1": "24-01-07T00:00:00 24-01-08T00:00:00 24-01-14T00:00:00",
    "0 0 * * SAT-SUN": "24-01-06T00:00:00 24-01-07T00:00:00 24-01-13T00:00:00",
    "0 0 * * 5L": "24-01-26T00:00:00 24-02-23T00:00:00",
    "0 0 * * fridayL": "24-01-26T00:00:00 24-02-23T00:00:00",
    "0 0 * * 7L": "24-01-28T00:00:00 24-02-25T00:00:00",
    "0 0 LW * *": "24-01-31T00:00:00 24-02-29T00:00:00 24-03-29T00:00:00",
    "0 0 L-3 * *": "24-01-28T00:00:00 24-02-26T00:00:00",
    "0 0 L-0 * *": "24-01-31T00:00:00 24-02-29T00:00:00",
    "0 0 L-30 * *": "24-03-01T00:00:00 24-05-01T00:00:00",
    "0 0 L-3W * *": "24-01-29T00:00:00 24-02-26T00:00:00 24-03-28T00:00:00",
    "0 0 l-30w * *": "24-03-01T00:00:00 24-05-01T00:00:00 24-07-01T00:00:00",
    "0 0 1W,15W * *": "24-01-15T00:00:00 24-02-01T00:00:00 24-02-15T00:00:00 24-03-01T00:00:00",
    "0 0 10,L,15W * *": "24-01-10T00:00:00 24-01-15T00:00:00 24-01-31T00:00:00",
    "0 0 31W * *": "24-01-31T00:00:00 24-03-29T00:00:00 24-05-31T00:00:00",
    "0 0 30W 2-3 *": "24-03-29T00:00:00 25-03-31T00:00:00",
    "0 0 * * MON,FRI#2": "24-01-08T00:00:00 24-01-12T00:00:00 24-01-15T00:00:00",
    "0 0 1-7 * FRI,L1": "24-01-02T00:00:00 24-01-03T00:00:00",
    "0 0 */9 * FRI,L1": "24-01-19T00:00:00 24-03-01T00:00:00",
    "0 0 * * Monday": "24-01-08T00:00:00 24-01-15T00:00:00",
    "0 0 * * tues,Weds-Thurs": "24-01-02T00:00:00 24-01-03T00:00:00 24-01-04T00:00:00 24-01-09T00:00:00",
    "0 0 1 February,SEPT *": "24-02-01T00:00:00 24-09-01T00:00:00",
    "0 0 * * friday#2": "24-01-12T00:00:00 24-02-09T00:00:00",
    "@DAILY": "24-01-02T00:00:00 24-01-03T00:00:00",
    "@Reboot": "",
    "@every 1h30m": "24-01-01T01:30:00 24-01-01T03:00:00",
    "0 0 1 1 * 2030": "30-01-01T00:00:00",
    "0 12 1 1 * 2026,2028-2030/2": "26-01-01T12:00:00 28-01-01T12:00:00 30-01-01T12:00:00",
    "0 0 1 1 * 2097/2": "97-01-01T00:00:00 99-01-01T00:00:00",
    "30 0 0 1 1 * 2025": "25-01-01T00:00:30",
    "30 0 0 1 1 * *": "24-01-01T00:00:30 25-01-01T00:00:30",
    "0 0 0 1 1 ? */2": "26-01-01T00:00:00 28-01-01T00:00:00",
    "0 0 29 2 * 2025-2033": "28-02-29T00:00:00 32-02-29T00:00:00",
    "0 0 1 1 * 2020": "",
    "0 0 1w * *": "24-02-01T00:00:00 24-03-01T00:00:00 24-04-01T00:00:00 24-05-01T00:00:00 24-06-03T00:00:00",
}


@pytest.mark.parametrize(("expression", "expected"), ACCEPTED.items(), ids=map(repr, ACCEPTED))
def test_expression_is_taken_and_means_what_its_authors_expect(expression: str, expected: str) -> None:
    assert slots(expression, count=len(expected.split()) or 3) == expected


#: Each with a piece of what is said about it.
REFUSED = {
    "": "the cron expression is empty",
    " \t ": "the cron expression is empty",
    "* * * *": '"* * * *" has 4 fields; a cron expression has 5',
    "5": "has 1 field;",
    "* * * * * * * *": "has 8 fields; a cron expression has 5 (minute, hour, day of month",
    "0 0 1 1 * * 2030 *": "has 8 fields",
    "0 0 * * *\n": 'invalid character: "\\n"',
    "0 0\n* * *": 'invalid character: "\\n"',
    "0\u00a00 * * *": 'invalid character: "\\xa0", no-break space (U+00A0): write a space',
    "0 0 * * 1\u20135": 'invalid character: "\\u2013", en dash (U+2013): write -',
    "\uff0a * * * *": 'invalid character: "\\uff0a", fullwidth asterisk (U+FF0A): write *',
    "\u200b0 0 * * *": 'invalid character: "\\u200b", zero width space (U+200B): remove it',
    "\u4e00 * * * *": 'invalid character: "\\u4e00"',
    "\u201c0 0 * * *\u201d": 'left double quotation mark (U+201C): write "',
    "\u0663 * * * *": 'invalid character: "\\u0663"',
    "\u00a00 0 * * *": 'invalid character: "\\xa0"',
    "60 * * * *": 'minute "60": not in 0-59',
    "5-64/30 * * * *": 'minute "5-64/30": "64" is not in 0-59',
    "60 * * * * *": 'second "60"',
    "0 24 * * *": 'hour "24": not in 0-23',
    "0 0 0 * *": 'day of month "0": not in 1-31',
    "0 0 32 * *": 'day of month "32"',
    "0 0 * 0 *": 'month "0": not in 1-12',
    "0 0 * 13 *": 'month "13"',
    "0 0 * * 8": 'day of week "8": not in 0-7',
    "4294967296 * * * *": "not in 0-59",
    "9" * 5000 + " * * * *": '...": not in 0-59',
    "*/0 * * * *": 'minute "*/0": the step must be at least 1',
    "0 0-9/0 * * *": 'hour "0-9/0": the step must be at least 1',
    "*/-1 * * * *": 'minute "*/-1": not a number, nor a range or *',
    "*/ * * * *": "not a number",
    "*/*  * * * *": "not a number",
    "*/5/2 * * * *": "not a number",
    "0 0 * * */MON": "not a number or one of SUN MON",
    "** * * * *": "not a number",
    "*5 * * * *": "not a number",
    "1,,2 * * * *": 'minute "": a value is missing before or after a comma',
    ",1 * * * *": "a value is missing",
    "1, * * * *": "a value is missing",
    "1- * * * *": 'minute "1-": not a number',
    "-1 * * * *": 'minute "-1": not a number',
    "1-5-7 * * * *": 'minute "1-5-7"',
    "1.5 * * * *": 'minute "1.5"',
    "+5 * * * *": 'minute "+5"',
    "0x5 * * * *": 'minute "0x5"',
    "1~5 * * * *": 'minute "1~5"',
    '"5 * * * *"': 'minute ""5"',
    "0 0 * * JAN": 'day of week "JAN": not a number or one of SUN MON TUE WED THU FRI SAT, nor a range or * '
    "(that is a month; the fields are minute, hour, day of month, month, day of week)",
    "0 MON * * *": "(that is a day of week; the fields are",
    "0 0 * * MONFRI": "nor a range or *",
    "0 0 * MON *": 'month "MON": not a number or one of JAN FEB',
    "0 0 * * MO": 'day of week "MO"',
    "0 JAN * * *": 'hour "JAN": not a number, nor a range or *',
    "? * * * *": 'minute "?": "?" is only valid alone, as day of month or day of week; write "*"',
    "0 0 ?,1 * *": 'day of month "?": "?" is only valid alone',
    "0 0 ?/2 * *": 'day of month "?/2": "?" is only valid alone',
    "0 0 1 ? *": 'month "?": "?" is only valid alone',
    "1~5 * * * * *": 'a random value is H in a job file, the same at every start: write "H(1-5)"',
    "0 ~ * * *": 'hour "~": a random value is H in a job file, the same at every start: write "H"',
    "0 9~ * * *": 'write "H(9-23)"',
    "0 ~9 * * *": 'write "H(0-9)"',
    "TZ=Europe/Rome 0 5 * * *": 'a cron expression has no time zone; write timezone = "Europe/Rome" and '
    'cron = "0 5 * * *"',
    "CRON_TZ=UTC": 'write timezone = "UTC" and cron = "30 2 * * *"',
    "R * * * *": '"R" (a random time) is not supported',
    "R(0-5)/2 * * * *": '"R" (a random time) is not supported',
    "@every": "@every: the duration is empty; a duration is one or more numbers with units",
    "@every 5": '@every: add a unit to the number: "5s" is seconds',
    "@every 1ms": '@every: "1ms" is not between 10ms and 36525d',
    "@every 40000d": "is not between 10ms and 36525d",
    "@minutely": '@reboot (write "* * * * *")',
    "@every_minute": '(write "* * * * *")',
    "@fortnightly": '(write every = "2w")',
    "@startup": '(write "@reboot")',
    "@montly": '(did you mean "@monthly"?)',
    "@Dayly": '"@Dayly" is not one of @hourly @daily @midnight @weekly @monthly @yearly @annually @reboot '
    '(did you mean "@daily"?)',
    "@xyzzy": '"@xyzzy" is not one of',
    "@": '"@" is not one of',
    "L * * * *": '"L" and "W" have these forms: L, L-3, LW, L-3W and 15W',
    "0 0 1-L * *": 'day of month "1-L": "L" and "W" have',
    "0 0 W * *": 'day of month "W": "L" and "W" have',
    "0 0 W15 * *": 'day of month "W15": "L" and "W" have',
    "0 0 0W * *": 'day of month "0W": "0" is not in 1-31',
    "0 0 32W * *": 'day of month "32W": "32" is not in 1-31',
    "0 0 * * L": 'day of week "L": "L" and "W" have',
    "0 0 * * L8": 'day of week "L8": "8" is not in 0-7',
    "0 0 * * FRI#0": 'day of week "FRI#0": no month has weekday number 0, only 1-5',
    "0 0 * * MON#6": 'day of week "MON#6": no month has weekday number 6, only 1-5',
    "0 0 * * XYZ#2": 'day of week "XYZ#2": "XYZ" is not a number or one of SUN',
    "0 0 * * MON-FRI#2": '"#" goes with one day of the week, as in FRI#2',
    "0 0 1#2 * *": 'day of month "1#2": "#" goes with one day of the week',
    "0 0 30 2 *": 'day of month "30": can never fire: FEB never has more than 29 days',
    "0 0 31 2,4 *": 'day of month "31": can never fire: FEB or APR never has more than 30 days',
    "0 0 30 2 */2": "can never fire: FEB never has more than 29 days",
    "0 0 */31 * MON#2": 'no day of a month matches both day of month "*/31" and day of week "MON#2"',
    "H/0 * * * *": "the step must be at least 1",
    "0 H(20-30) * * *": 'hour "H(20-30)": "30" is not in 0-23',
    "H(5-5) * * * *": "the range of H must run upwards",
    "H(5) * * * *": '"H" has these forms: H, H/15, H(0-29) or H(0-29)/10',
    "H-5 * * * *": '"H" has these forms',
    "HELLO * * * *": "not a number",
    "0 0 0 1 1 * H": 'year "H": "H" has these forms',
    "0 0 L-31 * *": 'day of month "L-31": no month has 31 days before its last',
    "0 0 L3 * *": 'day of month "L3": "L" and "W" have these forms',
    "0 0 LW-3 * *": 'day of month "LW-3": "L" and "W" have these forms',
    "0 0 32L * *": 'day of month "32L": "L" and "W" have these forms',
    "0 0 * * 8L": 'day of week "8L": "8" is not in 0-7',
    "0 0 * * MON/2": 'day of week "MON/2": programs differ on whether this includes Sunday: write MON-6/2 or '
    "MON-7/2",
    "0 0 * * 6/1": "write 6-6/1 or 6-7/1",
    "0 0 * * XL": 'day of week "XL": "X" is not a number',
    "0 0 * * Tuesd": '(did you mean "TUE"?)',
    "0 0 1 1 * 1969": 'year "1969": not in 1970-9999',
    "0 0 1 1 * 2030-2029": 'year "2030-2029": the range runs backwards',
    "0 0 0 1 1 * 30": 'year "30": not in 1970-9999',
    "0 0 1 1 * 20300": 'day of week "20300"',
    "0 0 30 2 * 2030": "can never fire: FEB never has more than 29 days",
    "0 0 29 2 * 2030-2031": 'year "2030-2031": can never fire: no day of this year matches',
    "0 0 L-30 2 *": 'day of month "L-30": can never fire: FEB never has more than 29 days',
    "0 0 31W 2,4 *": 'day of month "31W": can never fire',
}


@pytest.mark.parametrize(("expression", "reason"), REFUSED.items(), ids=(repr(text[:30]) for text in REFUSED))
def test_expression_is_refused_with_the_field_and_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        slots(expression)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("expression", "is_wildcard"),
    {
        "* 2 * * *": True,
        "5 */2 * * *": True,
        "*,5 2 * * *": True,
        "5,* 2 * * *": False,
        "0-59 0-23 * * *": False,
        "@hourly": True,
        "@daily": False,
        "*/10 5 2 * * *": True,
        "0 5 2 * * *": False,
        "H H * * *": False,
    }.items(),
)
def test_a_job_is_wildcard_if_a_field_of_its_time_starts_with_a_star(
    expression: str, is_wildcard: bool
) -> None:
    assert parse_expression(expression, name="").is_wildcard is is_wildcard


@pytest.mark.parametrize(
    ("expression", "has"),
    [
        ("H * * * *", True),
        ("0 h(0-3) * * *", True),
        ("5 0 * * H/2", True),
        ("0 0 * MAR THU", False),
        ("@hourly", False),
    ],
)
def test_only_a_field_of_h_needs_the_name(expression: str, has: bool) -> None:
    assert has_hash(expression) is has


@pytest.mark.parametrize(
    ("expression", "low", "high"),
    [
        ("H * * * *", 0, 59),
        ("H(10-19) * * * *", 10, 19),
        ("0 H * * *", 0, 23),
        ("0 0 H * *", 1, 28),
        ("0 0 1 H *", 1, 12),
        ("0 0 * * H", 0, 6),
        ("0 0 * * H(5-7)", 0, 6),
    ],
)
def test_h_stays_in_its_range_and_spreads_over_all_of_it(expression: str, low: int, high: int) -> None:
    index = expression.split().index(next(field for field in expression.split() if field.startswith("H")))
    kinds = ("minute", "hour", "day", "month", "weekday")
    seen = {
        getattr(parse_expression(expression, name=f"job{n}"), kinds[index]).values[0] for n in range(1000)
    }
    expected = {5, 6, 0} if "5-7" in expression else set(range(low, high + 1))
    assert seen == expected


def test_h_with_a_step_begins_within_the_first_step_and_goes_on_to_the_end() -> None:
    every_15 = {parse_expression("H/15 * * * *", name=f"job{n}").minute.values for n in range(200)}
    assert every_15 == {tuple(range(start, 60, 15)) for start in range(15)}
    within = {parse_expression("H(0-29)/10 * * * *", name=f"job{n}").minute.values for n in range(200)}
    assert within == {tuple(range(start, 30, 10)) for start in range(10)}


def test_h_is_stable_and_its_minute_says_nothing_about_its_hour() -> None:
    first = parse_expression("H H * * *", name="backup")
    assert (first.minute.values, first.hour.values) == ((9,), (8,))
    pairs = {
        (parsed.minute.values[0], parsed.hour.values[0])
        for parsed in (parse_expression("H H * * *", name=f"job{n}") for n in range(4000))
    }
    assert len(pairs) > 1250


def test_spaces_are_normalised_in_the_text() -> None:
    assert clean(" 5\t 5 * *  * ") == "5 5 * * *"
