"""What commands of crontabs print is mailed: by the real program, and beside Debian's cron.

The second part is marked real, and runs as root where TASKMAN_DEBIAN is set (tests/debian.py).
"""

from __future__ import annotations

import email
import email.policy
import json
import os
import signal
import smtplib
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import debian
import pytest
from command_line import call
from e2e.running import Running
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

#: In sendmail's place: a file for each mail.
KEEPER = """#!/bin/sh
here={directory}
[ ! -e $here/broken ] || exit 75
file=$(mktemp $here/mails/tmp.XXXXXX)
{{ echo "$@"; id -un; cat; }} >$file
mv $file $here/mails/mail.$(basename $file)
"""


def keeper(directory: Path) -> Path:
    """Make a directory with a sendmail that keeps mails; return it."""
    directory.mkdir()
    (directory / "mails").mkdir()
    program = directory / "sendmail"
    program.write_text(KEEPER.format(directory=directory))
    program.chmod(0o755)
    return directory


def mails(directory: Path) -> list[tuple[str, str, EmailMessage]]:
    """Return the arguments, the user and the mail of each."""
    found = []
    for file in sorted((directory / "mails").glob("mail.*"), key=lambda file: file.stat().st_mtime_ns):
        arguments, user, data = file.read_bytes().split(b"\n", 2)
        found.append((arguments.decode(), user.decode(), parsed(data)))
    return found


def parsed(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)  # type: ignore[return-value]


@contextmanager
def running(tmp_path: Path, crontab: str, post: Path) -> Iterator[Running]:
    (tmp_path / "my.crontab").write_text(crontab)
    environ = os.environ | {"PATH": f"{post}:{os.environ['PATH']}", "SECRET": "hunter2"}
    settings = "[taskman]\ncrontab_mail = true\n"
    with Running(tmp_path, settings, "--no-live", "--user-crontab", "my.crontab", environ=environ) as made:
        wait_until(lambda: is_up(made), what=lambda: f"a scheduler: {made.log}")
        yield made


def is_up(made: Running) -> bool:
    """Tell whether it answers."""
    return call(["status"], cwd=made.directory, env=made.env).returncode == 0


def taskman(made: Running, *words: str) -> str:
    done = call([*words], cwd=made.directory, env=made.env, text=True)
    assert "taskman:" not in done.stderr, done.stderr
    return done.stdout


def jobs(made: Running) -> list[str]:
    return [row["job"] for row in json.loads(taskman(made, "list", "--json"))]


def test_what_is_printed_is_mailed_whole_and_silence_is_not(tmp_path: Path) -> None:
    post = keeper(tmp_path / "post")
    crontab = (
        "MAILTO=ops@example.org\n0 0 1 1 * seq 3000; echo failing >&2; exit 3\n0 0 1 1 * true\n"
        'MAILTO=""\n0 0 1 1 * echo nobody wants this\n'
    )
    with running(tmp_path, crontab, post) as made:
        for job in reversed(jobs(made)):
            taskman(made, "trigger", job, "--wait")
        wait_until(lambda: mails(post), what="a mail")
        ((arguments, _, mail),) = mails(post)
        assert arguments == "-FCronDaemon -i -B8BITMIME -oem ops@example.org"
        assert mail["Subject"].endswith("seq 3000; echo failing >&2; exit 3")
        text = mail.get_content()
        assert text.splitlines() == [*map(str, range(1, 3001)), "failing"]
        assert "hunter2" not in str(mail)


def test_a_mail_waits_for_sendmail_and_survives_a_death(tmp_path: Path) -> None:
    post = keeper(tmp_path / "post")
    (post / "broken").touch()
    with running(tmp_path, "0 0 1 1 * echo hello\n", post) as made:
        taskman(made, "trigger", *jobs(made), "--wait")
        made.wait_for_log("it is tried again")
        made.kill_scheduler()
        (post / "broken").unlink()
        wait_until(lambda: mails(post), what="the mail")
        assert [mail.get_content() for _, _, mail in mails(post)] == ["hello\n"]


# --- beside Debian's cron ---

WHY_NOT = debian.why_not(debian.CRON) if debian.UNPACKED else "TASKMAN_DEBIAN is not set (tests/debian.py)"
beside = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


LINES = r"""
* * * * * root echo default
* * * * * root true
* * * * * root echo failing; exit 3
* * * * * root exit 4
* * * * * nobody echo of nobody; id -un
* * * * * root printf 'caf\351 \342\202\254\n'
* * * * * root echo out; echo err >&2
* * * * * root cat%first line%second line
* * * * * root echo with \% percent
* * * * * root seq 5000
MAILTO=ops@example.org
FOO=bar
* * * * * root echo "to ops $FOO"
MAILTO=a@example.org,b@example.org
* * * * * nobody echo to two
MAILTO="a b"
* * * * * root echo to spaced
MAILTO=-oQ/tmp
* * * * * root echo to dash
MAILTO="root;id"
* * * * * root echo to semicolon
MAILTO=""
* * * * * root echo to none
MAILTO=ops
MAILFROM=me@example.org
CONTENT_TYPE="text/html; charset=UTF-8"
CONTENT_TRANSFER_ENCODING=quoted-printable
* * * * * root echo html
MAILFROM=-x
* * * * * root echo from dash
"""

#: How many of these lines get a mail.
MAILED = 12

IN_NAMESPACE = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mount -t tmpfs none /var/spool
mkdir -p -m 1730 /var/spool/cron/crontabs
mount --bind "$1" /etc/cron.d
[ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
mount -t overlay overlay -o "lowerdir=$2:/usr/sbin" /usr/sbin
exec env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 LD_PRELOAD="$3" FAKETIME="@2026-01-05 10:00:58 x20" "$4" -f
"""


class Inbox:
    """What the server of SMTP has taken, and who hands it over."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self._relayed: set[Path] = set()

    def relay(self, port: int, post: Path) -> None:
        """Hand what sendmail has taken to the server, with its arguments and its user as headers."""
        for file in {*(post / "mails").glob("mail.*")} - self._relayed:
            self._relayed.add(file)
            arguments, user, data = file.read_bytes().split(b"\n", 2)
            mail = b"X-Arguments: %b\nX-User: %b\n%b" % (arguments, user, data)
            to = arguments.decode().split()[-1].split(",")
            with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as server:
                server.sendmail("cron@localhost", to, mail.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = parsed(envelope.original_content)
        mail["X-Recipients"] = " ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return "250 taken"


@contextmanager
def smtp_server() -> Iterator[tuple[int, Inbox]]:
    from aiosmtpd.controller import Controller

    inbox = Inbox()

    class AnyPort(Controller):
        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            super()._trigger_server()

    controller = AnyPort(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port, inbox
    finally:
        controller.stop()


#: How ours differ from cron's, as docs/crontabs.md says.
_OURS_ALONE = ("Message-ID",)


def compared(mail: EmailMessage) -> tuple[list[tuple[str, str]], bytes]:
    """Return what has to be equal: all headers in their order, and the body."""
    body = mail.get_payload(decode=False)
    raw = mail.as_bytes().partition(b"\n\n")[2] if isinstance(body, str) else b""
    return [(name, str(value)) for name, value in mail.items() if name not in _OURS_ALONE], raw


def by_subject(found: list[EmailMessage]) -> dict[str, tuple[list[tuple[str, str]], bytes]]:
    return {str(mail["Subject"]): compared(mail) for mail in found}


@pytest.mark.real
@beside
@pytest.mark.timeout(600)
def test_debians_cron_and_taskman_send_the_same_mails(tmp_path: Path) -> None:
    pytest.importorskip("aiosmtpd", reason="aiosmtpd is not installed: it comes with the extra `test`")
    for directory in (tmp_path, *tmp_path.parents[:3]):
        if directory.owner() == "root" and directory != Path("/tmp"):
            directory.chmod(0o755)
    cron_d, post = tmp_path / "cron.d", keeper(tmp_path / "post")
    cron_d.mkdir()
    (post / "mails").chmod(0o1777)
    (cron_d / "tab").write_text(LINES)
    with smtp_server() as (port, inbox):

        def subjects() -> int:
            inbox.relay(port, post)
            return len(by_subject(inbox.mails))

        words = [str(cron_d), str(post), str(debian.faketime()), str(debian.CRON)]
        command = ["unshare", "-m", "sh", "-c", IN_NAMESPACE, "sh", *words]
        cron = subprocess.Popen(command, start_new_session=True)
        try:
            wait_until(lambda: subjects() >= MAILED, timeout_s=240, what="the mails of cron")
            # Whoever else gets a mail gets it within the same minute, which is three seconds here.
            time.sleep(3)
            assert cron.poll() is None
        finally:
            cron.send_signal(signal.SIGKILL)
            cron.wait()
        subjects()
        by_cron = by_subject(inbox.mails)
        inbox.mails = []
        environ = os.environ | {"PATH": f"{post}:{os.environ['PATH']}"}
        settings = '[taskman]\ncrontab_mail = true\ninclude = ["cron.d/tab"]\n'
        with Running(tmp_path, settings, "--no-live", environ=environ) as made:
            wait_until(lambda: is_up(made), what=lambda: f"a scheduler: {made.log}")
            for job in jobs(made):
                taskman(made, "trigger", job)
            wait_until(lambda: subjects() >= MAILED, timeout_s=240, what="ours")
            time.sleep(3)
            subjects()
        by_taskman = by_subject(inbox.mails)
    assert sorted(by_taskman) == sorted(by_cron)
    for subject, expected in by_cron.items():
        assert by_taskman[subject] == expected
