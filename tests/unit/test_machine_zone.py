"""The machine's time zone while the scheduler runs: when it is looked at, and what is told."""

from __future__ import annotations

from pathlib import Path

from taskman_cli.core.model import Settings
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile import JobFile
from taskman_cli.scheduler.machine_zone import LOOK_NS, MachineZone

TOLD = "the machine's time zone is Asia/Tokyo now; jobs that name none keep Europe/Paris until taskman reload"


class Machine:
    """A machine whose zone is set by hand."""

    def __init__(self) -> None:
        self.zone = "Europe/Paris"
        #: Whether anything valid says which zone that is.
        self.is_broken = False
        self.reads = 0

    def look(self) -> object:
        return self.zone, self.is_broken

    def read(self) -> str:
        self.reads += 1
        if self.is_broken:
            raise ScheduleError("/etc/localtime names no time zone")
        return self.zone

    def watched(self, *, zone: str = "Europe/Paris", is_machine_zone: bool = True) -> MachineZone:
        watched = MachineZone(self.look, self.read)
        watched.take(loaded(zone, is_machine_zone=is_machine_zone))
        return watched


def loaded(zone: str, *, is_machine_zone: bool = True) -> JobFile:
    return JobFile((), Settings(), zone, (Path("jobs.toml"),), is_machine_zone=is_machine_zone)


def test_a_change_is_told_once_and_noted_until_a_reload_takes_it() -> None:
    machine = Machine()
    watched = machine.watched()
    assert (watched.check(0), watched.note) == (None, None)
    machine.zone = "Asia/Tokyo"
    assert (watched.check(1), watched.note) == (TOLD, TOLD)
    assert (watched.check(2), watched.note) == (None, TOLD)
    watched.take(loaded("Asia/Tokyo"))
    assert (watched.check(3), watched.note) == (None, None)


def test_a_change_back_is_no_news_and_nothing_is_noted_any_more() -> None:
    machine = Machine()
    watched = machine.watched()
    machine.zone = "Asia/Tokyo"
    assert watched.check(0) == TOLD
    machine.zone = "Europe/Paris"
    assert (watched.check(1), watched.note) == (None, None)


def test_jobs_that_another_scheduler_has_read_may_differ_from_the_start() -> None:
    machine = Machine()
    machine.zone = "Asia/Tokyo"
    assert machine.watched().check(0) == TOLD


def test_it_is_read_only_if_something_has_changed() -> None:
    machine = Machine()
    watched = machine.watched()
    for elapsed_ns in range(5):
        watched.check(elapsed_ns)
    assert machine.reads == 1


def test_a_look_is_due_at_the_start_and_after_a_minute() -> None:
    watched = Machine().watched()
    assert watched.is_due(7)
    watched.check(7)
    assert [watched.is_due(at) for at in (7, 6 + LOOK_NS, 7 + LOOK_NS)] == [False, False, True]


def test_jobs_with_a_zone_of_their_file_do_not_follow_the_machine() -> None:
    machine = Machine()
    watched = machine.watched(is_machine_zone=False)
    machine.zone = "Asia/Tokyo"
    assert (watched.is_due(0), watched.check(0), watched.note, machine.reads) == (False, None, None, 0)


def test_a_zone_that_breaks_is_told_and_one_that_was_broken_at_the_start_is_not() -> None:
    machine = Machine()
    watched = machine.watched()
    watched.check(0)
    machine.is_broken = True
    assert watched.check(1) == (
        "the machine's time zone cannot be found out: /etc/localtime names no time zone; "
        "jobs that name none keep Europe/Paris"
    )
    watched.take(loaded("UTC"))
    assert (watched.check(2), watched.note) == (None, None)


def test_a_machine_that_cannot_be_looked_at_changes_nothing() -> None:
    watched = MachineZone(lambda: None, Machine().read)
    watched.take(loaded("Asia/Tokyo"))
    assert (watched.check(0), watched.note) == (None, None)
