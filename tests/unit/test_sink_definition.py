"""What a sink is told."""

from __future__ import annotations

import pytest

from taskman_cli.core.model import SkipReason
from taskman_cli.core.sinks import PROBLEMS, ReportKind, SinkDefinition


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
