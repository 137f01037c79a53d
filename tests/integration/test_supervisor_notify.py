"""What the supervisor tells the service manager that started it, and what it keeps from everybody else."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import NUMBERS, make_spec, sh
from process_table import is_gone, proc
from service_manager import Listening
from wait import wait_until

from taskman_cli.supervisor.notify import RETRY_NS, ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from integration.supervisor_driver import Supervision

HOUR_NS = 3600 * 10**9


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Listening]:
    """Listen as a service manager."""
    with Listening(tmp_path) as listening:
        yield listening


def started(supervise: Callable[..., Supervision], manager: Listening, **more: str) -> Supervision:
    return supervise(env=os.environ | {"NOTIFY_SOCKET": manager.address} | more)


def test_it_is_ready_when_a_scheduler_has_begun_and_only_once(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    supervision = started(supervise, manager)
    scheduler = supervision.accept()
    assert scheduler.hello["has_manager"] is True
    scheduler.send(("configure", NUMBERS), ("report", "status", "busy"))
    assert manager.wait_for("STATUS=") == "STATUS=busy"
    assert "READY" not in manager.kinds()
    scheduler.send(("due", None, 0, 0))
    manager.wait_for("READY=1")
    supervision.signal(signal.SIGUSR1)
    scheduler.leave()
    scheduler = supervision.accept()
    scheduler.send(("due", None, 0, 0), ("report", "status", "busy again"))
    manager.wait_for("STATUS=busy again")
    died = r"STATUS=the scheduler died \(killed by SIGKILL\); starting it again in .* s"
    scheduler.kill()
    assert re.fullmatch(died, manager.wait_for("STATUS=the scheduler"))
    scheduler = supervision.accept()
    scheduler.send(("due", None, 0, 0), ("report", "trouble", "no file"), ("report", "status", "back"))
    manager.wait_for("STATUS=back")
    scheduler.kill()
    assert re.fullmatch(f"{died}: no file", manager.wait_for("STATUS=the scheduler", count=2))
    assert manager.kinds().count("READY") == 1


def test_a_reload_is_told_with_its_time_and_a_scheduler_that_dies_in_it_does_not_leave_it_open(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    supervision = started(supervise, manager)
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS), ("report", "reloading", ""), ("due", None, 0, 0))
    manager.wait_for("READY=1")
    before_us = time.monotonic_ns() // 1000
    scheduler.send(("report", "reloading", ""), ("report", "reloaded", ""))
    manager.wait_for("READY=1", count=2)
    names, after_us = manager.kinds(), time.monotonic_ns() // 1000
    assert names == ["READY", "RELOADING", "READY"]
    at_us = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.heard()[1])
    assert at_us is not None
    assert before_us <= int(at_us[1]) <= after_us
    scheduler.send(("report", "reloading", ""))
    manager.wait_for("RELOADING=1", count=2)
    scheduler.kill()
    supervision.accept().send(("due", None, 0, 0))
    manager.wait_for("READY=1", count=3)


def test_nobody_else_gets_the_variables(
    supervise: Callable[..., Supervision], manager: Listening, tmp_path: Path
) -> None:
    supervision = started(supervise, manager, WATCHDOG_USEC="60000000", WATCHDOG_PID="1")
    scheduler = supervision.accept()
    environ = proc(scheduler.pid, "environ").split(b"\0")
    assert [word for word in environ if word.startswith((b"NOTIFY", b"WATCHDOG"))] == []
    scheduler.run("k", make_spec(tmp_path, sh("env | grep -c -e NOTIFY -e WATCHDOG; ls -l /proc/self/fd")))
    count, *descriptors = (tmp_path / "out").read_text().splitlines()
    assert count == "0"
    assert [line for line in descriptors if "socket:" in line] == []


def test_without_a_service_manager_the_scheduler_is_told_so(
    supervise: Callable[..., Supervision],
) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    assert supervise(env=environ).accept().hello["has_manager"] is False


def test_a_stop_is_told_and_more_time_is_asked_for_as_long_as_the_scheduler_gets_on(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    supervision = started(supervise, manager)
    scheduler = supervision.accept()
    scheduler.send(("configure", NUMBERS), ("due", None, 0, 0))
    manager.wait_for("READY=1")
    supervision.signal(signal.SIGTERM)
    scheduler.wait_for("signal")
    assert manager.wait_for("EXTEND") == "EXTEND_TIMEOUT_USEC=20000000"
    assert manager.kinds() == ["READY", "STOPPING", "EXTEND_TIMEOUT_USEC"]
    scheduler.send(("exit", 0))
    scheduler.leave()
    assert supervision.wait() == 0
    assert manager.kinds().count("STOPPING") == 1


def test_a_stop_that_the_scheduler_begins_is_told_too(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    scheduler = started(supervise, manager).accept()
    scheduler.send(("due", None, 0, 0), ("report", "stopping", ""))
    manager.wait_for("STOPPING=1")


def test_the_watchdog_is_fed_as_long_as_what_was_due_is_done(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    scheduler = started(supervise, manager, WATCHDOG_USEC="400000").accept()
    numbers = NUMBERS | {"hang_after_ns": 2 * 10**9}
    scheduler.send(("configure", numbers), ("due", HOUR_NS, 0, 0))
    manager.wait_for("WATCHDOG=1", count=5)
    scheduler.send(("due", 0, 0, 0))
    # Behind by half of that, it is asked, and no longer fed.
    scheduler.wait_for("ping")
    fed = manager.kinds().count("WATCHDOG")
    wait_until(lambda: is_gone(scheduler.pid), what="the end of the one that hangs")
    assert manager.kinds().count("WATCHDOG") <= fed + 1


def test_a_watchdog_of_another_process_is_not_fed(
    supervise: Callable[..., Supervision], manager: Listening
) -> None:
    scheduler = started(supervise, manager, WATCHDOG_USEC="1000", WATCHDOG_PID="1").accept()
    scheduler.send(("due", HOUR_NS, 0, 0), ("report", "status", "there"))
    manager.wait_for("STATUS=there")
    assert manager.kinds() == ["READY", "STATUS"]


class Scene:
    """A service manager's end without a supervisor, and timers that go off when told to."""

    def __init__(self, address: str, **variables: str) -> None:
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.environ = {"NOTIFY_SOCKET": address, "HOME": "/"} | variables
        self.is_well = True
        self.manager = ServiceManager(
            lambda delay_ns, action: self.timers.append((delay_ns, action)),
            is_well=lambda: self.is_well,
            environ=self.environ,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.manager.close()

    def wait(self) -> list[int]:
        """Let all timers go off; return their delays."""
        timers, self.timers = self.timers, []
        for _, action in timers:
            action()
        return [delay_ns for delay_ns, _ in timers]


def test_an_abstract_socket_will_do(tmp_path: Path) -> None:
    with (
        Listening(tmp_path, is_abstract=True) as listening,
        Scene(listening.address, WATCHDOG_USEC="nonsense") as scene,
    ):
        assert scene.environ == {"HOME": "/"}
        scene.manager.scheduler_began()
        assert listening.heard() == ["READY=1"]


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_other_kinds_of_addresses_are_nobody(address: str) -> None:
    with Scene(address, WATCHDOG_USEC="1000") as scene:
        scene.manager.scheduler_began()
        scene.manager.stopping()
        scene.manager.status("x")
        assert (scene.manager.is_there, scene.timers, scene.manager.watchdog_ns) == (False, [], None)


def test_a_status_is_one_line_of_limited_length(tmp_path: Path) -> None:
    with Listening(tmp_path) as listening, Scene(listening.address) as scene:
        scene.manager.status("a\nREADY=1\x1b[31m\udcff é")
        scene.manager.status("é" * 5000)
        first, second = listening.heard()
    assert first == "STATUS=a\\nREADY=1\\x1b[31m\\xff é"
    assert second == f"STATUS={'é' * 500}"


def test_what_is_not_taken_is_sent_later_and_only_the_latest_of_it(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with Scene(str(path), WATCHDOG_USEC="4000") as scene:
        scene.manager.scheduler_began()
        for number in range(100):
            scene.manager.report("reloading")
            scene.manager.status(str(number))
            scene.manager.report("reloaded")
        assert [delay for delay in scene.wait() if delay >= RETRY_NS] == [RETRY_NS]
        assert [delay for delay in scene.wait() if delay >= RETRY_NS] == [2 * RETRY_NS]
        with Listening(tmp_path) as listening:
            scene.wait()
            assert listening.heard() == ["STATUS=99", "READY=1", "WATCHDOG=1"]


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with Listening(tmp_path) as listening, Scene(listening.address) as scene:
        listening.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(5_000):
            scene.manager.status(f"{number} {'x' * 900}")
        assert len(scene.timers) == 1
        assert 0 < len(listening.heard()) < 5_000
        scene.wait()
        assert listening.heard()[-1].startswith("STATUS=4999 ")


def test_without_progress_nothing_is_fed_and_no_time_is_asked_for(tmp_path: Path) -> None:
    with Listening(tmp_path) as listening, Scene(listening.address, WATCHDOG_USEC="4000") as scene:
        scene.manager.scheduler_began()
        scene.is_well = False
        scene.manager.stopping()
        assert scene.wait() == [1_000_000, 5_000_000_000]
        assert listening.kinds() == ["READY", "WATCHDOG", "STOPPING"]
        scene.is_well = True
        scene.wait()
        assert listening.kinds()[3:] == ["WATCHDOG", "EXTEND_TIMEOUT_USEC"]


def test_all_is_said_once_to_whoever_asks_twice(tmp_path: Path) -> None:
    with Listening(tmp_path) as listening, Scene(listening.address) as scene:
        say: Any = scene.manager
        for _ in range(2):
            say.report("unknown", "words")
            say.scheduler_began()
            say.report("reloaded")
            say.report("stopping")
        say.report("reloading")
        assert listening.kinds() == ["READY", "STOPPING", "EXTEND_TIMEOUT_USEC"]
