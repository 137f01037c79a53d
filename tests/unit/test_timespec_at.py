"""Time specifications as the real at(1) answered them, and where we deliberately say something else."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from unit.at_answers import ANSWERS

from taskman_cli.core.timespec import parse_timespec
from taskman_cli.errors import TimespecError

#: Each reason to differ, with clock and specification and what we say: an instant, or words of the refusal.
DIFFERENCES: dict[str, dict[tuple[str, str], str]] = {
    "We read more: the day before the time, seconds, the epoch, durations.": {
        ("2026-11-24 10:17:42", "tomorrow noon"): "2026-11-25T12:00:00+01:00",
        ("2026-11-24 10:17:42", "friday 4pm"): "2026-11-27T16:00:00+01:00",
        ("2026-11-24 10:17:42", "Jul 31 10am"): "2027-07-31T10:00:00+02:00",
        ("2026-11-24 10:17:42", "2027-12-24 10:00"): "2027-12-24T10:00:00+01:00",
        ("2026-11-24 10:17:42", "10:00:30"): "2026-11-25T10:00:30+01:00",
        ("2026-11-24 10:17:42", "now next week"): "2026-12-01T10:17:00+01:00",
        ("2026-11-24 10:17:42", "@1900000000"): "2030-03-17T18:46:40+01:00",
        ("2026-11-24 10:17:42", "90s"): "2026-11-24T10:19:12+01:00",
        ("2026-11-24 10:17:42", "2d"): "2026-11-26T10:17:42+01:00",
    },
    "We read more: what people say.": {
        ("2026-11-24 10:17:42", "3 days"): "2026-11-27T10:17:42+01:00",
        ("2026-11-24 10:17:42", "+ 3 days"): "2026-11-27T10:17:42+01:00",
        ("2026-11-24 10:17:42", "in 3 days"): "2026-11-27T10:17:42+01:00",
        ("2026-11-24 10:17:42", "5 hours"): "2026-11-24T15:17:42+01:00",
        ("2026-11-24 10:17:42", "in 2 hours"): "2026-11-24T12:17:42+01:00",
        ("2026-11-24 10:17:42", "2 hours from now"): "2026-11-24T12:17:42+01:00",
        ("2026-11-24 10:17:42", "2 days ago"): "2026-11-22 10:17:42 is in the past",
        ("2026-11-24 10:17:42", "+2h"): "2026-11-24T12:17:42+01:00",
        ("2026-11-24 10:17:42", "now+2h"): "2026-11-24T12:17:00+01:00",
        ("2026-11-24 10:17:42", "now + 5 mins"): "2026-11-24T10:22:00+01:00",
        ("2026-11-24 10:17:42", "now + 1 day 2 hours"): "2026-11-25T12:17:00+01:00",
        ("2026-11-24 10:17:42", "at noon"): "2026-11-24T12:00:00+01:00",
        ("2026-11-24 10:17:42", "at 5pm"): "2026-11-24T17:00:00+01:00",
        ("2026-11-24 10:17:42", "tomorrow at 9"): "2026-11-25T09:00:00+01:00",
        ("2026-11-24 10:17:42", "next monday at 9am"): "2026-11-30T09:00:00+01:00",
        ("2026-11-24 10:17:42", "this friday"): "2026-11-27T10:17:00+01:00",
        ("2026-11-24 10:17:42", "tonight"): "2026-11-24T20:00:00+01:00",
        ("2026-11-24 10:17:42", "tues"): "2026-12-01T10:17:00+01:00",
        ("2026-11-24 10:17:42", "thurs"): "2026-11-26T10:17:00+01:00",
        ("2026-11-24 10:17:42", "sept 4"): "2027-09-04T10:17:00+02:00",
        ("2026-11-24 10:17:42", "April 1st"): "2027-04-01T10:17:00+02:00",
        ("2026-11-24 10:17:42", "2027/04/01 09:00"): "2027-04-01T09:00:00+02:00",
    },
    'Up to ten hours, "1h30" is a duration, as everywhere; at(1) reads a time of day.': {
        ("2026-11-24 10:17:42", "1h30"): "2026-11-24T11:47:42+01:00",
        ("2026-11-24 10:17:42", "9h45"): "2026-11-24T20:02:42+01:00",
    },
    "Months and years end at the last day of the month; at(1) counts on into the next.": {
        ("2028-02-29 08:00:00", "next year"): "2029-02-28T08:00:00+05:30",
        ("2028-02-29 08:00:00", "now + 1 year"): "2029-02-28T08:00:00+05:30",
        ("2028-02-29 08:00:00", "4pm + 1 year"): "2029-02-28T16:00:00+05:30",
        ("2027-01-31 12:00:00", "next month"): "2027-02-28T12:00:00+11:00",
        ("2027-01-31 12:00:00", "now + 1 month"): "2027-02-28T12:00:00+11:00",
        ("2027-01-31 12:00:00", "now + 3 months"): "2027-04-30T12:00:00+10:00",
        ("2027-01-31 12:00:00", "now + 13 months"): "2028-02-29T12:00:00+11:00",
        ("2027-01-31 12:00:00", "4pm + 1 month"): "2027-02-28T16:00:00+11:00",
        ("2027-01-31 12:00:00", "4pm + 3 months"): "2027-04-30T16:00:00+10:00",
        ("2027-01-31 12:00:00", "4pm + 13 months"): "2028-02-29T16:00:00+11:00",
    },
    "Hours are elapsed time; at(1) takes them by the wall clock, or, from a lone time, an hour off.": {
        ("2026-03-28 20:30:00", "now + 36 hours"): "2026-03-30T09:30:00+02:00",
        ("2026-03-28 20:30:00", "1:30 + 36 hours"): "2026-03-29T14:30:00+02:00",
        ("2026-03-28 20:30:00", "23:50 + 3 hours"): "2026-03-29T03:50:00+02:00",
        ("2026-03-28 20:30:00", "23:50 + 36 hours"): "2026-03-30T12:50:00+02:00",
        ("2026-10-24 22:45:00", "now + 36 hours"): "2026-10-26T09:45:00+01:00",
        ("2026-10-24 22:45:00", "1:30 + 36 hours"): "2026-10-25T12:30:00+01:00",
        ("2026-10-24 22:45:00", "23:50 + 36 hours"): "2026-10-26T10:50:00+01:00",
        ("2026-10-24 22:45:00", "23:50 - 2 hours"): "2026-10-25T21:50:00+01:00",
    },
    "at(1) thinks that every clock change is of an hour; this one is of half an hour.": {
        ("2026-04-04 22:00:00", "tomorrow"): "2026-04-05T22:00:00+10:30",
        ("2026-04-04 22:00:00", "noon tomorrow"): "2026-04-05T12:00:00+10:30",
    },
    "A time that the clocks jump over is refused; at(1) goes an hour back or on.": {
        ("2026-03-28 20:30:00", "2:30"): "the clocks jump over it",
        ("2026-03-28 20:30:00", "2:30 tomorrow"): "the clocks jump over it",
        ("2026-03-28 20:30:00", "2:30 Mar 29"): "the clocks jump over it",
    },
    "at(1) counts on from what no calendar and no clock shows.": {
        ("2026-11-24 10:17:42", "Feb 29"): "has no 29 February",
        ("2026-11-24 10:17:42", "30 Feb"): "no such day: 30",
        ("2026-11-24 10:17:42", "Apr 31"): "no such day: 31",
        ("2026-11-24 10:17:42", "2/30/29"): "no such day: 30",
        ("2026-11-24 10:17:42", "noon Feb 29"): "has no 29 February",
        ("2026-11-24 10:17:42", "noon 30 Feb"): "no such day: 30",
        ("2026-11-24 10:17:42", "noon Apr 31"): "no such day: 31",
        ("2026-11-24 10:17:42", "noon 2/30/29"): "no such day: 30",
        ("2026-11-24 10:17:42", "24:30"): "the day ends at 24:00",
        ("2026-11-24 10:17:42", "10:60"): "no such minute: 60",
    },
    "at(1) makes 3700 of 1800; and 2300 was meant as a time.": {
        ("2026-11-24 10:17:42", "Jul 4 1800"): "a year or a time of day?",
        ("2026-11-24 10:17:42", "Jul 31 2300"): "a year or a time of day?",
        ("2026-11-24 10:17:42", "noon Jul 4 1800"): "a year or a time of day?",
        ("2026-11-24 10:17:42", "noon Jul 31 2300"): "a year or a time of day?",
    },
    "at(1) adds a year to what went back behind today; that is a guess.": {
        ("2026-11-24 10:17:42", "4pm - 1 day"): "is in the past",
        ("2026-01-15 14:20:00", "4pm - 1 day"): "is in the past",
        ("2026-07-31 23:30:00", "4pm - 1 day"): "is in the past",
        ("2027-12-31 23:59:59", "4pm - 1 day"): "is in the past",
        ("2028-02-29 08:00:00", "4pm - 1 day"): "is in the past",
        ("2027-01-31 12:00:00", "4pm - 1 day"): "is in the past",
        ("2026-05-01 00:00:00", "4pm - 1 day"): "is in the past",
    },
}
OURS = {case: ours for cases in DIFFERENCES.values() for case, ours in cases.items()}
ASKED = [
    pytest.param(now, zone, spec, answer, id=f"{now} {zone.rpartition('/')[2]}: {spec}")
    for (now, zone), answers in ANSWERS.items()
    for spec, answer in answers.items()
]


@pytest.mark.parametrize(("now", "zone", "spec", "answer"), ASKED)
def test_a_time_is_what_at_says(now: str, zone: str, spec: str, answer: str | None) -> None:
    clock = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone))
    ours = OURS.get((now, spec), answer)
    if ours is not None and "T" in ours:
        assert ours == parse_timespec(spec, now=clock).isoformat()
    else:
        with pytest.raises(TimespecError) as refusal:
            parse_timespec(spec, now=clock)
        assert (ours or "") in str(refusal.value)
        assert 0 <= refusal.value.column <= len(spec)


def test_every_difference_is_one() -> None:
    answers = {(now, spec): answer for (now, _), said in ANSWERS.items() for spec, answer in said.items()}
    assert [case for case, ours in OURS.items() if answers[case] == ours] == []
