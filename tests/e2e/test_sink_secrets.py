"""A secret of a sink reaches the sink, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from e2e.running import TASKMAN, Running
from integration.receivers import web_server
from wait import wait_until

SECRET = "hunter2-and-more"


def test_no_command_gets_a_variable_that_is_a_secret_of_a_sink(tmp_path: Path) -> None:
    with web_server() as web:
        jobs = f"""
[sinks.ops]
type    = "webhook"
url     = "{web.url}"
secret  = {{ env = "HOOK_SECRET" }}
headers = {{ Authorization = {{ env = "HOOK_TOKEN" }} }}
on      = ["succeeded"]

[sinks.run]
type    = "command"
command = "env >sink-env; ps -eo args >>sink-env"
on      = ["succeeded"]

[defaults]
sinks = ["ops", "run"]

[jobs.env]
every       = "200ms"
max_runs    = 1
inherit_env = ["HOOK_SECRET", "PATH"]
command     = "env >env"
"""
        environ = os.environ | {"HOOK_SECRET": SECRET, "HOOK_TOKEN": f"{SECRET}-token", "OTHER": "kept"}
        with Running(tmp_path, jobs, "--no-live", environ=environ) as running:
            wait_until(lambda: web.got, what=f"a report: {running.log}")
            assert web.got[0].headers["Authorization"] == f"{SECRET}-token"
            assert web.got[0].headers["Taskman-Signature"].startswith("sha256=")
            running.wait_for("sink-env")
            words = [TASKMAN, "once", "env >temporary && mv temporary once-env"]
            subprocess.run(words, cwd=tmp_path, env=running.env, check=True, capture_output=True)
            running.wait_for("once-env")
            taskman = [TASKMAN, "test", "env"]
            subprocess.run(taskman, cwd=tmp_path, env=running.env, check=True, capture_output=True)
            shown = subprocess.run(
                [TASKMAN, "show", "env", "--json"],
                cwd=tmp_path,
                env=running.env,
                check=True,
                capture_output=True,
            )
            for place, _, names in os.walk(tmp_path / "state"):
                for name in names:
                    with suppress(OSError):  # removed meanwhile, or a socket
                        assert SECRET.encode() not in Path(place, name).read_bytes(), name
            # A reload that names another variable gives the first one back.
            before = {name: (tmp_path / name).read_text() for name in ("env", "once-env")}
            (tmp_path / "jobs.toml").write_text(jobs.replace('HOOK_SECRET" }', 'OTHER" }'))
            reload = [TASKMAN, "reload"]
            subprocess.run(reload, cwd=tmp_path, env=running.env, check=True, capture_output=True)
            words = [TASKMAN, "once", "env >temporary && mv temporary later-env"]
            subprocess.run(words, cwd=tmp_path, env=running.env, check=True, capture_output=True)
            running.wait_for("later-env")
        for name, text in before.items():
            assert SECRET not in text, name
        assert "OTHER=kept" in before["once-env"]
        later = (tmp_path / "later-env").read_text()
        assert f"HOOK_SECRET={SECRET}\n" in later
        assert "OTHER" not in later
        assert SECRET not in (tmp_path / "sink-env").read_text()
        assert SECRET not in running.log
        assert SECRET.encode() not in shown.stdout
        assert json.loads(shown.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's secrets are protected")
@pytest.mark.parametrize("options", [(), ("--trust", "65534")], ids=["", "trusted"])
def test_a_secret_of_another_user_is_used_only_where_that_user_is_trusted(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    tmp_path.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    os.chown(secret, 65534, 65534)
    with web_server() as web:
        jobs = f"""
[sinks.ops]
type   = "webhook"
url    = "{web.url}"
secret = {{ file = "secret" }}
on     = ["succeeded"]

[jobs.once]
every    = "200ms"
max_runs = 1
command  = "true"
sinks    = ["ops"]
"""
        with Running(tmp_path, jobs, "--no-live", *options) as running:
            if options:
                wait_until(lambda: web.got, what=f"a report: {running.log}")
            else:
                running.wait_for_log("who would decide what root runs")
                assert web.got == []
