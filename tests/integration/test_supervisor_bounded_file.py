"""The bounded output file alone: any stream, in any pieces, against the plain rule."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.supervisor import output
from taskman_cli.supervisor.output import BoundedFile, settle


def expected(stream: bytes, max_bytes: int) -> bytes:
    """Return what the file holds in the end."""
    if len(stream) <= max_bytes:
        return stream
    tail_bytes = max_bytes // 2
    head = stream[: max_bytes - tail_bytes]
    line_break = b"\n" if head and not head.endswith(b"\n") else b""
    line = b"[taskman: %s bytes cut]\n" % f"{len(stream) - max_bytes:,}".encode()
    return head + line_break + line + stream[len(stream) - tail_bytes :]


def finish(file: BoundedFile) -> None:
    for _ in file.finish():
        pass


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40) | st.just(b"line\n"), min_size=1, max_size=12),
    max_bytes=st.integers(0, 60),
    is_crashed=st.booleans(),
)
def test_head_and_tail_are_kept_however_the_stream_comes(
    pieces: list[bytes], max_bytes: int, is_crashed: bool
) -> None:
    stream = b"".join(pieces)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "out"
        file = BoundedFile(str(path), max_bytes)
        for piece in pieces:
            file.write(memoryview(piece))
        if is_crashed:  # nobody finished the file; somebody else settles it
            for _ in settle(str(path), max_bytes):
                pass
            assert path.read_bytes() == expected(stream, max_bytes)
        finish(file)
        assert path.read_bytes() == expected(stream, max_bytes)
        assert (file.total_bytes, file.cut_bytes) == (len(stream), max(0, len(stream) - max_bytes))
        assert os.listdir(directory) == ["out"]  # noqa: PTH208


@given(
    lives=st.lists(
        st.lists(st.binary(min_size=1, max_size=40) | st.just(b"line\n"), max_size=6), min_size=1, max_size=5
    ),
    max_bytes=st.integers(0, 60),
)
def test_a_stream_in_several_lives_makes_the_same_file(lives: list[list[bytes]], max_bytes: int) -> None:
    stream = b"".join(map(b"".join, lives))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "out"
        file = BoundedFile(str(path), max_bytes)
        for pieces in lives:
            file.finish()  # closes the file; nobody takes the steps that it returns
            file = BoundedFile.resume(str(path), max_bytes)
            for piece in pieces:
                file.write(memoryview(piece))
        assert (file.total_bytes, file.cut_bytes) == (len(stream), max(0, len(stream) - max_bytes))
        finish(file)
        assert (path.read_bytes() if stream else b"") == expected(stream, max_bytes)
        assert file.error is None


def test_a_settled_file_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = BoundedFile(str(path), 100)
    file.write(memoryview(bytes(256)))
    finish(file)
    settled = path.read_bytes()
    file = BoundedFile.resume(str(path), 100)
    file.write(memoryview(b"more"))
    finish(file)
    assert path.read_bytes() == settled
    assert (file.total_bytes, file.cut_bytes, file.error) == (4, 4, f"cannot be continued: {path}")


@pytest.mark.parametrize("name", ["link", "dir", "dir/out/deep", "null\0byte", "fifo"])
def test_what_cannot_be_continued_costs_output_and_nothing_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "out").write_text("kept")
    (tmp_path / "link").symlink_to("dir/out")
    os.mkfifo(tmp_path / "fifo")
    file = BoundedFile.resume(f"{tmp_path}/{name}", 100)
    file.write(memoryview(b"lost"))
    finish(file)
    assert (file.total_bytes, file.cut_bytes) == (4, 4)
    assert file.error
    assert (tmp_path / "dir" / "out").read_text() == "kept"


@pytest.mark.parametrize("name", ["fifo", "dir", "nothing", "null\0byte", "file"])
def test_only_an_unsettled_output_file_is_settled(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("plain")
    before = sorted(tmp_path.iterdir())
    for max_bytes in (0, 3, 2**80):
        assert list(settle(f"{tmp_path}/{name}", max_bytes)) == []
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "plain"


def test_a_settled_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = BoundedFile(str(path), 100)
    file.write(memoryview(bytes(range(256))))
    finish(file)
    settled = path.read_bytes()
    assert list(settle(str(path), 100)) == []
    assert path.read_bytes() == settled


def test_an_unfinished_file_never_grows_past_its_bound_by_more_than_a_line(tmp_path: Path) -> None:
    file = BoundedFile(str(tmp_path / "out"), 10_000)
    for _ in range(100):
        file.write(memoryview(bytes(997)))
        assert (tmp_path / "out").stat().st_size < 10_100
    finish(file)


def test_a_large_file_is_settled_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "STEP_BYTES", 100)
    stream = bytes(range(256)) * 5
    file = BoundedFile(str(tmp_path / "out"), 1000)
    file.write(memoryview(stream))
    steps = list(file.finish())
    # head 500 bytes, the tail in two parts of 280 and 220: a pause before each step but the first of a part
    assert len(steps) == 4 + 2 + 2
    assert (tmp_path / "out").read_bytes() == expected(stream, 1000)


def test_what_the_disk_does_not_take_counts_as_cut_and_later_output_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "out"
    (tmp_path / "gone").touch()
    file = BoundedFile(str(path), 100)
    file.write(memoryview(b"lost "))
    assert (file.total_bytes, file.cut_bytes) == (5, 5)
    assert file.error == f"Not a directory: {path}"
    (tmp_path / "gone").unlink()
    file.write(memoryview(b"kept"))
    finish(file)
    assert path.read_bytes() == b"kept"
    assert (file.total_bytes, file.cut_bytes) == (9, 5)


def test_a_file_that_was_removed_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = BoundedFile(str(path), 10)
    file.write(memoryview(bytes(100)))
    path.unlink()
    finish(file)
    assert not path.exists()


def test_where_the_settled_file_cannot_be_written_the_unsettled_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = BoundedFile(str(path), 10)
    file.write(memoryview(bytes(100)))
    unsettled = path.read_bytes()
    (tmp_path / "out.part").mkdir()
    finish(file)
    assert path.read_bytes() == unsettled


def test_what_is_missing_on_the_way_to_a_file_is_made_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        BoundedFile(str(tmp_path / "state" / "output" / "job" / "a.log"), 100).write(memoryview(b"x"))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    made = [tmp_path / name for name in ("state", "state/output", "state/output/job")]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700] * 3
