"""As much of HTTP as a scraper needs: one request a connection, read and answered as text. Pure."""

from __future__ import annotations

from typing import NamedTuple

from taskman_cli.metrics.text import CONTENT_TYPES, Format

#: A longer request is refused.
MOST_REQUEST_BYTES = 16_384
#: What is served.
PATH = "/metrics"

_PLAIN = "text/plain; charset=utf-8"
_REASONS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    431: "Request Header Fields Too Large", 503: "Service Unavailable",
}  # fmt: skip


class Wanted(NamedTuple):
    """A request for the metrics."""

    form: Format
    is_gzip: bool
    #: The answer has no body.
    is_head: bool


class Refusal(NamedTuple):
    """Why a request is not answered with the metrics."""

    status: int
    words: str
    is_head: bool = False


def is_complete(data: bytes | bytearray) -> bool:
    """Tell whether all of a request has come; a body is not read."""
    return b"\r\n\r\n" in data or b"\n\n" in data or len(data) > MOST_REQUEST_BYTES


def read_request(data: bytes | bytearray) -> Wanted | Refusal:
    """Return what a complete request wants, or why it does not get it."""
    if len(data) > MOST_REQUEST_BYTES:
        return Refusal(431, f"a request of more than {MOST_REQUEST_BYTES} bytes")
    first, *lines = bytes(data).decode("latin-1").split("\n")
    words = first.split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return Refusal(400, "not a request of HTTP/1")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return Refusal(405, "only GET and HEAD")
    if target.partition("?")[0] != PATH:
        return Refusal(404, f"the metrics of taskman are at {PATH}", method == "HEAD")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    encodings = _qualities(headers.get("accept-encoding", ""))
    return Wanted(negotiated(headers.get("accept", "")), encodings.get("gzip", 0.0) > 0, method == "HEAD")


def negotiated(accept: str) -> Format:
    """Return the format that a scraper likes best; the older one if it does not say."""
    liked = _qualities(accept)
    is_open = liked.get("application/openmetrics-text", 0.0)
    plain = max(liked.get("text/plain", 0.0), liked.get("text/*", 0.0), liked.get("*/*", 0.0))
    return Format.OPENMETRICS if is_open > 0 and is_open >= plain else Format.PROMETHEUS


def _qualities(accept: str) -> dict[str, float]:
    """Return how much each kind of an Accept header is liked, 0 to 1."""
    found: dict[str, float] = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        found[kind] = max(found.get(kind, 0.0), quality)
    return found


def answer(wanted: Wanted, length: int) -> bytes:
    """Write the head of the answer with the metrics, which are compressed if that is wanted."""
    encoding = ("Content-Encoding: gzip",) if wanted.is_gzip else ()
    return _head(200, CONTENT_TYPES[wanted.form], length, *encoding, "Vary: Accept, Accept-Encoding")


def refuse(refusal: Refusal) -> bytes:
    """Write the answer that says why."""
    body = f"{refusal.words}\n".encode()
    more = ("Allow: GET, HEAD",) if refusal.status == 405 else ()
    head = _head(refusal.status, _PLAIN, len(body), *more)
    return head if refusal.is_head else head + body


def _head(status: int, content_type: str, length: int, *more: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *more,
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
