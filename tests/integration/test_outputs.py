"""The output directory on a real disk: what is kept, what is removed, and on whose thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.scheduler import output_files as outputs_module
from taskman_cli.scheduler.output_files import KEPT_OUTPUTS, Outputs, surplus_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def in_queue_order(runs: Iterable[str]) -> dict[str, int | None]:
    """Say of all runs that they ended in the order in which they were queued."""
    return {run: number for number, run in enumerate(sorted(runs))}


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outputs]:
    monkeypatch.setattr(outputs_module, "_GATHER_S", 0)
    (tmp_path / "job").mkdir()
    outputs = Outputs(tmp_path, in_queue_order)
    yield outputs
    outputs.close()


def catch_up(outputs: Outputs) -> None:
    """Wait until the thread has done what it was told so far."""
    is_done = threading.Event()
    outputs._do(is_done.set)
    assert is_done.wait(30)


def end(
    outputs: Outputs, key: str, *, keep_runs: int = 100, has_output: bool = True, is_over: bool = True
) -> None:
    """Let an attempt end, and its run unless another attempt follows."""
    if has_output:
        Path(outputs.path("job", key)).touch()
    outputs.note_attempt("job", key)
    if is_over:
        outputs.note_run("job", key.partition(".")[0], keep_runs=keep_runs)
    catch_up(outputs)


def kept(directory: Path) -> list[str]:
    return sorted(path.name.removesuffix(".log") for path in (directory / "job").iterdir())


def test_only_the_latest_runs_keep_their_output(tmp_path: Path, outputs: Outputs) -> None:
    for run in ("r1", "r2", "r3"):
        end(outputs, f"{run}.a.1", keep_runs=2, is_over=False)
        end(outputs, f"{run}.b.1", keep_runs=2)
    assert kept(tmp_path) == ["r2.a.1", "r2.b.1", "r3.a.1", "r3.b.1"]


def test_a_directory_from_which_nothing_is_removed_is_opened_once(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    really_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(path) or really_open(path, *more))
    end(outputs, "r1.a.1", has_output=False)
    assert len(opened) == 1


def test_nothing_is_removed_through_a_link_in_the_place_of_a_job_s_directory(
    tmp_path: Path, outputs: Outputs
) -> None:
    end(outputs, "r1.a.1", keep_runs=1)
    (tmp_path / "job").rename(tmp_path / "theirs")
    (tmp_path / "job").symlink_to("theirs")
    for number in (1, 101):
        (tmp_path / "theirs" / f"r2.a.{number}.log").touch()
        outputs.note_attempt("job", f"r2.a.{number}")
    outputs.note_run("job", "r2", keep_runs=1)
    outputs.drop("job", ["r1"])
    outputs.drop("job", ["r1", "r2"], is_departed=True)
    catch_up(outputs)
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == [
        "r1.a.1.log", "r2.a.1.log", "r2.a.101.log",
    ]  # fmt: skip
    assert (tmp_path / "job").is_symlink()


# --- the order of the ends, and what is not over ---


class Ends:
    """What the ledger would tell: ends in the order of a list, and runs that are not over."""

    def __init__(self) -> None:
        self.over: list[str] = []
        self.open: set[str] = set()
        self.is_silent = False

    def __call__(self, runs: Iterable[str]) -> dict[str, int | None] | None:
        if self.is_silent:
            return None
        known = {run: number for number, run in enumerate(self.over, 1) if run in set(runs)}
        return known | dict.fromkeys(self.open)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Ends) -> Iterator[Outputs]:
    monkeypatch.setattr(outputs_module, "_GATHER_S", 0)
    (tmp_path / "job").mkdir()
    outputs = Outputs(tmp_path, ends)
    yield outputs
    outputs.close()


def test_a_running_run_keeps_its_output_however_many_end_and_then_counts_like_any_other(
    tmp_path: Path, ordered: Outputs, ends: Ends
) -> None:
    ends.open = {"r0"}
    Path(ordered.path("job", "r0.main.1")).touch()
    for number in range(1, 10):
        ends.over.append(f"r{number}")
        end(ordered, f"r{number}.main.1", keep_runs=2)
    assert kept(tmp_path) == ["r0.main.1", "r8.main.1", "r9.main.1"]
    ends.open = set()
    ends.over.append("r0")
    end(ordered, "r0.main.1", keep_runs=2)
    assert kept(tmp_path) == ["r0.main.1", "r9.main.1"]
    ends.over.append("ra")
    end(ordered, "ra.main.1", keep_runs=2)
    assert kept(tmp_path) == ["r0.main.1", "ra.main.1"]


def test_output_of_unknown_runs_is_removed_first(tmp_path: Path, ordered: Outputs, ends: Ends) -> None:
    for run in ("r7", "r8", "r9"):  # of a ledger that was lost
        Path(ordered.path("job", f"{run}.main.1")).touch()
    ends.over = ["r1"]
    end(ordered, "r1.main.1", keep_runs=3)
    assert kept(tmp_path) == ["r1.main.1", "r8.main.1", "r9.main.1"]


def test_nothing_is_removed_while_the_ledger_cannot_tell(
    tmp_path: Path, ordered: Outputs, ends: Ends
) -> None:
    ends.is_silent = True
    for run in ("r1", "r2", "r3"):
        ends.over.append(run)
        end(ordered, f"{run}.main.1", keep_runs=1)
    assert len(kept(tmp_path)) == 3
    ends.is_silent = False
    ends.over.append("r4")
    end(ordered, "r4.main.1", keep_runs=1)
    assert kept(tmp_path) == ["r4.main.1"]


RUNS = st.sets(st.integers(100, 139).map("r{}".format))


@given(
    runs=RUNS,
    is_open=RUNS,
    ended=st.permutations([f"r{n}" for n in range(100, 140)]),
    keep_runs=st.integers(1, 9),
)
def test_removed_output_is_that_of_the_runs_that_ended_first_and_never_of_unfinished_runs(
    runs: set[str], is_open: set[str], ended: list[str], keep_runs: int
) -> None:
    known: dict[str, int | None] = dict(zip(ended, range(1, 41), strict=True))
    surplus = surplus_of(runs, known | dict.fromkeys(is_open), keep_runs=keep_runs)
    left = [run for run in ended if run in runs - is_open - surplus]
    assert set() == surplus & is_open
    assert min(keep_runs, len(runs - is_open)) == len(left)
    assert left == [run for run in ended if run in runs - is_open][-keep_runs:]


# --- with the ledger's rows ---


def test_output_is_removed_with_the_rows_of_its_run_only(tmp_path: Path, outputs: Outputs) -> None:
    for name in ("r1.a.1.log", "r1.b.7.log", "r1.a.2.log.part", "r10.a.1.log", "r2.a.1.log"):
        (tmp_path / "job" / name).touch()
    outputs.drop("job", ["r1", "r3"])
    catch_up(outputs)
    assert kept(tmp_path) == ["r10.a.1", "r2.a.1"]
    outputs.drop("job", ["r10"])
    outputs.drop("job", ["r2"])
    catch_up(outputs)
    assert (tmp_path / "job").is_dir()


def test_removing_rows_removes_no_other_output_of_a_job_that_has_not_run_since_the_restart(
    tmp_path: Path, outputs: Outputs
) -> None:
    """It may keep more than the default: only the end of a run tells."""
    for number in range(KEPT_OUTPUTS + 5):
        (tmp_path / "job" / f"r{number:04}.a.1.log").touch()
    outputs.drop("job", ["r0000"])
    catch_up(outputs)
    assert len(kept(tmp_path)) == KEPT_OUTPUTS + 4
    end(outputs, "r9999.a.1", keep_runs=KEPT_OUTPUTS)
    assert len(kept(tmp_path)) == KEPT_OUTPUTS


def test_the_directory_of_a_removed_job_is_removed_with_its_last_output(
    tmp_path: Path, outputs: Outputs
) -> None:
    for job in ("once-1", "once-2", "mine"):
        (tmp_path / job).mkdir()
        (tmp_path / job / "r1.main.1.log").touch()
    (tmp_path / "once-2" / "r9.main.1.log").touch()  # its name was taken anew
    (tmp_path / "mine" / "notes.txt").touch()
    for job in ("once-1", "once-2", "mine", "never-printed"):
        outputs.drop(job, ["r1"], is_departed=True)
    catch_up(outputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "mine", "once-2"]
    assert [path.name for path in (tmp_path / "once-2").iterdir()] == ["r9.main.1.log"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_of_directories_of_unknown_jobs_the_latest_are_kept(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "KEPT_STRAYS", 2)
    (tmp_path / "job" / "r1.main.1.log").touch()
    for number in range(1, 6):
        (tmp_path / f"stray-{number}").mkdir()
        (tmp_path / f"stray-{number}" / "r1.main.1.log").touch()
        os.utime(tmp_path / f"stray-{number}", ns=(0, number))
    (tmp_path / "link").symlink_to(tmp_path / "job")
    (tmp_path / "file").touch()
    outputs.sweep(["job", "stray-1"])
    catch_up(outputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "file",
        "job",
        "link",
        "stray-1",
        "stray-4",
        "stray-5",
    ]
    assert kept(tmp_path) == ["r1.main.1"]


# --- how often the directory is read ---


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return count_looks(monkeypatch)


def end_of(outputs: Outputs, job: str, run: str, *, keep_runs: int) -> None:
    """Let a run of one attempt with output end."""
    path = Path(outputs.path(job, f"{run}.main.1"))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    outputs.note_run(job, run, keep_runs=keep_runs)
    catch_up(outputs)


def test_a_job_without_files_is_read_when_it_may_have_too_many(
    tmp_path: Path, outputs: Outputs, reads: list[str]
) -> None:
    outputs.sweep(["job", "fresh"])
    catch_up(outputs)
    for run in ("r1", "r2"):
        end_of(outputs, "fresh", run, keep_runs=2)
    assert reads == []
    end_of(outputs, "fresh", "r3", keep_runs=2)
    assert [Path(directory).name for directory in reads] == ["fresh"]
    assert sorted(path.name for path in (tmp_path / "fresh").iterdir()) == ["r2.main.1.log", "r3.main.1.log"]


def test_a_job_that_may_have_files_is_read_at_its_first_run(outputs: Outputs, reads: list[str]) -> None:
    outputs.sweep(["job"])
    catch_up(outputs)
    end_of(outputs, "job", "r1", keep_runs=2)
    assert [Path(directory).name for directory in reads] == ["job"]


def test_a_job_that_comes_back_is_read_at_its_first_run(outputs: Outputs, reads: list[str]) -> None:
    outputs.sweep(["job", "fresh"])
    catch_up(outputs)
    end_of(outputs, "fresh", "r1", keep_runs=2)
    outputs.drop("fresh", [], is_departed=True)
    catch_up(outputs)
    reads.clear()
    end_of(outputs, "fresh", "r2", keep_runs=2)
    assert [Path(directory).name for directory in reads] == ["fresh"]


def test_without_an_output_directory_no_job_has_files(tmp_path: Path, reads: list[str]) -> None:
    outputs = Outputs(tmp_path / "output", in_queue_order)
    outputs.sweep(["fresh"])
    catch_up(outputs)
    outputs.note_run("fresh", "r1", keep_runs=1)
    outputs.close()
    assert reads == []


def test_if_the_output_directory_cannot_be_read_any_job_may_have_files(
    tmp_path: Path, reads: list[str]
) -> None:
    (tmp_path / "output").touch()
    outputs = Outputs(tmp_path / "output", in_queue_order)
    outputs.sweep(["fresh"])
    catch_up(outputs)
    outputs.note_run("fresh", "r1", keep_runs=1)
    outputs.close()
    assert [Path(directory).name for directory in reads] == ["fresh"]


def test_output_of_an_earlier_life_counts_and_foreign_files_do_not(tmp_path: Path, outputs: Outputs) -> None:
    others = ["notes.txt", "z.log", "z.a.b.log", "z.a.1.txt"]
    for name in ("r1.main.1.log", "r1.main.1.log.part", "r2.main.1.log", *others):
        (tmp_path / "job" / name).touch()
    end(outputs, "r3.main.1", keep_runs=1)
    assert sorted(["r3.main.1.log", *others]) == sorted(path.name for path in (tmp_path / "job").iterdir())


@pytest.mark.parametrize("keep_runs", [1, 9, 10, 50])
def test_the_limit_is_exceeded_by_a_tenth_at_most_and_checked_a_tenth_as_often(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch, keep_runs: int
) -> None:
    looks = count_looks(monkeypatch)
    runs = [f"r{number:03}" for number in range(3 * keep_runs)]
    for number, run in enumerate(runs):
        end(outputs, f"{run}.main.1", keep_runs=keep_runs)
        left = kept(tmp_path)
        assert [f"{run}.main.1" for run in runs[: number + 1]][-len(left) :] == left
        assert min(number + 1, keep_runs) <= len(left) <= keep_runs + keep_runs // 10
    assert len(looks) <= 2 + 2 * keep_runs // (keep_runs // 10 + 1)


def test_attempts_without_output_cost_almost_nothing(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    end(outputs, "r0000.main.1")
    for number in range(1, 1000):
        end(outputs, f"r{number:04}.main.1", has_output=False)
    assert kept(tmp_path) == ["r0000.main.1"]
    assert len(looks) <= 11


def test_output_that_is_written_after_the_end_counts_too(tmp_path: Path, outputs: Outputs) -> None:
    end(outputs, "r1.main.1", keep_runs=1, has_output=False)
    (tmp_path / "job" / "r1.main.1.log").touch()
    end(outputs, "r2.main.1", keep_runs=1)
    assert kept(tmp_path) == ["r2.main.1"]


def test_a_lower_limit_takes_effect_at_the_next_end(tmp_path: Path, outputs: Outputs) -> None:
    for number in range(1, 9):
        end(outputs, f"r{number}.main.1", keep_runs=20 if number < 8 else 2)
    assert kept(tmp_path) == ["r7.main.1", "r8.main.1"]


def test_a_run_of_many_attempts_keeps_the_latest_of_each_task(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "MAX_ATTEMPTS", 3)
    for number in range(1, 12):
        end(outputs, f"r1.a.{number}", is_over=False)
        end(outputs, f"r1.b.{number}", has_output=number % 2 == 0, is_over=False)
    assert kept(tmp_path) == ["r1.a.10", "r1.a.11", "r1.a.9", "r1.b.10"]


def test_output_that_was_removed_by_others_does_no_harm(tmp_path: Path, outputs: Outputs) -> None:
    (tmp_path / "job").rmdir()
    for run in ("r1", "r2"):
        end(outputs, f"{run}.main.1", keep_runs=1, has_output=False)
    assert list(tmp_path.iterdir()) == []


def test_a_burst_of_ends_costs_one_look_and_closing_does_not_wait_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "_GATHER_S", 3600)
    looks = count_looks(monkeypatch)
    outputs = Outputs(tmp_path, in_queue_order)
    (tmp_path / "job").mkdir()
    for number in range(100, 200):
        Path(outputs.path("job", f"r{number}.main.1")).touch()
        outputs.note_run("job", f"r{number}", keep_runs=2)
    assert looks == []
    outputs.close()
    outputs.close()
    outputs.note_run("job", "r200", keep_runs=1)
    assert (kept(tmp_path), len(looks)) == (["r198.main.1", "r199.main.1"], 1)


def test_a_disk_that_hangs_delays_neither_ends_nor_the_stop_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_back, is_stuck = threading.Event(), threading.Event()

    def hang(_: str) -> list[tuple[str, str]]:
        is_stuck.set()
        is_back.wait(30)
        return []

    monkeypatch.setattr(outputs_module, "_files", hang)
    monkeypatch.setattr(outputs_module, "_GATHER_S", 0)
    monkeypatch.setattr(outputs_module, "_CLOSE_S", 0.01)
    outputs = Outputs(tmp_path, in_queue_order)
    outputs.note_run("job", "r1", keep_runs=1)
    assert is_stuck.wait(30)
    for number in range(1000):
        outputs.note_attempt("job", f"r{number:04}.main.101")
        outputs.note_run("job", f"r{number:04}", keep_runs=1)
    outputs.close()
    thread = outputs._thread
    assert thread
    assert thread.is_alive()
    is_back.set()
    thread.join(60)
    assert not thread.is_alive()


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each directory that is read."""
    looks: list[str] = []
    files = outputs_module._files

    def count(directory: str) -> list[tuple[str, str]]:
        looks.append(directory)
        return files(directory)

    monkeypatch.setattr(outputs_module, "_files", count)
    return looks


def test_removals_wait_until_a_thread_can_be_started(
    tmp_path: Path, outputs: Outputs, no_threads: pytest.MonkeyPatch
) -> None:
    for run in ("r1", "r2", "r3"):
        Path(outputs.path("job", f"{run}.a.1")).touch()
        outputs.note_attempt("job", f"{run}.a.1")
        outputs.note_run("job", run, keep_runs=2)
    assert kept(tmp_path) == ["r1.a.1", "r2.a.1", "r3.a.1"]
    no_threads.undo()
    catch_up(outputs)
    assert kept(tmp_path) == ["r2.a.1", "r3.a.1"]
