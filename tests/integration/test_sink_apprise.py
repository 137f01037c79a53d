"""Services that the library apprise knows: the process that it is in, and the library, where there is one."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from integration.receivers import web_server

from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.sinks import apprise as module
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import check, check_failure, message
from taskman_cli.sinks.types import make
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "hunter2-and-more"
installed = pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed")
#: A library of the same name, which writes down what it is asked for.
_FAKE = """
import json, logging, os, sys, time
class NotifyFormat:
    TEXT = "text"
class Apprise:
    def add(self, url):
        self.url = url
        return not url.startswith("nonsense:")
    def notify(self, **asked):
        if "hang" in self.url:
            time.sleep(600)
        if "crash" in self.url:
            os.abort()
        if "down" in self.url:
            logging.getLogger("apprise").warning("no luck with %s", self.url)
            return False
        with open(os.environ["FAKE_OUT"], "a") as file:
            json.dump({"url": self.url, "secret": "TOKEN" in os.environ, **asked}, file)
            file.write("\\n")
        return True
"""


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    directory = tmp_path / "library"
    directory.mkdir()
    (directory / "apprise.py").write_text(_FAKE)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(directory),
        "FAKE_OUT": str(tmp_path / "out"),
        "TOKEN": TOKEN,
    }
    return Surroundings(environ=environ, hidden=frozenset({"TOKEN"}), trust=Trust(is_checked=False))


def apprise(*urls: Any) -> SinkDefinition:
    return SinkDefinition("all", "apprise", settings={"urls": [*urls]})


def told(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "out").read_text("utf-8").splitlines()]


def test_a_service_is_told_in_a_process_of_its_own(around: Surroundings, tmp_path: Path) -> None:
    assert make(apprise({"env": "TOKEN"}), around).deliver(message(), 30.0) == "apprise told it"
    (asked,) = told(tmp_path)
    assert (asked["url"], asked["title"], asked["notify_type"]) == (TOKEN, "backup failed: exit 3", "failure")
    assert asked["secret"] is False
    assert "apprise" not in sys.modules or find_spec("apprise") is not None


def test_it_stands_the_suite(around: Surroundings, tmp_path: Path) -> None:
    check(apprise(f"json://{TOKEN}"), surroundings=around, secrets=[TOKEN])
    for url, timeout_s in (f"down://{TOKEN}", 3.0), (f"crash://{TOKEN}", 3.0), (f"hang://{TOKEN}", 1.0):
        error = check_failure(apprise(url), surroundings=around, secrets=[TOKEN], timeout_s=timeout_s)
        assert not error.is_final


def test_a_url_of_no_service_is_told(around: Surroundings) -> None:
    with pytest.raises(DeliveryFailed, match="apprise knows no service of that URL"):
        make(apprise("nonsense://a"), around).deliver(message(), 30.0)


def test_those_who_know_already_are_not_told_again(around: Surroundings, tmp_path: Path) -> None:
    sink = make(apprise("json://a", "down://b"), around)
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="no luck with"):
            sink.deliver(message(), 30.0)
    assert [asked["url"] for asked in told(tmp_path)] == ["json://a"]


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="apprise is not installed: pip install 'taskman-scheduler"):
        make(apprise("json://a"))


@pytest.mark.real
@installed
def test_the_library_itself_tells_a_server() -> None:
    around = Surroundings(environ={"PATH": os.environ["PATH"]}, trust=Trust(is_checked=False))
    with web_server() as web:
        make(apprise(f"json://127.0.0.1:{web.port}/{TOKEN}"), around).deliver(message(), 60.0)
    document = json.loads(web.got[0].body)
    assert document["title"] == "backup failed: exit 3"
    assert "cannot connect" in document["message"]
    with web_server((500, {}, b"")) as web:
        definition = apprise(f"json://127.0.0.1:{web.port}/{TOKEN}")
        check_failure(definition, surroundings=around, secrets=[TOKEN], timeout_s=60.0)
