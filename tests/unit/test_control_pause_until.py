"""A pause until a time of day, rather than for so long."""

from __future__ import annotations

from unit.control_scene import Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.protocol import Pause


def test_a_pause_ends_at_its_instant_whenever_it_was_asked_for() -> None:
    scene = Scene(make_job())
    scene.at(3)
    until_ns = START.wall_ns + seconds(20)
    assert until_ns == scene.ask(Pause(jobs=["job"], until_ns=until_ns))["until_ns"]
    scene.at(10)
    assert [] == scene.starts
    scene.at(20)
    scene.at(30)
    assert 1 == len(scene.starts)
