"""The model of a machine: what overlaps slows down, memory runs out, and each command ends once."""

from __future__ import annotations

import random

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.simulate.foreseen import Command
from taskman_cli.simulate.machine import End, Machine
from taskman_cli.simulate.work import Hardware, Kind, Phase, Work

GIB = 1 << 30


def bare(cores: float = 1, memory: int | None = None, **options: int) -> Machine:
    """Return a machine on which starts cost nothing."""
    return Machine(Hardware(cores, memory, start_cpu_ns=0, start_lag_ns=0, **options))


def run(machine: Machine) -> list[End]:
    """Let time pass until nothing runs."""
    ends = []
    while (at_ns := machine.next_ns()) is not None:
        ends += machine.advance(at_ns)
    return ends


def seconds(ends: list[End]) -> dict[str, float]:
    return {end.key: round(end.at_ns / SECOND_NS, 3) for end in ends}


def stalled_s(machine: Machine) -> float:
    return round((machine.signals().stalled_ns or 0) / SECOND_NS, 3)


def test_alone_a_command_takes_its_time() -> None:
    machine = bare()
    machine.begin("a", Work.of(cpu_ns=2 * SECOND_NS, sleep_ns=3 * SECOND_NS), 0)
    assert run(machine) == [End("a", 5 * SECOND_NS, 2 * SECOND_NS, 0)]
    assert len(machine) == 0


def test_a_start_costs_cpu_time_and_comes_a_moment_later() -> None:
    machine = Machine(Hardware(1))
    machine.begin("a", Work.of(cpu_ns=SECOND_NS), 0)
    machine.begin("b", Work.of(sleep_ns=SECOND_NS), 0)
    assert seconds(run(machine)) == {"b": 1.011, "a": 1.011}


def test_what_overlaps_shares_the_cores() -> None:
    machine = bare(2)
    for key in "abcd":
        machine.begin(key, Work.of(cpu_ns=SECOND_NS), 0)
    # Half of a core each, and a little is lost to switching.
    assert seconds(run(machine)) == dict.fromkeys("abcd", 2.003)
    assert round(machine.busy_ns / SECOND_NS, 2) == 4.01


def test_sleepers_share_nothing() -> None:
    machine = bare(1)
    for key in "abcd":
        machine.begin(key, Work.of(sleep_ns=SECOND_NS), 0)
    assert seconds(run(machine)) == dict.fromkeys("abcd", 1.0)
    assert machine.busy_ns == 0


def test_one_that_comes_later_slows_the_first_from_then_on() -> None:
    machine = bare(1)
    machine.begin("a", Work.of(cpu_ns=2 * SECOND_NS), 0)
    assert machine.advance(SECOND_NS) == []
    machine.begin("b", Work.of(cpu_ns=SECOND_NS // 2), SECOND_NS)
    assert seconds(run(machine)) == {"b": 2.001, "a": 2.501}


def test_a_command_of_several_tasks_uses_several_cores() -> None:
    work = Work.of(cpu_ns=4 * SECOND_NS, width=4)
    assert (work.cpu_ns, work.alone_ns) == (4 * SECOND_NS, SECOND_NS)
    machine = bare(4)
    machine.begin("a", work, 0)
    machine.advance(1)
    assert machine.runnable == 4
    assert run(machine) == [End("a", SECOND_NS, 4 * SECOND_NS, 0)]
    machine = bare(2)
    machine.begin("a", work, 0)
    assert seconds(run(machine)) == {"a": 2.003}


def test_what_others_run_takes_its_share() -> None:
    machine = bare(1, others=1)
    machine.begin("a", Work.of(cpu_ns=SECOND_NS), 0)
    machine.advance(1)
    assert machine.runnable == 2
    assert seconds(run(machine)) == {"a": 2.003}


def test_the_disk_is_shared_above_its_width() -> None:
    machine = bare(1, disk_width=2)
    for key in "abcd":
        machine.begin(key, Work.of(disk_ns=SECOND_NS), 0)
    assert seconds(run(machine)) == dict.fromkeys("abcd", 2.016)


def test_late_cpu_time_comes_after_the_sleep() -> None:
    work = Work.of(cpu_ns=5, sleep_ns=7, is_late=True)
    assert work.phases == (Phase(Kind.SLEEP, 7), Phase(Kind.CPU, 5))


def test_memory_is_taken_step_by_step() -> None:
    machine = bare(1, GIB)
    machine.begin("a", Work.of(sleep_ns=SECOND_NS, memory_bytes=400 << 20, ramp_ns=400), 0)
    used = []
    for at_ns in (0, 100, 200, 300, 400):
        machine.advance(at_ns)
        used.append(machine.used("a") >> 20)
    assert used == [3, 100, 200, 300, 400]
    assert machine.signals().available_bytes == 624 << 20
    assert run(machine)[0].peak_bytes == 400 << 20
    assert (machine.used("a"), machine.used_bytes, machine.peak_bytes) == (0, 0, 400 << 20)


def test_memory_that_comes_slowly_comes_in_more_steps() -> None:
    machine = bare(1, GIB)
    machine.begin(
        "a", Work.of(sleep_ns=9 * SECOND_NS, memory_bytes=600 << 20, ramp_ns=SECOND_NS * 27 // 5), 0
    )
    machine.advance(SECOND_NS // 2)
    assert machine.used("a") >> 20 == 50
    machine.advance(SECOND_NS)
    assert machine.used("a") >> 20 == 100


def test_little_memory_is_taken_at_once() -> None:
    machine = bare(1, GIB)
    machine.begin("a", Work.of(sleep_ns=SECOND_NS, memory_bytes=4 << 20), 0)
    assert machine.used("a") == 4 << 20


def test_above_all_memory_everything_is_slow_and_waits_for_it() -> None:
    machine = bare(2, GIB)
    machine.begin("a", Work.of(cpu_ns=SECOND_NS, memory_bytes=GIB * 11 // 10, ramp_ns=0), 0)
    assert seconds(run(machine)) == {"a": 10.0}
    assert stalled_s(machine) == 8.0
    machine = bare(2, GIB)
    machine.begin("a", Work.of(cpu_ns=SECOND_NS, memory_bytes=GIB * 97 // 100, ramp_ns=0), 0)
    assert seconds(run(machine)) == {"a": 1.0}
    assert stalled_s(machine) == 0.12


def test_the_largest_is_killed_when_the_memory_runs_out() -> None:
    machine = bare(2, GIB)
    for key, mib in (("a", 300), ("b", 500), ("c", 450)):
        machine.begin(key, Work.of(sleep_ns=SECOND_NS, memory_bytes=mib << 20, ramp_ns=100), 0)
    ends = run(machine)
    assert [(end.key, end.is_out_of_memory) for end in ends] == [("b", True), ("a", False), ("c", False)]
    assert (ends[0].at_ns, machine.kills) == (100, 1)


def test_a_command_is_ended_early_once() -> None:
    machine = bare(1, GIB)
    machine.begin("a", Work.of(cpu_ns=SECOND_NS, memory_bytes=5), 0)
    machine.begin("b", Work.of(disk_ns=SECOND_NS), 0)
    machine.begin("c", Work.of(sleep_ns=SECOND_NS), 0)
    machine.advance(400_000_000)
    assert (machine.cpu_ns("a"), machine.cpu_ns("b"), machine.cpu_ns("x")) == (400_000_000, 0, 0)
    assert ("a" in machine, "x" in machine) == (True, False)
    assert machine.end("a", 500_000_000) == End("a", 500_000_000, 500_000_000, 5)
    assert machine.end("b", 500_000_000) == End("b", 500_000_000, 0, 0)
    assert machine.end("c", 500_000_000) == End("c", 500_000_000, 0, 0)
    assert machine.end("a", 600_000_000) is None
    assert run(machine) == []
    assert (machine.runnable, machine.used_bytes) == (0, 0)


def test_what_was_planned_for_killed_commands_is_forgotten() -> None:
    machine = bare(1)
    for number in range(10_000):
        machine.begin(str(number), Work.of(sleep_ns=10**6 * SECOND_NS), number)
        machine.advance(number)
        machine.end(str(number), number)
    assert len(machine._timers) < 2000


def mixed(machine: Machine) -> Machine:
    """Begin three commands that share a core, so that what each gets is rounded whenever time passes."""
    for number in range(3):
        machine.begin(f"shares-{number}", Work.of(cpu_ns=(10 + number) * SECOND_NS), 0)
    machine.advance(SECOND_NS)
    return machine


@pytest.mark.parametrize(
    "work",
    [
        Work.of(cpu_ns=SECOND_NS, sleep_ns=SECOND_NS),
        Work.of(sleep_ns=2 * SECOND_NS),
        Work.of(disk_ns=2 * SECOND_NS),
        Work.of(memory_bytes=GIB // 2, sleep_ns=2 * SECOND_NS),
    ],
    ids=["computes", "sleeps", "reads", "grows"],
)
def test_nothing_stops_for_a_command_that_was_killed(work: Work) -> None:
    machine, other = mixed(bare(1, GIB)), mixed(bare(1, GIB))
    machine.begin("killed", work, SECOND_NS)
    machine.end("killed", SECOND_NS)
    assert machine.next_ns() == other.next_ns()


def test_nothing_stops_for_what_a_command_planned_that_ended_before() -> None:
    machine = mixed(bare(4, GIB))
    work = Work((Phase(Kind.SLEEP, 10**6),), GIB // 2, ramp_ns=SECOND_NS)
    machine.begin("grows", work, SECOND_NS)
    machine.advance(SECOND_NS + 10**6)
    assert "grows" not in machine
    assert machine.next_ns() == mixed(bare(4, GIB)).next_ns()


def test_nothing_stops_for_what_was_killed_for_memory() -> None:
    machine = mixed(bare(1, GIB))
    for key in ("c", "b", "a"):
        machine.begin(key, Work.of(sleep_ns=SECOND_NS, memory_bytes=GIB * 2 // 3), SECOND_NS)
    machine.advance_to_end(2 * SECOND_NS)
    assert machine.kills == 1
    plans = machine._timers, machine._on_cpu, machine._on_disk
    assert [one[0][2].is_over for one in plans if one] == [False, False]


def test_how_long_cores_were_busy_is_whole_however_long_that_is() -> None:
    """Or the parts of a long time would not sum up to it."""
    machine = bare(4)
    machine.begin("a", Work.of(cpu_ns=(1 << 60) + 1), 0)
    machine.begin("b", Work.of(cpu_ns=(1 << 60) + 1), 0)
    machine.advance((1 << 60) - 1)
    assert machine.busy_ns == (1 << 61) - 2


def test_the_machine_says_what_the_kernel_would() -> None:
    machine = bare(2)
    signals = machine.signals(most_workers=9)
    assert (signals.cpus, signals.runnable, signals.memory_bytes, signals.available_bytes) == (
        2,
        0,
        None,
        None,
    )
    assert (signals.stalled_ns, signals.most_workers) == (0, 9)


@pytest.mark.no_cover
def test_each_command_ends_once_and_none_gains_time() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        machine = Machine(Hardware(chance.choice([1, 2, 8]), chance.choice([None, GIB])))
        works, began, ended = {}, {}, {}
        now_ns = 0
        for number in range(60):
            key = str(number)
            works[key] = Work.of(
                cpu_ns=int(chance.expovariate(1e-9)),
                sleep_ns=chance.choice([0, int(chance.expovariate(1e-9))]),
                disk_ns=chance.choice([0, 0, int(chance.expovariate(1e-9))]),
                memory_bytes=chance.randint(0, 300 << 20),
                width=chance.choice([1, 1, 3]),
            )
            machine.begin(key, works[key], now_ns)
            began[key] = now_ns
            now_ns += int(chance.expovariate(2e-9))
            for end in machine.advance(now_ns):
                assert end.key not in ended
                ended[end.key] = end
        for end in run(machine):
            assert end.key not in ended
            ended[end.key] = end
        assert ended.keys() == works.keys()
        for key, end in ended.items():
            if end.is_out_of_memory:
                continue
            assert end.at_ns - began[key] >= works[key].alone_ns - 2
            slack_ns = works[key].width * machine.hardware.start_cpu_ns + 10
            assert abs(end.cpu_ns - works[key].cpu_ns) <= slack_ns
        assert (len(machine), machine.used_bytes, machine.runnable) == (0, 0, 0)


class Stepwise(Machine):
    """A machine that foresees nothing: it goes from phase to phase."""

    def _foresee(self, command: Command, begin_ns: int) -> bool:
        return False


def course(machine: Machine, seed: int) -> tuple[list[tuple[int, float, int]], dict[str, End]]:
    """Return what a machine says now and then of random commands, and their ends."""
    chance, said, ended = random.Random(seed), [], {}
    now_ns = 0
    for number in range(80):
        key = str(number)
        phases = [Phase(Kind.CPU, int(chance.expovariate(5e-9)) + 1)]
        phases += [Phase(Kind.SLEEP, int(chance.expovariate(2e-9)))] * chance.randint(0, 2)
        if chance.random() < 0.2:
            phases.insert(chance.randint(0, 1), Phase(Kind.DISK, SECOND_NS // 9))
        work = Work(
            tuple(phases), chance.choice([0, 0, 4 << 20, 200 << 20]), width=chance.choice([1, 1, 1, 2])
        )
        machine.begin(key, work, now_ns)
        now_ns += int(chance.expovariate(chance.choice([3e-9, 3e-8, 3e-7])))
        ended |= {end.key: end for end in machine.advance(now_ns)}
        other = str(chance.randint(0, number))
        said.append((machine.runnable, machine.busy_ns, machine.cpu_ns(other)))
        if chance.random() < 0.1 and (end := machine.end(other, now_ns)):
            ended[other] = end
    ended |= {end.key: end for end in run(machine)}
    said.append((machine.runnable, machine.busy_ns, 0))
    return said, ended


@pytest.mark.no_cover
def test_what_is_foreseen_is_what_happens() -> None:
    for seed in range(150):
        hardware = Hardware(1 + seed % 4, [None, GIB][seed % 2], others=seed % 3 // 2)
        machine = Machine(hardware)
        said, ended = course(machine, seed)
        said_stepwise, ended_stepwise = course(Stepwise(hardware), seed)
        assert ended.keys() == ended_stepwise.keys()
        for key, end in ended.items():
            other = ended_stepwise[key]
            assert abs(end.at_ns - other.at_ns) <= 100, f"seed {seed}, command {key}"
            assert abs(end.cpu_ns - other.cpu_ns) <= 200
            assert (end.peak_bytes, end.is_out_of_memory) == (other.peak_bytes, other.is_out_of_memory)
        for (runnable, busy_ns, cpu_ns), other_said in zip(said, said_stepwise, strict=True):
            assert runnable == other_said[0], f"seed {seed}"
            assert abs(busy_ns - other_said[1]) <= 10_000
            assert abs(cpu_ns - other_said[2]) <= 200
        assert (len(machine), machine.runnable) == (0, hardware.others)
        assert machine._foreseen.tasks(machine.now_ns) == 0


def test_a_command_that_is_foreseen_and_killed_before_it_began_has_used_nothing() -> None:
    machine = Machine(Hardware(2))
    machine.begin("a", Work((Phase(Kind.CPU, SECOND_NS),)), 0)
    assert machine.end("a", 1_000_000) == End("a", 1_000_000, 0, 0)
    assert (machine.busy_ns, run(machine)) == (0, [])


def test_alone_a_command_is_looked_at_once_and_it_is_when_it_ends() -> None:
    machine = Machine(Hardware(2))
    machine.begin("a", Work((Phase(Kind.CPU, SECOND_NS), Phase(Kind.SLEEP, SECOND_NS))), 0)
    assert machine.next_ns() == 2_008_000_000
    assert run(machine) == [End("a", 2_008_000_000, 1_003_000_000, 0)]
