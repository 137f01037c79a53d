"""What a service manager is told: only what is new, and all of that in the end."""

from __future__ import annotations

from datetime import UTC
from types import SimpleNamespace
from typing import Any

from unit.engine_driver import START, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.news import FilesNote
from taskman_cli.core.model import Settings
from taskman_cli.scheduler.manager import STATUS_EVERY_NS, ManagerReports


def test_errors_in_files_that_were_read_soon_after_a_status_are_in_the_next_one() -> None:
    told: list[tuple[str, str]] = []
    driver: Any = SimpleNamespace(engine=Engine(Settings()), now=START, steps=1, trouble=None)
    requests: Any = SimpleNamespace(is_reading=False, files_note=lambda: None)
    manager = ManagerReports(driver, requests, UTC, lambda what, words: told.append((what, words)))
    manager.is_wanted = True
    manager.look()
    assert ([what for what, _ in told], manager.next_timer()) == (["status"], None)
    for requests.is_reading in (True, False):  # the engine has no part in it
        driver.now = Now(driver.now.wall_ns + seconds(0.1), driver.now.elapsed_ns + seconds(0.1))
        manager.look()
    requests.files_note = lambda: FilesNote(0, "bad", is_bad=True)
    manager.look()
    due_ns = START.elapsed_ns + STATUS_EVERY_NS
    assert manager.next_timer() == due_ns
    driver.now = Now(START.wall_ns + STATUS_EVERY_NS, due_ns)
    manager.look()
    assert [what for what, _ in told] == ["status", "reloading", "reloaded", "status"]
    assert told[-1][1] == f"{told[0][1]}; the job files have errors"
    assert manager.next_timer() is None
