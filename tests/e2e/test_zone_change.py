"""The machine's zone is replaced while taskman runs; `TZ` leads to a link that stands for /etc/localtime."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from e2e.running import TASKMAN, Running
from wait import wait_until

JOBS = '[jobs.daily]\ncron = "30 2 * * *"\ncommand = "true"\n'
ZONES = Path("/usr/share/zoneinfo")

pytestmark = pytest.mark.skipif(not (ZONES / "Asia/Tokyo").exists(), reason="needs time zone data")


class Machine(Running):
    """A `taskman run` on a machine whose zone can be replaced."""

    def __init__(self, directory: Path, jobs: str = JOBS) -> None:
        self.link = directory / "localtime"
        self.link.symlink_to(ZONES / "Europe/Paris")
        super().__init__(directory, jobs, environ=os.environ | {"TZ": f":{self.link}"})
        wait_until(lambda: self.ask("status").returncode == 0)

    def move_to(self, zone: str) -> None:
        new = self.directory / "new"
        new.symlink_to(ZONES / zone)
        new.rename(self.link)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TASKMAN, *words],
            cwd=self.directory,
            check=False,
            env=self.env | {"TZ": "UTC"},
            capture_output=True,
            text=True,
        )

    def told(self) -> list[str]:
        events = map(json.loads, self.ask("events", "--json").stdout.splitlines())
        return [event["detail"] for event in events if event["kind"] == "zone_changed"]

    def zone_of_the_job(self) -> str:
        zone: str = json.loads(self.ask("show", "daily", "--json").stdout)["timezone"]
        return zone


def test_a_new_zone_is_told_and_a_reload_takes_it(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        machine.move_to("Asia/Tokyo")
        words = (
            "the machine's time zone is Asia/Tokyo now; jobs that name none keep Europe/Paris "
            "until taskman reload"
        )
        assert words in " ".join(machine.ask("status").stdout.split())
        machine.wait_for_log(words)
        assert machine.told() == [words]
        assert words in machine.ask("doctor").stdout
        assert machine.zone_of_the_job() == "Europe/Paris"
        assert machine.ask("reload").returncode == 0
        assert machine.zone_of_the_job() == "Asia/Tokyo"
        assert "time zone" not in machine.ask("status").stdout
        assert machine.told() == [words]
        assert machine.ask("restart").returncode == 0
        wait_until(lambda: "times in Asia/Tokyo" in " ".join(machine.ask("status").stdout.split()))
        assert machine.told() == [words]


def test_a_broken_zone_changes_nothing(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        (tmp_path / "junk").write_bytes(b"\xff\x00 no zone")
        for broken in (tmp_path / "junk", tmp_path / "missing", tmp_path):
            machine.link.unlink()
            machine.link.symlink_to(broken)
            assert "cannot be found out" in machine.ask("status").stdout
        machine.link.unlink()
        assert machine.ask("status").returncode == 0
        assert machine.zone_of_the_job() == "Europe/Paris"
        assert machine.ask("restart").returncode == 0
        wait_until(lambda: machine.ask("status").returncode == 0)
        assert machine.zone_of_the_job() == "Europe/Paris"
        assert "Traceback" not in machine.log


def test_jobs_whose_file_names_a_zone_do_not_care(tmp_path: Path) -> None:
    with Machine(tmp_path, '[taskman]\ntimezone = "Europe/Oslo"\n' + JOBS) as machine:
        machine.move_to("Asia/Tokyo")
        assert "time zone" not in machine.ask("status").stdout
        assert machine.told() == []
