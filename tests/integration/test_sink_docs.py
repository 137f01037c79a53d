"""The page on results has every type of sink with its keys, and what it shows works."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import pytest
from integration.documents import PAGES, blocks, codes, first_column, section

from taskman_cli.core.sinks import SECRET_SOURCES, SINK_TYPES, TEMPLATES
from taskman_cli.core.templates import VALUES
from taskman_cli.jobfile.sinktypes import keys_of
from taskman_cli.sinks.command import variables
from taskman_cli.sinks.document import message_document, report_document
from taskman_cli.sinks.template import parse
from taskman_cli.sinks.testing import REPORT, message
from taskman_cli.sinks.webhook import FINAL, LATER, SIGNATURE, signature

PAGE = "docs/results.md"
#: Keys that are described once, for a webhook.
_OF_WEBHOOKS = {"headers", "connect_timeout", "ca", "allow_private", "max_redirects", "proxy"}


def described(heading: str) -> list[str]:
    return [code for row in first_column(section(PAGE, heading)) for code in codes(row)]


def words(heading: str) -> list[str]:
    """Return what is code in the text of a section, blocks left out."""
    return codes(re.sub(r"^```.*?^```$", "", section(PAGE, heading), flags=re.M | re.S))


@pytest.mark.parametrize("type_", SINK_TYPES)
def test_each_key_of_a_type_is_described_once(type_: str) -> None:
    known = keys_of(type_)
    assert known is not None
    logs = ("journald", "syslog")
    found = described("journald, syslog" if type_ in logs else type_)
    expected = set(known)
    if type_ in logs:
        expected = {*(keys_of("journald") or {}), *(keys_of("syslog") or {})}
    elif type_ == "healthcheck":
        assert set(codes(section(PAGE, type_))) >= _OF_WEBHOOKS
        expected -= _OF_WEBHOOKS
    assert sorted(found) == sorted(expected)


def test_each_key_of_a_message_is_described() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section(PAGE, "What is sent"), re.M)
    found = [code for row in rows for code in codes(row)]
    assert sorted(found) == sorted([*message_document(message()), *report_document(REPORT)])


def test_each_template_source_value_and_variable_is_described() -> None:
    assert described("Templates") == ["format", *TEMPLATES]
    assert tuple(re.findall(r"^\| `\{ (\w+) = ", section(PAGE, "Secrets"), re.M)) == SECRET_SOURCES
    assert {*words("Templates")} >= VALUES
    assert {*words("command")} >= variables(message(), "x").keys()


def test_what_an_answer_leads_to_is_described() -> None:
    text = section(PAGE, "webhook")
    assert f"| {', '.join(map(str, sorted(FINAL)))} |" in text
    assert f"| {', '.join(map(str, sorted(LATER)))} |" in text


def test_the_template_of_the_page_is_one() -> None:
    (block,) = blocks("template")
    (request,) = parse(block.text).requests(message())
    assert request.body.startswith(b"backup failed: exit 3 on web1.example.org\n")
    assert request.headers == {"X-Priority": "5"}


def test_the_signature_is_checked_as_the_page_says() -> None:
    (block,) = [block for block in blocks("python") if "is_ours" in block.text]
    found: dict[str, Any] = {}
    exec(block.text, found)
    header = signature("secret", b"body")
    assert header == "sha256=" + hmac.new(b"secret", b"body", hashlib.sha256).hexdigest()
    assert found["is_ours"](b"secret", b"body", header) is True
    assert found["is_ours"](b"other", b"body", header) is False
    assert f"`{SIGNATURE}`" in PAGES[PAGE]


def test_the_suite_is_used_as_the_page_says() -> None:
    (block,) = [block for block in blocks("python") if "check_network" in block.text]
    found: dict[str, Any] = {}
    exec(block.text, found)
    with pytest.raises(ValueError, match='there is no sink of type "my-type"'):
        found["test_my_type"]()
