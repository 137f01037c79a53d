"""Every metric that taskman has: its name, its kind and what it means, and where its values come from.

A metric is a function of what was collected. The names keep to Prometheus' conventions: base units, `_total`
for counters. The label `job` is the name of a job, never its command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from taskman_cli.metrics.processes import ProcessUse

#: Labels and a value.
Sample = tuple[dict[str, str], float]
COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"


class Collected(NamedTuple):
    """All that was collected from one scheduler."""

    #: Its reply to the first request, without the jobs.
    whole: dict[str, Any]
    #: The jobs, as `core.engine.figures` has them.
    jobs: list[list[Any]]
    #: What its processes use, by what they are: "scheduler", "supervisor".
    processes: dict[str, ProcessUse]


class Family(NamedTuple):
    """One metric."""

    #: Without the `_total` of a counter.
    name: str
    kind: str
    #: What it means, in one line.
    help: str
    #: The names of its labels.
    labels: tuple[str, ...]
    read: Callable[[Collected], Iterable[Sample]]
    unit: str = ""


class JobFamily(NamedTuple):
    """One metric of each job: its samples have the label `job`, and perhaps one more."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    #: The index in the row of a job, with the value of the second label.
    columns: tuple[tuple[int, str], ...]
    #: What the value in the row is divided by; None is left out.
    per: int = 1
    unit: str = ""


def _plain(key: str) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        yield {}, collected.whole[key]

    return read


def _counter(key: str) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        yield {}, collected.whole["counters"].get(key, 0)

    return read


def _histogram(key: str) -> Callable[[Collected], Iterator[Sample]]:
    """Read a histogram: its buckets by `le`, then its sum, with the label `""`."""

    def read(collected: Collected) -> Iterator[Sample]:
        told, below = collected.whole[key], 0
        for bound_ns, count in zip([*told["bounds_ns"], None], told["counts"], strict=True):
            below += count
            yield {"le": "+Inf" if bound_ns is None else bound_text(bound_ns)}, below
        yield {}, told["total_ns"] / SECOND_NS

    return read


def bound_text(bound_ns: int) -> str:
    """Write a bound as a float, as OpenMetrics wants it: "0.005", "60.0"."""
    return repr(bound_ns / SECOND_NS)


def _queues(column: int, *, is_bytes: bool) -> Callable[[Collected], Iterator[Sample]]:
    label = "buffer" if is_bytes else "queue"

    def read(collected: Collected) -> Iterator[Sample]:
        for row in collected.whole["queues"]:
            if bool(row[3]) is is_bytes:
                yield {label: row[0]}, row[column]

    return read


def _resources(column: int) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        for row in collected.whole["resources"]:
            if row[column] is not None:
                yield {"resource": row[0]}, row[column]

    return read


def _executors(column: int) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        for row in collected.whole["executors"]:
            yield {"executor": row[0]}, int(row[column])

    return read


def _executor_ends(collected: Collected) -> Iterator[Sample]:
    for row in collected.whole["executors"]:
        for state, count in row[5].items():
            yield {"executor": row[0], "state": state}, count


def _far_workers(column: int) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        for row in collected.whole["executors"]:
            if row[7] is not None:
                yield {"executor": row[0]}, row[7][column]

    return read


def _process(field: str) -> Callable[[Collected], Iterator[Sample]]:
    def read(collected: Collected) -> Iterator[Sample]:
        for name, use in collected.processes.items():
            yield {"process": name}, getattr(use, field)

    return read


def _runs(collected: Collected) -> Iterator[Sample]:
    for state, count in collected.whole["runs"].items():
        yield {"state": state}, count


def _slots(collected: Collected) -> Iterator[Sample]:
    for outcome, reason, count in collected.whole["slots"]:
        yield {"outcome": outcome, "reason": reason}, count


def _workers(collected: Collected) -> Iterator[Sample]:
    for state in ("busy", "free"):
        yield {"state": state}, collected.whole[state]


def _build(collected: Collected) -> Iterator[Sample]:
    yield {"version": collected.whole["version"]}, 1


def _started(collected: Collected) -> Iterator[Sample]:
    yield {}, collected.whole["started_ns"] / SECOND_NS


#: At most eight series of each job.
JOB_FAMILIES = (
    JobFamily(
        "taskman_job_runs", COUNTER,
        "Runs of a job that have ended; failed includes those that timed out or were lost.",
        ("job", "state"), ((1, "succeeded"), (2, "failed"), (3, "cancelled")),
    ),
    JobFamily(
        "taskman_job_last_success_timestamp_seconds", GAUGE,
        "When the last success of a job ended; absent before the first one. Restarts keep it.",
        ("job",), ((4, ""),), per=SECOND_NS, unit="seconds",
    ),
    JobFamily(
        "taskman_job_next_slot_timestamp_seconds", GAUGE,
        "The next slot of a job; absent if there is none.",
        ("job",), ((5, ""),), per=SECOND_NS, unit="seconds",
    ),
    JobFamily(
        "taskman_job_last_duration_seconds", GAUGE,
        "How long the last run of a job took; absent before the first one of this scheduler.",
        ("job",), ((6, ""),), per=SECOND_NS, unit="seconds",
    ),
    JobFamily(
        "taskman_job_parked", GAUGE, "1 if a job is parked: it failed too often, and has no new runs.",
        ("job",), ((7, ""),),
    ),
    JobFamily("taskman_job_paused", GAUGE, "1 if a job is paused.", ("job",), ((8, ""),)),
)  # fmt: skip

FAMILIES = (
    Family("taskman_build", INFO, "The version of taskman.", ("version",), _build),
    Family(
        "taskman_start_time_seconds", GAUGE, "When taskman run was started.", (), _started, unit="seconds"
    ),
    Family("taskman_jobs", GAUGE, "Jobs, with one-off jobs.", (), _plain("jobs")),
    Family("taskman_jobs_parked", GAUGE, "Jobs that are parked.", (), _plain("parked")),
    Family(
        "taskman_runs", COUNTER, "Runs of all jobs that have ended, one-off jobs included.", ("state",), _runs
    ),
    Family(
        "taskman_slots", COUNTER,
        "Slots that ended: as a run, when that is over, or skipped for a reason.",
        ("outcome", "reason"), _slots,
    ),
    Family(
        "taskman_run_duration_seconds", HISTOGRAM,
        "How long runs took, from their first process to their end.",
        ("le",), _histogram("run_duration"), unit="seconds",
    ),
    Family(
        "taskman_start_delay_seconds", HISTOGRAM,
        "How long after a run was due its first process existed; runs that catch up are left out.",
        ("le",), _histogram("start_delay"), unit="seconds",
    ),
    Family(
        "taskman_attempts_started", COUNTER, "Commands that were started, retries included.",
        (), _counter("started"),
    ),
    Family("taskman_retries", COUNTER, "Failed commands that are tried again.", (), _counter("retried")),
    Family(
        "taskman_spawn_waits", COUNTER, "Times that processes, files or memory ran out, so starts waited.",
        (), _counter("spawn_waits"),
    ),
    Family("taskman_pool_workers", GAUGE, "Workers of the pool, busy or free.", ("state",), _workers),
    Family(
        "taskman_pool_target", GAUGE, "How many commands the pool wants to run at once.",
        (), _plain("target"),
    ),
    Family(
        "taskman_queue_depth", GAUGE, "How many items are in a queue now.", ("queue",),
        _queues(1, is_bytes=False),
    ),
    Family(
        "taskman_queue_depth_max", GAUGE, "The most that was in a queue since this scheduler began.",
        ("queue",), _queues(2, is_bytes=False),
    ),
    Family(
        "taskman_buffer_bytes", GAUGE, "How many bytes wait in a buffer now.", ("buffer",),
        _queues(1, is_bytes=True), unit="bytes",
    ),
    Family(
        "taskman_buffer_max_bytes", GAUGE, "The most that waited in a buffer since this scheduler began.",
        ("buffer",), _queues(2, is_bytes=True), unit="bytes",
    ),
    Family(
        "taskman_resource_used", GAUGE, "How much of a resource running commands hold; ram in bytes.",
        ("resource",), _resources(1),
    ),
    Family(
        "taskman_resource_limit", GAUGE, "How much of a resource there is; absent if any amount.",
        ("resource",), _resources(2),
    ),
    Family(
        "taskman_executor_up", GAUGE,
        "0 if an executor is away, or connects, so that nothing can start on it now.",
        ("executor",), _executors(1),
    ),
    Family(
        "taskman_executor_running", GAUGE, "Commands that run on an executor.", ("executor",), _executors(2)
    ),
    Family(
        "taskman_executor_waiting", GAUGE, "Commands that wait to start on an executor.",
        ("executor",), _executors(3),
    ),
    Family(
        "taskman_executor_starts", COUNTER, "Commands that have started on an executor, retries included.",
        ("executor",), _executors(4),
    ),
    Family(
        "taskman_executor_ends", COUNTER,
        "Commands that have ended on an executor, or could not start there, by how.",
        ("executor", "state"), _executor_ends,
    ),
    Family(
        "taskman_executor_restarts", COUNTER, "Times that the process of an executor was replaced.",
        ("executor",), _executors(6),
    ),
    Family(
        "taskman_executor_far_workers", GAUGE,
        "Workers beyond an executor, where it says how many there are.", ("executor",), _far_workers(0),
    ),
    Family(
        "taskman_executor_far_running", GAUGE,
        "Commands of taskman on the workers beyond an executor, as it says.", ("executor",), _far_workers(1),
    ),
    Family(
        "taskman_executor_far_slots", GAUGE,
        "How many commands the workers beyond an executor take, as it says.", ("executor",), _far_workers(2),
    ),
    Family(
        "taskman_ledger_commit_seconds", HISTOGRAM, "How long transactions of the ledger took.",
        ("le",), _histogram("ledger_commit"), unit="seconds",
    ),
    Family(
        "taskman_ledger_writable", GAUGE, "1 if the ledger can be written; if not, nothing starts.",
        (), _plain("is_recording"),
    ),
    Family(
        "taskman_loop_lag_seconds", HISTOGRAM, "How late the scheduler's loop came to what was due.",
        ("le",), _histogram("loop_lag"), unit="seconds",
    ),
    Family(
        "taskman_log_lines_dropped", COUNTER, "Lines of the log that were dropped, since nobody read them.",
        (), _plain("log_lines_dropped"),
    ),
    Family(
        "taskman_process_cpu_seconds", COUNTER, "CPU time that a process of taskman has used.",
        ("process",), _process("cpu_s"), unit="seconds",
    ),
    Family(
        "taskman_process_resident_memory_bytes", GAUGE, "Memory that a process of taskman holds.",
        ("process",), _process("resident_bytes"), unit="bytes",
    ),
    Family(
        "taskman_process_virtual_memory_bytes", GAUGE, "Address space of a process of taskman.",
        ("process",), _process("virtual_bytes"), unit="bytes",
    ),
    Family(
        "taskman_process_open_fds", GAUGE, "Open files of a process of taskman.",
        ("process",), _process("open_fds"),
    ),
    Family(
        "taskman_process_start_time_seconds", GAUGE, "When a process of taskman was started.",
        ("process",), _process("started_s"), unit="seconds",
    ),
)  # fmt: skip
