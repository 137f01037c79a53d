"""The secret of a state directory, and the tokens that are made with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from taskman_cli.launch.tokens import read_secret, token_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_created_once_and_is_private(tmp_path: Path) -> None:
    secret = read_secret(tmp_path)
    assert len(secret) == 32
    assert read_secret(tmp_path) == secret
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    secret = read_secret(tmp_path)
    assert len(secret) == 32
    assert (tmp_path / "secret").read_bytes() == secret


def test_a_secret_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 32)
    (tmp_path / "secret").chmod(0o644)
    assert read_secret(tmp_path) != b"x" * 32
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_if_the_file_cannot_be_created_there_is_no_secret_and_no_token(tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "secret").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "secret")
    assert [read_secret(tmp_path / name) for name in ("missing", "link")] == [b"", b""]
    assert read_secret(tmp_path) == b""
    assert token_of(b"", "key") == ""


def test_a_token_depends_on_the_attempt_and_the_secret() -> None:
    tokens = {token_of(secret * 32, key) for secret in (b"a", b"b") for key in ("r.main.1", "r.main.2")}
    assert len(tokens) == 4
    assert token_of(b"a" * 32, "r.main.1") in tokens
