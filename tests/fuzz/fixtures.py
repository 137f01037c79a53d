"""Files to name on command lines: good ones, bad ones, and what is no file at all."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from contextlib import suppress
from pathlib import Path

from fuzz.odd import NOT_UTF8

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*"))

GOOD = """
[taskman]
include = ["jobs.d/*.toml"]
timezone = "Europe/Stockholm"
[pool]
max_workers = 4
[defaults]
timeout = "1h"
[jobs]
tidy = "@daily true"
[jobs.backup]
cron = "30 2 * * *"
command = ["echo", "restic"]
retry = { # TOML 1.1
  max = 1, delay = "10m\\x73",
}
tags = ["disk"]
[jobs.probe]
every = "2s"
[jobs.probe.tasks]
api = "echo api"
db = { command = ["echo", "db"], timeout = "5s" }
[jobs.off]
every = "1h"
enabled = false
command = "true"
[jobs.fails]
cron = "H * * * *"
command = "echo no >&2; exit 7"
[jobs.once]
at = 2099-12-24T15:00+01:00
command = "true"
"""
CRONTAB = "PATH=/usr/bin:/bin\nMAILTO=root\n*/5 * * * * echo 5%x\n@daily true\n@reboot true\n"
SYSTEM = "SHELL=/bin/sh\n17 * * * * root true\n25 6 * * * nobody true\n"

#: Relative to where a command is started; what is written there is thrown away.
NAMES = [
    *["jobs.toml", "jobs.toml", "crontab", "system", "bad.toml", "empty", "binary", "dir", "jobs.d", "fifo"],
    *[
        "full",
        "null",
        "zero",
        "socket",
        "loop",
        "dangling",
        "unreadable",
        f"{NOT_UTF8}.toml",
        "no\nline.toml",
    ],
    *["missing", "missing/x", "x" * 300, "jobs.toml/x", ".", "..", "/", "/proc/self/mem", "/proc/self/fd"],
    *[
        "huge.toml",
        "-",
        "--",
        "bom.toml",
        "crlf",
        "jobs.toml\udcff",
        "~",
        "*.toml",
        "./jobs.toml",
        "include.toml",
    ],
]


def make(directory: Path) -> None:
    """Make the files in an empty directory."""
    (directory / "jobs.toml").write_text(GOOD)
    (directory / "jobs.d").mkdir()
    (directory / "jobs.d/more.toml").write_text('[jobs.more]\nevery = "1h"\ncommand = "true"\n')
    (directory / "crontab").write_text(CRONTAB)
    (directory / "system").write_text(SYSTEM)
    (directory / "bad.toml").write_text('[jobs.a]\ncron = "61 * * * *"\ncomand = "x"\noverlap = "skp"\n')
    (directory / "include.toml").write_text(
        '[taskman]\ninclude = ["fifo", "zero", "..", "/", "**/*.toml", "include.toml", "missing"]\n'
    )
    (directory / "empty").write_bytes(b"")
    (directory / "binary").write_bytes(bytes(range(256)) * 40)
    (directory / "bom.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    (directory / "crlf").write_bytes(CRONTAB.replace("\n", "\r\n").encode())
    (directory / "huge.toml").write_text("".join(f'j{n} = "* * * * * true"\n' for n in range(300)))
    (directory / "dir").mkdir()
    os.mkfifo(directory / "fifo")
    for name, minor in (("full", 7), ("null", 3), ("zero", 5)):
        # The machine's own would be replaced where root is told to write a file of that name.
        if os.geteuid() == 0:
            with suppress(OSError):
                os.mknod(directory / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
                continue
        (directory / name).symlink_to(f"/dev/{name}")
    with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
        sock.bind(str(directory / "socket"))
    (directory / "loop").symlink_to("loop")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "unreadable").write_text(GOOD)
    (directory / "unreadable").chmod(0)
    for name in (f"{NOT_UTF8}.toml", "no\nline.toml"):
        (directory / name).write_text('[jobs.odd]\nevery = "1h"\ncommand = "true"\n')


def remake(directory: Path, *, uid: int | None) -> None:
    """Make the directory and its files anew, for a user."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    make(directory)
    if uid is not None:
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, uid, uid, follow_symlinks=False)
