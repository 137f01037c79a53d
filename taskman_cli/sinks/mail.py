"""`mail`: a mail for each message, by SMTP or by the machine's sendmail.

All mails about a job are one thread: each refers to the same root. A message has the same `Message-ID` at
each attempt, so that mail programs show it once. Nothing of a report gets into a header but what can be
printed, and addresses never are arguments of a program.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import socket
import textwrap
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import TYPE_CHECKING

from taskman_cli import __version__
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.core.sinks import MailTls
from taskman_cli.sinks.addresses import Addresses
from taskman_cli.sinks.base import DeliveryFailed, NotReached
from taskman_cli.sinks.hosts import MOST_CA_BYTES
from taskman_cli.sinks.patience import Deadline, Patience
from taskman_cli.sinks.program import Program, run
from taskman_cli.sinks.progress import Progress
from taskman_cli.sinks.smtp import Server, send
from taskman_cli.sinks.words import facts_of, output_of, title_of, title_of_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: Where sendmail is if PATH does not have it.
SENDMAIL_PLACES = ("/usr/sbin", "/usr/lib", "/usr/local/sbin")
_COLUMNS = 78
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: A digest of this length tells all jobs and messages apart.
_DIGITS = 32


class Mail:
    """A sink that sends mails."""

    def __init__(self, definition: SinkDefinition, surroundings: Surroundings, secrets: Secrets) -> None:
        self._settings = definition.settings
        self._surroundings = surroundings
        self._secrets = secrets
        self._addresses = Addresses(Patience())
        self._progress = Progress()
        to = definition.settings["to"]
        self._to = [str(address) for address in to] if isinstance(to, list) else [str(to)]

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Hand a mail over; those who have it already do not get it again."""
        deadline = Deadline(timeout_s)
        sender = str(self._settings["from"]) if "from" in self._settings else default_sender()
        data = written(message, sender=sender, to=self._to)
        if "host" not in self._settings:
            return self._by_sendmail(data, deadline)
        server = self._server()
        left = self._progress.left(message.key, self._to)
        answer, refused = send(server, sender, left, data, self._addresses, deadline)
        for address in left:
            if address not in refused:
                self._progress.take(address)
        if refused:
            raise next(iter(refused.values()))
        self._progress.finish()
        return answer

    def _server(self) -> Server:
        settings, secrets = self._settings, self._secrets
        password = settings.get("password")
        ca = settings.get("ca")
        server = Server(
            host=str(settings["host"]),
            tls=MailTls(str(settings.get("tls", MailTls.STARTTLS))),
            port=int(str(settings.get("port", 0))),
            user=str(settings.get("user", "")),
            password="" if password is None else secrets.reveal(password, "password"),
            ca="" if ca is None else secrets.read(str(ca), "ca", MOST_CA_BYTES),
            connect_timeout_s=int(str(settings.get("connect_timeout_ns", 10 * SECOND_NS))) / SECOND_NS,
            is_plain_allowed=settings.get("allow_plain_password") is True,
        )
        for form in server.encoded():
            secrets.hide(form)
        return server

    def _by_sendmail(self, data: bytes, deadline: Deadline) -> str:
        program = sendmail(str(self._settings.get("sendmail", "")), self._surroundings)
        argv = [program, "-oi", "-t"]
        if "from" in self._settings:
            argv[1:1] = ["-f", str(self._settings["from"])]
        environment = self._surroundings.inherited()
        # Programs get mails with the line ends of this machine.
        ended = run(Program(argv, environment), data.replace(b"\r\n", b"\n"), deadline)
        if ended.code != 0:
            raise DeliveryFailed(f"sendmail: {ended}", is_down=ended.code in (69, 75))
        return f"sendmail took it: {ended}"

    def close(self) -> None:
        """Hold nothing: each mail has a connection of its own."""


def sendmail(given: str, surroundings: Surroundings) -> str:
    """Return the program that takes mails; raises NotReached if there is none."""
    path = ":".join((surroundings.environ.get("PATH", os.defpath), *SENDMAIL_PLACES))
    found = shutil.which(given or "sendmail", path=path)
    if found is None:
        raise NotReached(
            f"there is no {printable(given)}" if given
            else "this machine has no sendmail: install one, such as dma, or set host to a mail server"
        )  # fmt: skip
    return found


def default_sender() -> str:
    """Return the address of the user that we run as, at this machine."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = "taskman"
    return f"{name if _NAME.fullmatch(name) else 'taskman'}@{_domain(socket.gethostname())}"


def written(message: Message, *, sender: str, to: list[str]) -> bytes:
    """Write a mail, headers and all, with the line ends of SMTP."""
    first = message.reports[0]
    host = _domain(first.host)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = _header(f"{title_of(message)} [{first.host}]")
    # The time of writing: mail programs sort by it, and what happened is told below.
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = f"<{_digest('message', message.key)}@{host}>"
    root = f"<{_digest('thread', first.host, first.instance, first.ledger, _thread(message))}@{host}>"
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Mailer"] = f"taskman {__version__}"
    for name, value in _gist(message):
        mail[f"X-Taskman-{name}"] = _header(value)
    text = "\n".join(_lines(message)) + "\n"
    is_simple = text.isascii() and all(len(line) <= _COLUMNS for line in text.split("\n"))
    mail.set_content(text, charset="utf-8", cte="7bit" if is_simple else "quoted-printable")
    return mail.as_bytes()


def _gist(message: Message) -> Iterator[tuple[str, str]]:
    first = message.reports[0]
    yield "Key", message.key
    if len(message.reports) > 1:
        yield "Reports", str(len(message.reports))
        return
    yield "Event", str(first.kind)
    for name, value in (("Job", first.job), ("Task", first.task), ("Run", first.run)):
        if value:
            yield name, value


def _lines(message: Message) -> Iterator[str]:
    yield from _wrapped(title_of(message))
    several = len(message.reports) > 1
    for report in message.reports:
        yield ""
        if several:
            yield "-" * _COLUMNS
            yield from _wrapped(title_of_report(report))
            yield ""
        for line in facts_of(report).split("\n"):
            yield from _wrapped(line, indent=" " * 10)
        if output := output_of(report):
            yield ""
            yield "last lines of output:"
            yield ""
            yield from output.split("\n")


def _wrapped(line: str, *, indent: str = "") -> list[str]:
    if len(line) <= _COLUMNS:
        return [line]
    return textwrap.wrap(
        line, _COLUMNS, subsequent_indent=indent, break_on_hyphens=False, replace_whitespace=False
    )


def _thread(message: Message) -> str:
    """Return what all mails of one thread have in common: the job, or that it is about several."""
    jobs = {report.job for report in message.reports}
    return min(jobs) if len(jobs) == 1 else ""


def _header(text: str) -> str:
    return printable(as_utf8(text))[:500]


def _domain(host: str) -> str:
    return host if _HOST.fullmatch(host) else "localhost"


def _digest(*parts: str) -> str:
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def make(definition: SinkDefinition, surroundings: Surroundings, secrets: Secrets) -> Mail:
    """Make a sink of its definition."""
    return Mail(definition, surroundings, secrets)
