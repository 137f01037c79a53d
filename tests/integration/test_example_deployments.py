"""The compose file and the Kubernetes manifests: they parse, and what they have taskman do, taskman does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from command_line import run

from taskman_cli.cli.app import COMMANDS
from taskman_cli.jobfile import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
CONTAINER = EXAMPLES / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text("utf-8"))
DASK = EXAMPLES / "dask"
FARM: dict[str, Any] = yaml.safe_load((DASK / "compose.yaml").read_text("utf-8"))
CONFIG, STATEFUL = yaml.safe_load_all((EXAMPLES / "kubernetes" / "taskman.yaml").read_text("utf-8"))
POD = STATEFUL["spec"]["template"]["spec"]
(WORKLOAD,) = POD["containers"]


def entry_point() -> list[str]:
    """Return the words that the image begins with."""
    (words,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M)
    found: list[str] = yaml.safe_load(words)
    return found


def command_lines() -> Iterator[list[str]]:
    """Yield all that is run in a container, each with its program."""
    service = COMPOSE["services"]["taskman"]
    (default,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)
    yield entry_point() + yaml.safe_load(default)
    yield entry_point() + service["command"]
    yield entry_point() + WORKLOAD["args"]
    assert service["healthcheck"]["test"][0] == "CMD"
    yield service["healthcheck"]["test"][1:]
    for probe in ("livenessProbe", "readinessProbe"):
        yield WORKLOAD[probe]["exec"]["command"]


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_what_is_run_is_a_command_of_taskman_with_options_that_it_has(words: list[str]) -> None:
    program, command, *rest = words
    assert (program, command in COMMANDS) == ("taskman", True)
    assert run(command, *[word for word in rest if word.startswith("-")], "--help")[0] == 0


def test_the_job_files_have_no_errors_and_no_warnings(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(CONFIG["data"]["jobs.toml"], "utf-8")
    for file in (CONTAINER / "jobs.toml", DASK / "jobs.toml", path):
        assert run("check", "--strict", str(file))[0] == 0, file


def test_the_files_are_where_the_commands_look_for_them() -> None:
    service = COMPOSE["services"]["taskman"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in service["volumes"])
    assert mounts[service["command"][-1]] == "./jobs.toml"
    assert mounts["/var/lib/taskman"] in COMPOSE["volumes"]
    assert (CONTAINER / service["build"]["dockerfile"].removeprefix("examples/container/")).exists()
    assert (CONTAINER / service["build"]["context"] / "pyproject.toml").exists()
    assert f"{WORKLOAD['volumeMounts'][0]['mountPath']}/{next(iter(CONFIG['data']))}" == WORKLOAD["args"][-1]
    names = {volume["name"] for volume in POD["volumes"]}
    names |= {claim["metadata"]["name"] for claim in STATEFUL["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in WORKLOAD["volumeMounts"]} == names
    assert POD["volumes"][0]["configMap"]["name"] == CONFIG["metadata"]["name"]


def test_the_pods_are_those_that_the_set_selects_and_there_is_one() -> None:
    spec = STATEFUL["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 1


def test_time_to_stop_is_longer_than_that_of_any_command() -> None:
    longest_ns = max(
        task.execution.kill_timeout_ns
        for text in ((CONTAINER / "jobs.toml").read_text("utf-8"), CONFIG["data"]["jobs.toml"])
        for job in loads(text).jobs
        for task in job.tasks
    )
    assert POD["terminationGracePeriodSeconds"] > longest_ns / 1e9
    assert COMPOSE["services"]["taskman"]["stop_grace_period"] == "60s"


def test_a_probe_has_more_time_than_the_check_takes() -> None:
    assert min(WORKLOAD[probe]["timeoutSeconds"] for probe in ("livenessProbe", "readinessProbe")) > 3
    assert COMPOSE["services"]["taskman"]["healthcheck"]["timeout"] == "10s"


def test_the_state_can_be_made_in_a_volume_that_a_group_may_write_to(tmp_path: Path) -> None:
    # As fsGroup makes it: the state itself is a directory in it.
    tmp_path.chmod(0o2775)
    state = next(item["value"] for item in WORKLOAD["env"] if item["name"] == "STATE_DIRECTORY")
    assert Path(state).parent == Path(WORKLOAD["volumeMounts"][1]["mountPath"])
    (tmp_path / "jobs.toml").write_text(CONFIG["data"]["jobs.toml"], "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "run", str(tmp_path / "jobs.toml"), "--for", "100ms"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "state")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_farm_s_files_are_where_each_service_looks_for_them() -> None:
    (executor,) = loads((DASK / "jobs.toml").read_text("utf-8")).settings.executors
    services = FARM["services"]
    assert executor.settings["address"].split("/")[2] == "scheduler:8786"
    tls = {Path(file).parent for file in executor.settings["tls"].values()}
    assert tls == {Path("/etc/farm")}
    for name in ("certificates", "scheduler", "worker", "taskman"):
        mounts = [volume.split(":") for volume in services[name]["volumes"]]
        assert ["certificates", "/etc/farm"] in [mount[:2] for mount in mounts]
    assert services["taskman"]["command"][-1] == "/etc/taskman/jobs.toml"
    assert (
        DASK / services["worker"]["build"]["context"] / services["worker"]["build"]["dockerfile"]
    ).exists()
    assert {name for one in services.values() for name in one.get("depends_on", ())} <= services.keys()
