"""Why a job ran, or did not: facts from the ledger and a moment in, findings out, then words. Pure.

`moment` reads what was asked, `slots` finds the slot that is meant, `account` says what became of it,
`notdue` why a moment is none, `answer` puts both together; `words` and `document` write it down, for people
and for programs.
"""

from taskman_cli.insight.why.answer import Answer, answer
from taskman_cli.insight.why.document import document
from taskman_cli.insight.why.moment import Asked, read_moment
from taskman_cli.insight.why.slots import Calendar, seek, seek_latest
from taskman_cli.insight.why.wording import paragraph

__all__ = [
    "Answer",
    "Asked",
    "Calendar",
    "answer",
    "document",
    "paragraph",
    "read_moment",
    "seek",
    "seek_latest",
]
