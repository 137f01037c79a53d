"""Two network namespaces as two machines, with a slow line between: what a lot of output does to starts.

    python tests/e2e/dask_line.py [--megabytes N]

On one machine are taskman and Dask's scheduler, on the other a worker; between them is a line of 1 Mbit/s.
A command there prints so much, while others start each second, here and there. Root only.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dask_cluster import DaskCluster
from e2e.running import Running
from wait import wait_until

from taskman_cli.core.engine.runs import decode_run_id

_HERE, _THERE = "10.99.0.1", "10.99.0.2"
_LINE = ("tbf", "rate", "1mbit", "burst", "16kb", "latency", "200ms")
_MOST_OUTPUT = 200_000
_INSIDE = "TASKMAN_LINE_INSIDE"


class Line(DaskCluster):
    """A cluster whose workers are on the other side of a slow line."""

    def __init__(self, directory: Path) -> None:
        there = subprocess.Popen(["unshare", "--net", "sleep", "100000"])
        self._there = there
        self.prefix = ("nsenter", "--net", "--target", str(there.pid))
        wait_until(
            lambda: Path(f"/proc/{there.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        )
        _run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
        _run("ip", "link", "set", "there", "netns", str(there.pid))
        for prefix, name, address in (((), "here", _HERE), (self.prefix, "there", _THERE)):
            _run(*prefix, "ip", "link", "set", "lo", "up")
            _run(*prefix, "ip", "address", "add", f"{address}/24", "dev", name)
            _run(*prefix, "ip", "link", "set", name, "up")
            _run(*prefix, "tc", "qdisc", "add", "dev", name, "root", *_LINE)
        super().__init__(directory, host=_HERE)

    def stop(self) -> None:
        super().stop()
        self._there.kill()
        self._there.wait()


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


def play(directory: Path, *, megabytes: float) -> dict[str, Any]:
    """Have a lot printed over the line, and return what was measured."""
    cluster = Line(directory)
    try:
        cluster.start_worker("far", "--host", _THERE, threads=8, prefix=cluster.prefix)
        blocks = int(megabytes * 1000)
        jobs = (
            f'[executors.farm]\n{cluster.table}lost_after = "60s"\n'
            f"[defaults]\nmax_output = {_MOST_OUTPUT}\n"
            f'[jobs.loud]\ncron = "0 0 1 1 *"\nrun_on_start = true\nexecutor = "farm"\n'
            f"command = \"head -c {blocks}000 /dev/zero | tr '\\\\000' x\"\n"
            '[jobs.here]\nevery = "1s"\ncommand = "true"\noverlap = "allow"\n'
            '[jobs.there]\nevery = "1s"\nexecutor = "farm"\noverlap = "allow"\n'
            f"command = 'echo $TASKMAN_RUN_ID $(date +%s%N) >> {directory}/there'\n"
        )
        began_s = time.monotonic()
        with Running(directory, jobs):
            ledger = directory / "state/ledger.db"

            def asked(query: str) -> list[Any]:
                try:
                    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5)) as opened:
                        return opened.execute(query).fetchall()
                except sqlite3.Error:
                    return []

            of = "FROM attempts a JOIN runs r ON r.id = run JOIN job_state j ON j.id = r.job WHERE j.name"
            wait_until(
                lambda: asked(f"SELECT 1 {of} = 'loud' AND a.state NOT IN ('queued', 'running')"),
                timeout_s=60 + megabytes * 12, what="the output has arrived",
            )  # fmt: skip
            took_s = time.monotonic() - began_s
            [(state, output_bytes)] = asked(f"SELECT a.state, output_bytes {of} = 'loud'")
            here = asked(f"SELECT a.started_ns - r.due_ns {of} = 'here' AND a.started_ns IS NOT NULL")
            due = dict(asked(f"SELECT r.id, r.due_ns {of} = 'there'"))
            there = [line.split() for line in (directory / "there").read_text().splitlines()]
            late = {
                "here": sorted(late_ns / 1e9 for (late_ns,) in here),
                "there": sorted((int(at) - due[decode_run_id(run)]) / 1e9 for run, at in there),
            }
            ends = asked(
                f"SELECT a.state, count(*) {of} = 'there' AND a.state NOT IN ('queued', 'running') GROUP BY 1"
            )
        [output] = [path for path in (directory / "state/output/loud").iterdir() if path.is_file()]
        return {
            "succeeded": state == "succeeded", "output_bytes": output_bytes,
            "kept_bytes": output.stat().st_size, "took_s": round(took_s, 1),
            **{f"{job}_{what}": value for job in late for what, value in _late(late[job]).items()},
            **{f"there_{state}": count for state, count in ends},
        }  # fmt: skip
    finally:
        cluster.stop()


def _late(found: list[float]) -> dict[str, float]:
    return {
        "starts": len(found), "median_late_s": round(found[len(found) // 2], 3),
        "most_late_s": round(found[-1], 3),
    }  # fmt: skip


def main() -> None:
    """Play it in a namespace of its own, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=float, default=10)
    options = parser.parse_args()
    if _INSIDE not in os.environ:
        again = [sys.executable, __file__, "--megabytes", str(options.megabytes)]
        os.execvpe("unshare", ["unshare", "--net", *again], os.environ | {_INSIDE: "1"})
    with tempfile.TemporaryDirectory(prefix="dask-line-") as place:
        print(json.dumps(play(Path(place), megabytes=options.megabytes)))


if __name__ == "__main__":
    main()
