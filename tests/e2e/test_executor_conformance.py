"""Each type of executor with the real program: its jobs, and each process killed in turn."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from container_engine import IMAGE, dockerd, why_not
from dask_cluster import DaskCluster, make_certificates
from dask_cluster import why_not as why_no_dask

from taskman_cli.executors.testing import SCENES, check_program, in_python, in_shell

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.timeout(600)

CONSUMER = Path(__file__).parents[1] / "integration" / "shell_consumer.py"
#: Scenes that are played at the same time: most of the time each waits.
AT_ONCE = 4


def play(table: str, *, scenes: Iterable[str] = SCENES, **how: Any) -> None:
    """Check an executor with the real program in some scenes."""
    with ThreadPoolExecutor(AT_ONCE) as stages:
        plays = [stages.submit(check_program, table, only=[scene], **how) for scene in scenes]
    for played in plays:
        played.result()


def test_commands_here_conform() -> None:
    play("", name="local", say=in_shell, scenes=[scene for scene in SCENES if "helper" not in scene])


def test_calls_in_warm_workers_conform() -> None:
    play('[executors.tested]\ntype = "python"\n', say=in_python)


def test_a_consumer_conforms() -> None:
    table = f'[executors.tested]\ntype = "consumer"\ncommand = ["{sys.executable}", "{CONSUMER}"]\n'
    play(table, say=in_shell)


#: Stands for the ssh program, and runs what it is given here; there is another session, as with the real one.
_SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
cat | setsid env -i HOME={home} PATH="$PATH" LANG=C.UTF-8 /bin/sh -c "$*" | cat
"""


def test_commands_on_other_machines_conform(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text(_SSH.format(home=tmp_path))
    program.chmod(0o755)
    play(f'[executors.tested]\ntype = "ssh"\nhost = "far"\nprogram = "{program}"\n', say=in_shell)


@pytest.mark.real
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_containers_conform_and_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with dockerd() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        play(
            f'[executors.tested]\ntype = "container"\nimage = "{IMAGE}"\nnetwork = "none"\npull = "never"\n',
            say=in_shell,
            finds_again=True,
        )
        assert daemon.containers() == []


@pytest.mark.real
@pytest.mark.skipif(bool(why_no_dask()), reason=why_no_dask())
def test_commands_on_a_dask_cluster_conform_and_are_found_again(tmp_path: Path) -> None:
    cluster = DaskCluster(tmp_path, tls=make_certificates(tmp_path))
    try:
        for name in ("one", "two"):
            cluster.start_worker(name)
        play(
            f'[executors.tested]\n{cluster.table}lost_after = "20s"\n',
            say=in_shell,
            finds_again=True,
        )
    finally:
        cluster.stop()
