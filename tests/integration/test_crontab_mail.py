"""Mails of crontabs: who gets them, by what rules, and what they look like."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.core.sinks import ALL_OUTPUT, MAILTO, ReportKind, SinkDefinition
from taskman_cli.jobfile import JobFile, JobFileError, load
from taskman_cli.jobfile.crontab import mail
from taskman_cli.jobfile.definition import definition
from taskman_cli.jobfile.dump import dump, load_dump
from taskman_cli.sinks.mailto import written
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, REPORT, check, check_failure, message
from taskman_cli.sinks.types import make

ME = pwd.getpwuid(os.geteuid()).pw_name
AROUND = Surroundings(environ={"PATH": "/usr/bin:/bin", "SECRET": "hunter2"})


def loaded(directory: Path, text: str, *, settings: str = "[taskman]\ncrontab_mail = true\n") -> JobFile:
    (directory / "settings.toml").write_text(settings)
    (directory / "crontab").write_text(text)
    return load([directory / "settings.toml"], user_crontabs=[directory / "crontab"])


def letters(job_file: JobFile) -> dict[str, Any]:
    (sink,) = job_file.sinks
    assert (sink.name, sink.output_lines, sink.repeat_ns) == (MAILTO, ALL_OUTPUT, 0)
    found = sink.settings["letters"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(autouse=True)
def _with_sendmail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "has_sendmail", lambda: True)


def test_without_the_setting_nothing_is_mailed_and_the_warning_names_it(tmp_path: Path) -> None:
    job_file = loaded(tmp_path, "MAILTO=ops\n0 1 * * * true\n", settings="")
    assert job_file.sinks == ()
    assert job_file.jobs[0].policy.sinks == ()
    (note,) = job_file.notes
    assert "MAILTO: no mail is sent, so ops gets none: set [taskman] crontab_mail = true" in note.message


def test_a_line_is_mailed_to_its_mailto_or_its_user(tmp_path: Path) -> None:
    text = '0 1 * * * mine\nMAILTO=ops@example.org\n0 2 * * * ops\nMAILTO=""\n0 3 * * * nobody\n'
    job_file = loaded(tmp_path, text)
    assert {name: letter["to"] for name, letter in letters(job_file).items()} == {
        "mine": ME, "ops": "ops@example.org",
    }  # fmt: skip
    assert {job.id: job.policy.sinks for job in job_file.jobs} == {
        "mine": (MAILTO,), "ops": (MAILTO,), "nobody": (),
    }  # fmt: skip
    assert job_file.notes == ()


@pytest.mark.parametrize(
    "address",
    ["-oQ/tmp", "a b", "root;id", "$USER", "|sh", "/etc/passwd", "é@x", "<a@b>", "a\tb", "@x", "x" * 999],
)
def test_an_address_that_cron_would_not_take_gets_nothing_and_a_warning(tmp_path: Path, address: str) -> None:
    job_file = loaded(tmp_path, f'MAILTO="{address}"\n0 1 * * * true\n')
    assert job_file.sinks == ()
    assert any("MAILTO: " in note.message and "is not an address" in note.message for note in job_file.notes)


@pytest.mark.parametrize(
    "address", ["root", "a@example.org,b@example.org", "user+tag@x.example.org", "host!user"]
)
def test_an_address_that_cron_takes_is_taken(tmp_path: Path, address: str) -> None:
    ((_, letter),) = letters(loaded(tmp_path, f"MAILTO={address}\n0 1 * * * true\n")).items()
    assert letter["to"] == address


def test_a_machine_without_sendmail_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "has_sendmail", lambda: False)
    job_file = loaded(tmp_path, "0 1 * * * true\n0 2 * * * false\n")
    assert [note.message.split(":")[0] for note in job_file.notes] == ["crontab_mail"]
    assert "this machine has no sendmail" in job_file.notes[0].message


def test_a_letter_has_what_cron_writes(tmp_path: Path) -> None:
    text = (
        'FOO=bar\nMAILFROM=me@example.org\nCONTENT_TYPE="text/html; charset=UTF-8"\n'
        "CONTENT_TRANSFER_ENCODING=quoted-printable\nMAILTO=ops\n0 1 * * * echo with \\% percent%input\n"
    )
    ((_, letter),) = letters(loaded(tmp_path, text)).items()
    assert letter == {
        "to": "ops",
        "user": ME,
        "from": "me@example.org",
        "type": "text/html; charset=UTF-8",
        "encoding": "quoted-printable",
        "command": "echo with % percent",
        "environ": [
            "FOO=bar", "MAILFROM=me@example.org", "CONTENT_TYPE=text/html; charset=UTF-8",
            "CONTENT_TRANSFER_ENCODING=quoted-printable", "MAILTO=ops", "SHELL=/bin/sh",
            f"HOME={pwd.getpwnam(ME).pw_dir}", "PATH=/usr/bin:/bin", f"LOGNAME={ME}",
        ],
    }  # fmt: skip


def test_a_sender_that_is_no_address_is_crons_own(tmp_path: Path) -> None:
    job_file = loaded(tmp_path, "MAILFROM=-x\n0 1 * * * true\n")
    ((_, letter),) = letters(job_file).items()
    assert "from" not in letter
    assert "MAILFROM" in job_file.notes[0].message


def test_the_sink_is_no_part_of_the_definition_and_survives_a_dump(tmp_path: Path) -> None:
    job_file = loaded(tmp_path, "0 1 * * * true\n")
    assert definition(job_file.jobs[0])["sinks"] == []
    assert load_dump(dump(job_file)).sinks == job_file.sinks


def test_thousands_of_lines_and_assignments_take_no_more_than_their_share(tmp_path: Path) -> None:
    text = "".join(f"V{number}=x\n0 1 * * * echo {number}\n" for number in range(2_000))
    found = letters(loaded(tmp_path, text))
    assert len(found) == 2_000
    assert max(len(letter["environ"]) for letter in found.values()) <= 54


# --- the mail ---

LETTER = {"to": "ops", "user": ME, "command": "backup", "environ": ["FOO=bar", f"LOGNAME={ME}"]}


def test_a_mail_is_as_crons() -> None:
    report = replace(REPORT, output=("one", "caf\udce9"), is_output_cut=False)
    head, _, body = written(report, LETTER, key="k").partition(b"\n\n")
    host = socket.gethostname()
    lines = head.decode().splitlines()
    assert [line for line in lines if not line.startswith("Message-ID: <taskman.")] == [
        f"From: {ME} (Cron Daemon)",
        "To: ops",
        f"Subject: Cron <{ME}@{host}> backup",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
        "X-Cron-Env: <FOO=bar>",
        f"X-Cron-Env: <LOGNAME={ME}>",
    ]
    assert body == b"one\ncaf\xe9\n"


def test_nothing_of_a_letter_ends_a_header() -> None:
    letter = LETTER | {"command": "a\r\nBcc: x", "environ": ["A=b\n\nc"]}
    head, _, _ = written(REPORT, letter, key="k").partition(b"\n\n")
    assert b"\nBcc" not in head
    assert b"a\\r\\nBcc: x" in head
    assert head.count(b"\n") == 7


def program(directory: Path, script: str) -> str:
    file = directory / "sendmail"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    return str(file)


def sink(path: str, **letter: Any) -> SinkDefinition:
    return SinkDefinition(MAILTO, MAILTO, settings={"sendmail": path, "letters": {"backup": LETTER | letter}})


def test_sendmail_is_run_as_cron_runs_it(tmp_path: Path) -> None:
    path = program(tmp_path, f'echo "$@" >{tmp_path}/args; env >{tmp_path}/env; cat >{tmp_path}/mail')
    assert make(sink(path), AROUND).deliver(message(), 20.0) == "sendmail took the mail to ops"
    assert (tmp_path / "args").read_text() == "-FCronDaemon -i -B8BITMIME -oem ops\n"
    assert "hunter2" not in (tmp_path / "env").read_text()
    assert (
        (tmp_path / "mail")
        .read_bytes()
        .endswith(b"\n\n[the beginning of the output is missing]\nconnecting\ncannot connect\n")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_sendmail_is_run_as_the_user_of_the_line() -> None:
    # Those of pytest are ours alone.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        path = program(directory, f'echo "$(id -un) $(id -Gn) $HOME $(pwd)" >{name}/who; cat >/dev/null')
        make(sink(path, user="nobody"), AROUND).deliver(message(), 20.0)
        assert (directory / "who").read_text() == "nobody nogroup /nonexistent /\n"


def test_what_printed_nothing_is_not_mailed(tmp_path: Path) -> None:
    mailing = make(sink(program(tmp_path, f"touch {tmp_path}/mailed")), AROUND)
    silent = message(replace(REPORT, kind=ReportKind.FAILED, output=()))
    assert mailing.deliver(silent, 20.0) == "nothing was printed: no mail"
    gone = message(replace(REPORT, job="gone"))
    assert mailing.deliver(gone, 20.0).startswith("no mail: no line of a crontab")
    assert not (tmp_path / "mailed").exists()


def test_it_stands_the_suite(tmp_path: Path) -> None:
    check(sink(program(tmp_path, "cat >/dev/null")), surroundings=AROUND)
    check_failure(sink(program(tmp_path, "cat >/dev/null; exit 75")), surroundings=AROUND)
    check_failure(sink(program(tmp_path, "exec sleep 600")), surroundings=AROUND)
    check_failure(sink(str(tmp_path / "none")), surroundings=AROUND)
    assert len(ODD) > 10


def test_no_job_file_defines_the_sink_or_names_it(tmp_path: Path) -> None:
    text = f'[taskman]\ncrontab_mail = true\n[sinks.{MAILTO}]\ntype = "file"\npath = "x"\n'
    with pytest.raises(JobFileError, match="crontab_mail makes the sink of this name"):
        loaded(tmp_path, "0 1 * * * true\n", settings=text)
    text = f'[taskman]\ncrontab_mail = true\n[defaults]\nsinks = ["{MAILTO}"]\n'
    with pytest.raises(JobFileError, match="unknown sink"):
        loaded(tmp_path, "0 1 * * * true\n", settings=text)
