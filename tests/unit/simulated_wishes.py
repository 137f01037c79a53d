"""People who want something of a simulated scheduler: any wish, of whatever there is, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unit.simulated_ledger import OPEN

from taskman_cli.core import protocol
from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from unit.simulation import Machine

    from taskman_cli.core.protocol import Request


class Customer:
    """A client that looks, when it is answered, whether what it is told is on the disk."""

    uid = 0
    pid = 1

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.request: Request | None = None
        self.is_answered = False

    def refuse(self, words: str, *, code: int, **_: Any) -> None:
        """Take an answer that says no."""
        assert words
        assert code in (1, 2, 4)
        self.reply({"ok": False})

    def reply_long(self, name: str, portions: Iterator[list[Any]]) -> None:
        """Take an answer in portions, all at once."""
        self.reply({"ok": True, name: [item for portion in portions for item in portion]})

    def reply(self, reply: Mapping[str, Any], *, final: bool = False) -> None:
        """Take an answer."""
        assert final or not self.is_answered, "one answer"
        self.is_answered = True
        disk = self._machine.disk
        if not reply["ok"] or self._machine.replaced:
            return
        if final and not self._machine.recorder.trouble:
            for end in reply.get("runs", [reply]):
                run = disk.runs.get(end["run"])
                assert run is None or run.state not in OPEN, "told of an end that is not on record"
        if final:
            return
        match self.request:
            case protocol.TriggerJob():
                assert reply["run"] in disk.runs
            case protocol.RunOnce():
                assert reply["job"] in disk.once_names
            case protocol.Cancel() if "." not in self.request.target:
                for told in reply["runs"]:
                    run = disk.runs[told["run"]]
                    assert run.is_cancelled or run.state not in OPEN
            case protocol.Remove() if self.request.task is None:
                assert ("removed", reply["job"]) in {(told.kind, told.detail) for told in disk.commanded}


def wish(machine: Machine, chance: random.Random, customer: Customer) -> Request:
    """Return what a customer asks for."""
    request = _wish(machine, chance)
    customer.request = request
    return request


def _wish(machine: Machine, chance: random.Random) -> Request:
    jobs = machine.engine.timetable.jobs
    job = chance.choice(list(jobs) or ["job0"])
    task = chance.choice([None, None, "a", "b"])
    dice = chance.random()
    if dice < 0.25:
        return protocol.TriggerJob(
            job=job, task=task, env={"X": "1"}, instead=chance.random() < 0.5, force=chance.random() < 0.3,
            wait=chance.random() < 0.3,
        )  # fmt: skip
    if dice < 0.4:
        is_all = chance.random() < 0.3
        return protocol.PauseJobs(
            jobs=[] if is_all else [job], all=is_all, stop=chance.random() < 0.3,
            for_ns=chance.choice([None, 3 * SECOND_NS, 90 * SECOND_NS]),
        )  # fmt: skip
    if dice < 0.52:
        is_all = chance.random() < 0.3
        return protocol.Resume(jobs=[] if is_all else [job], all=is_all)
    if dice < 0.68:
        open_runs = [name for name, run in machine.disk.runs.items() if run.state in OPEN]
        target = chance.choice([*open_runs, job, f"{job}.{task or 'c'}"])
        return protocol.Cancel(target=target, now=chance.random() < 0.3, wait=chance.random() < 0.3)
    if dice < 0.8:
        in_ns = chance.choice([None, 0, SECOND_NS, 25 * SECOND_NS, 4_000 * SECOND_NS])
        return protocol.RunOnce(
            command="true", cwd="/", env={}, umask=0o22, wait=chance.random() < 0.3,
            at_ns=None if in_ns is None else machine.now.wall_ns + in_ns,
            name=chance.choice([None, None, "job3", "mine"]),
        )  # fmt: skip
    if dice < 0.86:
        return protocol.Remove(job=job, task=task, cancel=chance.random() < 0.5)
    if dice < 0.91:
        return protocol.Restore(job=chance.choice([None, job]))
    if dice < 0.98:
        return protocol.Reload()
    return protocol.Stop(drain_ns=chance.choice([None, -1, 5 * SECOND_NS]), now=chance.random() < 0.3)
