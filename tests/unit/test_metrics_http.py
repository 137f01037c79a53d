"""What of HTTP is understood, and what is answered to the rest."""

from __future__ import annotations

import pytest

from taskman_cli.metrics.http import (
    MOST_REQUEST_BYTES,
    Refusal,
    Wanted,
    answer,
    is_complete,
    negotiated,
    read_request,
    refuse,
)
from taskman_cli.metrics.text import Format

#: What Prometheus 2.42 and 3.0 send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.PROMETHEUS), ("*/*", Format.PROMETHEUS), ("text/html, */*;q=0.8", Format.PROMETHEUS),
        (PROMETHEUS_2, Format.OPENMETRICS), (PROMETHEUS_3, Format.OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0", Format.OPENMETRICS),
        ("text/plain, application/openmetrics-text;q=0.5", Format.PROMETHEUS),
        ("application/openmetrics-text;q=0", Format.PROMETHEUS),
        ("application/openmetrics-text;q=junk, ;;, ,", Format.PROMETHEUS),
    ],
)  # fmt: skip
def test_the_format_is_the_one_that_the_scraper_likes_best(accept: str, form: Format) -> None:
    assert negotiated(accept) is form


def test_a_request_is_read_whatever_its_line_ends_and_cases() -> None:
    plain = Wanted(Format.PROMETHEUS, is_gzip=False, is_head=False)
    assert read_request(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") == plain
    assert read_request(b"GET /metrics?x=1 HTTP/1.0\n\n") == plain
    text = (
        b"HEAD /metrics HTTP/1.1\r\nACCEPT: application/openmetrics-text\r\naccept-encoding: br\r\n"
        b"Accept-Encoding: gzip;q=0.5\r\n\r\n"
    )
    assert read_request(text) == Wanted(Format.OPENMETRICS, is_gzip=True, is_head=True)
    assert read_request(b"GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip;q=0\r\n\r\n") == plain


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00 \xff\r\n\r\n", 400),
        (b"GET /metrics SSH-2.0\r\n\r\n", 400), (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404), (b"GET /metrics/../x HTTP/1.1\r\n\r\n", 404),
        (b"x" * (MOST_REQUEST_BYTES + 1), 431),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_words(request_: bytes, status: int) -> None:
    refusal = read_request(request_)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    head, _, body = refuse(refusal).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"Connection: close" in head


def test_a_request_is_complete_at_its_empty_line_or_when_it_is_too_long() -> None:
    assert not is_complete(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    assert is_complete(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert is_complete(b"GET /metrics HTTP/1.1\n\n")
    assert is_complete(bytearray(MOST_REQUEST_BYTES + 1))


def test_an_answer_says_what_it_is() -> None:
    head = answer(Wanted(Format.OPENMETRICS, is_gzip=True, is_head=False), 17).decode()
    assert head.splitlines()[:4] == [
        "HTTP/1.1 200 OK",
        "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Content-Length: 17",
        "Content-Encoding: gzip",
    ]
    assert refuse(Refusal(404, "no", is_head=True)).endswith(b"\r\n\r\n")
