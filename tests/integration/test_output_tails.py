"""The last lines of output that a report takes along: some, or all that was captured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.engine.runs import attempt_key
from taskman_cli.core.sinks import ALL_OUTPUT
from taskman_cli.scheduler.outlets.tails import ALL_BYTES, MOST_BYTES, OutputTails

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tails(tmp_path: Path) -> OutputTails:
    return OutputTails(lambda job, key: str(tmp_path / f"{job}.{key}"))


def write(tmp_path: Path, data: bytes) -> None:
    (tmp_path / f"job.{attempt_key('run', 'main', 1)}").write_bytes(data)


def test_the_last_lines_are_read_and_all_of_them_where_all_are_wanted(
    tails: OutputTails, tmp_path: Path
) -> None:
    write(tmp_path, b"".join(b"%d\n" % number for number in range(50_000)))
    lines, is_cut = tails.read("job", "run", "main", 1, 3)
    assert (lines, is_cut) == (["49997", "49998", "49999"], True)
    lines, is_cut = tails.read("job", "run", "main", 1, ALL_OUTPUT)
    assert (lines, is_cut) == ([str(number) for number in range(50_000)], False)


@pytest.mark.parametrize(("wanted", "most"), [(10_000_000, MOST_BYTES), (ALL_OUTPUT, ALL_BYTES)])
def test_no_more_is_read_than_a_turn_may_cost(
    tails: OutputTails, tmp_path: Path, wanted: int, most: int
) -> None:
    write(tmp_path, b"x\n" * (ALL_BYTES * 2))
    lines, is_cut = tails.read("job", "run", "main", 1, wanted)
    assert is_cut
    assert most // 2 - 2 <= len(lines) <= most // 2


def test_bytes_that_are_no_text_are_kept(tails: OutputTails, tmp_path: Path) -> None:
    write(tmp_path, b"caf\xe9\n\nlast")
    assert tails.read("job", "run", "main", 1, ALL_OUTPUT) == (["caf\udce9", "", "last"], False)


def test_output_that_is_not_there_is_none(tails: OutputTails) -> None:
    assert tails.read("job", "run", "main", 1, ALL_OUTPUT) == ([], False)
