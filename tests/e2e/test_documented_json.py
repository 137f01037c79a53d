"""What --json prints has the keys that docs/json.md describes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running
from integration.documents import codes, first_column, section
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = """
[taskman]
include = ["jobs.d/*.toml"]
[jobs]
hourly = "0 * * * * true"
[jobs.often]
every = "1h"
run_on_start = true
overlap = "queue"
command = "echo done"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("json"), JOBS) as running:
        wait_until(lambda: _printed(running, "history"), what="a run")
        call(["backup", "copy.db"], check=True, cwd=running.directory, env=running.env)
        yield running


def _printed(running: Running, *words: str, stdin: str = "") -> list[dict[str, Any]]:
    """Return the objects that a command prints: one, those of an array, or one a line."""
    result = call([*words, "--json"], text=True, given=stdin, cwd=running.directory, env=running.env)
    try:
        value = json.loads(result.stdout)
    except ValueError:
        value = [json.loads(line) for line in result.stdout.splitlines()]
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    "words",
    [
        "history", "why often", "status", "list", "show often", "check jobs.toml", "explain @daily",
        "simulate jobs.toml",
        "trigger often", "trigger --wait often", "once true", "once --wait true", "once --in 1h true",
        "pause hourly", "resume hourly", "cancel often", "wait often", "reload", "remove hourly", "restore",
        "add new --every 1h true", "remove --delete new",
    ],
)  # fmt: skip
def test_a_document_has_the_keys_that_are_described(words: str, running: Running) -> None:
    name = words.split()[0]
    described = {code for row in first_column(section("docs/json.md", name)) for code in codes(row)}
    documents = _printed(running, *words.split())
    assert [document.keys() for document in documents] == [described] * len(documents) != []


def test_an_event_has_keys_that_are_described(running: Running) -> None:
    described = set(codes(section("docs/json.md", "events").split("| kind |")[0]))
    for event in _printed(running, "events"):
        assert {"seq", "at", "kind"} <= event.keys() <= described


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ("next jobs.toml", ""), ("import --user -", "@daily true\nx\n"), ("doctor", ""),
        ("salvage copy.db", ""),
    ],
)  # fmt: skip
def test_the_keys_of_a_small_document_are_named(words: str, stdin: str, running: Running) -> None:
    described = set(codes(section("docs/json.md", words.split()[0])))
    documents = _printed(running, *words.split(), stdin=stdin)
    assert documents
    assert {key for document in documents for key in document} <= described
