"""Mails: by SMTP to a real server, and by a program in sendmail's place."""

from __future__ import annotations

import base64
import email
import email.policy
import re
import ssl
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.core.sinks import ReportKind, SinkDefinition
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.mail import written
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, REPORT, check, check_failure, check_network, message
from taskman_cli.sinks.types import make
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

pytest.importorskip("aiosmtpd", reason="aiosmtpd is not installed: it comes with the extra `test`")
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

PASSWORD = "hunter2 and more"
AROUND = Surroundings(environ={"PASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}, trust=Trust(is_checked=False))


class Inbox:
    """What a server has taken: for each mail its recipients and its bytes."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []
        #: Answers to RCPT, by recipient.
        self.refused: dict[str, str] = {}
        self.answer = "250 taken"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.mails.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return self.answer


@contextmanager
def smtp_server(inbox: Inbox, **options: Any) -> Iterator[int]:
    class AnyPort(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, data_size_limit=0, **options)

        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            super()._trigger_server()

    controller = AnyPort(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def mail(port: int, **settings: Any) -> SinkDefinition:
    defaults = {"to": ["ops@example.org"], "host": "127.0.0.1", "port": port, "tls": "none"}
    return SinkDefinition("mail", "mail", settings={**defaults, **settings})


def parsed(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)  # type: ignore[return-value]


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content()).replace("\r\n", "\n")


def failure(definition: SinkDefinition, timeout_s: float = 10.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        make(definition, AROUND).deliver(message(), timeout_s)
    return caught.value


def test_it_stands_the_suite() -> None:
    inbox = Inbox()
    with smtp_server(inbox) as port:
        check(mail(port), surroundings=AROUND)
    assert len(inbox.mails) == 2 * len(ODD)
    for _, recipients, data in inbox.mails:
        assert recipients == ["ops@example.org"]
        assert parsed(data)["To"] == "ops@example.org"
        assert parsed(data)["Bcc"] is None
        assert not parsed(data).defects
        for line in data.split(b"\r\n"):
            assert len(line) <= 998
            assert b"\n" not in line
    # The same message has the same id at each attempt.
    ids = [parsed(data)["Message-ID"] for _, _, data in inbox.mails]
    assert ids[0::2] == ids[1::2]


# Of a connection that is reset as TLS begins, the standard library lets its end go without closing it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_it_stands_servers_in_trouble() -> None:
    check_network(lambda host, port: mail(port), surroundings=AROUND)
    check_network(
        lambda host, port: mail(port, tls="tls"), surroundings=AROUND, without=["dribbles", "hangs"]
    )


def test_a_mail_is_what_people_and_programs_read() -> None:
    inbox = Inbox()
    with smtp_server(inbox) as port:
        answer = make(mail(port, **{"from": "taskman@example.org"}), AROUND).deliver(message(), 10.0)
    assert answer == "SMTP 250 taken"
    ((sender, _, data),) = inbox.mails
    got = parsed(data)
    assert sender == got["From"] == "taskman@example.org"
    assert got["Subject"] == "backup failed: exit 3 [web1.example.org]"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["X-Taskman-Job"] == "backup"
    assert got["References"] == got["In-Reply-To"]
    assert got["Content-Transfer-Encoding"] == "7bit"
    lines = text_of(got).splitlines()
    assert lines[0] == "backup failed: exit 3"
    assert lines[-3:] == ["...", "connecting", "cannot connect"]
    assert max(map(len, lines)) <= 78


def subject_and_thread(*reports: Any) -> tuple[str, str, str]:
    got = parsed(written(message(*reports), sender="a@b", to=["c@d"]))
    return got["Subject"], got["References"], got["Message-ID"]


def test_mails_about_a_job_are_a_thread_of_their_own() -> None:
    recovered = replace(REPORT, kind=ReportKind.RECOVERED, seq=4712, detail="")
    other = replace(REPORT, job="other", seq=4713)
    threads = [subject_and_thread(report)[1] for report in (REPORT, recovered, other)]
    assert threads[0] == threads[1] != threads[2]
    assert len({subject_and_thread(report)[2] for report in (REPORT, recovered, other)}) == 3
    assert subject_and_thread(REPORT, recovered)[1] == threads[0]
    assert subject_and_thread(REPORT, other)[1] not in threads


def test_a_digest_can_be_read() -> None:
    text = text_of(parsed(written(ODD["many reports"], sender="a@b", to=["c@d"])))
    assert text.count("-" * 78) == len(ODD["many reports"].reports)
    assert "job-1 timed out" in text


@pytest.mark.parametrize("odd", ODD)
def test_nothing_of_a_report_becomes_a_header_or_an_end_of_a_line(odd: str) -> None:
    got = parsed(written(ODD[odd], sender="a@b", to=["c@d"]))
    assert "\n" not in got["Subject"]
    ours = {"Key", "Event", "Job", "Task", "Run", "Reports"}
    assert {*got.keys()} <= {f"X-Taskman-{name}" for name in ours} | {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
        "X-Mailer", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    text = text_of(got)
    assert text.replace("\n", "").replace("\t", "").isprintable()


def test_what_is_no_ascii_survives() -> None:
    got = parsed(
        written(
            message(replace(REPORT, detail="größer", output=("naïve ☕" * 40,))), sender="a@b", to=["c@d"]
        )
    )
    assert got["Subject"] == "backup failed: größer [web1.example.org]"
    assert got["Content-Transfer-Encoding"] == "quoted-printable"
    assert "naïve ☕" * 40 in text_of(got)


def test_only_those_who_did_not_get_it_are_tried_again() -> None:
    inbox = Inbox()
    inbox.refused["b@example.org"] = "450 greylisted"
    with smtp_server(inbox) as port:
        sink = make(mail(port, to=["a@example.org", "b@example.org"]), AROUND)
        with pytest.raises(DeliveryFailed, match=r"b@example\.org: SMTP 450 greylisted") as caught:
            sink.deliver(message(), 10.0)
        assert caught.value.is_down
        inbox.refused.clear()
        sink.deliver(message(), 10.0)
        sink.deliver(message(replace(REPORT, seq=4712)), 10.0)
    assert [recipients for _, recipients, _ in inbox.mails] == [
        ["a@example.org"], ["b@example.org"], ["a@example.org", "b@example.org"],
    ]  # fmt: skip


@pytest.mark.parametrize(("answer", "is_down"), [("451 later", True), ("554 no", False)])
def test_what_the_server_refuses_is_told(answer: str, is_down: bool) -> None:
    inbox = Inbox()
    inbox.answer = answer
    with smtp_server(inbox) as port:
        error = failure(mail(port))
    assert (str(error), error.is_down, error.is_final) == (f"SMTP {answer}", is_down, False)


# --- TLS and passwords ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem"),
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return directory


def context(directory: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return made


def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_right = (data.login, data.password) == (b"me", PASSWORD.encode())
    return AuthResult(success=is_right, handled=False, message=None if is_right else f"535 no, {PASSWORD}")


def test_with_starttls_the_password_goes_to_the_right_server_only(certificate: Path) -> None:
    inbox = Inbox()
    options: dict[str, Any] = {
        "tls_context": context(certificate), "require_starttls": True, "authenticator": authenticator,
        "auth_required": True,
    }  # fmt: skip
    settings: dict[str, Any] = {"tls": "starttls", "user": "me", "password": {"env": "PASSWORD"}}
    with smtp_server(inbox, **options) as port:
        right = mail(port, host="localhost", ca=str(certificate / "cert.pem"), **settings)
        make(right, AROUND).deliver(message(), 10.0)
        assert len(inbox.mails) == 1
        # Nobody vouches for it, or it is another one.
        error = check_failure(
            mail(port, host="localhost", **settings),
            surroundings=AROUND,
            secrets=[PASSWORD],
            timeout_s=30.0,
        )
        assert "its certificate is not trusted" in str(error)
        other = mail(port, host="127.0.0.1", ca=str(certificate / "cert.pem"), **settings)
        assert "its certificate is not trusted" in str(failure(other))
    assert len(inbox.mails) == 1


def test_a_server_that_repeats_the_password_does_not_bring_it_into_an_error(certificate: Path) -> None:
    around = Surroundings(environ={"PASSWORD": "wrong-" + PASSWORD}, trust=Trust(is_checked=False))

    def repeats(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        coded = base64.b64encode(data.password).decode()
        return AuthResult(success=False, handled=False, message=f"535 no, {data.password.decode()} {coded}")

    with smtp_server(Inbox(), authenticator=repeats, auth_require_tls=False) as port:
        definition = mail(port, user="me", password={"env": "PASSWORD"}, allow_plain_password=True)
        error = check_failure(
            definition,
            surroundings=around,
            secrets=[PASSWORD, base64.b64encode(PASSWORD.encode()).decode()[:12]],
            timeout_s=30.0,
        )
    assert str(error).endswith("it does not let us in: SMTP 535 no, *** ***")


def test_a_password_is_not_sent_unencrypted() -> None:
    with smtp_server(Inbox(), authenticator=authenticator, auth_require_tls=False) as port:
        error = failure(mail(port, user="me", password={"env": "PASSWORD"}))
    assert str(error) == "the password would be sent unencrypted: set allow_plain_password = true"


def test_a_server_without_starttls_gets_no_mail() -> None:
    inbox = Inbox()
    with smtp_server(inbox) as port:
        error = failure(mail(port, tls="starttls"))
    assert "it offers no STARTTLS" in str(error)
    assert inbox.mails == []


# --- sendmail ---


def program(directory: Path, script: str) -> Path:
    file = directory / "sendmail"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(stat.S_IRWXU)
    return file


def by_sendmail(path: Path, **settings: Any) -> SinkDefinition:
    return SinkDefinition(
        "mail", "mail", settings={"to": ["ops@example.org"], "sendmail": str(path), **settings}
    )


def test_sendmail_gets_the_addresses_in_the_mail_and_not_as_arguments(tmp_path: Path) -> None:
    path = program(tmp_path, f'echo "$@" >{tmp_path}/args; cat >{tmp_path}/mail')
    make(by_sendmail(path, **{"from": "me@example.org"}), AROUND).deliver(message(), 10.0)
    assert (tmp_path / "args").read_text() == "-f me@example.org -oi -t\n"
    data = (tmp_path / "mail").read_bytes()
    assert b"\r" not in data
    assert parsed(data)["To"] == "ops@example.org"
    assert re.search(rb"^Subject: backup failed", data, re.MULTILINE)


def test_by_sendmail_it_stands_the_suite(tmp_path: Path) -> None:
    check(by_sendmail(program(tmp_path, "cat >/dev/null")), surroundings=AROUND)
    check_failure(by_sendmail(program(tmp_path, "cat >/dev/null; exit 1")), surroundings=AROUND)
    check_failure(by_sendmail(program(tmp_path, "exec sleep 600")), surroundings=AROUND)


def test_a_machine_without_sendmail_says_what_to_do(tmp_path: Path) -> None:
    around = Surroundings(environ={"PATH": str(tmp_path)}, trust=Trust(is_checked=False))
    definition = SinkDefinition("mail", "mail", settings={"to": ["root"], "sendmail": str(tmp_path / "none")})
    error = check_failure(definition, surroundings=around)
    assert str(error) == f"there is no {tmp_path}/none"
    assert error.is_down
