"""Fixtures for tests of the supervisor: the real process, with the test as its scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, SchedulerEnd, Supervision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervision]]:
    """Start supervisors, with options; all are ended with the test."""
    made = []

    def supervise(**options: Any) -> Supervision:
        made.append(Supervision(tmp_path, **options))
        return made[-1]

    yield supervise
    for supervision in made:
        supervision.close()


@pytest.fixture
def supervision(supervise: Callable[..., Supervision]) -> Supervision:
    """One supervisor."""
    return supervise()


@pytest.fixture
def scheduler(supervision: Supervision) -> SchedulerEnd:
    """The first scheduler, with short pauses set."""
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS))
    return scheduler
