"""A template of the user's own: a job file that names one is only as good as that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskman_cli.core.templates import MOST_BYTES
from taskman_cli.jobfile import JobFileError, load

SINK = '[sinks.ops]\ntype = "webhook"\nurl = "https://example.org/hook"\ntemplate = "ops.toml"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.toml").write_text(SINK)


def problem() -> str:
    with pytest.raises(JobFileError) as caught:
        load([Path("jobs.toml")], timezone="UTC")
    (found,) = caught.value.problems
    return found.headline()


def test_a_template_that_is_one_is_taken(tmp_path: Path) -> None:
    Path("ops.toml").write_text('text = "{title}"\n')
    (sink,) = load([Path("jobs.toml")], timezone="UTC").sinks
    assert sink.settings["template"] == str(tmp_path / "ops.toml")


def test_a_template_that_is_not_there_is_told_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ops.toml"
    found = problem()
    assert found.startswith("jobs.toml:4:12: sinks.ops.template: ")
    assert f"{path} cannot be read: no such file" in found
    path.mkdir()
    assert problem().endswith(f"{path} is a directory")


def test_a_template_that_is_wrong_is_told_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ops.toml"
    path.write_text('text = "{titel}"\n')
    assert problem().startswith(
        f'jobs.toml:4:12: sinks.ops.template: {path}: {{titel}} is not a value (did you mean "title"?)'
    )


def test_a_template_that_is_no_toml_is_told_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "ops.toml").write_text('text = "a"\nescape = \n')
    assert problem().startswith(f"{tmp_path}/ops.toml:2:")


def test_a_template_of_bytes_that_are_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ops.toml").write_bytes(b'text = "\xff"\n')
    assert "UTF-8" in problem()


def test_a_template_that_is_too_large_or_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ops.toml").write_text(f"text = '{'x' * MOST_BYTES}'")
    assert problem().endswith("ops.toml is larger than 256 KiB")
    (tmp_path / "ops.toml").unlink()
    os.mkfifo(tmp_path / "ops.toml")
    assert "a named pipe" in problem()


def test_two_sinks_may_have_one_template(tmp_path: Path) -> None:
    Path("jobs.toml").write_text(SINK + SINK.replace("ops]", "dev]"))
    Path("ops.toml").write_text("text = '{run}'")
    assert len(load([Path("jobs.toml")], timezone="UTC").sinks) == 2
