"""The state directory, output files and env files, on a real disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskman_cli.core.model import Execution
from taskman_cli.environment import Environments
from taskman_cli.errors import TaskmanError
from taskman_cli.outputs import Outputs
from taskman_cli.state import make_state, state_directory


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
    (tmp_path / "open" / "output").mkdir(mode=0o755, parents=True)
    (tmp_path / "open").chmod(0o1777)
    directory = make_state(tmp_path / "open")
    assert [0o1777, 0o700] == [path.stat().st_mode & 0o7777 for path in (directory, directory / "output")]


def test_a_place_that_is_taken_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TaskmanError, match=r"cannot keep state in .*/file/x: Not a directory \(set STATE"):
        make_state(tmp_path / "file" / "x")


def test_only_the_latest_runs_keep_their_output(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    (tmp_path / "job").mkdir()
    for run in ("r1", "r2", "r3"):
        for task in ("a", "b"):
            key = f"{run}.{task}.1"
            Path(outputs.path("job", key)).touch()
            outputs.note("job", key, keep_runs=2)
    names = ["r2.a.1.log", "r2.b.1.log", "r3.a.1.log", "r3.b.1.log"]
    assert names == sorted(path.name for path in (tmp_path / "job").iterdir())


def test_output_of_an_earlier_life_counts_too(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    for name in ("r1.main.1.log", "r1.main.1.log.part", "r2.main.1.log", "r3.main.1.log", "notes.txt"):
        (tmp_path / "job" / name).touch()
    Outputs(tmp_path).note("job", "r3.main.1", keep_runs=1)
    assert ["notes.txt", "r3.main.1.log"] == sorted(path.name for path in (tmp_path / "job").iterdir())


def test_output_that_somebody_removed_is_no_trouble(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    for run in ("r1", "r2"):
        outputs.note("job", f"{run}.main.1", keep_runs=1)


def test_env_files_are_read_anew_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB=file\n")
    environments = Environments({}, cwd="/")
    execution = Execution(env_file=(str(path),), env={"B": "job"})
    assert ("1", "job") == tuple(environments.compose(execution)[name] for name in "AB")
    path.write_text("A=changed\n")
    assert "changed" == environments.compose(execution)["A"]


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
