"""Requests to web servers that may be slow, broken or hostile: bounded in time and in bytes.

A request has one connection of its own, to an address that was checked. Headers and body of the answer are
read as the standard library parses them, from a stream that ends at the deadline or after too many bytes.
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urljoin, urlsplit

from taskman_cli import __version__
from taskman_cli.core.escapes import printable
from taskman_cli.core.urls import what_is_wrong_with_url
from taskman_cli.sinks.addresses import Addresses
from taskman_cli.sinks.base import NotReached

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from taskman_cli.sinks.patience import Deadline

#: An answer larger than this, headers included, is none.
_MOST_BYTES = 256 << 10
#: How much of the body of an answer is read, for its words.
_MOST_WORDS = 2048
#: And for how long, once the status is known.
_WORDS_S = 2.0
#: The statuses that ask to send the same again, elsewhere. 303 means that it was taken.
_REDIRECTS = frozenset((301, 302, 307, 308))
#: The longest pause that the other side can ask for.
_LONGEST_PAUSE_S = 24 * 3600.0
_SAFE = "%/:=&?~+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class Reach:
    """How to get to the other side."""

    connect_timeout_s: float = 10.0
    #: The text of certificates to trust instead of the system's.
    ca: str = ""
    is_private_allowed: bool = True
    max_redirects: int = 3
    #: Host and port.
    proxy: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said."""

    status: int
    #: The status in words.
    reason: str
    #: The beginning of its body, on one line.
    words: str = ""
    retry_after_s: float | None = None

    def __str__(self) -> str:
        first = f"HTTP {self.status} {self.reason}".rstrip()
        return f"{first}: {self.words}" if self.words else first


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, with the headers that are for its own server alone."""

    method: str
    url: str
    body: bytes
    headers: Mapping[str, str]
    own_headers: Mapping[str, str]


class Stream(io.RawIOBase):
    """Reads from a socket until a deadline, and no more than so many bytes."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self.deadline = deadline
        self._left = _MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._left <= 0:
            raise TooMuch
        self._connection.settimeout(self.deadline.left_s())
        size = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= size
        return size

    def makefile(self, *_: object) -> io.BufferedReader:
        """Be the socket that the standard library's parser expects."""
        return io.BufferedReader(self)


class TooMuch(Exception):
    """An answer that has no end."""


class Client:
    """Sends requests."""

    def __init__(self, reach: Reach, addresses: Addresses) -> None:
        self.reach = reach
        self._addresses = addresses
        self._context: ssl.SSLContext | None = None

    def send(self, asked: Asked, deadline: Deadline) -> Answer:
        """Send a request and follow its redirects; raises DeliveryFailed if there is no answer."""
        for _ in range(self.reach.max_redirects + 1):
            answer, location = self._send_once(asked, deadline)
            if answer.status not in _REDIRECTS or not location:
                return answer
            asked = _moved(asked, location)
        raise NotReached(f"more than {self.reach.max_redirects} redirects")

    def _send_once(self, asked: Asked, deadline: Deadline) -> tuple[Answer, str]:
        if wrong := what_is_wrong_with_url(asked.url):
            raise NotReached(f"url: {wrong}")
        parts = urlsplit(asked.url)
        host = _ascii_host(parts)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        where = f"{host}:{port}"
        stage = "no connection"
        try:
            connection = self._connect(parts.scheme, host, port, deadline)
            try:
                stage = "it does not take the request"
                is_whole = self.reach.proxy is not None and parts.scheme == "http"
                send_all(connection, _request(asked, parts, host, is_whole=is_whole), deadline)
                stage = "no answer"
                return _read_answer(connection, asked.method, deadline)
            finally:
                connection.close()
        except TimeoutError:
            raise NotReached(f"{where}: {stage} in time") from None
        except TooMuch:
            raise NotReached(f"{where}: the answer is longer than {_MOST_BYTES} bytes") from None
        except ssl.SSLError as error:
            raise NotReached(f"{where}: {_ssl_words(error)}") from None
        except http.client.HTTPException as error:
            raise NotReached(f"{where}: no valid answer ({type(error).__name__})") from None
        except ConnectionError as error:
            raise NotReached(f"{where}: {stage}: {error.strerror or 'it closed the connection'}") from None
        except OSError as error:
            raise NotReached(f"{where}: {stage}: {error.strerror or type(error).__name__}") from None

    def _connect(self, scheme: str, host: str, port: int, deadline: Deadline) -> socket.socket:
        early = deadline.within(self.reach.connect_timeout_s)
        proxy = self.reach.proxy
        if proxy is None:
            connection = self._addresses.connect(
                host, port, early, is_private_allowed=self.reach.is_private_allowed
            )
        else:
            connection = self._addresses.connect(*proxy, early)
        if scheme == "http":
            return connection
        try:
            if proxy is not None:
                _open_tunnel(connection, host, port, early)
            return secured(connection, self._tls(), host, early)
        except BaseException:
            connection.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self.reach.ca)
        return self._context


def secured(
    connection: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline
) -> ssl.SSLSocket:
    """Speak TLS from here on, with a server that proves its name."""
    # Of a connection that is closed already, the standard library would forget to close its own end.
    connection.getpeername()
    secure = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    try:
        secure.settimeout(deadline.left_s())
        secure.do_handshake()
    except BaseException:
        secure.close()
        raise
    return secure


def tls_context(ca: str) -> ssl.SSLContext:
    """Return how TLS is spoken: with the system's certificates, or those in a text instead."""
    try:
        return ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError):
        raise NotReached("ca: not a file of certificates in PEM") from None


def _ascii_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise NotReached("url: not a valid name of a host") from None


def _moved(asked: Asked, location: str) -> Asked:
    """Return the request for where a redirect leads; another server gets no headers that are not for it."""
    try:
        url = urljoin(asked.url, location)
        before, after = urlsplit(asked.url), urlsplit(url)
        is_same = (before.scheme, before.hostname, before.port) == (after.scheme, after.hostname, after.port)
    except ValueError:
        raise NotReached("a redirect to where nothing can be") from None
    if what_is_wrong_with_url(url):
        raise NotReached("a redirect to where nothing can be")
    if before.scheme == "https" and after.scheme != "https":
        raise NotReached(f"a redirect to {after.hostname} without encryption: not followed")
    return Asked(asked.method, url, asked.body, asked.headers, asked.own_headers if is_same else {})


def _request(asked: Asked, parts: SplitResult, host: str, *, is_whole: bool) -> bytes:
    """Write a request; `is_whole`: for a proxy, which needs the whole URL."""
    path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    target = f"{path}?{query}" if query else path
    named = f"[{host}]" if ":" in host else host
    at = named if parts.port is None else f"{named}:{parts.port}"
    headers = {
        "Host": at,
        "User-Agent": f"taskman/{__version__}",
        "Accept": "*/*",
        "Content-Length": str(len(asked.body)),
        "Connection": "close",
    }
    given = {**asked.headers, **asked.own_headers}
    replaced = {name.lower() for name in given}
    lines = [f"{asked.method} {f'http://{at}' if is_whole else ''}{target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in replaced]
    for name, value in given.items():
        if any(char < " " or char == "\x7f" for char in name + value):
            raise NotReached(f"headers: {printable(name)} has a control character")
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body
    except UnicodeEncodeError:
        raise NotReached("headers: a character that cannot stand in a header") from None


def send_all(connection: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send until a deadline."""
    rest = memoryview(data)
    while rest:
        connection.settimeout(deadline.left_s())
        rest = rest[connection.send(rest) :]


def _open_tunnel(connection: socket.socket, host: str, port: int, deadline: Deadline) -> None:
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    send_all(connection, f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode("ascii"), deadline)
    # Byte by byte: what follows the answer belongs to TLS.
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        connection.settimeout(deadline.left_s())
        byte = connection.recv(1)
        if not byte or len(head) > 16384:
            raise NotReached("proxy: no valid answer")
        head += byte
    if re.match(rb"HTTP/1\.[01] 2\d\d", head) is None:
        first = printable(head.partition(b"\r\n")[0].decode("latin-1"))
        raise NotReached(f"proxy: {first[:100]}")


def _read_answer(connection: socket.socket, method: str, deadline: Deadline) -> tuple[Answer, str]:
    stream = Stream(connection, deadline)
    response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
    try:
        response.begin()
        answer = Answer(
            response.status,
            printable(response.reason or "")[:100],
            _words(response, stream, deadline),
            _pause(response),
        )
        return answer, response.getheader("Location") or ""
    finally:
        response.close()


def _words(response: http.client.HTTPResponse, stream: Stream, deadline: Deadline) -> str:
    """Return the beginning of a body, as far as it comes soon; the status has been said already."""
    stream.deadline = deadline.within(_WORDS_S)
    data = b""
    try:
        while len(data) < _MOST_WORDS and (piece := response.read1(_MOST_WORDS - len(data))):
            data += piece
    except (OSError, http.client.HTTPException, TooMuch, ValueError):
        pass
    text = data.decode("utf-8", "replace")
    return printable(" ".join(text.split()))[:200]


def _pause(response: http.client.HTTPResponse) -> float | None:
    """Return what Retry-After asks for, in seconds."""
    text = (response.getheader("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        pause_s = float(text)
    else:
        try:
            until = parsedate_to_datetime(text)
            # By the other side's own clock: ours may differ.
            pause_s = (until - parsedate_to_datetime(response.getheader("Date") or "")).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(pause_s, 0.0), _LONGEST_PAUSE_S)


def _ssl_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
