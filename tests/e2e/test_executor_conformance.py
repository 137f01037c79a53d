"""Each type of executor with the real program: its jobs, and each process killed in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from container_engine import IMAGE, dockerd, why_not
from dask_cluster import DaskCluster, make_certificates
from dask_cluster import why_not as why_no_dask

from taskman_cli.executors.testing import SCENES, check_program, in_python, in_shell

pytestmark = pytest.mark.timeout(600)

#: Those that each type has of its own; the rest is played with one type, and with all of them by `make real`.
TELLING = ("it is cancelled", "all are killed")
FULL = pytest.param((), marks=pytest.mark.real, id="all")
CONSUMER = Path(__file__).parents[1] / "integration" / "shell_consumer.py"
#: `local` has no helper.
HELPERS = [scene for scene in SCENES if "helper" in scene]


@pytest.mark.parametrize("only", [pytest.param(TELLING, id="telling"), FULL])
def test_commands_here_conform(only: tuple[str, ...]) -> None:
    check_program("", name="local", say=in_shell, without=HELPERS, only=only)


def test_calls_in_warm_workers_conform() -> None:
    check_program('[executors.tested]\ntype = "python"\n', say=in_python)


@pytest.mark.parametrize("only", [pytest.param(TELLING, id="telling"), FULL])
def test_a_consumer_conforms(only: tuple[str, ...]) -> None:
    table = f'[executors.tested]\ntype = "consumer"\ncommand = ["{sys.executable}", "{CONSUMER}"]\n'
    check_program(table, say=in_shell, only=only)


#: Stands for the ssh program, and runs what it is given here; there is another session, as with the real one.
_SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
cat | setsid env -i HOME={home} PATH="$PATH" LANG=C.UTF-8 /bin/sh -c "$*" | cat
"""


@pytest.mark.parametrize("only", [pytest.param(TELLING, id="telling"), FULL])
def test_commands_on_other_machines_conform(tmp_path: Path, only: tuple[str, ...]) -> None:
    program = tmp_path / "ssh"
    program.write_text(_SSH.format(home=tmp_path))
    program.chmod(0o755)
    check_program(
        f'[executors.tested]\ntype = "ssh"\nhost = "far"\nprogram = "{program}"\n', say=in_shell, only=only
    )


@pytest.mark.real
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_containers_conform_and_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with dockerd() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        check_program(
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
        check_program(
            f'[executors.tested]\n{cluster.table}lost_after = "20s"\n', say=in_shell, finds_again=True
        )
    finally:
        cluster.stop()
