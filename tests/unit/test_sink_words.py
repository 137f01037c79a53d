"""What people are told of sinks that do not work: by status, doctor and the live view."""

from __future__ import annotations

from typing import Any

from taskman_cli.cli.doctor.result import Level
from taskman_cli.cli.doctor.sinks import judge_sinks
from taskman_cli.cli.support.sink_words import trouble_of
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.view import SinkRow
from taskman_cli.ui.headline import sink_line

NOW_NS = 1_000 * SECOND_NS


def item(**values: Any) -> dict[str, Any]:
    return {"sink": "ops", "waiting": 0, "set_aside": 0, "failing_ns": None, "error": ""} | values


def test_a_sink_that_works_is_no_trouble() -> None:
    assert trouble_of(item(waiting=3), NOW_NS) == ""
    assert judge_sinks([], now_ns=NOW_NS).words == "there are none"
    assert judge_sinks([item()], now_ns=NOW_NS) == (Level.OK, "1 sink, no delivery fails", "")
    assert judge_sinks([item(), item()], now_ns=NOW_NS).words == "2 sinks, no delivery fails"


def test_what_fails_and_what_was_set_aside_is_told() -> None:
    failing = item(failing_ns=NOW_NS - 120 * SECOND_NS, error="no route", waiting=1_234, set_aside=2)
    words = "fails for 2m, 1,234 wait: no route; 2 reports set aside"
    assert trouble_of(failing, NOW_NS) == words
    found = judge_sinks([failing, item(sink="b", set_aside=1)], now_ns=NOW_NS)
    assert (found.level, found.words) == (Level.WARN, f"ops {words}; b 1 report set aside")
    assert trouble_of(item(failing_ns=NOW_NS, error="x"), NOW_NS) == "fails for 0ms: x"


def test_an_error_of_a_page_is_cut_where_other_things_are_shown() -> None:
    assert len(trouble_of(item(failing_ns=NOW_NS, error="x" * 1_000), NOW_NS)) < 100


def test_the_live_view_has_one_line_for_all_sinks_that_do_not_work() -> None:
    assert sink_line([SinkRow("ok", 3, 0)], NOW_NS, width=80) is None
    rows = [SinkRow("ops", 5, 2, NOW_NS - 60 * SECOND_NS, "x"), SinkRow("ok", 1, 0), SinkRow("b", 0, 1)]
    line = sink_line(rows, NOW_NS, width=80)
    assert line is not None
    text = "".join(segment.text for segment in line)
    assert text.endswith("sinks: ops fails for 1m 00s, 5 wait, 2 set aside; b 1 set aside")
    narrow = sink_line(rows, NOW_NS, width=30)
    assert narrow is not None
    assert sum(segment.cell_length for segment in narrow) <= 30
