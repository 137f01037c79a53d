"""The loads of the benchmark of the pool: what is due when, and what each command does.

Each is made from a seed and a size; size 1 suits two cores and 2 GB. `own_` before a name: each command is a
job of its own, so nothing is known of any.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scaling_stage import START_CPU_S, Work


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be done, and the moment at which it changes; None: it does not change at once."""

    works: list[Work]
    step_s: float | None = None

    def demand_after_step(self, window_s: float, cpus: int) -> float:
        """Return which share of the cores is asked for after the step."""
        if self.step_s is None:
            return 0.0
        until_s = self.step_s + window_s
        due = [work for work in self.works if self.step_s <= work.at_s < until_s]
        return sum(work.cpu_s + START_CPU_S for work in due) / (window_s * cpus)


Maker = Callable[[random.Random, float], Load]


def _arrivals(
    chance: random.Random, until_s: float, rate: Callable[[float], float], most: float
) -> Iterator[float]:
    """Yield moments at which something arrives; `rate`, a second, is never over `most`."""
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(most)) < until_s:
        if chance.random() * most <= rate(at_s):
            yield at_s


def _steady(chance: random.Random, until_s: float, rate: float) -> Iterator[float]:
    return _arrivals(chance, until_s, lambda _: rate, rate)


def _web(at_s: float) -> Work:
    return Work("web", at_s, cpu_s=0.03, sleep_s=0.45, memory_mb=15)


def _probes(until_s: int) -> list[Work]:
    """Return a small command a second, with a priority."""
    return [Work("probe", at + 0.5, cpu_s=0.01, memory_mb=3, priority=1) for at in range(until_s)]


def _herd(count: float, kind: str, at_s: float = 1.0, **does: float) -> list[Work]:
    """Return many commands that are due at once."""
    return [Work(kind, at_s, **does) for _ in range(int(count))]


def step_up(chance: random.Random, size: float) -> Load:
    """From one to thirty a second."""
    due = _arrivals(chance, 50, lambda at_s: size * (1 if at_s < 20 else 30), 30 * size)
    return Load([_web(at_s) for at_s in due], 20)


def step_down(chance: random.Random, size: float) -> Load:
    """From thirty to one a second."""
    due = _arrivals(chance, 60, lambda at_s: size * (30 if at_s < 20 else 1), 30 * size)
    return Load([_web(at_s) for at_s in due], 20)


def ramp(chance: random.Random, size: float) -> Load:
    """More and more, from nothing to 45 a second."""
    due = _arrivals(chance, 60, lambda at_s: 45 * size * at_s / 60, 45 * size)
    return Load([_web(at_s) for at_s in due])


def burst(_: random.Random, size: float) -> Load:
    """A thousand commands of a few milliseconds, at once."""
    return Load([*_herd(1000 * size, "tiny", cpu_s=0.004, sleep_s=0.01, memory_mb=3), *_probes(10)], 1)


def sawtooth(chance: random.Random, size: float) -> Load:
    """Four times from nothing to 50 a second."""
    due = _arrivals(chance, 80, lambda at_s: 50 * size * (at_s % 20) / 20, 50 * size)
    return Load([_web(at_s) for at_s in due])


def lull_storm(chance: random.Random, size: float) -> Load:
    """Long quiet, then two hundred in two seconds, twice."""
    works = [_web(at_s) for at_s in _steady(chance, 40, 0.2)]
    for at_s in (40, 90):
        works += [_web(at_s + chance.random() * 2) for _ in range(int(200 * size))]
    return Load([*works, *_probes(100)], 40)


def heavy(chance: random.Random, size: float) -> Load:
    """Run times with a heavy tail, from milliseconds to half a minute."""
    works = []
    for at_s in _steady(chance, 90, 6 * size):
        cpu_s = min(30.0, 0.02 * chance.paretovariate(1.1))
        sleep_s = min(30.0, 0.05 * chance.paretovariate(1.1)) if chance.random() < 0.5 else 0.0
        works.append(Work(f"heavy{chance.randrange(5)}", at_s, cpu_s=cpu_s, sleep_s=sleep_s, memory_mb=15))
    return Load([*works, *_probes(90)])


def cpu_herd(_: random.Random, size: float) -> Load:
    """Three hundred commands of 0.3 CPU seconds, at once."""
    return Load([*_herd(300 * size, "cpu", cpu_s=0.3, memory_mb=4), *_probes(50)], 1)


def cpu_late(_: random.Random, size: float) -> Load:
    """The same, but each looks like a sleeper at first."""
    works = _herd(300 * size, "late", cpu_s=0.3, sleep_s=0.3, memory_mb=4)
    for work in works:
        work.is_late = True
    return Load([*works, *_probes(50)], 1)


def mem_herd(_: random.Random, size: float) -> Load:
    """Forty commands of 200 MB, at once."""
    return Load(_herd(40 * size, "mem", cpu_s=0.3, sleep_s=1.5, memory_mb=200), 1)


def mem_slow(_: random.Random, size: float) -> Load:
    """The same, but each takes five seconds to get its memory."""
    return Load(_herd(40 * size, "slow", cpu_s=0.3, sleep_s=6, memory_mb=200, ramp_s=5), 1)


def sleep_herd(_: random.Random, size: float) -> Load:
    """Three hundred commands that sleep five seconds, at once."""
    return Load([*_herd(300 * size, "sleep", cpu_s=0.01, sleep_s=5, memory_mb=3), *_probes(10)], 1)


def io_herd(_: random.Random, size: float) -> Load:
    """Eighty commands that read from one disk, at once."""
    return Load([*_herd(80, "io", cpu_s=0.02, disk_s=1, memory_mb=10), *_probes(20)], 1)


def tenfold(chance: random.Random, size: float) -> Load:
    """The same number as before, each of which suddenly takes ten times as long."""
    works = []
    for at_s in _steady(chance, 70, 7 * size):
        factor = 1 if at_s < 30 else 10
        works.append(Work("ten", at_s, cpu_s=0.02 * factor, sleep_s=0.2 * factor, memory_mb=15))
    return Load(works, 30)


def mix(chance: random.Random, size: float) -> Load:
    """All kinds at once, with three herds among them."""
    rates: list[tuple[float, Callable[[float], Work]]] = [
        (5, _web),
        (1.2, lambda at_s: Work("cpu", at_s, cpu_s=0.3, memory_mb=10)),
        (4, lambda at_s: Work("sleep", at_s, cpu_s=0.01, sleep_s=5, memory_mb=3)),
        (0.5, lambda at_s: Work("mem", at_s, cpu_s=0.3, sleep_s=1.5, memory_mb=200)),
    ]
    works = [make(at_s) for rate, make in rates for at_s in _steady(chance, 90, rate * size)]
    works += _herd(200 * size, "tiny", 30, cpu_s=0.004, sleep_s=0.01, memory_mb=3)
    works += _herd(60 * size, "cpu", 45, cpu_s=0.3, memory_mb=10)
    works += _herd(20 * size, "mem", 65, cpu_s=0.3, sleep_s=1.5, memory_mb=200)
    return Load([*works, *_probes(90)])


def _own(make: Maker) -> Maker:
    """Let each command but the probes be a job of its own."""

    def made(chance: random.Random, size: float) -> Load:
        load = make(chance, size)
        for number, work in enumerate(load.works):
            if work.kind != "probe":
                work.kind = f"{work.kind}{number}"
        return load

    return made


LOADS: dict[str, Maker] = {
    **{
        make.__name__: make
        for make in (
            step_up, step_down, ramp, burst, sawtooth, lull_storm, heavy, cpu_herd, cpu_late, mem_herd,
            mem_slow, sleep_herd, io_herd, tenfold, mix,
        )
    },
    **{f"own_{make.__name__}": _own(make) for make in (sleep_herd, mem_herd, mix)},
}  # fmt: skip
#: Loads that ask for the CPU, for sleep and for memory alone: their makespan has the stricter aim, for memory
#: once it is known what the jobs need.
PLAIN = ("cpu_herd", "cpu_late", "sleep_herd")
PLAIN_MEMORY = ("mem_herd", "mem_slow")


def make_load(name: str, size: float, seed: int) -> Load:
    """Make a load by its name."""
    return LOADS[name](random.Random(seed), size)
