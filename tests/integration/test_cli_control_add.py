"""`taskman add`: a job in a file of its own, which the running scheduler then reads."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from integration.fake_scheduler import STATUS, FakeScheduler, job, refusal

from taskman_cli.__main__ import main
from taskman_cli.jobfile import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

INCLUDING = '[taskman]\ninclude = ["jobs.d/*.toml"]\n[jobs]\nold = "@daily true"\n'


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)


@pytest.fixture
def main_file(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.toml"
    path.write_text(INCLUDING)
    return path


@pytest.fixture
def scheduler(tmp_path: Path, main_file: Path) -> Iterator[FakeScheduler]:
    """A scheduler of one file, which takes what is there when it is told to."""
    scheduler = FakeScheduler(tmp_path / "state")
    names = ["old"]

    def reload(_request: Any) -> list[dict[str, Any]]:
        names[:] = [loaded.id for loaded in load([main_file]).jobs]
        return [{"added": [], "changed": [], "removed": [], "jobs": len(names)}]

    scheduler.answers["status"] = [STATUS | {"files": [str(main_file)]}]
    scheduler.answers["list"] = lambda _request: [{"jobs": [job(name) for name in names]}]
    scheduler.answers["reload"] = reload
    scheduler.answers["restore"] = refusal("nothing of it was removed", 4)
    yield scheduler
    scheduler.close()


def tables(path: Path) -> Any:
    return tomllib.loads(path.read_text())["jobs"]["new"]


@pytest.mark.parametrize(
    ("words", "table"),
    [
        pytest.param(
            ["--cron", "30 2 * * *", "--timezone", "Asia/Tokyo", "echo 'a' \"b\""],
            {"cron": "30 2 * * *", "timezone": "Asia/Tokyo", "command": "echo 'a' \"b\""},
            id="cron",
        ),
        pytest.param(
            ["--every", "90s", "--", "ls", "-l", "x y"],
            {"every": "90s", "command": ["ls", "-l", "x y"]},
            id="words",
        ),
    ],
)
def test_the_job_stands_in_a_file_of_its_own(
    words: list[str], table: dict[str, object], scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["add", "new", *words]) == 0
    path = tmp_path / "jobs.d" / "new.toml"
    assert table == tables(path)
    assert capsys.readouterr().out == f"added new: {path}\n"
    assert "reload" in [request.do for request in scheduler.requests]
    assert list(path.parent.iterdir()) == [path], "no draft is left behind"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_time_is_written_with_its_offset(scheduler: FakeScheduler, tmp_path: Path) -> None:
    assert main(["add", "new", "--at", "now + 2 hours", "--timezone", "Asia/Tokyo", "true"]) == 0
    at = tables(tmp_path / "jobs.d" / "new.toml")["at"]
    assert timedelta(hours=9) == at.utcoffset()
    assert timedelta(hours=1, minutes=58) < at - datetime.now(UTC) < timedelta(hours=2, minutes=1)


@pytest.mark.parametrize(
    ("include", "place"),
    [
        pytest.param('["other.toml", "*/x.toml", "conf/n*.toml"]', "conf/new.toml", id="a pattern that fits"),
        pytest.param('["all"]', "all/new.toml", id="a directory"),
        pytest.param('["*.toml"]', "new.toml", id="its own folder"),
    ],
)
def test_the_folder_is_one_that_is_included(
    include: str, place: str, scheduler: FakeScheduler, main_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").touch()
    (tmp_path / "all").mkdir()
    main_file.write_text(f"[taskman]\ninclude = {include}\n")
    assert main(["add", "new", "--every", "1h", "true"]) == 0
    assert (tmp_path / place).exists()


def test_a_scheduler_that_runs_a_directory_gets_it_there(
    scheduler: FakeScheduler, tmp_path: Path, main_file: Path
) -> None:
    main_file.write_text('[taskman]\ninclude = ["d"]\n')
    (tmp_path / "d").mkdir()
    scheduler.answers["status"] = [STATUS | {"files": [str(tmp_path / "d")]}]
    assert main(["add", "new", "--every", "1h", "true"]) == 0
    assert (tmp_path / "d" / "new.toml").exists()


def test_a_new_job_is_read_together_with_the_crontabs_as_the_scheduler_reads_them(
    scheduler: FakeScheduler, tmp_path: Path, main_file: Path, capsys: Captured
) -> None:
    (tmp_path / "mine").write_text("61 * * * * bad\n@daily new\n")
    told = {"files": [str(main_file)], "user_crontabs": [str(tmp_path / "mine")]}
    scheduler.answers["status"] = [STATUS | told]
    assert main(["add", "new", "--every", "1h", "true"]) == 2
    assert f'{tmp_path}/mine:1:1: minute "61": not in 0-59' in capsys.readouterr().err
    scheduler.answers["status"] = [STATUS | told | {"skip_bad": True}]
    assert main(["add", "new", "--every", "1h", "true"]) == 0


def test_no_job_file_is_put_among_crontabs_which_would_not_be_read_any_more(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "cron.d" / "tab").write_text("@daily root x\n")
    scheduler.answers["status"] = [STATUS | {"files": [str(tmp_path / "cron.d")]}]
    assert main(["add", "new", "--every", "1h", "true"]) == 1
    assert "includes no directory for a new file" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cron.d").iterdir()] == ["tab"]


def test_the_schedulers_files_are_looked_for_where_it_was_started(
    scheduler: FakeScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir("/")
    with subprocess.Popen(["cat"], cwd=tmp_path, stdin=subprocess.PIPE) as process:
        scheduler.answers["status"] = [STATUS | {"files": ["jobs.toml"], "pid": process.pid}]
        assert main(["add", "new", "--every", "1h", "true"]) == 0
        assert capsys.readouterr().out == f"added new: {tmp_path}/jobs.d/new.toml\n"
    assert main(["add", "other", "--every", "1h", "true"]) == 1
    assert "cannot find the scheduler's jobs.toml" in capsys.readouterr().err


def test_where_nothing_is_included_it_says_how_to(
    scheduler: FakeScheduler, main_file: Path, tmp_path: Path, capsys: Captured
) -> None:
    main_file.write_text("")
    assert main(["add", "new", "--every", "1h", "true"]) == 1
    assert 'put include = ["jobs.d/*.toml"] under its [taskman]' in capsys.readouterr().err
    assert [request for request in scheduler.requests if request.do == "reload"] == []


def test_a_file_of_ones_own_choice_must_be_one_that_is_included(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    good, bad = tmp_path / "jobs.d" / "sub.toml", tmp_path / "elsewhere.toml"
    assert main(["add", "new", "--every", "1h", "--file", str(bad), "true"]) == 1
    assert "no job file of the scheduler includes" in capsys.readouterr().err
    assert not bad.exists()
    assert main(["add", "new", "--every", "1h", "--file", str(good), "true"]) == 0
    assert good.exists()


def test_a_name_that_is_taken_is_refused(scheduler: FakeScheduler, tmp_path: Path, capsys: Captured) -> None:
    assert main(["add", "old", "--every", "1h", "true"]) == 1
    assert "a job named old already exists" in capsys.readouterr().err
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "new.toml").write_text("# mine\n")
    assert main(["add", "new", "--every", "1h", "true"]) == 1
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "jobs.d" / "new.toml").read_text() == "# mine\n"


def test_a_name_that_another_file_defines_is_refused_before_anything_is_written(
    scheduler: FakeScheduler, main_file: Path, tmp_path: Path, capsys: Captured
) -> None:
    main_file.write_text(INCLUDING + 'new = "@daily true"\n')
    assert main(["add", "new", "--every", "1h", "true"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{tmp_path}/jobs.d/new.toml:1:7: jobs.new: already defined in {main_file}:5")
    assert list((tmp_path / "jobs.d").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ["--cron", "99 * * * *", "true"],
            'new.toml:2:9: jobs.new.cron: minute "99": not in 0-59\n'
            '    2 | cron = "99 * * * *"\n      |         ^^\n',
            id="cron",
        ),
        pytest.param(["--every", "1", "true"], "new.toml:2:11: jobs.new.every: add a unit", id="every"),
        pytest.param(["--every", "1ms", "true"], "out of range", id="too often"),
        pytest.param(["--cron", "@daily", "--timezone", "Mars/Base", "true"], "jobs.new.timezone", id="zone"),
        pytest.param(["--at", "5pm", "--timezone", "Mars/Base", "true"], "--timezone", id="zone of a time"),
        pytest.param(["--at", "now", "true"], "taskman once", id="now"),
        pytest.param(["--every", "1h"], "no command", id="no command"),
        pytest.param(["true"], "one of --cron, --every and --at", id="no schedule"),
        pytest.param(["--every", "1h", "--cron", "@daily", "true"], "one of --cron", id="two schedules"),
        pytest.param(["--every", "1h", "echo", "hi"], "taskman add new", id="several words"),
    ],
)
def test_errors_are_reported_and_no_file_is_written(
    words: list[str], said: str, scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["add", "new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.glob("jobs.d/*")) == []
    assert list(tmp_path.glob("jobs.d/.*")) == []


@pytest.mark.parametrize("name", ["../x", "a.b", "", "a/b"])
def test_an_invalid_job_name_is_refused(name: str, scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["add", name, "--every", "1h", "true"]) == 2
    assert "not a valid job name" in capsys.readouterr().err


def test_a_file_that_the_scheduler_does_not_take_goes_away_again(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    scheduler.answers["reload"] = refusal("the job files stay as they were", 2, errors="jobs.toml:1:1: bad")
    assert main(["add", "new", "--every", "1h", "true"]) == 2
    assert capsys.readouterr().err.startswith("jobs.toml:1:1: bad\n")
    assert not (tmp_path / "jobs.d" / "new.toml").exists()


def test_an_error_names_the_directory_that_cannot_be_written(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "jobs.d").write_text("in the way")
    assert main(["add", "new", "--every", "1h", "true"]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_json_names_the_file_and_what_will_fail(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    reload: Any = scheduler.answers["reload"]
    warnings = [["new", "new.toml:2: warning: no such program"], ["old", "another one"]]
    scheduler.answers["reload"] = lambda request: [reload(request)[0] | {"warnings": warnings}]
    assert main(["add", "new", "--every", "1h", "--json", "true"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "new",
        "file": str(tmp_path / "jobs.d" / "new.toml"),
        "warnings": [{"job": "new", "message": "new.toml:2: warning: no such program"}],
    }


# --- remove --delete ---


@pytest.fixture
def new(scheduler: FakeScheduler, tmp_path: Path, capsys: Captured) -> Path:
    """The file of a job `new`, which `add` has written."""
    assert main(["add", "new", "--every", "1h", "true"]) == 0
    capsys.readouterr()
    file = tmp_path / "jobs.d" / "new.toml"
    scheduler.answers["show"] = [
        {"job": job("new"), "definition": {}, "source": str(file), "timezone": "UTC", "next_ns": []}
    ]
    return file


def test_remove_delete_deletes_what_add_wrote(new: Path, scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["remove", "--delete", "new"]) == 0
    assert [*new.parent.iterdir()] == []
    assert scheduler.request.do == "reload"
    assert capsys.readouterr().out == f"removed new\ndeleted {new}\n"


def test_remove_delete_deletes_what_an_editor_has_changed(new: Path, capsys: Captured) -> None:
    text = new.read_text().replace("\n", "\r\n")
    new.write_bytes(f"\ufeff{text}jobs.new.env = {{\r\n  A = 'a', # more to come\r\n}}\r\n".encode())
    assert main(["remove", "--delete", "new"]) == 0
    assert [*new.parent.iterdir()] == []


def test_a_file_whose_deletion_is_refused_is_put_back(
    new: Path, scheduler: FakeScheduler, capsys: Captured
) -> None:
    before = (new.read_bytes(), new.stat().st_mtime_ns)
    scheduler.answers["reload"] = refusal("nothing was changed", 2)
    assert main(["remove", "--delete", "new"]) == 2
    assert [*new.parent.iterdir()] == [new]
    assert before == (new.read_bytes(), new.stat().st_mtime_ns)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[jobs]\nnew = "@daily true"\nother = "@daily true"\n', id="two jobs"),
        pytest.param('[jobs]\nnew = "@daily true"\n[defaults]\ntimeout = "1h"\n', id="defaults"),
        pytest.param('[jobs]\nother = "@daily true"\n', id="another job"),
        pytest.param("@daily true\n", id="a crontab"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param("jobs = 3\n", id="no table"),
        pytest.param(f"jobs = {'[' * 5000}", id="nested"),
    ],
)
def test_a_file_that_defines_more_is_left_alone(
    text: str | bytes, new: Path, scheduler: FakeScheduler, capsys: Captured
) -> None:
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    scheduler.requests.clear()
    assert main(["remove", "--delete", "new"]) == 1
    assert "does not define new alone: delete the job from it yourself" in capsys.readouterr().err
    assert [*new.parent.iterdir()] == [new]
    assert "reload" not in [request.do for request in scheduler.requests]


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "missing"])
def test_what_is_no_plain_file_is_left_alone(kind: str, new: Path, tmp_path: Path, capsys: Captured) -> None:
    victim = tmp_path / "victim.toml"
    new.rename(victim)
    make = {
        "link": lambda: new.symlink_to(victim),
        "fifo": lambda: os.mkfifo(new),
        "directory": new.mkdir,
        "missing": lambda: None,
    }
    make[kind]()
    assert main(["remove", "--delete", "new"]) == 1
    assert capsys.readouterr().err.startswith("taskman: ")
    assert victim.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_scheduler_of_another_user_has_root_delete_only_what_is_that_users(
    new: Path, scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from taskman_cli.control import client

    scheduler.answers["reload"] = [{"added": [], "changed": [], "removed": ["new"], "jobs": 1}]
    monkeypatch.setattr(client, "_listener_of", lambda _: (os.getpid(), 4711))
    assert main(["remove", "--delete", "new"]) == 1
    assert "is not of the user of the scheduler (uid 4711): left alone" in capsys.readouterr().err
    assert new.exists()
    os.chown(new, 4711, -1)
    assert main(["remove", "--delete", "new"]) == 1, "the directory is another one's"
    os.chown(new.parent, 4711, -1)
    assert main(["remove", "--delete", "new"]) == 0
    assert not new.exists()
