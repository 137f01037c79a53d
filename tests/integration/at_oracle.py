"""The real at(1) as an oracle: what it says to a time specification, under a clock that stands still.

Run as a script it writes tests/unit/at_answers.py. It needs root and Debian's packages `at` (3.2.5) and
`libfaketime` (tests/debian.py). The jobs are empty, in a spool of their own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[1]))

import debian

ANSWERS = Path(__file__).parent.parent / "unit" / "at_answers.py"
_JOB = re.compile(r"^job ([0-9]+) at (.*)$", re.MULTILINE)
_REFUSAL = re.compile(r"garbled time|refusing to create job|incomplete time|error in", re.IGNORECASE)


#: Runs its arguments as a command, then lists the spool.
_IN_NAMESPACE = """
set -e
mount -t tmpfs none /var/spool
mkdir -p /var/spool/cron/atjobs
cd /var/spool/cron/atjobs
touch .SEQ
env "$@" || true
ls
"""


class Oracle:
    """at(1), without its setuid bit: the loader would not let faketime into it."""

    def __init__(self, directory: Path) -> None:
        self._at = directory / "at"
        shutil.copyfile(debian.AT, self._at)
        self._at.chmod(0o755)

    def ask(self, spec: str, *, now: str, zone: str) -> str | None:
        """Return the answer in ISO 8601 with its offset, or None where at(1) refuses."""
        clock = [f"TZ={zone}", "LC_ALL=C", f"LD_PRELOAD={debian.faketime()}", f"FAKETIME={now}"]
        words = [*clock, self._at, "-f", "/dev/null", "--", spec]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _IN_NAMESPACE, "sh", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        match = _JOB.search(done.stderr)
        if match is None:
            assert _REFUSAL.search(done.stderr), f"at(1) did not answer to {spec!r}: {done.stderr}"
            return None
        # The file's name ends with the job's minute: only that tells the two passes of an hour apart.
        (name,) = done.stdout.split()
        answer = datetime.fromtimestamp(60 * int(name[-8:], 16), ZoneInfo(zone))
        assert answer.strftime("%a %b %e %H:%M:%S %Y") == match[2]
        return answer.isoformat()


class Moment(NamedTuple):
    """A clock and zone to ask at, and what to ask."""

    now: str
    zone: str
    specs: tuple[str, ...]


def _together(firsts: tuple[str, ...], seconds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{first} {second}" for first in firsts for second in seconds)


TIMES = (
    "4pm", "4 PM", "12am", "12pm", "0am", "0pm", "4:30am", "11:59pm", "noon", "midnight", "teatime", "23:00",
    "2300", "0000", "0:00", "00:01", "10:17", "10:18", "2400", "24:00", "16h30", "16.30", "16,30", "16'30",
)  # fmt: skip
DAYS = (
    "today", "tomorrow", "monday", "tue", "Wednesday", "thu", "fri", "SAT", "sunday", "next friday",
    "next tue", "next week", "next month", "next year", "next day", "next hour", "next minute", "Jul 31",
    "31 Jul", "Feb 28", "29 Feb 2028", "Dec 31", "Jan 1", "1 jan", "Nov 24",
)  # fmt: skip
DATES = (
    "July 31", "31 july 2027", "Jul 31 2027", "Jul 31, 2027", "Jul 31 29", "Feb 29", "30 Feb", "Apr 31",
    "12/24/27", "12/24/2028", "7/4/29", "2/30/29", "24.12.27", "4.7.2029", "2027-12-24", "27-12-24",
    "2028-2-9", "122427", "12242027", "70429", "7042029", "Jul 4 26", "Jul 4 2026", "Jul 4 70", "Jul 4 1800",
    "Jul 31 2300",
)  # fmt: skip
CLOCK_SHIFTS = (
    "+ 1 minute", "+ 5 minutes", "+ 90 min", "+1hour", "+ 3 hours", "+ 36 hours", "- 1 minute", "- 2 hours",
)  # fmt: skip
DAY_SHIFTS = (
    "+ 0 days", "+ 1 day", "+ 3 days", "+ 30 days", "+ 1 week", "+ 2 weeks", "+ 1 month", "+ 3 months",
    "+ 13 months", "+ 1 year", "+ 4 years", "- 1 day",
)  # fmt: skip
UTC_TIMES = (
    *_together(("4pm", "noon", "23:00", "0100", "10am", "10:18", "midnight"), ("UTC",)),
    "4pm utc tomorrow", "noon UTC Jul 31", "10am UTC + 2 days", "23:30 UTC friday",
)  # fmt: skip
#: Below ten hours we read durations.
HOURS = ("1h30", "9h45", "09h45")
GLUED = ("4pmtomorrow", "noonJul31", "now+3days", "10amJul312027", "4  pm   Jul  31", "2300-1hour")
IMPOSSIBLE = ("24:30", "10:60", "24:00 tomorrow")

SHORT = ("now", *TIMES[:12], *DAYS, *_together(("now", "4pm"), (*CLOCK_SHIFTS, *DAY_SHIFTS)), *UTC_TIMES)
LONG = (
    *SHORT, *TIMES, *DATES, *_together(("noon",), (*DAYS, *DATES)), *_together(TIMES, ("tomorrow",)), *GLUED,
    *_together(("tomorrow", "noon Jul 31"), (*CLOCK_SHIFTS, *DAY_SHIFTS)), *IMPOSSIBLE, *HOURS,
)  # fmt: skip
CHANGE = (
    *_together(("now", "1:30", "23:50"), CLOCK_SHIFTS),
    *_together(("now", "4pm", "tomorrow"), DAY_SHIFTS[:5]), "tomorrow", "sunday", "next day", "next week",
    "noon tomorrow", "1am tomorrow", "2:30", "1:45", "3:30 tomorrow",
)  # fmt: skip

#: at(1) has no answer to these, whenever it is asked.
REFUSED = (
    "tomorrow noon", "friday 4pm", "Jul 31 10am", "2027-12-24 10:00", "10:00:30", "13pm", "25:00", "2500",
    "10:61", "99", "4", "12", "430pm", "0430pm", "noon am", "4pm am", "now 4pm", "now tomorrow",
    "now next week", "now + 3", "now + days", "now + 1 day 2 hours", "+ 3 days", "3 days", "in 3 days",
    "now + 5 mins", "now + 5 secs", "now + 1.5 hours", "now + -1 day", "tues", "thurs", "sept 4", "Jul",
    "Jul 32", "Jul 0", "32 Jul", "13/1/27", "0/1/27", "1/32/27", "12/24", "2027-13-01", "2027-02-30",
    "2027-0-1", "30.2.27", "1.13.27", "20271224", "130127", "noon noon", "tomorrow tomorrow",
    "4pm tomorrow 4pm", "noon GMT", "noon Jul 31 UTC", "UTC", "next", "next july", "next noon", "last week",
    "yesterday", "never", "soon", "at noon", "12:5", "1:2:3", "@1900000000", "90s", "2d",
    "5 hours", "in 2 hours", "2 hours from now", "2 days ago", "+2h", "now+2h", "at 5pm", "tomorrow at 9",
    "next monday at 9am", "this friday", "tonight", "April 1st", "2027/04/01 09:00", "9/11", "30/06/17",
)  # fmt: skip

MOMENTS = (
    Moment("2026-11-24 10:17:42", "Europe/Stockholm", (*LONG, *REFUSED)),
    Moment("2026-01-15 14:20:00", "Europe/Stockholm", SHORT),
    Moment("2026-07-31 23:30:00", "America/New_York", SHORT),
    Moment("2027-12-31 23:59:59", "UTC", SHORT),
    Moment("2028-02-29 08:00:00", "Asia/Kolkata", SHORT),
    Moment("2027-01-31 12:00:00", "Australia/Sydney", SHORT),
    Moment("2026-05-01 00:00:00", "Europe/Stockholm", SHORT),
    Moment(
        "2026-03-28 20:30:00", "Europe/Stockholm", (*CHANGE, "2:30 tomorrow", "2:30 Mar 29", "2:30 monday")
    ),
    Moment(
        "2026-10-24 22:45:00", "Europe/Stockholm", (*CHANGE, "2:30 tomorrow", "2:30 Oct 25", "2:30 monday")
    ),
    # An overlap of half an hour, right where at(1) thinks that all are of an hour.
    Moment(
        "2026-04-04 22:00:00",
        "Australia/Lord_Howe",
        ("now", "noon", "tomorrow", "noon tomorrow", "noon Apr 6"),
    ),
)


def write_answers() -> None:
    """Ask everything, and write the module of answers."""
    with tempfile.TemporaryDirectory() as directory:
        oracle = Oracle(Path(directory))
        version = subprocess.run(
            ["at", "-V"], capture_output=True, text=True, check=True
        ).stderr.splitlines()[0]
        lines = [
            f'"""What the real at(1) says ({version}), as tests/integration/at_oracle.py wrote it down."""',
            "",
            "from __future__ import annotations",
            "",
            "#: Clock and zone, and what at(1) then said to each specification; None is a refusal.",
            "ANSWERS: dict[tuple[str, str], dict[str, str | None]] = {",
        ]
        for now, zone, specs in MOMENTS:
            lines.append(f'    ("{now}", "{zone}"): {{')
            for spec in dict.fromkeys(specs):
                answer = oracle.ask(spec, now=now, zone=zone)
                lines.append(f'        "{spec}": ' + (f'"{answer}",' if answer else "None,"))
            lines.append("    },")
        ANSWERS.write_text("\n".join([*lines, "}", ""]))


if __name__ == "__main__":
    sys.exit(debian.why_not(debian.AT) or write_answers())
