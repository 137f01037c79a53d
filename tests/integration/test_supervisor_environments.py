"""Environments that the supervisor is told once, and that starts name by their numbers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import ENV, NUMBERS, SchedulerEnd, Supervision, make_spec, sh, start_sleep

from taskman_cli.supervisor.environments import Environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHARED = ENV | {"A": "shared", "ODD-NAME": "å=\udcff", "EMPTY": ""}
#: Ways to start a command: spawned, in a fork, and in the place of its shell.
WAYS: dict[str, dict[str, Any]] = {
    "spawned": {},
    "in a fork": {"limits": {"open_files": 100}},
    "without its shell": {"direct": {"argv": ["env", "-0"], "env": {}, "cd": None, "files": []}},
    "without its shell in a fork": {
        "limits": {"open_files": 100},
        "direct": {"argv": ["env", "-0"], "env": {}, "cd": None, "files": []},
    },
}


def environment_in(path: Path) -> dict[str, str]:
    """Return what `env -0` has printed."""
    words = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    assert len(words) == len({word.partition("=")[0] for word in words}), "a variable is there twice"
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_command_gets_the_environment_that_it_names_and_what_comes_to_it(
    scheduler: SchedulerEnd, tmp_path: Path, way: dict[str, Any]
) -> None:
    scheduler.send(("environment", 7, SHARED))
    for more in ({}, {"B": "1 2", "C": "", "D": "å=\udcff"}, {}):
        spec = make_spec(tmp_path, ["env", "-0"], env=7, told=more, **way)
        assert scheduler.run("a", spec)["status"] == 0
        scheduler.send(("forget", ["a"]))
        assert environment_in(tmp_path / "out") == SHARED | more


@pytest.mark.parametrize("more", [{}, {"limits": {"open_files": 100}}], ids=["spawned", "in a fork"])
def test_what_a_command_line_sets_wins_over_what_comes_to_it(
    scheduler: SchedulerEnd, tmp_path: Path, more: dict[str, Any]
) -> None:
    scheduler.send(("environment", 0, SHARED))
    direct = {"argv": ["env", "-0"], "env": {"A": "set", "B": "set", "N": "new"}, "cd": None, "files": []}
    spec = make_spec(tmp_path, sh("exit 3"), env=0, told={"B": "told", "C": "told"}, direct=direct, **more)
    assert scheduler.run("a", spec)["status"] == 0
    expected = SHARED | {"A": "set", "B": "set", "N": "new", "C": "told"}
    assert environment_in(tmp_path / "out") == expected


def test_a_start_that_waits_keeps_the_environment_that_it_named(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    scheduler = supervise(constants={"EARLY_PATIENCE_NS": 3600 * 10**9}).accept()
    scheduler.send(("configure", NUMBERS), ("seats", 1), ("environment", 0, SHARED))
    start_sleep(scheduler, "busy", tmp_path)
    spec = make_spec(tmp_path, ["env", "-0"], env=0, told={"B": "1"})
    scheduler.send(("start", "early", b"meta", spec, True), ("environment", 0, {"A": "other"}))
    scheduler.signal("busy", signal.SIGTERM)
    assert scheduler.wait_for("ended", "early")[2]["status"] == 0
    assert environment_in(tmp_path / "out") == SHARED | {"B": "1"}
    scheduler.run("now", make_spec(tmp_path, ["/usr/bin/env", "-0"], env=0, told={}))
    assert environment_in(tmp_path / "out") == {"A": "other"}


def test_the_next_scheduler_gives_the_numbers_anew(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.send(("environment", 0, SHARED))
    scheduler.run("a", make_spec(tmp_path, ["true"], env=0, told={}))
    scheduler.kill()
    scheduler = supervision.accept()
    scheduler.send(("environment", 0, ENV | {"A": "anew"}))
    scheduler.run("b", make_spec(tmp_path, ["env", "-0"], env=0, told={}))
    assert environment_in(tmp_path / "out") == ENV | {"A": "anew"}


@pytest.mark.parametrize("is_early", [False, True], ids=["now", "early"])
def test_an_environment_that_never_came_fails_the_start_in_words(
    scheduler: SchedulerEnd, tmp_path: Path, is_early: bool
) -> None:
    start = ("start", "a", b"meta", make_spec(tmp_path, ["true"], env=5, told={}))
    scheduler.send((*start, True) if is_early else start)
    _, _, number, words, is_transient, *_ = scheduler.wait_for("failed", "a")
    assert (number, is_transient) == (0, False)
    assert words == "cannot be started: its environment has not arrived"
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0


@pytest.mark.parametrize(
    "variables",
    [{"A": "a\0b"}, {"A=B": "c"}, {"": "c"}, {"A": 1}, "A=B", None],
    ids=["null byte", "wrong name", "no name", "number", "text", "nothing"],
)
def test_a_malformed_environment_fails_those_that_name_it_and_nobody_else(
    scheduler: SchedulerEnd, tmp_path: Path, variables: Any
) -> None:
    scheduler.send(("environment", 0, variables), ("environment", 1, ENV))
    for key in ("a", "b"):
        number, words, is_transient = scheduler.fail(key, make_spec(tmp_path, ["true"], env=0, told={}))
        assert words.startswith("cannot be started: ")
        assert (number, is_transient) == (0, False)
    assert scheduler.run("c", make_spec(tmp_path, ["true"], env=1, told={}))["status"] == 0


@pytest.mark.parametrize("variables", ["A=B", None], ids=["text", "nothing"])
def test_a_number_whose_new_environment_is_none_does_not_mean_the_one_before(
    scheduler: SchedulerEnd, tmp_path: Path, variables: Any
) -> None:
    scheduler.send(("environment", 0, ENV), ("environment", 0, variables))
    words = scheduler.fail("a", make_spec(tmp_path, ["true"], env=0, told={}))[1]
    assert words == "cannot be started: its environment has not arrived"


def test_words_are_not_mixed_up_between_commands(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    """What is kept of a command in the form of the library belongs to that command alone."""
    lists = [["printf", "%s|", *words] for words in (["a", "b"], ["ab"], ["a b"], ["", ""], [""], [])]
    for words in [*lists, *lists]:
        scheduler.run("a", make_spec(tmp_path, words))
        scheduler.send(("forget", ["a"]))
        expected = "".join(f"{word}|" for word in words[2:]) or "|"
        assert (tmp_path / "out").read_text() == expected


def test_more_commands_than_are_kept_start_as_the_first_ones(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    for number in range(300):
        start = make_spec(tmp_path, ["/bin/sh", "-c", f"exit {number % 7}"], output="discard")
        assert scheduler.run(f"{number}", start)["status"] == (number % 7) << 8


def test_only_what_is_used_again_is_encoded() -> None:
    environment = Environment({"A": "å\udcff"})
    found = [environment.for_spawn(told) for told in ({"B": "1"}, {"B": "2"}, {})]
    assert found == [{"A": "å\udcff", "B": "1"}, {b"A": b"\xc3\xa5\xff", "B": "2"}, {b"A": b"\xc3\xa5\xff"}]
