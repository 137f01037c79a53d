"""`taskman run` as root with commands of other users: job files and the system's crontabs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from e2e.running import Running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")

GAMES = pwd.getpwnam("games")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory that everybody may write to: those of pytest are root's alone."""
    for path in tmp_path.parents[:2]:
        path.chmod(0o755)
    tmp_path.chmod(0o777)
    return tmp_path


def test_a_job_runs_as_the_user_that_it_names(directory: Path) -> None:
    jobs = f"""
        [jobs.games]
        cron = "@reboot"
        user = "games"
        command = "(id -un; pwd; echo $HOME $USER $LOGNAME) > {directory}/who"
        [jobs.direct]
        cron = "@reboot"
        user = "games"
        group = "daemon"
        command = "id"
        [jobs.root]
        cron = "@reboot"
        command = "id -un"
    """
    with Running(directory, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert running.lines("who") == ["games", GAMES.pw_dir, f"{GAMES.pw_dir} games games"]
        (direct,) = (directory / "state" / "output" / "direct").iterdir()
        assert direct.read_text().startswith(f"uid={GAMES.pw_uid}(games) gid=1(daemon) groups=1(daemon)")
        assert (direct.stat().st_uid, direct.stat().st_mode & 0o777) == (0, 0o600)
        (root,) = (directory / "state" / "output" / "root").iterdir()
        assert root.read_text() == "root\n"


def test_the_lines_of_a_system_crontab_run_as_their_users(directory: Path) -> None:
    (directory / "cron.d").mkdir()
    script = f"(id -un; pwd; echo $HOME $LOGNAME) > {directory}"
    (directory / "cron.d" / "tab").write_text(
        "LOGNAME=root\n"
        f"@reboot nobody {script}/nobody\n@reboot games {script}/games\n@reboot root {script}/root\n"
        "@reboot no-such-user x\n"
    )
    with Running(directory, "", "cron.d", "--skip-bad", "--until-idle") as running:
        assert running.end() == 0
        assert running.lines("nobody") == ["nobody", "/", "/nonexistent nobody"]
        assert running.lines("games") == ["games", GAMES.pw_dir, f"{GAMES.pw_dir} games"]
        assert running.lines("root") == ["root", pwd.getpwuid(0).pw_dir, f"{pwd.getpwuid(0).pw_dir} root"]
        assert (
            "cron.d/tab:5:9: warning: left out: there is no user no-such-user on this machine" in running.log
        )
