"""The state directory, output files and env files, on a real disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli import environment
from taskman_cli import outputs as outputs_module
from taskman_cli.core.model import Execution
from taskman_cli.environment import Environments
from taskman_cli.errors import TaskmanError
from taskman_cli.outputs import Outputs
from taskman_cli.state import make_state, state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_systemd_says_where_the_state_is() -> None:
    assert Path("/var/lib/x") == state_directory({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}, is_root=False)


def test_root_has_the_machines_directory_and_others_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("/var/lib/taskman") == state_directory({}, is_root=True)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert Path("/home/me/state/taskman") == state_directory({}, is_root=False)


def test_a_new_state_directory_is_private(tmp_path: Path) -> None:
    directory = make_state(tmp_path / "a" / "b")
    assert [0o700, 0o700] == [path.stat().st_mode & 0o777 for path in (directory, directory / "output")]


def test_a_directory_that_is_there_keeps_its_mode_and_what_is_ours_in_it_is_private(tmp_path: Path) -> None:
    (tmp_path / "mine" / "output").mkdir(mode=0o755, parents=True)
    (tmp_path / "mine").chmod(0o775)
    directory = make_state(tmp_path / "mine")
    assert [0o775, 0o700] == [path.stat().st_mode & 0o7777 for path in (directory, directory / "output")]


def test_a_link_of_ones_own_leads_to_the_state_directory_as_systemd_makes_them(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("private")
    assert tmp_path / "private" == make_state(tmp_path / "link")


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o702], ids=oct)
def test_a_directory_where_everybody_writes_is_no_place_for_state(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    expected = (
        rf"{tmp_path}: everybody may write there \(set STATE_DIRECTORY to a .* as in {tmp_path}/taskman\)"
    )
    with pytest.raises(TaskmanError, match=expected):
        make_state(tmp_path)
    assert [] == list(tmp_path.iterdir())
    make_state(tmp_path / "taskman")


@pytest.mark.parametrize("kind", ["link", "file", "dangling"])
def test_what_stands_in_the_place_of_the_output_directory_is_left_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim").chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    if kind == "file":
        (state / "output").touch(mode=0o644)
    else:
        (state / "output").symlink_to(tmp_path / ("victim" if kind == "link" else "nothing"))
    with pytest.raises(TaskmanError, match=rf"in {state}: {state}/output is not a directory .*move it away"):
        make_state(state)
    assert [0o755, False] == [(tmp_path / "victim").stat().st_mode & 0o777, (tmp_path / "nothing").exists()]


@pytest.mark.parametrize(("own", "foreign"), [(0, "it"), (1, "{}/output")], ids=["state", "output"])
def test_what_belongs_to_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, foreign: str
) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output").chmod(0o755)
    uid = os.geteuid()
    uids = [uid] * own
    monkeypatch.setattr(os, "geteuid", lambda: uids.pop() if uids else uid + 4321)
    owner = rf"{foreign.format(tmp_path)} belongs to .*, not to uid {uid + 4321}"
    with pytest.raises(TaskmanError, match=rf"in {tmp_path}: {owner} \(.*STATE_DIRECTORY"):
        make_state(tmp_path)
    assert 0o755 == (tmp_path / "output").stat().st_mode & 0o777


def test_a_place_that_is_taken_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TaskmanError, match=r"cannot keep state in .*/file/x: Not a directory \(set STATE"):
        make_state(tmp_path / "file" / "x")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outputs]:
    monkeypatch.setattr(outputs_module, "_GATHER_S", 0)
    (tmp_path / "job").mkdir()
    outputs = Outputs(tmp_path)
    yield outputs
    outputs.close()


def catch_up(outputs: Outputs) -> None:
    """Wait until the thread has done what it was told so far."""
    is_done = threading.Event()
    outputs._do(is_done.set)
    assert is_done.wait(10)


def end(
    outputs: Outputs, key: str, *, keep_runs: int = 100, oldest: str = "", has_output: bool = True
) -> None:
    """Let an attempt end."""
    if has_output:
        Path(outputs.path("job", key)).touch()
    outputs.note("job", key, keep_runs=keep_runs, oldest=oldest)
    catch_up(outputs)


def kept(directory: Path) -> list[str]:
    return sorted(path.name.removesuffix(".log") for path in (directory / "job").iterdir())


def test_only_the_latest_runs_keep_their_output(tmp_path: Path, outputs: Outputs) -> None:
    for run in ("r1", "r2", "r3"):
        for task in ("a", "b"):
            end(outputs, f"{run}.{task}.1", keep_runs=2)
    assert ["r2.a.1", "r2.b.1", "r3.a.1", "r3.b.1"] == kept(tmp_path)


def test_the_latest_runs_are_those_that_began_last_in_whatever_order_they_end(
    tmp_path: Path, outputs: Outputs
) -> None:
    end(outputs, "r1.a.1", keep_runs=1)
    for key in ("r2.a.1", "r1.b.1", "r1.b.2", "r1.b.3"):
        end(outputs, key, keep_runs=1)
        assert ["r2.a.1"] == kept(tmp_path)


def test_output_of_an_earlier_life_counts_too_and_what_is_not_ours_does_not(
    tmp_path: Path, outputs: Outputs
) -> None:
    others = ["notes.txt", "z.log", "z.a.b.log", "z.a.1.txt"]
    for name in ("r1.main.1.log", "r1.main.1.log.part", "r2.main.1.log", *others):
        (tmp_path / "job" / name).touch()
    end(outputs, "r3.main.1", keep_runs=1)
    assert sorted(["r3.main.1.log", *others]) == sorted(path.name for path in (tmp_path / "job").iterdir())


@pytest.mark.parametrize("keep_runs", [1, 9, 10, 50])
def test_runs_over_the_bound_are_a_tenth_at_most_and_are_looked_for_a_tenth_as_often(
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


def test_attempts_that_wrote_nothing_cost_next_to_nothing(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    end(outputs, "r0000.main.1")
    for number in range(1, 1000):
        end(outputs, f"r{number:04}.main.1", has_output=False)
    assert ["r0000.main.1"] == kept(tmp_path)
    assert len(looks) <= 11


def test_output_that_is_written_after_the_end_counts_all_the_same(tmp_path: Path, outputs: Outputs) -> None:
    end(outputs, "r1.main.1", keep_runs=1, has_output=False)
    (tmp_path / "job" / "r1.main.1.log").touch()
    end(outputs, "r2.main.1", keep_runs=1)
    assert ["r2.main.1"] == kept(tmp_path)


def test_fewer_runs_to_keep_are_fewer_from_the_next_end_on(tmp_path: Path, outputs: Outputs) -> None:
    for number in range(1, 9):
        end(outputs, f"r{number}.main.1", keep_runs=20 if number < 8 else 2)
    assert ["r7.main.1", "r8.main.1"] == kept(tmp_path)


def test_output_of_runs_that_are_too_old_goes_though_it_is_little(tmp_path: Path, outputs: Outputs) -> None:
    for number in range(1, 9):
        end(outputs, f"r{number}.main.1", keep_runs=20, oldest=f"r{number - 3}")
        assert [f"r{run}.main.1" for run in range(max(1, number - 3), number + 1)] == kept(tmp_path)


def test_output_of_an_earlier_life_that_is_too_old_goes_with_the_first_end(
    tmp_path: Path, outputs: Outputs
) -> None:
    for number in range(1, 5):
        (tmp_path / "job" / f"r{number}.main.1.log").touch()
    end(outputs, "r5.main.1", oldest="r3")
    assert ["r3.main.1", "r4.main.1", "r5.main.1"] == kept(tmp_path)


def test_a_directory_is_read_for_its_age_only_when_something_in_it_is_too_old(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    for number in range(10, 20):
        end(outputs, f"r{number}.main.1", oldest="r10")
    assert 1 == len(looks)
    end(outputs, "r20.main.1", oldest="r11")
    assert 2 == len(looks)
    assert "r11.main.1" == kept(tmp_path)[0]


def test_a_run_of_many_attempts_keeps_the_latest_of_each_task(
    tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "MAX_ATTEMPTS", 3)
    for number in range(1, 12):
        end(outputs, f"r1.a.{number}")
        end(outputs, f"r1.b.{number}", has_output=number % 2 == 0)
    assert ["r1.a.10", "r1.a.11", "r1.a.9", "r1.b.10"] == kept(tmp_path)


def test_output_that_somebody_removed_is_no_trouble(tmp_path: Path, outputs: Outputs) -> None:
    (tmp_path / "job").rmdir()
    for run in ("r1", "r2"):
        end(outputs, f"{run}.main.1", keep_runs=1, has_output=False)
    assert [] == list(tmp_path.iterdir())


def test_a_burst_of_ends_is_one_look_and_closing_does_not_wait_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_module, "_GATHER_S", 3600)
    looks = count_looks(monkeypatch)
    outputs = Outputs(tmp_path)
    (tmp_path / "job").mkdir()
    for number in range(100, 200):
        Path(outputs.path("job", f"r{number}.main.1")).touch()
        outputs.note("job", f"r{number}.main.1", keep_runs=2)
    assert [] == looks
    outputs.close()
    outputs.close()
    outputs.note("job", "r200.main.1", keep_runs=1)
    assert (["r198.main.1", "r199.main.1"], 1) == (kept(tmp_path), len(looks))


def test_a_disk_that_hangs_holds_up_neither_the_ends_nor_the_stop_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_back, is_stuck = threading.Event(), threading.Event()

    def hang(_: str) -> list[tuple[str, str]]:
        is_stuck.set()
        is_back.wait(10)
        return []

    monkeypatch.setattr(outputs_module, "_files", hang)
    monkeypatch.setattr(outputs_module, "_GATHER_S", 0)
    monkeypatch.setattr(outputs_module, "_CLOSE_S", 0.01)
    outputs = Outputs(tmp_path)
    outputs.note("job", "r1.main.1", keep_runs=1)
    assert is_stuck.wait(10)
    for number in range(1000):
        outputs.note("job", f"r{number:04}.main.101", keep_runs=1)
    outputs.close()
    thread = outputs._thread
    assert thread
    assert thread.is_alive()
    is_back.set()
    thread.join(10)
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


def test_env_files_are_read_anew_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB=file\n")
    environments = Environments({}, cwd="/")
    execution = Execution(env_file=(str(path),), env={"B": "job"})
    assert ("1", "job") == tuple(environments.compose(execution)[name] for name in "AB")
    path.write_text("A=changed\n")
    assert "changed" == environments.compose(execution)["A"]


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_an_env_file_that_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "env"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(TaskmanError, match=f"cannot read env_file {path}: not a regular file"):
        Environments({}, cwd="/").compose(Execution(env_file=(str(path),)))


def test_an_env_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MAX_ENV_FILE_BYTES", 8)
    path = tmp_path / "env"
    path.write_text("A=123456")
    execution = Execution(env_file=(str(path),))
    assert "123456" == Environments({}, cwd="/").compose(execution)["A"]
    path.write_text("A=1234567")
    with pytest.raises(TaskmanError, match=f"cannot read env_file {path}: larger than 8 bytes"):
        Environments({}, cwd="/").compose(execution)


def test_a_file_that_takes_the_place_of_another_is_read_whatever_its_time(tmp_path: Path) -> None:
    path, other = tmp_path / "env", tmp_path / "other"
    path.write_text("A=1")
    other.write_text("A=2")
    for file in (path, other):
        os.utime(file, ns=(0, 0))
    environments, execution = Environments({}, cwd="/"), Execution(env_file=(str(path),))
    assert "1" == environments.compose(execution)["A"]
    other.rename(path)
    assert "2" == environments.compose(execution)["A"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"A=\xff", "not UTF-8 at byte 2"), (b"junk", "line 1")],
    ids=["missing", "not-utf8", "junk"],
)
def test_an_env_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskmanError, match=f"env_file {path}.*{expected}"):
        Environments({}, cwd="/").compose(Execution(env_file=(str(path),)))
