"""`--dialect` of the commands that read crontabs, and what is said when a dialect or a kind is guessed."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from taskman_cli.__main__ import main
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.scheduler.options import Options


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def tab(tmp_path: Path) -> Path:
    path = tmp_path / "tab"
    path.write_text("0~59 3 * * * echo hi\n")
    return path


def test_a_random_time_leads_to_the_dialect_that_has_it(tab: Path) -> None:
    code, _, err = run("check", str(tab))
    assert code == 2
    assert ":1:1: minute" in err
    assert "read the file with --dialect cronie" in err
    code, out, _ = run("check", "--dialect", "cronie", str(tab))
    assert code == 0
    assert "H(0-59) 3 * * *" in out


def test_an_unknown_dialect_is_refused_with_those_that_there_are(tab: Path) -> None:
    code, _, err = run("check", "--dialect", "croni", str(tab))
    assert code == 2
    assert 'not one of debian, cronie, busybox, supercronic (did you mean "cronie"?)' in err


@pytest.mark.parametrize("command", [["next", "-n", "1"], ["export", "--crontab", "--user"], ["import"]])
def test_every_command_that_takes_a_crontab_has_the_option(tab: Path, command: list[str]) -> None:
    assert run(*command, str(tab))[0] == 2
    code, out, _ = run(*command, "--dialect", "cronie", str(tab))
    assert (code, "hi" in out) == (0, True)


def test_explain_and_next_read_an_expression_of_a_dialect() -> None:
    def schedule(*words: str) -> str:
        code, out, err = run("explain", "--json", "--timezone", "UTC", *words)
        assert code == 0, err
        return str(json.loads(out)["schedule"])

    assert schedule("0 22-2 */10 * *", "--dialect", "busybox") == "0 0-2,22,23 10,20,30 * *"
    assert schedule("0 0 1 1 * 2030", "--dialect", "supercronic") == "0 0 1 1 * 2030"
    assert schedule("@every 5m", "--dialect", "supercronic") == "every 5m"
    code, _, err = run("next", "--cron", "0~59 * * * *", "--dialect", "cronie")
    assert (code, "these times are only an example" in err) == (0, True)
    code, _, err = run("explain", "0 22-2 * * *", "--dialect", "cronie")
    assert (code, "never matches" in err) == (2, True)
    code, _, err = run("explain", "0 0 L * *", "--dialect", "debian")
    assert (code, "valid in a taskman job file, but not in a crontab" in err) == (2, True)


def test_a_guessed_dialect_is_said(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("@every 1h30m date +%F\n")
    code, out, err = run("check", str(path))
    assert (code, "every 1h30m" in out) == (0, True)
    assert (
        "info: read as a crontab of supercronic: line 1 has @every; if it is another's, use --dialect" in err
    )
    code, _, err = run("check", "--strict", "--dialect", "supercronic", str(path))
    assert (code, err) == (0, "")
    code, out, err = run("import", str(path))
    assert (code, 'cron = "@every 1h30m"' in out) == (0, True)
    assert "taskman: read as a crontab of supercronic: line 1 has @every" in err


def test_a_crontab_of_busybox_names_no_user(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("0 5 * * * root\n")
    code, _, err = run("import", "--system", "--dialect", "busybox", str(path))
    assert (code, "crontabs of busybox's crond name no user: leave out --system" in err) == (2, True)
    job = load([path], dialect="busybox", is_run_here=False).jobs[0]
    assert job.tasks[0].command == "root"


def test_cronie_reads_names_in_cron_d_that_debian_skips(tmp_path: Path) -> None:
    directory = tmp_path / "cron.d"
    directory.mkdir()
    for name in ("x.cron", "y~", "#z", "w.rpmsave"):
        (directory / name).write_text("0 5 * * * root true\n")
    with_debian = load([directory], is_run_here=False)
    assert with_debian.jobs == ()
    assert "Debian's cron only reads files whose names" in str(with_debian.notes[0].message)
    found = load([directory], dialect="cronie", is_run_here=False)
    assert [job.source for job in found.jobs] == [str(directory / "x.cron")]
    assert {note.message for note in found.notes} == {"ignored: cronie does not read files of such names"}
    assert len(load([directory], dialect="supercronic", is_run_here=False).jobs) == 4


def test_a_crontab_where_cronie_keeps_them_is_read_as_cronie_reads_it(tmp_path: Path) -> None:
    directory = tmp_path / "spool" / "cron"
    directory.mkdir(parents=True)
    (directory / "root").write_text("MAILTO=\n-0~59 3 * * sat-sun true\n")
    (job,) = load([directory], is_run_here=False).jobs
    assert job.schedule.text == "H(0-59) 3 * * 6-7"
    (tmp_path / "spool" / "cron" / "crontabs").mkdir()
    (tmp_path / "spool" / "cron" / "crontabs" / "root").write_text("0~59 3 * * * true\n")
    with pytest.raises(JobFileError, match="--dialect cronie"):
        load([directory / "crontabs"], is_run_here=False)


def test_commands_that_all_begin_with_an_unknown_word_lead_to_system(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("0 5 * * * nosuchuser /bin/true\n0 6 * * * nosuchuser true --x\n")
    words = 'every command begins with "nosuchuser", which is no program here; if that is a user'
    assert f"{words}, use --system" in run("import", str(path))[2]
    assert f"{words}: convert it with taskman import --system" in run("check", str(path))[2]
    assert words not in run("import", "--user", str(path))[2]
    for text in (
        "0 5 * * * nosuchuser /bin/true\n0 6 * * * true\n",
        "0 5 * * * sh true\n",
        "0 5 * * * nosuch x\n",
    ):
        path.write_text(text)
        assert "every command begins" not in run("import", str(path))[2]


def test_the_scheduler_keeps_the_dialect() -> None:
    options = Options(("tab",), "/state", dialect="busybox")
    assert Options.from_json(options.to_json()).load_arguments()["dialect"] == "busybox"
    assert Options.from_json('{"files": [], "state_directory": "/x"}').dialect is None
