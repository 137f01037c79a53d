"""One-off jobs that wait for a low load."""

from __future__ import annotations

from unit.control_scene import Scene
from unit.engine_driver import START, make_job

from taskman_cli.core.protocol import Cancel, PauseJobs, Resume
from taskman_cli.scheduler.requests.load_gate import LoadGate


class Machine:
    """A scheduler, and a load to set."""

    def __init__(self) -> None:
        self.scene = Scene(make_job())
        self.load = 5.0
        self.looks = 0
        self.begin()

    def begin(self) -> None:
        """Look after the scheduler that is there now."""
        self.gate = LoadGate(self.scene.engine, load=self._look, cpus=2)

    def turn(self) -> None:
        """Take a turn of the loop."""
        if startable := self.gate.turn(self.scene.now):
            job, why = startable
            assert self.scene.ask(Resume(jobs=[job]), why)["ok"]

    def _look(self) -> float:
        self.looks += 1
        return self.load

    def once(self, name: str, at: float = 0) -> None:
        """Hand in a job that waits for a low load."""
        assert self.scene.once(name, at, is_batch=True)["ok"]
        self.gate.job_added()
        self.turn()

    def at(self, second: float) -> list[str]:
        """Let it be that second, and return the one-off jobs that have started so far."""
        self.scene.at(second)
        self.turn()
        return [start.job for start in self.scene.starts if start.job != "job"]

    @property
    def wake_s(self) -> float | None:
        """Return when it wants to look, in seconds after the start."""
        at_ns = self.gate.look_at_ns
        return None if at_ns is None else (at_ns - START.elapsed_ns) / 1e9


def test_it_runs_when_the_load_is_low_and_not_before() -> None:
    machine = Machine()
    machine.once("a")
    assert (machine.wake_s, machine.at(5)) == (5, [])
    machine.load = 1.6  # 0.8 for each of two
    assert machine.at(10) == []
    machine.load = 1.59
    assert machine.at(15) == ["a"]
    assert machine.scene.commanded[-1] == ("resumed", "a", "", "the load is 1.59")


def test_nobody_looks_when_nobody_waits() -> None:
    machine = Machine()
    machine.at(1)
    assert (machine.wake_s, machine.looks) == (None, 0)
    machine.once("a")
    machine.scene.ask(Cancel(target="a"))
    machine.at(6)
    assert (machine.wake_s, machine.looks) == (None, 1)


def test_the_load_is_of_no_interest_before_its_time() -> None:
    machine = Machine()
    machine.load = 0
    machine.once("a", at=90)
    assert (machine.wake_s, machine.looks) == (60, 0)
    assert machine.at(60) == []
    assert (machine.wake_s, machine.looks) == (90, 0)
    assert machine.at(90) == ["a"]


def test_the_second_waits_until_the_load_tells_of_the_first() -> None:
    machine = Machine()
    machine.load = 0
    machine.once("a")
    machine.once("b")
    assert machine.at(59) == ["a"]
    assert machine.at(60) == ["a", "b"]


def test_it_waits_on_after_a_restart_however_it_is_told() -> None:
    machine = Machine()
    machine.once("a")
    machine.scene.check_restart()
    machine.begin()
    assert machine.at(1) == []
    machine.load = 0
    assert machine.at(6) == ["a"]


def test_people_may_run_it_all_the_same_or_pause_it_themselves() -> None:
    machine = Machine()
    machine.once("a")
    machine.once("b")
    machine.scene.ask(Resume(jobs=["a"]))
    machine.scene.ask(PauseJobs(jobs=["b"], reason="tea"))
    machine.load = 0
    assert machine.at(60) == ["a"]
    assert machine.scene.engine.waiting_for_load() == []
