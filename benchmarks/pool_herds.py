"""What does `admission = "auto"` gain over a fixed pool on this machine, when a herd is due at once?

Three herds, each against the same with `admission = "fixed"`:

- commands that burn CPU time, beside a probe each second that has a priority seat. How late is the probe, and
  when is the herd done, against 2 and 64 workers? A second that comes and has no probe counts until there is
  one.
- commands that sleep. When are they done, against 64 workers?
- commands that fill memory, more than there is all together, in a control group with a limit of its own. How
  many does the kernel kill, when nothing is known of them, and when they run again? This needs root, and
  memory in version 1 of control groups; it is left out otherwise, with the reason.

It is a run of a few minutes that keeps the machine busy.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    BenchmarkError,
    Figure,
    child_environment,
    compile_c,
    main,
    print_report,
    read_stamps,
    slot_in,
    wait_until,
)
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECOND_NS = 1_000_000_000
AUTO = 'admission = "auto"'
FIXED = {workers: f'admission = "fixed"\nmax_workers = {workers}' for workers in (2, 64)}

BURN_MS, NAP_MS = 300, 5000
#: The probe starts as if there were no herd; the herd is done as if it had the machine for itself.
PROBE_AIM, MAKESPAN_AIM = "<= 0.1", "<= 1.05"
NAPS_AIM = "<= 0.4"
LIMIT_MB, EACH_MB, HOLD_MS = 2048, 200, 2000
KILLS_AIM = "<= 0"

_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup \S+ (\S+)$", re.MULTILINE)
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Course:
    """How a herd went, in seconds after its slot."""

    last_end_s: float
    #: For each second until then, how long after it a probe started.
    probes_s: tuple[float, ...] = ()

    @property
    def probe_s(self) -> float:
        """Return the lateness that 95 of 100 probes do not exceed."""
        return statistics.quantiles(self.probes_s, n=20)[-1]


def course(slot_ns: int, ends_ns: Sequence[int], probes_ns: Sequence[int]) -> Course:
    """Return how it went, from the time of each end and of each start of a probe, in their order."""
    last_ns = ends_ns[-1]
    late = []
    for second_ns in range(slot_ns + SECOND_NS, last_ns + 1, SECOND_NS):
        started = next((at_ns for at_ns in probes_ns if at_ns >= second_ns), last_ns)
        late.append((started - second_ns) / SECOND_NS)
    return Course((last_ns - slot_ns) / SECOND_NS, tuple(late))


def run_herd(pool: str, count: int, *, burn_ms: int = 0, nap_ms: int = 0, has_probe: bool = False) -> Course:
    """Let a herd run in one pool."""
    with work_directory() as directory:
        ends, probes = directory / "ends", directory / "probes"
        slot_ns = slot_in(3 + count / 200)
        work = [str(compile_c("work")), str(burn_ms), str(nap_ms), "0", str(ends)]
        text = f"[pool]\n{pool}\npriority_seats = 1\n"
        text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
        if has_probe:
            stamp = [str(compile_c("stamp")), str(probes)]
            text += job("probe", command=stamp, cron="* * * * * *", priority=1)
        text += "".join(job(f"herd-{number}", at_ns=slot_ns, command=work) for number in range(count))
        with Taskman(directory, text, may_warn=True) as taskman:
            taskman.wait_until(
                lambda: len(read_stamps(ends)) == count,
                timeout_s=60 + count * (burn_ms + nap_ms) / 1000,
                what=f"{count} ends",
            )
            if has_probe:  # those that were due before the last end
                end_ns = read_stamps(ends)[-1]
                taskman.wait_until(
                    lambda: bool(read_stamps(probes)) and read_stamps(probes)[-1] >= end_ns,
                    timeout_s=60,
                    what="the probe after the herd",
                )
        return course(slot_ns, read_stamps(ends), read_stamps(probes))


def measure_burners(count: int) -> None:
    """Measure the herd that burns CPU time, with its probe."""
    found = {
        name: run_herd(pool, count, burn_ms=BURN_MS, has_probe=True)
        for name, pool in {"auto": AUTO, "fixed 2": FIXED[2], "fixed 64": FIXED[64]}.items()
    }
    auto = found["auto"]
    table = [("pool", "herd done s", "probe p95 s", "probe worst s")]
    figures = [Figure("pool_herds.probe_p95_s", auto.probe_s, PROBE_AIM)]
    for name, each in found.items():
        table.append((name, f"{each.last_end_s:.1f}", f"{each.probe_s:.3f}", f"{max(each.probes_s):.3f}"))
        if each is not auto:
            of = name.replace(" ", "_")
            makespan = auto.last_end_s / each.last_end_s
            figures.append(Figure(f"pool_herds.makespan_to_{of}", makespan, MAKESPAN_AIM))
            figures.append(Figure(f"pool_herds.probe_to_{of}", auto.probe_s / each.probe_s, "<= 1"))
    print_report(
        f"{count} commands of {BURN_MS / 1000:g} s CPU due at once, {os.cpu_count()} CPUs, a probe a second;"
        f" aims: p95 {PROBE_AIM} s, herd {MAKESPAN_AIM} of each fixed pool's",
        table,
        figures,
    )


def measure_sleepers(count: int) -> None:
    """Measure the herd that sleeps."""
    auto, fixed = (run_herd(pool, count, nap_ms=NAP_MS) for pool in (AUTO, FIXED[64]))
    ratio = auto.last_end_s / fixed.last_end_s
    table = [
        ("pool", "herd done s"),
        ("auto", f"{auto.last_end_s:.1f}"),
        ("fixed 64", f"{fixed.last_end_s:.1f}"),
    ]
    print_report(
        f"{count} commands that sleep {NAP_MS / 1000:g} s due at once; aim: {NAPS_AIM} of fixed 64's",
        table,
        [Figure("pool_herds.sleepers_to_fixed_64", ratio, NAPS_AIM)],
    )


# --- memory ---


def find_memory_group() -> Path:
    """Return the directory of our own control group of memory, of version 1; raise BenchmarkError if none."""
    if os.geteuid() != 0:
        raise BenchmarkError("only root can make a control group")
    mounts = _MOUNT.findall(Path("/proc/self/mountinfo").read_text(errors="replace"))
    for root, place, options in mounts:
        if "memory" not in options.split(","):
            continue
        lines = Path("/proc/self/cgroup").read_text(errors="replace").splitlines()
        ours = next(
            (line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1].split(",")), "/"
        )
        return Path(place, (ours if root == "/" else ours.removeprefix(root)).lstrip("/"))
    raise BenchmarkError("memory is not in version 1 of control groups here")


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """Give a control group with a limit of memory; remove it afterwards, with all that is left in it."""
    group = find_memory_group() / f"taskman-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
    except OSError as error:
        if group.exists():
            group.rmdir()
        raise BenchmarkError(f"no control group can be made: {error}") from error
    try:
        yield group
    finally:
        remove_group(group)


def remove_group(group: Path) -> None:
    """Kill what is left in a control group, and remove it."""

    def is_removed() -> bool:
        for pid in map(int, (group / "cgroup.procs").read_text().split()):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        try:
            group.rmdir()
        except OSError:  # what was killed is not gone yet
            return False
        return True

    wait_until(is_removed, timeout_s=30, what=f"{group} to be empty")


def kills_in(group: Path) -> int:
    """Return how many processes of a control group the kernel has killed for want of memory."""
    match = _KILLS.search((group / "memory.oom_control").read_text())
    if match is None:
        raise BenchmarkError("this kernel does not count what it kills in a control group")
    return int(match[1])


def ended(directory: Path) -> int:
    """Return how many commands have ended, as taskman counts them."""
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "status", "--json", "--state-dir", str(directory / "state")],
        env=child_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:  # it starts, or is being replaced
        return 0
    counters = json.loads(done.stdout)["counters"]
    return int(counters["succeeded"] + counters["failed"] + counters["lost"])


def fill(pool: str, count: int, interval_s: int) -> tuple[int, int]:
    """Let a herd fill memory twice; return how many were killed each time."""
    with work_directory() as directory, memory_group(LIMIT_MB << 20) as group:
        ends = directory / "ends"
        work = [str(compile_c("work")), "0", str(HOLD_MS), str(EACH_MB), str(ends)]
        text = f'[taskman]\nrestart_delay = "10ms"\n[pool]\n{pool}\n'
        text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
        for number in range(count):
            text += job(f"herd-{number}", command=work, every=f"{interval_s}s", run_on_start=True, max_runs=2)
        with Taskman(directory, text, group=group, may_warn=True) as taskman:
            begun = time.monotonic()
            patience_s = interval_s - 5.0
            taskman.wait_until(
                lambda: ended(directory) >= count, timeout_s=patience_s, what="the first round", poll_s=0.5
            )
            first = kills_in(group)
            left_s = interval_s - (time.monotonic() - begun)
            taskman.wait_until(
                lambda: ended(directory) >= 2 * count,
                timeout_s=left_s + patience_s,
                what="the second round",
                poll_s=0.5,
            )
            return first, kills_in(group) - first


def measure_fillers(count: int) -> None:
    """Measure the herd that fills memory, twice in a row."""
    try:
        with memory_group(LIMIT_MB << 20) as group:
            kills_in(group)
    except BenchmarkError as error:
        print(f"left out, {count} commands of {EACH_MB} MB where {LIMIT_MB} MB may be used: {error}")
        return
    interval_s = 20 + count
    table = [("pool", "killed at first", "killed the second time")]
    first, second = fill(AUTO, count, interval_s)
    table.append(("auto", f"{first}", f"{second}"))
    try:
        table.append(("fixed 64", *(f"{kills}" for kills in fill(FIXED[64], count, interval_s))))
    except BenchmarkError as error:  # the kernel may kill taskman itself
        table.append(("fixed 64", "-", str(error).splitlines()[0]))
    print_report(
        f"{count} commands of {EACH_MB} MB where {LIMIT_MB} MB may be used; aim: none killed the second time",
        table,
        [Figure("pool_herds.killed_first", first), Figure("pool_herds.killed_second", second, KILLS_AIM)],
    )


def measure(quick: bool) -> None:
    """Measure the three herds."""
    count = 60 if quick else 300
    measure_burners(count)
    measure_sleepers(count)
    measure_fillers(20 if quick else 40)


if __name__ == "__main__":
    main(measure, __doc__)
