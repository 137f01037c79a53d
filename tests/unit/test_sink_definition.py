"""What a sink is told."""

from __future__ import annotations

import pytest

from taskman_cli.core.model import SkipReason
from taskman_cli.core.sinks import (
    PROBLEMS,
    SINK_TYPES,
    ReportKind,
    SinkDefinition,
    default_on,
    is_source,
    secret_variables,
)


def test_a_sink_is_told_of_problems_unless_it_says_otherwise() -> None:
    sink = SinkDefinition("ops", "webhook")
    assert {kind for kind in ReportKind if kind is not ReportKind.SKIPPED and sink.wants(kind)} == PROBLEMS


@pytest.mark.parametrize("reason", SkipReason)
def test_of_skips_those_are_problems_that_nobody_has_asked_for(reason: SkipReason) -> None:
    sink = SinkDefinition("ops", "webhook")
    asked_for = {SkipReason.OVERLAP, SkipReason.PAUSED, SkipReason.DISABLED}
    assert sink.wants(ReportKind.SKIPPED, reason) == (reason not in asked_for)


@pytest.mark.parametrize("reason", SkipReason)
def test_all_skips_are_told_where_skips_are_named(reason: SkipReason) -> None:
    sink = SinkDefinition("ops", "webhook", on=frozenset({ReportKind.SKIPPED}), tells_skips=False)
    assert sink.wants(ReportKind.SKIPPED, reason)
    assert not sink.wants(ReportKind.FAILED)


def test_a_healthcheck_is_told_of_each_run_and_the_others_of_problems() -> None:
    told = {type_ for type_ in (*SINK_TYPES, "other") if ReportKind.SUCCEEDED in default_on(type_)}
    assert told == {"healthcheck"}
    assert default_on("mail") == PROBLEMS


def test_the_variables_that_secrets_come_from_are_found_wherever_they_stand() -> None:
    webhook = SinkDefinition(
        "ops",
        "webhook",
        settings={
            "url": {"env": "HOOK_URL"},
            "headers": {"Authorization": {"env": "TOKEN"}, "X-A": "b"},
            "secret": {"file": "/etc/hook"},
            "max_redirects": 2,
        },
    )
    apprise = SinkDefinition("all", "apprise", settings={"urls": ["json://x", {"env": "APPRISE"}]})
    command = SinkDefinition("run", "command", settings={"command": "true", "env": {"env": "NOT_A_NAME"}})
    other = SinkDefinition("own", "other", settings={"env": {"env": "OTHERS"}, "odd": {"env": 1}})
    found = secret_variables([webhook, apprise, command, other])
    assert found == {"HOOK_URL", "TOKEN", "APPRISE", "OTHERS"}
    assert secret_variables([]) == frozenset()


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ({"env": "A"}, True),
        ({"credential": "a"}, True),
        ({"env": "A", "file": "/b"}, False),
        ({"other": "A"}, False),
        ({}, False),
        ("env", False),
    ],
)
def test_a_table_with_a_source_is_a_secret(value: object, is_one: bool) -> None:
    assert is_source(value) == is_one


def test_a_definition_does_not_show_what_it_is_set_to() -> None:
    assert "token" not in repr(SinkDefinition("ops", "webhook", settings={"url": "https://x/token"}))
