"""Two machines with a line of 1 Mbit/s between them: much output arrives bounded, and no start is delayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import network
import pytest
from dask_cluster import why_not

#: Ten of them take a minute and a half.
MEGABYTES = os.environ.get("TASKMAN_LINE_MEGABYTES", "1")
#: What a loaded machine may add.
_LATE_S = 3.0


@pytest.mark.real
@pytest.mark.skipif(bool(why_not() or network.why_not()), reason=why_not() or network.why_not())
@pytest.mark.timeout(600)
def test_much_output_over_a_slow_line_arrives_bounded_and_delays_no_start() -> None:
    script = str(Path(__file__).with_name("dask_line.py"))
    played = subprocess.run(
        [sys.executable, script, "--megabytes", MEGABYTES], capture_output=True, text=True, check=False
    )
    assert (played.returncode, played.stderr) == (0, "")
    found = json.loads(played.stdout)
    assert (found["succeeded"], found["output_bytes"]) == (True, int(float(MEGABYTES) * 1_000_000))
    assert found["kept_bytes"] < 210_000
    assert found["here_most_late_s"] < _LATE_S
    assert found["there_median_late_s"] < _LATE_S
    assert min(found["here_starts"], found["there_starts"]) >= 5
