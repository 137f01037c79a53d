"""Settings and fixtures for all tests."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from people import Person, people

if TYPE_CHECKING:
    from collections.abc import Iterator

# Under nohup(1) HUP is ignored, and in a background job of a script INT, also by all processes that are
# started from here. Some tests send these signals.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# xdist sets a width that no terminal has; commands that write to a pipe have none.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COLUMNS", None)

# Programs that tests start from a checkout would compile it each time, for longer than most of them run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False  # nor these tests, where they run again

# How long an example takes depends on how busy the machine is.
settings.register_profile("taskman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taskman")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure coverage once in a process of xdist.

    There pytest-cov starts twice: what `no_cover` stops in the second would go on in the first, for nothing.
    """
    plugin = session.config.pluginmanager.getplugin("_cov")
    if hasattr(session.config, "workerinput") and plugin is not None and plugin.cov_controller is not None:
        plugin.cov_controller.pause()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the unit tests first, and measure coverage in them only: it makes the others twice as long.

    What only random examples reach is reached by chance: the tests that draw them are not measured either.
    Those that are measured come first: others would import modules and fill caches that they have to reach.
    """
    unit = Path(__file__).with_name("unit")
    for item in items:
        is_random = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if is_random or not item.path.is_relative_to(unit):
            item.add_marker("no_cover")
    items.sort(
        key=lambda item: (
            not item.path.is_relative_to(unit),
            item.get_closest_marker("no_cover") is not None,
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undo what an import of taskman's main module did: programs that fixtures start would inherit it."""
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """Return a directory that everybody may write to; those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o1777)  # sticky, or root would run nothing that is in there
        yield path


@pytest.fixture
def no_threads() -> Iterator[pytest.MonkeyPatch]:
    """Make it impossible to start a thread, until `undo` is called or the test is over."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as shortage:
        shortage.setattr(threading.Thread, "start", refuse)
        yield shortage


@pytest.fixture(scope="session")
def both() -> Iterator[tuple[Person, ...]]:
    """Return two users: for root with `CI` set, accounts that are created for the session."""
    with people() as made:
        yield made


@pytest.fixture
def mallory(both: tuple[Person, ...]) -> Person:
    """Return the user who attacks."""
    return both[0]


@pytest.fixture
def alice(both: tuple[Person, ...]) -> Person:
    """Return a user who only has jobs."""
    return both[1]
