"""Which lines of crontabs are mailed, to whom, and as what: `MAILTO` and its like.

As in Debian's cron: an address has letters, digits and a few other characters, so that it is no option of
a program; one that has not gets no mail. An empty `MAILTO` is silence; without one, the line's user gets it.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.core.sinks import ALL_OUTPUT, MAILTO, ReportKind, SinkDefinition
from taskman_cli.jobfile.crontab.source import CrontabSource
from taskman_cli.jobfile.crontab.tables import command_of
from taskman_cli.launch.accounts import find_account, own_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskman_cli.core.model import Job, Policy
    from taskman_cli.core.sinks import Value
    from taskman_cli.jobfile.crontab.parse import Entry
    from taskman_cli.jobfile.problems import Problem
    from taskman_cli.jobfile.source import Source

#: What Debian's cron takes for safe; the first character is a letter or a digit.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9@!:%+.,_-]{0,997}")
#: Where sendmail may be, and PATH does not say so.
_PLACES = "/usr/sbin:/usr/lib"
#: More variables of one line are left out of its mails.
_MOST_VARIABLES = 50
_LONGEST_VARIABLE = 998
#: How many mails wait for a sendmail that does not work; cron keeps none.
_KEEP = 10_000
_TELLS = frozenset(
    {
        ReportKind.SUCCEEDED, ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST, ReportKind.CANCELLED,
    }
)  # fmt: skip


def with_mail(
    sources: Iterable[Source], jobs: list[Job]
) -> tuple[list[Job], tuple[SinkDefinition, ...], list[Problem]]:
    """Return the jobs, the sink that mails what those of crontabs print, and notes on who gets nothing."""
    letters: dict[str, Value] = {}
    notes: list[Problem] = []
    for source in sources:
        if isinstance(source, CrontabSource):
            letters |= _letters(source)
            notes += _unsafe(source)
    if not letters:
        return jobs, (), notes
    if not has_sendmail():
        notes += _without_sendmail(sources)
    shared: dict[int, tuple[Policy, Policy]] = {}
    told = [_told(job, shared) if job.id in letters else job for job in jobs]
    sink = SinkDefinition(
        MAILTO,
        MAILTO,
        on=_TELLS,
        tells_skips=False,
        output_lines=ALL_OUTPUT,
        repeat_ns=0,
        keep=_KEEP,
        settings={"letters": letters},
    )
    return told, (sink,), notes


def _told(job: Job, shared: dict[int, tuple[Policy, Policy]]) -> Job:
    """Return a job that the sink is told of; jobs that share a policy still do."""
    known = shared.get(id(job.policy))
    if known is None:
        known = job.policy, replace(job.policy, sinks=(*job.policy.sinks, MAILTO))
        shared[id(job.policy)] = known
    return replace(job, policy=known[1])


def has_sendmail() -> bool:
    """Tell whether this machine has a program that takes mails."""
    return shutil.which("sendmail", path=f"{os.environ.get('PATH', os.defpath)}:{_PLACES}") is not None


def is_safe(address: str) -> bool:
    """Tell whether an address is one that cron would mail to."""
    return _SAFE.fullmatch(address) is not None


def recipient_of(entry: Entry) -> str:
    """Return whom the output of a line is mailed to; "": nobody."""
    address = entry.env.get("MAILTO", entry.user or _own_name())
    return address if is_safe(address) else ""


def _own_name() -> str:
    own = own_account()
    return own.name if own is not None else ""


def _letters(source: CrontabSource) -> dict[str, Value]:
    to = {name: recipient_of(entry) for name, entry in source.entries.items()}
    return {name: _letter(source.entries[name], address) for name, address in to.items() if address}


def _letter(entry: Entry, to: str) -> dict[str, Value]:
    sender = entry.env.get("MAILFROM", "")
    letter: dict[str, Value] = {
        "to": to,
        "user": entry.user or _own_name(),
        "from": sender if is_safe(sender) else "",
        "type": _header(entry.env.get("CONTENT_TYPE", "")),
        "encoding": _header(entry.env.get("CONTENT_TRANSFER_ENCODING", "")),
        "command": printable(command_of(entry)),
        "environ": list(_environ(entry)),
    }
    return {name: value for name, value in letter.items() if value}


def _environ(entry: Entry) -> Iterator[str]:
    """Return the variables of a line in the order in which cron writes them."""
    env = entry.env
    last = ("SHELL", "HOME", "PATH", "LOGNAME")
    for name, value in islice(env.items(), _MOST_VARIABLES):
        if name not in last:
            yield _header(f"{name}={value}")
    user = entry.user or _own_name()
    yield _header(f"SHELL={env.get('SHELL', '/bin/sh')}")
    yield _header(f"HOME={env.get('HOME') or _home(user)}")
    yield _header(f"PATH={env.get('PATH', '/usr/bin:/bin')}")
    yield _header(f"LOGNAME={user}")


def _home(user: str) -> str:
    account = find_account(user)
    return "/" if account is None else account.home


def _header(text: str) -> str:
    """Return a text that can stand in a header."""
    return printable(text)[:_LONGEST_VARIABLE]


def _unsafe(source: CrontabSource) -> Iterator[Problem]:
    """Note addresses that cron would not mail to either, each once."""
    for name, words in (("MAILTO", "its output is not mailed"), ("MAILFROM", "the sender is cron's own")):
        seen: dict[str, Entry] = {}
        for entry in source.entries.values():
            if value := entry.env.get(name, ""):
                seen.setdefault(value, entry)
        for value, entry in seen.items():
            if not is_safe(value):
                message = f"{name}: {quoted(printable(value))} is not an address that cron takes: {words}"
                yield source.place(entry.line, 1, 1, message)


def _without_sendmail(sources: Iterable[Source]) -> Iterator[Problem]:
    """Note once that nothing can be mailed."""
    for source in sources:
        if isinstance(source, CrontabSource) and any(map(recipient_of, source.entries.values())):
            message = (
                "crontab_mail: this machine has no sendmail: mails wait until there is one, such as dma or"
                " postfix"
            )
            yield source.place(1, 1, 1, message)
            return
