"""SMTP with a server that may be slow, broken or hostile: bounded in time and bytes, encrypted by default."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from taskman_cli.core.sinks import MailTls
from taskman_cli.sinks.base import DeliveryFailed, NotReached
from taskman_cli.sinks.http import Stream, TooMuch, secured, send_all, tls_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.sinks.addresses import Addresses
    from taskman_cli.sinks.patience import Deadline

#: The ports where nobody says otherwise.
_PORTS = {MailTls.STARTTLS: 587, MailTls.TLS: 465, MailTls.NONE: 25}


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server, and how to get in."""

    host: str
    tls: MailTls = MailTls.STARTTLS
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    connect_timeout_s: float = 10.0
    is_plain_allowed: bool = False

    def encoded(self) -> list[str]:
        """Return the forms that a password has on the wire, in which a server may repeat it."""
        if not self.password:
            return []
        texts = (self.password, f"\0{self.user}\0{self.password}")
        return [base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii") for text in texts]


class _Talk(smtplib.SMTP):
    """The standard library's client on a stream that ends at a deadline."""

    def __init__(self, server: Server, addresses: Addresses, deadline: Deadline) -> None:
        # Its own default would ask the name server who we are.
        name = socket.gethostname()
        is_name = name.isascii() and name.replace("-", "a").replace(".", "a").isalnum()
        super().__init__(local_hostname=name if is_name else "localhost")
        self._server = server
        self._addresses = addresses
        self._deadline = deadline
        self._context: ssl.SSLContext | None = None

    def tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._server.ca)
        return self._context

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        early = self._deadline.within(self._server.connect_timeout_s)
        connection = self._addresses.connect(host, port, early)
        if self._server.tls is not MailTls.TLS:
            return connection
        try:
            return secured(connection, self.tls_context(), host, early)
        except BaseException:
            connection.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = BufferedReader(Stream(self.sock, self._deadline))
        return super().getreply()

    def send(self, s: Any) -> None:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        send_all(self.sock, s.encode(self.command_encoding) if isinstance(s, str) else s, self._deadline)

    def secure(self) -> None:
        """Speak TLS from here on; raises NotReached if the server cannot."""
        code, _ = self.docmd("STARTTLS")
        if code != 220:
            raise NotReached(
                f"{self._server.host}: it offers no STARTTLS:"
                ' set tls = "tls", or tls = "none" to send mails unencrypted'
            )
        assert self.sock is not None
        if self.file is not None:
            self.file.close()
        self.sock = secured(self.sock, self.tls_context(), self._server.host, self._deadline)
        self.file = None
        # What it said before was not encrypted, and could be anybody's.
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False


def send(
    server: Server,
    sender: str,
    recipients: Sequence[str],
    data: bytes,
    addresses: Addresses,
    deadline: Deadline,
) -> tuple[str, dict[str, DeliveryFailed]]:
    """Hand a mail over; return what the server said, and the recipients that it refused, with the reason.

    Raises DeliveryFailed if it is nobody's.
    """
    port = server.port or _PORTS[server.tls]
    where = f"{server.host}:{port}"
    try:
        talk = _Talk(server, addresses, deadline)
        try:
            code, words = talk.connect(server.host, port)
            _expect(code == 220, code, words)
            _begin(talk, server)
            return _hand_over(talk, sender, recipients, data)
        finally:
            talk.close()
    except TimeoutError:
        raise NotReached(f"{where}: no answer in time") from None
    except TooMuch:
        raise NotReached(f"{where}: its answers have no end") from None
    except DeliveryFailed:
        raise
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"{where}: its certificate is not trusted: {error.verify_message}") from None
    except smtplib.SMTPAuthenticationError as error:
        raise NotReached(
            f"{where}: it does not let us in: {_words(error.smtp_code, error.smtp_error)}"
        ) from None
    except smtplib.SMTPException as error:
        raise NotReached(f"{where}: no valid answer ({type(error).__name__})") from None
    except UnicodeError:
        raise NotReached(f"{where}: user and password have to be ASCII") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotReached(f"{where}: {reason}") from None


def _begin(talk: _Talk, server: Server) -> None:
    talk.ehlo_or_helo_if_needed()
    if server.tls is MailTls.STARTTLS:
        talk.secure()
        talk.ehlo_or_helo_if_needed()
    if server.password:
        if server.tls is MailTls.NONE and not server.is_plain_allowed:
            raise NotReached("the password would be sent unencrypted: set allow_plain_password = true")
        talk.login(server.user, server.password)


def _hand_over(
    talk: _Talk, sender: str, recipients: Sequence[str], data: bytes
) -> tuple[str, dict[str, DeliveryFailed]]:
    code, words = talk.mail(sender)
    _expect(code == 250, code, words)
    refused: dict[str, DeliveryFailed] = {}
    for recipient in recipients:
        code, words = talk.rcpt(recipient)
        if code not in (250, 251):
            refused[recipient] = _refusal(code, words, of=recipient)
    if len(refused) == len(recipients):
        raise next(iter(refused.values()))
    code, words = talk.data(data)
    _expect(code == 250, code, words)
    # It is theirs now, whatever becomes of the connection.
    answer = _words(code, words)
    with suppress(OSError, smtplib.SMTPException, TooMuch):
        talk.docmd("QUIT")
    return answer, refused


def _expect(is_good: bool, code: int, words: bytes) -> None:
    if not is_good:
        raise _refusal(code, words)


def _refusal(code: int, words: bytes, *, of: str = "") -> DeliveryFailed:
    """Return the failure for an answer: 4xx is for now, as of greylisting; 552 and 554 are about the mail."""
    text = f"{of}: {_words(code, words)}" if of else _words(code, words)
    return DeliveryFailed(text, is_down=400 <= code < 500)


def _words(code: int, words: bytes | str) -> str:
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    text = " ".join(said.split())
    return f"SMTP {code} {text}"[:300]
