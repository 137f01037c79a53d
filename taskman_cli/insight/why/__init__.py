"""Why a job ran or did not: from facts in the ledger and a queried time to an explanation. Pure.

`timequery` parses the time, `slots` finds the slot, `slotresult` works out what happened to it, `notdue`
why a time is not a slot, and `diagnosis` combines them; `wording` and `document` render the answer for
people and programs, and `advice` says what to do.
"""

from taskman_cli.insight.why.advice import Advice, advice
from taskman_cli.insight.why.diagnosis import Diagnosis, diagnose
from taskman_cli.insight.why.document import document
from taskman_cli.insight.why.slots import Calendar, find_latest_slot, find_run_slot, find_slot
from taskman_cli.insight.why.timequery import TimeQuery, parse_time_query
from taskman_cli.insight.why.wording import paragraph

__all__ = [
    "Advice",
    "Calendar",
    "Diagnosis",
    "TimeQuery",
    "advice",
    "diagnose",
    "document",
    "find_latest_slot",
    "find_run_slot",
    "find_slot",
    "paragraph",
    "parse_time_query",
]
