"""What holds for all tests."""

from __future__ import annotations

import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from people import Person, people

if TYPE_CHECKING:
    from collections.abc import Iterator

# Under nohup(1) hang-ups are ignored, and in a background job of a script interrupts, by all that is started
# from here too; the tests send some.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is.
settings.register_profile("taskman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taskman")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the unit tests alone count the lines of core: counting makes the others twice as long."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).with_name("unit")):
            item.add_marker("no_cover")


@pytest.fixture
def public_path() -> Iterator[Path]:
    """Return a directory that everybody may write to; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o1777)  # or root would run nothing of what is in there
        yield path


@pytest.fixture
def no_threads() -> Iterator[pytest.MonkeyPatch]:
    """Let no thread be had, until `undo` is called or the test is over."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as shortage:
        shortage.setattr(threading.Thread, "start", refuse)
        yield shortage


@pytest.fixture(scope="session")
def both() -> Iterator[tuple[Person, ...]]:
    """Return two users of the machine: with `CI` set and root, accounts that are made for the session."""
    with people() as made:
        yield made


@pytest.fixture
def mallory(both: tuple[Person, ...]) -> Person:
    """Return the one who attacks."""
    return both[0]


@pytest.fixture
def alice(both: tuple[Person, ...]) -> Person:
    """Return one who does nothing but have jobs."""
    return both[1]
