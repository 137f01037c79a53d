"""Why a job ran, or did not: facts from the ledger and a moment in, findings out, then words. Pure.

`moment` reads what was asked, `slots` finds the slot that is meant, `account` says what became of it,
`notdue` why a moment is none, `answer` puts both together; `words` and `document` write it down, for people
and for programs.
"""

from taskman_cli.insight.why.diagnosis import Diagnosis, diagnose
from taskman_cli.insight.why.document import document
from taskman_cli.insight.why.slots import Calendar, find_latest_slot, find_slot
from taskman_cli.insight.why.timequery import TimeQuery, parse_time_query
from taskman_cli.insight.why.wording import paragraph

__all__ = [
    "Calendar",
    "Diagnosis",
    "TimeQuery",
    "diagnose",
    "document",
    "find_latest_slot",
    "find_slot",
    "paragraph",
    "parse_time_query",
]
