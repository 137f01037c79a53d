"""`--json` of the commands that control a scheduler: one document on standard output, errors elsewhere."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from integration.fake_scheduler import NOW_NS, SECOND_NS, FakeScheduler, end, refusal

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

RUN = "67aw64ddpp"
FINAL = {"final": True}
TRIGGERED = {"run": RUN, "job": "backup", "state": "running", "paused": False, "slot_ns": None}
NO_END = {"exit_code": None, "signal": None, "detail": None}
NOW = datetime.fromtimestamp(NOW_NS // SECOND_NS, UTC).isoformat()


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeScheduler]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    scheduler = FakeScheduler(tmp_path / "state")
    yield scheduler
    scheduler.close()
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("words", "replies", "document"),
    [
        pytest.param(
            ["trigger", "backup.db"],
            [TRIGGERED],
            {"job": "backup", "task": "db", "run": RUN, "slot": None, "paused": False, "state": "running"}
            | NO_END,
            id="trigger",
        ),
        pytest.param(
            ["trigger", "backup", "--wait"],
            [TRIGGERED, end(state="failed") | FINAL],
            {"job": "backup", "task": None, "run": RUN, "slot": None, "paused": False, "state": "failed"}
            | {"exit_code": 3, "signal": None, "detail": "exit 3"},
            id="trigger and wait",
        ),
        pytest.param(
            ["once", "true"],
            [{"job": "once-1", "at_ns": NOW_NS, "run": None, "state": "waiting"}],
            {"job": "once-1", "run": None, "at": NOW, "state": "waiting"} | NO_END,
            id="once",
        ),
        pytest.param(
            ["once", "--wait", "true"],
            [{"job": "once-1", "at_ns": NOW_NS, "run": None, "state": "waiting"}, end() | FINAL],
            {"job": "once-1", "run": RUN, "at": NOW, "state": "succeeded"}
            | {"exit_code": 0, "signal": None, "detail": ""},
            id="once and wait",
        ),
        pytest.param(
            ["pause", "--all"],
            [{"jobs": ["a"], "unchanged": ["b"], "until_ns": NOW_NS}],
            {"jobs": ["a"], "unchanged": ["b"], "until": NOW},
            id="pause",
        ),
        pytest.param(
            ["resume", "--all"],
            [{"jobs": ["a"], "unchanged": ["b"], "until_ns": None}],
            {"jobs": ["a"], "unchanged": ["b"]},
            id="resume",
        ),
        pytest.param(
            ["cancel", "x"],
            [{"runs": [{"run": "a", "job": "x", "state": "queued"}]}],
            {"runs": [{"run": "a", "job": "x", "state": "queued"} | NO_END], "jobs": []},
            id="cancel",
        ),
        pytest.param(
            ["cancel", "once-1"],
            [{"runs": [], "jobs": ["once-1"]}],
            {"runs": [], "jobs": ["once-1"]},
            id="cancel of a one-off job",
        ),
        pytest.param(
            ["wait", "backup"],
            [{"runs": [RUN]}, {"runs": [end()], "timed_out": False} | FINAL],
            {"runs": [end()], "timed_out": False},
            id="wait",
        ),
        pytest.param(
            ["reload"],
            [
                {"added": ["a"], "changed": [], "removed": [], "jobs": 3}
                | {"warnings": [["a", "jobs.toml:2: warning: no such program"]]}
            ],
            {"added": ["a"], "changed": [], "removed": [], "settings": [], "jobs": 3}
            | {"warnings": [{"job": "a", "message": "jobs.toml:2: warning: no such program"}]},
            id="reload",
        ),
        pytest.param(
            ["remove", "backup.db"],
            [{"job": "backup", "task": "db", "runs": ["a"]}],
            {"job": "backup", "task": "db", "runs": ["a"], "deleted": None},
            id="remove",
        ),
        pytest.param(
            ["restore"], [{"jobs": ["a"], "tasks": ["b.x"]}], {"jobs": ["a"], "tasks": ["b.x"]}, id="restore"
        ),
    ],
)
def test_json_is_one_document_and_nothing_else(
    words: list[str],
    replies: list[dict[str, Any]],
    document: dict[str, Any],
    scheduler: FakeScheduler,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    scheduler.answers[words[0]] = replies
    code = main([*words, "--json"])
    out, _ = capsys.readouterr()
    assert code == (document.get("exit_code") or 0)
    assert out.count("\n") == 1
    assert json.loads(out) == document


def test_an_error_is_words_on_standard_error_with_json_too(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["pause"] = refusal("there is no job x", 4)
    assert main(["pause", "x", "--json"]) == 4
    assert capsys.readouterr() == ("", "taskman: there is no job x\n")


@pytest.mark.parametrize("words", [["trigger", "backup"], ["once", "true"]])
def test_output_and_a_document_do_not_go_together(
    words: list[str], scheduler: FakeScheduler, capsys: Captured
) -> None:
    assert main([*words, "--follow", "--json"]) == 2
    assert "leave out --json" in capsys.readouterr().err
    assert scheduler.requests == []
