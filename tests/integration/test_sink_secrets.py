"""Secrets of sinks: where they come from, which files are refused, and that nobody else gets them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.secrets import MOST_SECRET_BYTES, Secrets
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.trust import Trust

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's secrets are protected")


def secrets(*, is_checked: bool = False, **environ: str) -> Secrets:
    return Secrets(Surroundings(environ=environ, trust=Trust(is_checked=is_checked)))


def refusal(given: Secrets, value: Any) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        given.reveal(value, "secret")
    assert not caught.value.is_final
    return str(caught.value)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory that root trusts: those of pytest are in /tmp, which is sticky."""
    tmp_path.chmod(0o755)
    return tmp_path


def private(file: Path, text: str | bytes) -> Path:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o600)
    return file


def test_a_secret_comes_from_the_environment_a_file_or_a_credential(directory: Path) -> None:
    file = private(directory / "token", "from a file\n")
    found = secrets(TOKEN="from env", CREDENTIALS_DIRECTORY=str(directory))
    assert found.reveal({"env": "TOKEN"}, "secret") == "from env"
    assert found.reveal({"file": str(file)}, "secret") == "from a file"
    assert found.reveal({"credential": "token"}, "secret") == "from a file"
    assert found.reveal("as it stands", "url") == "as it stands"


def test_a_secret_that_is_replaced_is_used_at_once(directory: Path) -> None:
    file = private(directory / "token", "first")
    found = secrets()
    assert found.reveal({"file": str(file)}, "secret") == "first"
    private(file, "second")
    assert found.reveal({"file": str(file)}, "secret") == "second"
    assert found.scrub("first or second") == "*** or ***"


def test_what_is_missing_is_told_without_what_is_there(directory: Path) -> None:
    assert refusal(secrets(), {"env": "TOKEN"}) == "secret: the environment variable TOKEN is not set"
    assert refusal(secrets(TOKEN=""), {"env": "TOKEN"}) == "secret: the secret is empty"
    missing = directory / "missing"
    assert refusal(secrets(), {"file": str(missing)}) == (
        f"secret: cannot read {missing}: No such file or directory"
    )
    assert refusal(secrets(), {"credential": "a"}) == (
        "secret: there are no credentials: give the unit one with LoadCredential=a:PATH"
    )
    assert refusal(secrets(), {"file": "/a\0b"}) == "secret: cannot read /a\0b: not a valid file name"


def test_a_file_that_is_none_or_too_large_is_refused(directory: Path) -> None:
    os.mkfifo(directory / "fifo", 0o600)
    assert refusal(secrets(), {"file": str(directory / "fifo")}).endswith("fifo: not a regular file")
    assert refusal(secrets(), {"file": str(directory)}).endswith("not a regular file")
    assert refusal(secrets(), {"file": "/dev/zero"}) == "secret: cannot read /dev/zero: not a regular file"
    large = private(directory / "large", "x" * (MOST_SECRET_BYTES + 1))
    assert refusal(secrets(), {"file": str(large)}).endswith(f"is larger than {MOST_SECRET_BYTES} bytes")
    odd = private(directory / "odd", b"\xff")
    assert refusal(secrets(), {"file": str(odd)}) == f"secret: {odd} is not UTF-8"


@as_root
@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_file_that_others_can_read_is_refused_as_root(directory: Path, mode: int) -> None:
    file = private(directory / "token", "hunter2")
    file.chmod(mode)
    words = refusal(secrets(is_checked=True), {"file": str(file)})
    assert "hunter2" not in words
    assert "chmod" in words
    assert secrets().reveal({"file": str(file)}, "secret") == "hunter2"


@as_root
def test_a_file_that_a_group_can_read_is_refused_as_root_unless_it_is_roots(directory: Path) -> None:
    file = private(directory / "token", "hunter2")
    file.chmod(0o640)
    assert secrets(is_checked=True).reveal({"file": str(file)}, "secret") == "hunter2"
    os.chown(file, 0, 65534)
    assert refusal(secrets(is_checked=True), {"file": str(file)}) == (
        f"secret: others can read {file}: chmod 600 {file}"
    )


@as_root
def test_a_file_of_another_user_is_refused_as_root(directory: Path) -> None:
    file = private(directory / "token", "hunter2")
    os.chown(file, 65534, 65534)
    assert "who would decide what root runs" in refusal(secrets(is_checked=True), {"file": str(file)})
    link = directory / "link"
    link.symlink_to(private(directory / "own", "mine"))
    os.chown(link, 65534, 65534, follow_symlinks=False)
    assert "who would decide what root runs" in refusal(secrets(is_checked=True), {"file": str(link)})


def test_secrets_are_taken_out_of_words_in_each_form() -> None:
    found = secrets(TOKEN='a"b c/d')
    found.reveal({"env": "TOKEN"}, "secret")
    assert found.scrub('a"b c/d, a%22b%20c%2Fd, a\\"b c/d') == "***, ***, ***"
    found.hide_url("https://hooks.example.org/services/T0123456789AB/hook?key=abcdef123456")
    assert found.scrub("POST /services/T0123456789AB/hook?key=abcdef123456") == "POST ***"
    assert found.scrub("hook at hooks.example.org, T0123456789AB") == "hook at hooks.example.org, ***"


def test_a_short_secret_does_not_spoil_words() -> None:
    found = secrets(TOKEN="a")
    found.reveal({"env": "TOKEN"}, "secret")
    assert found.scrub("a failure") == "a failure"


def test_nothing_of_it_shows_its_environment() -> None:
    around = Surroundings(environ={"TOKEN": "hunter2"}, hidden=frozenset({"TOKEN"}))
    assert "hunter2" not in repr(around)
    assert around.inherited() == {}
