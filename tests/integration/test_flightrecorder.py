"""What a scheduler was busy with when it died without a word, and when that sets an item aside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core import protocol
from taskman_cli.core.engine import events
from taskman_cli.core.engine.blame import Item
from taskman_cli.scheduler.flightrecorder import NAME, FlightRecorder
from taskman_cli.scheduler.poison import SILENT_DEATHS, Poison

if TYPE_CHECKING:
    from pathlib import Path

JOB = Item("job", "caf\udce9", "caf\udce9")
GONE = events.AttemptGone("r.main.1")


def test_the_last_item_is_read_by_the_next_scheduler(tmp_path: Path) -> None:
    dead = FlightRecorder(tmp_path)
    assert dead.left is None
    dead.write(Item("attempt", "long name that is written over", "job"))
    dead.write(Item("job", "b", "b"))
    assert FlightRecorder(tmp_path).left == Item("job", "b", "b")
    assert FlightRecorder(tmp_path).left is None  # once only


def test_nothing_is_left_after_an_item_was_handled_or_the_recorder_closed(tmp_path: Path) -> None:
    recorder = FlightRecorder(tmp_path)
    recorder.write(JOB)
    recorder.clear()
    assert FlightRecorder(tmp_path).left is None
    recorder.write(JOB)
    recorder.close()
    assert not (tmp_path / NAME).exists()
    recorder.write(JOB)  # there is nothing to write to any more
    assert FlightRecorder(tmp_path).left is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 4096, b"a\0b", b"a\0b\0c\xff" * 3, b"\x80a\0b\0c\xff"])
def test_a_damaged_file_does_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert FlightRecorder(tmp_path).left in (None, Item("a", "b", "c"))


def test_if_the_file_cannot_be_created_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    recorder = FlightRecorder(tmp_path)
    recorder.write(JOB)
    recorder.clear()
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    os.mkdir(tmp_path / "x")  # noqa: PTH102
    (tmp_path / "x" / NAME).mkdir()
    assert FlightRecorder(tmp_path / "x").left is None


def deaths(directory: Path, *events_: object) -> Poison:
    """Let a scheduler die in each of these events, and return what the last one to come knows."""
    kept = None
    for event in (*events_, None):
        poison = Poison(recorder=FlightRecorder(directory))
        poison.suspect(kept, 0)
        kept = poison.suspected
        if event is not None:
            poison.doing = event
    return poison


def names(poison: Poison) -> list[str]:
    return [row["what"] for row in poison.told()]


def test_an_item_is_set_aside_after_three_deaths_in_a_row(tmp_path: Path) -> None:
    assert SILENT_DEATHS == 3
    assert names(deaths(tmp_path, GONE, GONE)) == []
    assert names(deaths(tmp_path, GONE, GONE, GONE)) == ["the end of attempt r.main.1"]


def test_deaths_at_different_items_do_not_count(tmp_path: Path) -> None:
    other = events.AttemptGone("s.main.1")
    assert names(deaths(tmp_path, GONE, GONE, other, GONE)) == []
    assert names(deaths(tmp_path, GONE, GONE, events.Tick(), GONE)) == []


def test_the_job_of_a_tick_and_the_request_are_recorded(tmp_path: Path) -> None:
    poison = Poison(recorder=FlightRecorder(tmp_path))
    poison.doing = events.Tick()
    poison.watch("backup")
    assert FlightRecorder(tmp_path).left == Item("job", "backup", "backup")
    poison.rest()
    assert FlightRecorder(tmp_path).left is None
    request = protocol.Cancel(target="x")
    poison.asked = request
    poison.doing = events.RequestReceived(1, request, "ann")
    poison.watch("backup")
    left = FlightRecorder(tmp_path).left
    assert left is not None
    assert (left.kind, left.name.split()[0]) == ("request", "cancel")
    poison.asked = None
    assert FlightRecorder(tmp_path).left is None
