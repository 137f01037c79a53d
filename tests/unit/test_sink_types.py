"""The keys that each type of sink has by itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import load_zone
from taskman_cli.core.sinks import SINK_TYPES, TEMPLATES, ReportKind
from taskman_cli.core.urls import what_is_wrong_with_url
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.problems import Fault
from taskman_cli.jobfile.sinktypes import (
    REQUIRED,
    faults_of,
    formats_of,
    keys_of,
    settings_of,
)
from taskman_cli.jobfile.tables import read_table, table_shape
from taskman_cli.jobfile.values import Context
from taskman_cli.launch.accounts import Accounts

CONTEXT = Context(Path("/etc/taskman"), load_zone("UTC"), None, Accounts(is_run_here=False))
COMMON = ("format",)
#: The URL that a webhook needs.
U = 'url = "https://x"\n'


def read(type_: str, text: str) -> tuple[dict[str, Any], list[Fault]]:
    known = keys_of(type_)
    assert known is not None
    table = tomllib.loads(text)
    own = {name: value for name, value in table.items() if name not in COMMON}
    values, faults = read_table(own, known, CONTEXT)
    return settings_of(type_, values), [*faults, *faults_of(type_, table, values)]


def messages(type_: str, text: str) -> list[tuple[str, str]]:
    return [(".".join(map(str, fault.path)), fault.message) for fault in read(type_, text)[1]]


GOOD = {
    "webhook": (
        'url = "https://example.org/hook?a=%20b"\nsecret = { env = "S" }\nmethod = "PUT"\n'
        'headers = { Authorization = { file = "token" }, X-A = "b" }\nconnect_timeout = "2s"\n'
        'ca = "ca.pem"\nallow_private = false\nmax_redirects = 0',
        {
            "url": "https://example.org/hook?a=%20b",
            "secret": {"env": "S"},
            "method": "PUT",
            "headers": {"Authorization": {"file": "/etc/taskman/token"}, "X-A": "b"},
            "connect_timeout_ns": 2_000_000_000,
            "ca": "/etc/taskman/ca.pem",
            "allow_private": False,
            "max_redirects": 0,
        },
    ),
    "mail": (
        'to = "root"\nfrom = "a@example.org"\nhost = "mail.example.org"\nport = 2525\ntls = "none"\n'
        'user = "me"\npassword = { credential = "smtp" }\nallow_plain_password = true',
        {
            "to": ["root"],
            "from": "a@example.org",
            "host": "mail.example.org",
            "port": 2525,
            "tls": "none",
            "user": "me",
            "password": {"credential": "smtp"},
            "allow_plain_password": True,
        },
    ),
    "command": (
        'command = ["notify", ""]\ncwd = "x"\nenv = { A = "b" }\nuser = "nobody"',
        {"command": ["notify", ""], "cwd": "/etc/taskman/x", "env": {"A": "b"}, "user": "nobody"},
    ),
    "file": (
        'path = "a.jsonl"\ndurability = "power"',
        {"path": "/etc/taskman/a.jsonl", "durability": "power"},
    ),
    "journald": ('identifier = "cron"\nsocket = "/s"', {"identifier": "cron", "socket": "/s"}),
    "syslog": (
        'address = "udp://[::1]:514"\nfacility = "cron"',
        {"address": "udp://[::1]:514", "facility": "cron"},
    ),
    "healthcheck": (
        'url = { env = "URL" }\nproxy = "http://p:3128"',
        {"url": {"env": "URL"}, "proxy": "http://p:3128"},
    ),
    "apprise": ('urls = ["json://x", { env = "A" }]', {"urls": ["json://x", {"env": "A"}]}),
}


@pytest.mark.parametrize("type_", SINK_TYPES)
def test_what_a_type_takes_becomes_plain_settings(type_: str) -> None:
    text, settings = GOOD[type_]
    assert read(type_, text) == (settings, [])


@pytest.mark.parametrize("type_", SINK_TYPES)
def test_a_sink_that_has_nowhere_to_deliver_to_is_refused(type_: str) -> None:
    lacking = [f'{name} is missing: a sink of type "{type_}" needs it' for name in REQUIRED[type_]]
    if type_ == "healthcheck":
        lacking = ["url is missing: set it, with {job} for the name of the job, or urls"]
    assert messages(type_, "") == [("", message) for message in lacking]


@pytest.mark.parametrize("type_", SINK_TYPES)
def test_editors_accept_what_is_read(type_: str) -> None:
    known = keys_of(type_)
    assert known is not None
    shape = table_shape(known, required=REQUIRED[type_])
    shape["$defs"] = {"command": {}}
    Draft202012Validator.check_schema(shape)
    assert Draft202012Validator(shape).is_valid(tomllib.loads(GOOD[type_][0]))
    assert all(key.about for key in known.values())


def test_another_type_has_no_keys_that_are_known() -> None:
    assert keys_of("carrier-pigeon") is None


def test_each_type_has_a_format_and_webhooks_have_all_templates() -> None:
    assert all(formats_of(type_) for type_ in SINK_TYPES)
    assert set(formats_of("webhook")) == {"json", "text", *TEMPLATES}


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("webhook", 'url = "ftp://x"', ("url", "not a URL of a web server")),
        ("webhook", 'url = "https://me:secret@x/"', ("url", "no user or password in the URL")),
        ("webhook", 'url = "https://x/a b"', ("url", "blanks in a URL")),
        ("webhook", 'url = "https://[x/"', ("url", "not a valid URL")),
        ("webhook", 'url = "https://x:99999/"', ("url", "not a valid URL")),
        ("webhook", 'url = "https://"', ("url", "not a URL of a web server")),
        ("webhook", "url = { env = 'A', file = 'b' }", ("url", "a secret has one source")),
        ("webhook", "url = {}", ("url", "a secret has one source")),
        ("webhook", "url = { enw = 'A' }", ("url.enw", "unknown key: write { env")),
        ("webhook", "url = { env = 'A B' }", ("url.env", '"A B" is not a valid variable name')),
        ("webhook", "url = { credential = '../a' }", ("url.credential", "not a valid name of a credential")),
        ("webhook", "url = { credential = '..' }", ("url.credential", "not a valid name of a credential")),
        ("webhook", U + 'secret = "abc"', ("secret", "a job file is no place for a secret")),
        ("webhook", U + 'secret = 1', ("secret", "expected the source of a secret")),
        ("webhook", U + 'headers = 1', ("headers", "expected a table")),
        ("webhook", U + 'headers = { "a b" = "c" }', ("headers.a b", "not a valid name")),
        ("webhook", U + 'headers = { host = "c" }', ("headers.host", "taskman sets this")),
        ("webhook", U + 'headers = { a = "b", A = "b" }', ("headers.A", "this header is there twice")),
        ("webhook", U + 'headers = { a = "b\\r\\nc: d" }', ("headers.a", "U+000D cannot stand")),
        ("webhook", U + 'headers = { a = "\\u20ac" }', ("headers.a", "U+20AC cannot stand")),
        ("webhook", U + 'proxy = "https://p"', ("proxy", "not the URL of a proxy")),
        ("webhook", U + 'proxy = "http://p"\nallow_private = false', ("proxy", "not with allow")),
        ("webhook", U + 'format = "pagerduty"', ("format", "PagerDuty needs a key")),
        ("webhook", U + 'routing_key = { env = "A" }', ("routing_key", "only valid with format")),
        ("webhook", U + 'format = "text"\ntemplate = "x"', ("template", "not together with")),
        ("mail", 'to = "-oQ/tmp@x"', ("to", '"-oQ/tmp@x" is not an address')),
        ("mail", 'to = "a@-x"', ("to", '"a@-x" is not an address')),
        ("mail", 'to = ["a@x", "b@x\\nBcc: c"]', ("to.1", "U+000A is not a printable")),
        ("mail", "to = []", ("to", "empty: write at least one")),
        ("mail", 'to = "Me <a@x>"', ("to", '"Me <a@x>" is not an address')),
        ("mail", 'to = "a"\nport = 25', ("port", "only valid with host")),
        ("mail", 'to = "a"\nhost = "h"\nsendmail = "s"', ("sendmail", "not together with host")),
        ("mail", 'to = "a"\nhost = "h"\nuser = "u"', ("user", "only valid with password")),
        ("mail", 'to = "a"\nhost = "h"\npassword = { env = "A" }', ("password", "only valid with user")),
        (
            "mail",
            'to = "a"\nhost = "h"\nuser = "u"\npassword = { env = "A" }\ntls = "none"',
            ("password", "it would be sent unencrypted"),
        ),
        ("command", "command = []", ("command", "empty: write a command")),
        ("syslog", 'address = "dev/log"', ("address", '"dev/log" is no address')),
        ("syslog", 'address = "udp://x:0"', ("address", '"udp://x:0" is no address')),
        ("mail", 'to = "|sh"', ("to", '"|sh" is not an address')),
        ("mail", 'to = "/etc/passwd"', ("to", '"/etc/passwd" is not an address')),
        ("mail", 'to = "ö@x"', ("to", '"ö@x" is not an address')),
        ("healthcheck", "urls = { 'a b' = 'https://x' }", ("urls.a b", '"a b" is not a valid job name')),
        ("healthcheck", "urls = { a = 'x' }", ("urls.a", "not a URL of a web server")),
        ("healthcheck", "urls = 1", ("urls", "expected a table")),
        ("healthcheck", "url = 'https://x/{foo}'", ("url", "{job}, the name of the job, is the only place")),
        ("healthcheck", "url = 'https://x/{job'", ("url", "{job}, the name of the job, is the only place")),
        ("healthcheck", "urls = { a = 'https://x/{j}' }", ("urls.a", "{job}, the name of the job, is the")),
        ("journald", 'identifier = "a b"', ("identifier", '"a b" is no identifier')),
        ("apprise", "urls = 1", ("urls", "expected a string")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(type_: str, text: str, expected: tuple[str, str]) -> None:
    ((place, message),) = messages(type_, text)
    assert (place, message[: len(expected[1])]) == expected


def test_no_message_about_a_url_repeats_it() -> None:
    for url in ("ftp://x/hunter2", "https://u:hunter2@x", "https://x/hunter2 ", "https://[hunter2"):
        assert what_is_wrong_with_url(url)
        assert "hunter2" not in what_is_wrong_with_url(url)


def test_a_healthcheck_is_told_of_each_run_unless_it_says_otherwise() -> None:
    text = '[sinks.hc]\ntype = "healthcheck"\nurl = "https://hc.example.org/{job}"\n'
    (often,) = loads(text, timezone="UTC").sinks
    (rarely,) = loads(text + 'repeat = "2h"\n', timezone="UTC").sinks
    assert (often.repeat_ns, rarely.repeat_ns) == (0, 7200 * SECOND_NS)
    assert ReportKind.STARTED in often.on
