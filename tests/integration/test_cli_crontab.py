"""`taskman import`, `export` and crontabs in `check`, as a user types them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskman_cli.__main__ import main
from taskman_cli.jobfile.crontab.parse import read_crontab
from taskman_cli.jobfile.crontab.tables import command_of, stdin_of

if TYPE_CHECKING:
    from taskman_cli.jobfile.crontab.parse import Crontab

SYSTEM = """\
# For everybody
#
MAILTO=ops

# nightly
30 2 * * * root backup "a b"
@daily alice cat%one%two
"""


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def system(tmp_path: Path) -> str:
    path = tmp_path / "tab"
    path.write_text(SYSTEM)
    return str(path)


# --- import ---


def test_import_prints_a_job_file(system: str) -> None:
    code, out, err = run("import", "--system", system)
    assert code == 0
    tables = tomllib.loads(out)
    assert tables["defaults"] == {
        "inherit_env": False, "overlap": "allow", "timeout": "none", "on_missed": "skip",
        "env": {"MAILTO": "ops", "PATH": "/usr/bin:/bin"},
    }  # fmt: skip
    assert tables["jobs"]["backup"] == {
        "description": "nightly",
        "cron": "30 2 * * *",
        "command": 'backup "a b"',
        "user": "root",
    }
    assert tables["jobs"]["cat"]["stdin"] == "one\ntwo\n"
    assert "# For everybody" in out
    assert "MAILTO: no mail is sent, so ops gets none: give the jobs a sink of type mail" in out
    assert "MAILTO: no mail is sent, so ops gets none" in err
    assert 'there is no user "alice" on this machine, so taskman will not run these jobs here' in err


def test_import_json_is_one_array_of_rows(system: str) -> None:
    code, out, _ = run("import", "--system", "--json", system)
    assert code == 0
    assert json.loads(out)[1] == {
        "line": 7,
        "schedule": "@daily",
        "user": "alice",
        "command": "cat",
        "stdin": "one\ntwo",
        "env": {"MAILTO": "ops"},
        "tz": None,
    }


def test_import_json_has_the_bad_lines_among_the_rows_and_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("61 * * * * x\n0 1 * * * y\n")
    code, out, _ = run("import", "--user", "--json", str(path))
    assert code == 2
    assert set(json.loads(out)[0]) == {"line", "error"}
    assert json.loads(out)[1]["command"] == "y"


def test_import_names_every_bad_line_and_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("61 * * * * x\n0 1 * * * y\nfoo\n")
    code, out, err = run("import", "--user", str(path))
    assert (code, out) == (2, "")
    assert [line.split(" ")[0] for line in err.splitlines() if line.startswith(str(path))] == [
        f"{path}:1:1:",
        f"{path}:3:1:",
    ]
    code, out, err = run("import", "--user", "--skip-bad", str(path))
    assert code == 0
    assert list(tomllib.loads(out)["jobs"]) == ["y"]
    assert "# Line 3 is left out" in out


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(b"SHELL=sh\n0 1 * * * x\n0 2 * * * y\n", [1], id="no absolute path"),
        pytest.param(b"A=\xe9\n0 1 * * * x\n0 2 * * * y\n", [1], id="an assignment that is not UTF-8"),
        pytest.param(b"A=\xe9\nB=\xe9\n0 1 * * * x\nA=e\n0 2 * * * y\xe9\n", [1, 2, 5], id="each in its own"),
    ],
)
def test_import_names_the_assignment_and_keeps_the_lines_that_go_with_it(
    tmp_path: Path, text: bytes, lines: list[int]
) -> None:
    path = tmp_path / "tab"
    path.write_bytes(text)
    code, out, err = run("import", "--user", str(path))
    assert (code, out) == (2, "")
    assert [line.split(":")[1] for line in err.splitlines() if line.startswith(f"{path}:")] == [
        str(number) for number in lines
    ]
    code, out, err = run("import", "--user", "--skip-bad", str(path))
    assert (code, tomllib.loads(out)) == (0, {})
    assert "# Line 1 is left out (" in out
    assert "0 1 * * * x" in out
    assert "0 2 * * * y" in out


def test_import_does_not_mind_a_value_that_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_bytes(b"LOGNAME=\xe9\n0 1 * * * x\n")
    code, out, _ = run("import", "--user", str(path))
    assert (code, list(tomllib.loads(out)["jobs"])) == (0, ["x"])


def test_import_reads_standard_input_and_reports_its_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"0 1 * * * root x\n")))
    code, out, err = run("import", "-", "--json")
    assert code == 0
    assert json.loads(out)[0]["user"] == "root"
    assert "treated as a system crontab" in err
    assert "--user" in err


def test_import_of_an_empty_crontab_is_an_empty_job_file(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("")
    assert run("import", "--user", "--json", str(path)) == (0, "[]\n", "")
    code, out, _ = run("import", "--user", str(path))
    assert (code, tomllib.loads(out)) == (0, {})


@pytest.mark.parametrize(("name", "part"), [("", "no crontab, anacrontab, timer"), ("nope", "no such file")])
def test_import_of_something_that_is_not_a_file_is_an_error(tmp_path: Path, name: str, part: str) -> None:
    code, _, err = run("import", "--user", str(tmp_path / name))
    assert code == 2
    assert part in err


def test_import_of_what_utf_8_cannot_say_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_bytes(b"# \xe4\n0 1 * * * echo \xe4\n")
    code, _, err = run("import", "--user", str(path))
    assert code == 2
    assert "2:1: not UTF-8" in err


# --- export ---


def export(tmp_path: Path, text: str, *options: str) -> tuple[int, str, str]:
    path = tmp_path / "jobs.toml"
    path.write_text('[taskman]\ntimezone = "UTC"\n' + text)
    return run("export", "--crontab", *options, str(path))


def test_export_writes_what_cron_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    text = """
[jobs.a]
description = "one\\ntwo"
cron = "0 30 2 * * *"
command = "date +%F"
env = { X = " 1" }
[jobs.b]
cron = "@reboot"
command = ["echo", "a b"]
stdin = "in\\n"
env = { X = " 1" }
"""
    code, out, err = export(tmp_path, text)
    assert out.splitlines() == [
        'X=" 1"',
        "# one",
        "# two",
        "30 2 * * * date +\\%F",
        "",
        "@reboot echo 'a b'%in",
    ]
    assert (code, err.count("\n")) == (0, 1)
    assert "under cron, runs of a job may overlap" in err


@pytest.mark.parametrize(
    ("cron", "schedule"),
    [
        ("0 0 ? * Monday", "0 0 * * 1"),
        ("0/20 22-2 1 * ?", "0,20,40 0-2,22,23 1 * *"),
        ("0 0 * * FRI-MON", "0 0 * * 0,1,5,6"),
        ("0 0 1 NOV-FEB *", "0 0 1 1,2,11,12 *"),
        ("0 0 28-3/2 * *", "0 0 1,3,28,30 * *"),
        ("0 5 0 1-5 * MON-FRI/2 *", "5 0 1-5 * MON-FRI/2"),
        ("@DAILY", "@daily"),
    ],
)
def test_a_schedule_that_only_job_files_have_is_exported_as_cron_writes_it(
    tmp_path: Path, cron: str, schedule: str
) -> None:
    code, out, _ = export(tmp_path, f'[jobs.a]\ncron = "{cron}"\ncommand = "x"\n')
    assert (code, out.splitlines()[-1]) == (0, f"{schedule} x")


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ('every = "5m"\ncommand = "x"', "a.every: a crontab can only hold cron expressions: left out"),
        ("at = 2030-01-01T00:00:00Z\ncommand = 'x'", ("a.at: a crontab can only hold cron "
"expressions: left out")),
        ('cron = "*/5 * * * * *"\ncommand = "x"', "a.cron: a crontab has no seconds: left out"),
        ('cron = "0 0 1 1 * 2030"\ncommand = "x"', "a.cron: a crontab has no years: left out"),
        ('cron = "@every 5m"\ncommand = "x"', "a.every: a crontab can only hold cron expressions: left out"),
        ('cron = "0 0 LW * *"\ncommand = "x"', 'a.cron: day of month "LW": valid in a taskman job file'),
        ('cron = "0 0 1,L-3 * *"\ncommand = "x"', 'a.cron: day of month "L-3": valid in a taskman job file'),
        ('cron = "0 0 * * 5L"\ncommand = "x"', 'a.cron: day of week "5L": valid in a taskman job file'),
        ('cron = "0 0 L * *"\ncommand = "x"', 'a.cron: day of month "L": valid in a taskman job file'),
        ('cron = "0 0 * * FRI#2"\ncommand = "x"', "a.cron: cron would read it as 0 0 * * FRI: left out"),
        ('cron = "@daily"\ncommand = "x\\ny"', "a.command: this command cannot be written in a crontab"),
        ('cron = "@daily"\ncommand = "* x"', "a.command: this command cannot be written in a crontab"),
        ('cron = "@daily"\ncommand = "x"\nstdin = "a"', "a.stdin: cron cannot pass this input"),
        ('cron = "@daily"\ncommand = "x"\ntimeout = "1h"', "a.timeout: cron has no equivalent"),
        ('cron = "@daily"\ncommand = "x"\nretry = 2', "a.retry: cron has no equivalent"),
        ('cron = "@daily"\ncommand = "x"\noverlap = "queue"', "a.overlap: cron starts a run even while"),
        ('cron = "@daily"\ncommand = "x"\ncwd = "/srv"', "a.cwd: cron starts every command in the home"),
        ('cron = "@daily"\ncommand = "x"\nenabled = false', "a.enabled: the line is a comment"),
        ('cron = "@daily"\ncommand = "x"\ntags = ["t"]', "a.tags: a crontab has no tags"),
        ('cron = "@daily"\ncommand = "x"\npriority = 3', "a.priority: cron has no equivalent"),
        (('cron = "@daily"\ncommand = "x"\nenv = { A = "b " '
'}'), "a.env.A: this value cannot be written in a crontab"),
        (
            'cron = "@daily"\nmode = "sequence"\ntasks = { x = "1", y = "2" }',
            "a.mode: crontab lines cannot wait for one another",
        ),
    ],
)  # fmt: skip
def test_export_says_what_cron_cannot_do_and_exits_1(tmp_path: Path, job: str, message: str) -> None:
    code, _, err = export(tmp_path, f"[jobs.a]\n{job}\n")
    assert code == 1
    assert f"taskman: {message}" in err


def test_export_fixes_the_h_of_a_job(tmp_path: Path) -> None:
    code, out, _ = export(tmp_path, '[jobs.a]\ncron = "H 2 * * *"\ncommand = "x"\n')
    assert code == 0
    (line,) = out.splitlines()[-1:]
    assert line.split()[0].isdecimal()
    assert line.split()[1:] == ["2", "*", "*", "*", "x"]


def test_export_reports_a_variable_that_a_crontab_cannot_unset(tmp_path: Path) -> None:
    job = 'cron = "@daily"\ncommand = "x"\n'
    text = f'[jobs.a]\n{job}env = {{ A = "1" }}\n[jobs.b]\n{job}'
    code, _, err = export(tmp_path, text)
    assert code == 1
    assert "b.env.A: set by an earlier line" in err


def test_export_without_the_form_says_which_there_is(tmp_path: Path) -> None:
    code, _, err = run("export", str(tmp_path))
    assert code == 2
    assert "--crontab" in err


# --- both ---

_COLUMNS = st.sampled_from(
    [
        "* * * * *",
        "0 1 * * *",
        "*/5 0-6/2 1,15 jan-mar MON",
        "@daily",
        "@reboot",
        "1.5 0 * * FRI#2",
        "0 0 1 * 7",
    ]
)
_PARTS = st.lists(
    st.sampled_from(["echo", " ", "%", "\\", "\\%", "'a b'", "#", "=", '"', "é", "*", "a"]), max_size=8
)
_COMMANDS = _PARTS.map(lambda parts: "x " + "".join(parts))
_ASSIGNMENTS = st.builds(
    "{}={}".format,
    st.sampled_from(["A", "B", "MAILTO", "PATH", "SHELL", "HOME", "CRON_TZ", "LOGNAME", '"A B"', "a-b", "1"]),
    st.sampled_from(
        [
            *("/bin/bash", "/bin/sh", "/srv", "/no", "Europe/Paris", "Asia/Tokyo", "/usr/bin:/bin"),
            *("50%", "\\%", '""', "' /x'", '"/a\'b"', "a=b"),
        ]
    ),
)
_USERS = st.sampled_from(["root", "nobody", "games", "www-data", "alice", "a.b-c_d$"])


def test_a_home_of_ones_own_goes_out_as_it_came_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HOME may say otherwise than the users of the machine do: in a container, after sudo."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tab").write_text("5 4 * * * x\n")
    assert main(["import", "--user", str(tmp_path / "tab")]) == 0
    (tmp_path / "jobs.toml").write_text(capsys.readouterr().out)
    assert main(["export", "--crontab", str(tmp_path / "jobs.toml")]) == 0
    assert "5 4 * * * x" in capsys.readouterr().out


@st.composite
def crontabs(draw: st.DrawFn, *, is_system: bool) -> str:
    """Draw a crontab without a bad line."""
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            lines.append(draw(_ASSIGNMENTS))
        user = f" {draw(_USERS)} " if is_system else " "
        lines.append(draw(_COLUMNS) + user + draw(_COMMANDS))
    return "".join(f"{line}\n" for line in lines)


def essence(crontab: Crontab) -> list[Any]:
    """Return what is run, when, as whom and with what, without what means the same."""
    assert crontab.bad_lines == []
    return [
        (
            entry.parsed.expression,
            entry.user,
            command_of(entry),
            stdin_of(entry),
            entry.tz,
            variables(entry.env),
        )
        for entry in crontab.entries
    ]


def variables(env: Any) -> dict[str, str]:
    """Return the variables that a shell can have, apart from what cron sets by itself."""
    plain = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "CRON_TZ": ""}
    names = [name for name in env if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and name != "LOGNAME"]
    return {name: env[name] for name in names if env[name] != plain.get(name)}


@pytest.mark.parametrize("is_system", [True, False], ids=["system", "user"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_import_then_export_gives_the_same_entries(is_system: bool, data: st.DataObject) -> None:
    text = data.draw(crontabs(is_system=is_system))
    form = "--system" if is_system else "--user"
    with tempfile.TemporaryDirectory() as directory:
        tab, jobs = Path(directory, "tab"), Path(directory, "jobs.toml")
        tab.write_text(text)
        code, toml, err = run("import", form, str(tab))
        if code == 2:
            # SHELL, HOME and CRON_TZ may be nonsense; they are named then.
            assert " below use" in err
            return
        jobs.write_text(toml)
        code, out, err = run("export", "--crontab", form, str(jobs))
        assert code == 0, err
    assert essence(read_crontab(text, system=is_system)) == essence(read_crontab(out, system=is_system))


# --- check ---


def test_check_takes_a_users_crontab_and_may_leave_bad_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_text("61 * * * * x\n@reboot y\n")
    code, out, err = run("check", "--user-crontab", str(path))
    assert (code, out) == (2, "")
    assert f'{path}:1:1: minute "61": not in 0-59' in err
    code, out, err = run("check", "--skip-bad", "--user-crontab", str(path))
    assert (code, out.splitlines()[1].split()) == (0, ["y", "@reboot", "at", "start"])
    assert f'{path}:1:1: warning: left out: minute "61": not in 0-59' in err


def test_a_converted_job_of_a_user_that_is_not_here_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[jobs.a]\ncron = "@daily"\ncommand = "x"\nuser = "no-such-user"\n')
    code, _, err = run("check", str(path))
    assert code == 2
    assert "jobs.a.user: there is no user no-such-user on this machine" in err


def test_next_shows_lines_that_only_root_can_run_and_check_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 5)
    path = tmp_path / "crontab"
    path.write_text("0 1 * * * root x\n0 2 * * * no-such-user y\n")
    code, out, _ = run("next", str(path), "-n", "2")
    found = sorted(line.split()[-3:] for line in out.splitlines()[1:])
    assert (code, found) == (0, [["x", "as", "root"], ["y", "as", "no-such-user"]])
    code, out, err = run("check", str(path))
    assert (code, out) == (2, "")
    assert f"{path}:1:11: only root can run commands as another user: run taskman as root\n" in err


def test_a_user_that_is_a_program_leads_to_user_crontabs_at_an_import_too(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("0 1 * * * sh x\n")
    code, _, err = run("import", "--system", str(path))
    assert (code, err) == (
        0,
        'taskman: there is no user "sh" on this machine, but such a program: '
        "is it a user's crontab? use --user\n",
    )
