"""Bytes that are not UTF-8, in all that a user can name: carried through as they are, and shown escaped."""

from __future__ import annotations

import json
import os
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CAFE = os.fsdecode(b"caf\xe9")
_JOBS = """
[jobs.env]
every = "1h"
env_file = "odd.env"
command = ["sh", "-c", 'printf %s "$ODD" > from-env-file']
[jobs.writes]
every = "1h"
command = "touch ran"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a scheduler whose directory, crontab and environment have such bytes."""
    directory = tmp_path_factory.mktemp("bytes") / os.fsdecode(b"d\xe9\xff")
    directory.mkdir()
    tab = directory / os.fsdecode(b"tab\xe9")
    tab.write_bytes(b"# caf\xe9\n0 1 * * * echo caf\xe9\n")
    (directory / "odd.env").write_bytes(b"ODD=\xe9\xff\n")
    environ = {**os.environ, "INHERITED": CAFE}
    with Running(directory, _JOBS, "--user-crontab", tab.name, environ=environ) as running:
        wait_until(running.is_listening, what="the scheduler")
        yield running


def taskman(running: Running, *words: str | bytes, code: int = 0) -> str:
    """Run a command, and return what it printed on both."""
    done = call([*words], cwd=running.directory, env=running.env, stderr=subprocess.STDOUT)
    said = done.stdout.decode("utf-8", "surrogateescape")
    assert code == done.returncode, said
    assert "Traceback" not in said
    return said


def newest(running: Running, *words: str) -> Any:
    """Return the newest row of the history; {}: there is none."""
    rows = json.loads(taskman(running, "history", *words, "-n", "1", "--json"))
    return rows[0] if rows else {}


def test_a_program_that_is_not_there_ends_like_any_other(running: Running) -> None:
    assert r"not found: caf\xe9" in taskman(running, "once", "--wait", "--name", "odd", "--", CAFE, code=127)
    assert newest(running, "odd")["reason"] == "not found: caf\udce9"
    assert r"not found: caf\xe9" in taskman(running, "history", "odd")
    assert r"caf\xe9" in " ".join(taskman(running, "why", "odd").split())
    running.wait_for_log(r"not found: caf\xe9")
    ended = [json.loads(line) for line in taskman(running, "events", "--json").splitlines()]
    assert "not found: caf\udce9" in [event.get("detail") for event in ended]


def test_a_directory_that_is_not_there_ends_like_any_other(running: Running) -> None:
    gone = running.directory / "gone\udce9"
    gone.mkdir()
    taskman(running, "once", "--name", "later", "--in", "1h", f"--cwd={gone}", "pwd")
    gone.rmdir()
    taskman(running, "trigger", "later")
    wait_until(lambda: newest(running, "later").get("state") == "failed", what="its end")
    assert newest(running, "later")["reason"] == f"no such directory: {gone} (cwd)"


def test_arguments_environment_and_directory_are_the_same_bytes(running: Running) -> None:
    (running.directory / "in\udce9").mkdir()
    script = 'printf "%s %s %s" "$1" "$X" "$INHERITED"; pwd'
    words = [f"--cwd=in{CAFE[-1]}", "--env", "X=\udcff", "--", "sh", "-c", script, "-", CAFE]
    taskman(running, "once", "--wait", "--name", "same", *words)
    expected = b"caf\xe9 \xff caf\xe9" + os.fsencode(running.directory) + b"/in\xe9\n"
    assert os.fsencode(taskman(running, "log", "same")) == expected
    taskman(running, "trigger", "env", "--wait")
    assert running.path("from-env-file").read_bytes() == b"\xe9\xff"


def test_words_that_people_give_are_kept(running: Running) -> None:
    taskman(running, "pause", "writes", "--reason", CAFE)
    [job] = json.loads(taskman(running, "list", "--state", "paused", "--json"))
    assert job["pause"]["reason"] == CAFE
    assert r"caf\xe9" in taskman(running, "list")
    taskman(running, "resume", "writes")
    assert r"caf\xe9" in taskman(running, "events")


@pytest.mark.parametrize(
    "verb", ["show", "trigger", "why", "history", "log", "pause", "wait", "remove", "cancel"]
)
def test_a_job_of_such_a_name_is_not_there(verb: str, running: Running) -> None:
    assert r"caf\xe9" in taskman(running, verb, CAFE, code=4)
    if verb in ("history", "log"):
        assert r"\xe9" in taskman(running, verb, "env.\udce9", code=4)


@pytest.mark.parametrize("verb", ["once", "add"])
def test_a_name_for_a_job_has_no_such_bytes(verb: str, running: Running) -> None:
    words = ["--name", CAFE, "true"] if verb == "once" else [CAFE, "--cron", "@daily", "true"]
    assert r"caf\xe9" in taskman(running, verb, *words, code=2)


def test_a_job_file_cannot_say_them_and_a_crontab_can(running: Running) -> None:
    [tab] = [job["job"] for job in json.loads(taskman(running, "list", "--json")) if "echo" in job["job"]]
    assert r'bytes that are not UTF-8, which a job file cannot contain: "echo caf\xe9"' in taskman(
        running, "show", tab, "--toml", code=1
    )
    assert "which a job file cannot contain" in taskman(
        running, "add", "new", "--file", "new.toml", "--cron", "@daily", f"echo {CAFE}", code=1
    )
    assert "not UTF-8" in taskman(running, "import", "tab\udce9", code=2)
    shown = json.loads(taskman(running, "show", tab, "--json"))
    assert shown["definition"]["command"] == "echo caf\udce9"
    (running.directory / "copy").write_bytes(b"0 1 * * * echo caf\xe9\n")
    assert f"0 1 * * * echo {CAFE}\n" in taskman(running, "export", "--crontab", "--user", "copy")


def _odd(chance: random.Random) -> str:
    """Make a text of any bytes but NUL, some of which are UTF-8."""
    parts = (b"\xe9", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa5", b"\n", b"\x1b[2J", b"\\x41")
    return os.fsdecode(b"".join(chance.choice(parts) for _ in range(chance.randrange(1, 9))))


def test_any_bytes_come_through_and_nobody_dies_of_them(running: Running) -> None:
    chance = random.Random(20261129)
    scheduler = running.scheduler_pid()
    for number in range(6):
        program, argument, value = (_odd(chance) for _ in range(3))
        path = running.directory / f"p{program}".replace("/", "")
        path.write_text('#!/bin/sh\nprintf "%s|%s" "$1" "$V"; exit 3\n')
        path.chmod(0o755)
        words = [
            "once",
            "--wait",
            "--name",
            f"fuzz-{number}",
            "--env",
            f"V={value}",
            "--",
            str(path),
            argument,
        ]
        taskman(running, *words, code=3)
        assert taskman(running, "log", f"fuzz-{number}") == f"{argument}|{value}"
        path.unlink()
        said = taskman(running, "once", "--wait", "--name", f"gone-{number}", "--", str(path), code=127)
        assert newest(running, f"gone-{number}")["reason"] == f"not found: {path}", said
    for view in ("status", "list", "history", "events"):
        assert "\udce9" not in taskman(running, view)
    assert scheduler == running.scheduler_pid()
    assert "Traceback" not in running.log
