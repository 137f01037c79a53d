"""A pause until a time of day, rather than for so long."""

from __future__ import annotations

from unit.control_scene import Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.protocol import LAST_NS, PauseJobs


def ends_of(scene: Scene) -> dict[str, int | None]:
    jobs = scene.engine.timetable.jobs
    return {name: armed.pause.until_ns for name, armed in jobs.items() if armed.pause}


def test_a_pause_ends_at_its_instant_whenever_it_was_asked_for() -> None:
    scene = Scene(make_job())
    scene.at(3)
    until_ns = START.wall_ns + seconds(20)
    assert until_ns == scene.ask(PauseJobs(jobs=["job"], until_ns=until_ns))["until_ns"]
    scene.at(10)
    assert scene.starts == []
    scene.at(20)
    scene.at(30)
    assert len(scene.starts) == 1


def test_a_pause_ends_at_the_last_time_that_can_be_kept_at_the_latest() -> None:
    scene = Scene(make_job())
    assert scene.ask(PauseJobs(jobs=["job"], for_ns=LAST_NS))["until_ns"] == LAST_NS
    assert ends_of(scene) == {"job": LAST_NS}


def test_a_clock_that_is_put_right_moves_the_end_of_a_length_but_not_a_named_one() -> None:
    scene = Scene(make_job("named"), make_job("long"))
    until_ns = START.wall_ns + seconds(1000)
    scene.ask(PauseJobs(jobs=["named"], until_ns=until_ns))
    scene.ask(PauseJobs(jobs=["long"], for_ns=seconds(1000)))
    scene.step(300)
    expected = {"named": until_ns, "long": until_ns + seconds(300)}
    assert ends_of(scene) == expected
    scene.restart()
    assert ends_of(scene) == expected
