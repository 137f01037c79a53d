"""Players in processes of their own: the result is that of one, and none of them is left behind."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process_table import children, is_alive
from wait import wait_until

from taskman_cli.simulate.forked import Forked
from taskman_cli.simulate.player import Part
from taskman_cli.simulate.tally import Totals

DRIVER = Path(__file__).with_name("simulate_forked_driver.py")


def played(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, DRIVER, *arguments], capture_output=True, check=True, text=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_many_players_say_what_one_says() -> None:
    alone, shared = played("24", "1"), played("24", "4")
    assert (alone["joined"], shared["joined"]) == (0, 1)  # each joins the next one
    assert {**shared, "joined": 0} == alone
    assert alone["attempts"] > 1400


@pytest.mark.parametrize("trouble", ["stopped", "few"])
def test_others_that_are_stopped_or_fewer_are_joined_all_the_same(trouble: str) -> None:
    assert played("24", "4", trouble) == played("24", "4")


@pytest.mark.parametrize("trouble", ["killed", "refused", "unlike"])
def test_without_the_others_one_plays_all(trouble: str) -> None:
    found = played("24", "4", trouble)
    assert found == played("24", "1")


@pytest.mark.parametrize("trouble", ["", "slow"])
def test_if_the_first_is_killed_the_others_end(tmp_path: Path, trouble: str) -> None:
    with (tmp_path / "out").open("wb") as out:
        first = subprocess.Popen([sys.executable, DRIVER, "20000", "3", trouble], stdout=out, stderr=out)
    try:
        wait_until(lambda: len(children(first.pid)) == 2, what="two other players")
        others = children(first.pid)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    wait_until(lambda: not any(map(is_alive, others)), what="the end of the others")
    assert (tmp_path / "out").read_bytes() == b""


def test_if_the_first_is_interrupted_the_others_end_with_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        first = subprocess.Popen(
            [sys.executable, DRIVER, "20000", "3"], stdout=out, stderr=out, process_group=0
        )
    try:
        wait_until(lambda: len(children(first.pid)) == 2, what="two other players")
        others = children(first.pid)
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does
        assert first.wait(30) == -signal.SIGINT
    finally:
        first.kill()
        first.wait()
    assert not any(map(is_alive, others))
    assert (tmp_path / "out").read_text().count("KeyboardInterrupt") == 1


def test_what_a_player_could_not_finish_to_tell_is_nothing() -> None:
    told = b"d" * 64 + pickle.dumps([Part(Totals(), 1, 2, 3, 4)])
    for length in range(len(told) + 1):
        hears, tells = os.pipe()
        os.write(tells, told[:length])
        os.close(tells)
        one = Forked(0, hears, (1,))
        assert one.digest() == (b"d" * 64 if length >= 64 else None)
        assert (one.rest(0) is None) == (length < len(told))
        one.close()
