"""What calls of functions leave behind in their worker, and that it harms no other call."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from integration.test_executor_python import a_call, outcomes, value

FUNCTIONS = r"""
import io, os, resource, sys, time

def replace_environment(): os.environ = {"LEFT": "1"}
def argv_of_another_kind(): sys.argv = ("a", "b")
def no_argv(): del sys.argv
def detach(): sys.stdout.detach()
def detach_all(): sys.stdin.detach(), sys.stdout.detach(), sys.stderr.detach()
def no_stdout(): del sys.stdout
def no_streams(): del sys.stdin, sys.stdout, sys.stderr
def reconfigure(): sys.stdout.reconfigure(encoding="ascii"), sys.stderr.reconfigure(errors="strict")
def unhashable():
    class Stream(list):
        flush = write = print
    sys.stdout = Stream()
def lazy():
    class Lazy:
        def __getattr__(self, name): raise ImportError(name)
    sys.modules["lazy"] = Lazy()
def zone():
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
def locale():
    import locale
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")

def write_after_the_end():
    sys.stdout.write("mine alone")
    os.close(1)
def write_more_than_fits():
    os.set_blocking(1, False)
    try:
        sys.stdout.write("x" * 3_000_000)
    except OSError:
        pass
def write_from_c():
    import ctypes
    ctypes.CDLL(None).printf(b"mine alone")
    os.close(1)

def look():
    import locale
    print("\u20ac", "and bytes", file=sys.stderr)
    print("\u20ac")
    return [os.environ.get("LEFT"), sys.argv, time.strftime("%H", time.localtime(0)),
            locale.setlocale(locale.LC_ALL), sys.stdin.read()]

def hour(): return time.localtime(0).tm_hour

def limit(name):
    number = getattr(resource, name)
    soft, hard = resource.getrlimit(number)
    most = 1 << 40 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(number, (most - 1, most - 1))
    return os.getpid()

def affinity():
    cpus = os.sched_getaffinity(0)
    if len(cpus) > 1:
        os.sched_setaffinity(0, [min(cpus)])
    return os.getpid()

kept = []
def take_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    try:
        while True: kept.append(os.dup(0))
    except OSError:
        pass
    return os.getpid()

def pid(): return os.getpid()

def length(text): return len(text)
def close_the_null_device():
    for fd in range(100, 200):
        try:
            if os.path.sameopenfile(fd, 0):
                os.close(fd)
        except OSError:
            pass
"""


@pytest.fixture
def leaving(tmp_path: Path) -> Path:
    path = tmp_path / "leaving.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "replace_environment", "argv_of_another_kind", "no_argv", "detach", "detach_all", "no_stdout",
        "no_streams", "reconfigure", "unhashable", "lazy", "zone", "locale", "close_the_null_device",
        "write_after_the_end", "write_more_than_fits", "write_from_c",
    ],
)  # fmt: skip
def test_what_a_call_leaves_changes_nothing_for_the_next(leaving: Path, name: str) -> None:
    before, left, after = outcomes(*(a_call(leaving, one) for one in ("look", name, "look")))
    assert before[0].exit_code == 0
    assert (left[0].exit_code, left[0].error) == (0, "")
    assert (after[0].exit_code, after[1]) == (0, before[1])


def test_each_call_has_the_time_zone_of_its_job(leaving: Path) -> None:
    zones = ("UTC", "Asia/Tokyo", "UTC", None)
    orders = [
        a_call(leaving, "hour", local_env={"PATH": os.defpath} | ({"TZ": zone} if zone else {}))
        for zone in zones
    ]
    hours = [value(text) for _, text in outcomes(*orders)]
    assert hours[:3] == [0, 9, 0]
    assert hours[3] == value(outcomes(orders[3])[0][1])


@pytest.mark.parametrize("name", ["RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_NPROC", "RLIMIT_STACK"])
def test_a_call_that_limits_its_process_is_its_workers_last(leaving: Path, name: str) -> None:
    if resource.getrlimit(getattr(resource, name))[1] == 0:
        pytest.skip("it is 0 already")
    first, second = outcomes(*[a_call(leaving, "limit", name)] * 2)
    assert value(first[1]) != value(second[1])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_call_that_binds_its_process_to_a_cpu_is_its_workers_last(leaving: Path) -> None:
    first, second = outcomes(*[a_call(leaving, "affinity")] * 2)
    assert value(first[1]) != value(second[1])


def test_a_worker_without_descriptors_leaves_the_next_call_to_another(leaving: Path) -> None:
    first, second = outcomes(a_call(leaving, "take_descriptors"), a_call(leaving, "pid"))
    assert first[0].exit_code == 0
    assert (second[0].exit_code, second[0].error) == (0, "")
    assert value(first[1]) != value(second[1])


@pytest.mark.parametrize("env", [{"A": "a\0b"}, {"A=B": "1"}, {"": "1"}], ids=["nul", "equals", "empty"])
def test_an_environment_that_cannot_be_fails_its_call_in_words(leaving: Path, env: dict[str, str]) -> None:
    good = {"PATH": os.defpath}
    first, second, third = outcomes(
        a_call(leaving, "pid", local_env=good),
        a_call(leaving, "pid", local_env=good | env),
        a_call(leaving, "pid", local_env=good),
    )
    assert second[0].exit_code is None
    assert second[0].error
    assert value(first[1]) == value(third[1])
