"""Mails of crontabs, as Debian's cron sends them: what a command printed, to its `MAILTO`.

The machine's sendmail takes each, run as the user that the command runs as, with the arguments that cron
gives it. `Subject`, `From`, `X-Cron-Env` and the rest are those of cron; a Message-ID is added, the same at
each attempt.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.mail import sendmail
from taskman_cli.sinks.patience import Deadline
from taskman_cli.sinks.program import Program, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.sinks import SinkDefinition, Value
    from taskman_cli.sinks.base import Message, Report
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: What cron gives sendmail besides the address.
_ARGUMENTS = ("-FCronDaemon", "-i", "-B8BITMIME", "-oem")
#: Of sysexits.h: it refuses this mail, whatever is tried; others may go through.
_REFUSED = frozenset((64, 65, 67, 68))
_LATER = frozenset((69, 71, 75))
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
#: Nobody's command is longer where it was read from a crontab.
_LONGEST = 998


class Mailto:
    """The sink that mails what the commands of crontabs print."""

    def __init__(self, definition: SinkDefinition, surroundings: Surroundings) -> None:
        letters = definition.settings.get("letters", {})
        assert isinstance(letters, dict)
        self._letters = letters
        self._sendmail = str(definition.settings.get("sendmail", ""))
        self._surroundings = surroundings

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Hand sendmail a mail for each report of something that printed anything."""
        deadline = Deadline(timeout_s)
        answer = "nothing was printed: no mail"
        for report in message.reports:
            letter = self._letters.get(report.job)
            if not isinstance(letter, dict):
                # The line is gone, or its MAILTO is empty now.
                answer = f"no mail: no line of a crontab with a MAILTO is {printable(report.job)} now"
                continue
            if not report.output:
                continue
            answer = self._send(written(report, letter, key=message.key), letter, deadline)
        return answer

    def _send(self, data: bytes, letter: Mapping[str, Value], deadline: Deadline) -> str:
        program = sendmail(self._sendmail, self._surroundings)
        environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
        user = str(letter.get("user", ""))
        argv = [program, *_ARGUMENTS, str(letter["to"])]
        ended = run(Program(argv, environment, cwd="/", user=user), data, deadline)
        if ended.code != 0:
            raise DeliveryFailed(
                f"sendmail: {ended}", is_final=ended.code in _REFUSED, is_down=ended.code in _LATER
            )
        return f"sendmail took the mail to {letter['to']}"

    def close(self) -> None:
        """Hold nothing: each program has ended."""


def written(report: Report, letter: Mapping[str, Value], *, key: str) -> bytes:
    """Write a mail as cron does, byte for byte but for the Message-ID."""
    host = socket.gethostname()
    user = str(letter.get("user", "")) or _own_name()
    digest = hashlib.sha256(f"{key}/{report.seq}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    headers = [
        ("From", str(letter.get("from", "")) or f"{_own_name()} (Cron Daemon)"),
        ("To", str(letter["to"])),
        ("Subject", f"Cron <{user}@{host}> {_line(str(letter.get('command', '')))[:_LONGEST]}"),
        ("Message-ID", f"<taskman.{digest}@{host}>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", str(letter.get("type", "")) or "text/plain; charset=UTF-8"),
        ("Content-Transfer-Encoding", str(letter.get("encoding", "")) or "8bit"),
    ]
    variables = letter.get("environ", [])
    assert isinstance(variables, list)
    headers += [("X-Cron-Env", f"<{variable}>") for variable in map(str, variables)]
    head = "".join(f"{name}: {_line(value)}\n" for name, value in headers)
    lines = report.output
    if report.is_output_cut:
        lines = ("[the beginning of the output is missing]", *lines)
    body = b"".join(_bytes(line) + b"\n" for line in lines)
    return head.encode("utf-8") + b"\n" + body


def _bytes(text: str) -> bytes:
    """Return the bytes that a command printed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # never printed
        return as_utf8(text).encode("utf-8")


def _line(text: str) -> str:
    """Return a text that cannot end a header."""
    return printable(as_utf8(text))


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "taskman"


def make(definition: SinkDefinition, surroundings: Surroundings, _secrets: Secrets) -> Mailto:
    """Make the sink of its definition."""
    return Mailto(definition, surroundings)
