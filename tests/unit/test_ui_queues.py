"""Queues in one line, for `status` and the live view."""

from __future__ import annotations

from taskman_cli.core.engine.view import Depth
from taskman_cli.ui.queues import queue_words

QUEUES = (
    Depth("due", 7, 9, is_bytes=False), Depth("timers", 1, 1, is_bytes=False),
    Depth("output_files", 0, 40, is_bytes=False), Depth("ready", 3, 1_936, is_bytes=False),
    Depth("log", 2, 2, is_bytes=False), Depth("requests", 0, 0, is_bytes=False),
    Depth("clients", 2_048, 4_096, is_bytes=True),
)  # fmt: skip
WHOLE = "ready 3 (most 1,936), log 2, clients 2.05KB (most 4.1KB), output files 0 (most 40)"


def test_what_waits_comes_first_and_what_never_did_is_left_out() -> None:
    assert queue_words(QUEUES, most=100) == WHOLE


def test_what_does_not_fit_is_counted() -> None:
    assert queue_words(QUEUES, most=44) == "ready 3 (most 1,936), log 2, and 2 more"
    for most in range(100):
        assert len(queue_words(QUEUES, most=most)) <= most
    assert queue_words(QUEUES[:2], most=100) == ""
