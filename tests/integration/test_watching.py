"""The processes that look at job files and read them, and what becomes of them when all goes wrong."""

from __future__ import annotations

import marshal
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from wait import wait_until

from taskman_cli.jobfile import loads
from taskman_cli.jobfile.difference import Difference
from taskman_cli.jobfile.dump import dump, expanded, load_dump
from taskman_cli.jobfile.fingerprint import file_at, look
from taskman_cli.scheduler import file_watcher
from taskman_cli.scheduler.file_watcher import CHANGED, HANGS, IS_BACK, Lookout
from taskman_cli.scheduler.requests import file_changes, reload
from taskman_cli.scheduler.requests.file_changes import Watcher
from taskman_cli.scheduler.requests.reload import Reading, Reloader, decode, encode
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskman_cli.jobfile.fingerprint import Seen


def is_ready(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.fixture
def watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    monkeypatch.setattr(file_changes, "_AGAIN_S", 0.01)
    watcher = Watcher(start=str(tmp_path))
    yield watcher
    watcher.close()


def seen(directory: Path) -> Seen:
    return {file_at("jobs.toml"): look(file_at("jobs.toml"), start=str(directory))}


def test_a_change_is_told_once(tmp_path: Path, watcher: Watcher) -> None:
    watcher.watch(seen(tmp_path))
    (tmp_path / "jobs.toml").touch()
    wait_until(lambda: is_ready(watcher.fileno()), timeout_s=60)
    assert watcher.take() == (True, False)
    assert not is_ready(watcher.fileno())


def test_the_process_that_looks_is_started_again(tmp_path: Path, watcher: Watcher) -> None:
    watcher.watch(seen(tmp_path))
    first = wait_until(lambda: watcher._process)
    first.kill()
    wait_until(lambda: watcher._process is not first)
    (tmp_path / "jobs.toml").touch()
    wait_until(lambda: is_ready(watcher.fileno()), timeout_s=60)
    assert watcher.take() == (True, False)


def test_a_process_that_is_stopped_is_gone_after_the_end(tmp_path: Path) -> None:
    watcher = Watcher(start=str(tmp_path))
    watcher.watch(seen(tmp_path))
    process = wait_until(lambda: watcher._process)
    process.send_signal(signal.SIGSTOP)
    watcher.close()
    assert process.poll() == -signal.SIGKILL


def test_a_look_that_hangs_is_told_and_so_is_that_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    is_asked, answer = threading.Event(), threading.Event()

    def hang(looked_at: Seen, *, start: str) -> Seen:
        is_asked.set()
        answer.wait()
        return looked_at

    monkeypatch.setattr(file_watcher, "look_again", hang)
    monkeypatch.setattr(file_watcher, "_LOOK_S", 0.01)
    heard, out = os.pipe()
    one = Lookout(out)
    one.watch("/", {file_at("x"): None})
    assert is_asked.wait(30)
    for _ in range(3):
        one.check()
    assert os.read(heard, 64) == HANGS
    answer.set()
    assert os.read(heard, 64) == IS_BACK
    one.watch("/", None)


def test_what_is_still_written_is_not_told_of_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Iterator[int] = iter(range(1, 10**9))
    is_at_rest = threading.Event()
    sizes: list[int] = []

    def grow(looked_at: Seen, *, start: str) -> Seen:
        size = sizes[-1] if is_at_rest.is_set() else next(looks)
        sizes.append(size)
        return dict.fromkeys(looked_at, size)

    monkeypatch.setattr(file_watcher, "look_again", grow)
    monkeypatch.setattr(file_watcher, "_LOOK_S", 0.001)
    monkeypatch.setattr(file_watcher, "_SETTLE_S", 0.001)
    heard, out = os.pipe()
    one = Lookout(out)
    one.watch("/", {file_at("x"): 0})
    wait_until(lambda: len(sizes) > 20)
    assert not is_ready(heard)
    is_at_rest.set()
    assert os.read(heard, 64) == CHANGED


@pytest.fixture
def reloader(tmp_path: Path) -> Iterator[Reloader]:
    (tmp_path / "jobs.toml").write_text('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    trust = Trust(is_checked=False).as_json()
    arguments = {"files": ["jobs.toml"], "user_crontabs": [], "skip_bad": False, "trust": trust}
    reloader = Reloader(arguments, start=str(tmp_path))
    yield reloader
    reloader.close()


def test_files_are_read_from_where_taskman_was_started(reloader: Reloader) -> None:
    reloader.start(limit_s=60)
    wait_until(lambda: is_ready(reloader.fileno()), timeout_s=60)
    reading = reloader.result()
    assert reading.jobfile is not None
    assert [job.id for job in reading.jobfile.jobs] == ["a"]
    assert file_at("jobs.toml") in (reading.seen or {})


def read_again(reloader: Reloader) -> Reading:
    reloader.start(limit_s=60)
    wait_until(lambda: is_ready(reloader.fileno()), timeout_s=60)
    return reloader.result()


def test_a_reload_tells_what_is_different_from_the_jobs_in_force(tmp_path: Path, reloader: Reloader) -> None:
    first = read_again(reloader)
    assert (first.difference, load_dump(expanded(first.kept))) == (None, first.jobfile)
    assert first.jobfile is not None
    reloader.accept(first.jobfile)
    (tmp_path / "jobs.toml").write_text('[jobs.b]\nevery = "1h"\ncommand = "true"\n')
    second = read_again(reloader)
    assert second.difference is not None
    assert [job.id for job in second.difference.jobs] == ["b"]
    assert second.difference.removed == ("a",)
    assert second.jobfile == load_dump(expanded(second.kept))
    # It was not put in force: the next one is compared with the first again.
    third = read_again(reloader)
    assert (third.difference, third.jobfile) == (second.difference, second.jobfile)


def test_the_first_reload_is_compared_with_the_jobs_at_the_start(reloader: Reloader) -> None:
    first = read_again(reloader)
    assert first.jobfile is not None
    reloader.begin_with(first.jobfile, expanded(first.kept))
    second = read_again(reloader)
    assert second.difference == Difference((), ())
    assert second.jobfile is not None
    assert [job is known for job, known in zip(second.jobfile.jobs, first.jobfile.jobs, strict=True)] == [
        True
    ]


def test_a_reader_of_an_earlier_version_tells_all(tmp_path: Path) -> None:
    jobfile = loads('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    old = {"jobfile": dump(jobfile), "words": "", "summary": "", "code": 0, "seen": None, "warnings": ()}
    with (tmp_path / "fresh").open("w+b") as fresh:
        reading = decode(marshal.dumps(old), fresh.fileno(), jobfile)
    assert reading is not None
    assert (reading.jobfile, reading.difference, expanded(reading.kept)) == (jobfile, None, old["jobfile"])


def test_a_scheduler_of_an_earlier_version_is_told_all() -> None:
    jobfile = loads('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    assert load_dump(marshal.loads(encode(Reading(jobfile)))["jobfile"]) == jobfile


def test_a_dump_that_is_not_whole_is_no_result(tmp_path: Path) -> None:
    jobfile = loads('[jobs.a]\nevery = "1h"\ncommand = "true"\n')
    with (tmp_path / "fresh").open("w+b") as fresh:
        told = encode(Reading(jobfile), fresh.fileno())
        fresh.truncate(10)
        assert decode(told, fresh.fileno()) is None


def test_a_reader_that_hangs_is_killed_and_reaped(
    reloader: Reloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_GRACE_S", 0.1)
    reloader.start(limit_s=0.1)
    process = wait_until(lambda: reloader._process)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_ready(reloader.fileno()), timeout_s=60)
    reading = reloader.result()
    assert "not read within 0.1 s" in reading.words
    assert (reading.jobfile, reading.seen) == (None, None)
    assert process.returncode == -signal.SIGKILL


def test_a_reader_that_is_killed_is_told_in_words(reloader: Reloader) -> None:
    reloader.start(limit_s=60)
    wait_until(lambda: reloader._process).kill()
    wait_until(lambda: is_ready(reloader.fileno()), timeout_s=60)
    words = "the job files cannot be read: the process that reads them was killed by SIGKILL"
    assert words == reloader.result().summary


def test_a_reader_is_gone_after_the_end(tmp_path: Path) -> None:
    reloader = Reloader({"files": [], "user_crontabs": [], "skip_bad": False}, start=str(tmp_path))
    reloader.start(limit_s=3600)
    process = wait_until(lambda: reloader._process)
    process.send_signal(signal.SIGSTOP)
    reloader.close()
    assert process.poll() == -signal.SIGKILL
