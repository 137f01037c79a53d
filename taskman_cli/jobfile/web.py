"""Readers of what sinks need to know of web servers: URLs and headers, which may be secrets."""

from __future__ import annotations

import re
from typing import Any

from taskman_cli.core.urls import what_is_wrong_with_url
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.secrets import or_secret
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.values import NAME, Context, check_name, mistyped, read_line, read_text

#: A token of RFC 9110, of which names of headers consist.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Headers that are ours to set.
_OWN_HEADERS = frozenset(
    ["connection", "content-length", "host", "idempotency-key", "taskman-signature", "transfer-encoding"]
)


@shaped(type="string", pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")
def _read_url(value: object, context: Context) -> str:
    url = read_line(value, context)
    if wrong := what_is_wrong_with_url(url):
        raise reject(wrong)
    return url


@shaped(type="string", pattern=r"^http://")
def read_proxy(value: object, context: Context) -> str:
    """Read the URL of a proxy."""
    url = _read_url(value, context)
    if not url.lower().startswith("http://"):
        raise reject('not the URL of a proxy: write it as in "http://proxy.example.org:3128"')
    return url


@shaped(type="string")
def _read_header_value(value: object, context: Context) -> str:
    text = read_text(value, context)
    for offset, char in enumerate(text):
        if not " " <= char <= "\xff" or "\x7f" <= char < "\xa0":
            raise Rejected(Fault((), f"U+{ord(char):04X} cannot stand in a header", offset=offset))
    return text


_read_header = or_secret(_read_header_value)


@shaped(
    type="object",
    patternProperties={whole(_HEADER.pattern): shape_of(_read_header)},
    additionalProperties=False,
)
def read_headers(value: object, context: Context) -> dict[str, Any]:
    """Read headers, each of which may be a secret."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { Authorization = { env = "TOKEN" } }')
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, item in value.items():
        if not _HEADER.fullmatch(name):
            faults.append(Fault((name,), "not a valid name of a header", at_key=True))
        elif name.lower() in _OWN_HEADERS:
            faults.append(Fault((name,), "taskman sets this header itself: leave it out", at_key=True))
        elif name.lower() in map(str.lower, found):
            faults.append(Fault((name,), "this header is there twice", at_key=True))
        try:
            found[name] = _read_header(item, context)
        except Rejected as error:
            faults += error.under(name)
    if faults:
        raise Rejected(*faults)
    return found


read_url_or_secret = or_secret(_read_url)


@shaped(
    type="object",
    patternProperties={whole(NAME.pattern): shape_of(read_url_or_secret)},
    additionalProperties=False,
)
def read_urls(value: object, context: Context) -> dict[str, Any]:
    """Read the URL of each job."""
    if type(value) is not dict:
        raise mistyped(value, "a table", ': write it as in { backup = "https://hc.example.org/UUID" }')
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for job, url in value.items():
        try:
            check_name(job, "job")
            found[job] = read_url_or_secret(url, context)
        except Rejected as error:
            faults += error.under(job)
    if faults:
        raise Rejected(*faults)
    return found
