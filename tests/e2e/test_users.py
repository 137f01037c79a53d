"""`taskman run` as root with commands of other users: job files and the system's crontabs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from e2e.running import Running
from people import Person, named

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")


@pytest.fixture
def somebody(alice: Person) -> pwd.struct_passwd:
    """Return the account of a user who has jobs."""
    return pwd.getpwnam(named(alice).name)


def start_of(user: pwd.struct_passwd) -> str:
    """Return where his commands start: at home, or at the root where that is not there."""
    return user.pw_dir if Path(user.pw_dir).is_dir() else "/"


def test_a_job_runs_as_the_user_that_it_names(public_path: Path, somebody: pwd.struct_passwd) -> None:
    name = somebody.pw_name
    jobs = f"""
        [jobs.his]
        cron = "@reboot"
        user = "{name}"
        command = "(id -un; pwd; echo $HOME $USER $LOGNAME) > {public_path}/who"
        [jobs.direct]
        cron = "@reboot"
        user = "{name}"
        group = "daemon"
        command = "id"
        [jobs.root]
        cron = "@reboot"
        command = "id -un"
    """
    with Running(public_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert running.lines("who") == [name, start_of(somebody), f"{somebody.pw_dir} {name} {name}"]
        (direct,) = (public_path / "state" / "output" / "direct").iterdir()
        assert direct.read_text().startswith(f"uid={somebody.pw_uid}({name}) gid=1(daemon) groups=1(daemon)")
        assert (direct.stat().st_uid, direct.stat().st_mode & 0o777) == (0, 0o600)
        (root,) = (public_path / "state" / "output" / "root").iterdir()
        assert root.read_text() == "root\n"


def test_the_lines_of_a_system_crontab_run_as_their_users(
    public_path: Path, somebody: pwd.struct_passwd
) -> None:
    name = somebody.pw_name
    (public_path / "cron.d").mkdir()
    script = f"(id -un; pwd; echo $HOME $LOGNAME) > {public_path}"
    (public_path / "cron.d" / "tab").write_text(
        "LOGNAME=root\n"
        f"@reboot nobody {script}/nobody\n@reboot {name} {script}/his\n@reboot root {script}/root\n"
        "@reboot no-such-user x\n"
    )
    with Running(public_path, "", "cron.d", "--skip-bad", "--until-idle") as running:
        assert running.end() == 0
        assert running.lines("nobody") == ["nobody", "/", "/nonexistent nobody"]
        assert running.lines("his") == [name, start_of(somebody), f"{somebody.pw_dir} {name}"]
        assert running.lines("root") == ["root", pwd.getpwuid(0).pw_dir, f"{pwd.getpwuid(0).pw_dir} root"]
        assert (
            "cron.d/tab:5:9: warning: left out: there is no user no-such-user on this machine" in running.log
        )
