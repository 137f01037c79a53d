"""Everything around commands on Dask is killed and cut: each run has one end, and none is run twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dask_cluster import why_not

#: They take two to three minutes.
RUNS = os.environ.get("TASKMAN_CHAOS_RUNS", "2000")
SEED = os.environ.get("TASKMAN_SEED", "1")


@pytest.mark.real
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.timeout(1200)
def test_commands_on_dask_have_one_end_whatever_is_killed_and_cut() -> None:
    script = str(Path(__file__).with_name("dask_chaos.py"))
    played = subprocess.run(
        [sys.executable, script, "--runs", RUNS, "--seed", SEED], capture_output=True, text=True
    )
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
