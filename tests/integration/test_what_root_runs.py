"""The attacks of other users on the files that decide what root runs, each on real files and owners."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.trust import Trust, standing_trust

if TYPE_CHECKING:
    from people import Person

JOB = "[jobs.{}]\nevery = '1h'\ncommand = 'true'\n"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root is protected from others, and can be them"
)


@pytest.fixture
def etc(public_path: Path) -> Path:
    """Return a directory of root's with a job file that includes all of jobs.d, where everybody may write."""
    etc = public_path / "etc"
    (etc / "jobs.d").mkdir(parents=True)
    (etc / "jobs.toml").write_text("[taskman]\ninclude = ['jobs.d/*.toml']\n" + JOB.format("main"))
    (etc / "jobs.d" / "one.toml").write_text(JOB.format("one"))
    return etc


def ids(path: Path, trust: Trust | None = None) -> list[str]:
    return [job.id for job in load([path], timezone="UTC", trust=trust).jobs]


def refusal(path: Path, trust: Trust | None = None) -> str:
    with pytest.raises(JobFileError) as refused:
        ids(path, trust)
    return str(refused.value)


def drop(path: Path, who: Person) -> Path:
    """Write a job file that is another user's."""
    path.write_text(JOB.format("theirs"))
    who.owns(path)
    return path


def his_file(public_path: Path) -> Path:
    """Return a job file in a directory of everybody's, for a link to lead to."""
    path = public_path / "his.toml"
    path.write_text(JOB.format("theirs"))
    return path


def swap(link: Path, target: Path) -> None:
    """Put another link in the place of one, as whoever may."""
    link.unlink()
    link.symlink_to(target)


def test_a_file_that_another_user_drops_into_an_included_directory_of_everybody_s_is_refused(
    etc: Path, mallory: Person
) -> None:
    assert ids(etc / "jobs.toml") == ["main", "one"]
    (etc / "jobs.d").chmod(0o1777)
    words = f"{etc / 'jobs.toml'}:2:12: taskman.include[0]: anybody can put files into {etc / 'jobs.d'}, "
    assert refusal(etc / "jobs.toml").startswith(words)
    mallory.does(lambda: (etc / "jobs.d" / "two.toml").write_text(JOB.format("theirs")))
    assert refusal(etc / "jobs.toml").startswith(words), "the same before and after: nobody breaks a reload"
    assert refusal(etc / "jobs.d").startswith(f"{etc / 'jobs.d'}: anybody can put files into")


@pytest.mark.parametrize("pattern", ["**/*.toml", "*/*.toml", "jobs.d/o*.toml", "jobs.d/**", "j*.d/one.toml"])
def test_every_pattern_looks_at_whose_the_directories_are(etc: Path, pattern: str, mallory: Person) -> None:
    (etc / "jobs.toml").write_text(f"[taskman]\ninclude = ['{pattern}']\n")
    assert ids(etc / "jobs.toml") == ["one"]
    mallory.owns(etc / "jobs.d")
    assert f"{etc / 'jobs.d'} belongs to {mallory}, who would decide" in refusal(etc / "jobs.toml")


def test_a_middle_link_of_a_chain_that_anybody_can_swap_is_refused(
    etc: Path, public_path: Path, mallory: Person
) -> None:
    middle = public_path / "middle"
    middle.mkdir()
    (middle / "link").symlink_to(etc / "jobs.toml")
    (public_path / "first.toml").symlink_to("middle/link")
    assert ids(public_path / "first.toml") == ["main"]
    middle.chmod(0o777)
    words = f"anybody can write {middle}, and so decide what root runs: chmod o-w {middle}"
    assert words in refusal(public_path / "first.toml")
    mallory.does(lambda: swap(middle / "link", his_file(public_path)))
    assert words in refusal(public_path / "first.toml")


def test_a_grandparent_that_anybody_can_write_is_refused(etc: Path, mallory: Person) -> None:
    etc.chmod(0o777)
    assert f"anybody can write {etc}, and" in refusal(etc / "jobs.d" / "one.toml")

    def swap_all() -> None:
        (etc / "jobs.d").rename(etc / "old")
        (etc / "jobs.d").mkdir()
        (etc / "jobs.d" / "one.toml").write_text(JOB.format("theirs"))

    mallory.does(swap_all)
    assert f"anybody can write {etc}, and" in refusal(etc / "jobs.d" / "one.toml")
    etc.chmod(0o755)
    assert f"{etc / 'jobs.d'} belongs to {mallory}, who" in refusal(etc / "jobs.d" / "one.toml")


def test_a_directory_link_in_a_directory_of_everybody_s_is_refused(
    etc: Path, public_path: Path, mallory: Person
) -> None:
    (public_path / "open").mkdir()
    (public_path / "open" / "link").symlink_to(etc)
    path = public_path / "open" / "link" / "jobs.toml"
    assert ids(path) == ["main", "one"]
    (public_path / "open").chmod(0o777)
    assert f"anybody can write {public_path}/open, and" in refusal(path)
    his = his_file(public_path).rename(public_path / "jobs.toml")
    mallory.does(lambda: swap(public_path / "open" / "link", his.parent))
    assert f"anybody can write {public_path}/open, and" in refusal(path)


def test_a_file_of_another_user_or_that_his_group_can_write_is_refused_where_it_is_included(
    etc: Path, mallory: Person
) -> None:
    one = etc / "jobs.d" / "one.toml"
    os.chown(one, mallory.uid, 0)
    assert f'jobs.toml:2:12: taskman.include[0]: "{one}" {one} belongs to {mallory}' in refusal(
        etc / "jobs.toml"
    )
    os.chown(one, 0, mallory.gid)
    one.chmod(0o664)
    words = f"the group {mallory.group} can write {one}, and so decide what root runs: chmod g-w {one}"
    assert words in refusal(etc / "jobs.toml")


def test_a_file_that_has_passed_can_name_more_for_what_it_includes(etc: Path, mallory: Person) -> None:
    drop(etc / "jobs.d" / "two.toml", mallory)
    main_file = etc / "jobs.toml"
    text = main_file.read_text()
    for named in (f"[{mallory.uid}]", f"['{etc}/jobs.d/two.toml']", "['jobs.d']"):
        main_file.write_text(text.replace("[taskman]", f"[taskman]\ntrust = {named}"))
        assert ids(main_file) == ["main", "one", "theirs"]
    # But never for itself.
    mallory.owns(main_file)
    assert f"{main_file} belongs to {mallory}" in refusal(main_file)
    assert ids(main_file, standing_trust({}, named=(str(main_file),))) == ["main", "one", "theirs"]


def test_a_trusted_path_is_taken_whoever_owns_what_leads_there(etc: Path, mallory: Person) -> None:
    home = etc / "home"
    (home / "jobs").mkdir(parents=True)
    drop(home / "jobs" / "x.toml", mallory)
    for path in (home, home / "jobs"):
        mallory.owns(path)
    trust = standing_trust({}, named=(str(home / "jobs"),))
    assert ids(home / "jobs", trust) == ["theirs"]
    drop(home / "y.toml", mallory)
    assert f"{home}/y.toml belongs to" in refusal(home / "y.toml", trust)
    (home / "z.toml").write_text(JOB.format("z"))
    assert f"{home} belongs to" in refusal(home / "z.toml", trust)


def test_who_called_sudo_is_told_once(
    etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mallory: Person
) -> None:
    drop(etc / "jobs.d" / "one.toml", mallory)
    drop(etc / "jobs.d" / "two.toml", mallory).write_text(JOB.format("two"))
    state = ["--state-dir", str(etc / "state")]
    monkeypatch.setenv("SUDO_UID", str(mallory.uid))
    assert main(["check", "--strict", *state, str(etc / "jobs.toml")]) == 0
    one = etc / "jobs.d" / "one.toml"
    assert (
        capsys.readouterr().err == f"{one}: info: belongs to {mallory}, who called sudo: trusted like root\n"
    )


def test_system_crontabs_are_root_s_too(etc: Path, mallory: Person) -> None:
    cron_d = etc / "cron.d"
    cron_d.mkdir()
    (cron_d / "a").write_text("0 1 * * * root true\n")
    assert ids(cron_d) == ["a-true"]
    mallory.owns(cron_d / "a")
    assert f"{cron_d / 'a'} belongs to {mallory}" in refusal(cron_d)
    os.chown(cron_d / "a", 0, 0)
    cron_d.chmod(0o1777)
    assert f"anybody can put files into {cron_d}" in refusal(cron_d)


def test_the_spool_is_root_s_and_a_crontab_there_its_user_s(etc: Path, mallory: Person) -> None:
    spool = etc / "spool" / "cron" / "crontabs"
    spool.mkdir(parents=True)
    (spool / "games").write_text("0 1 * * * true\n")
    os.chown(spool / "games", 5, 60)
    os.chown(spool, 0, mallory.gid)
    spool.chmod(0o1730)  # as Debian has it
    assert ids(spool) == ["games-true"]
    spool.chmod(0o1777)
    assert f"anybody can put files into {spool}" in refusal(spool)
    spool.chmod(0o755)
    os.chown(spool.parent, 5, 60)
    assert f"{spool.parent} belongs to user games" in refusal(spool)


def test_nobody_waits_for_a_pipe_and_what_a_shell_has_open_is_taken(etc: Path) -> None:
    script = (
        f"exec {sys.executable} -m taskman_cli check --state-dir {etc}/state <(cat {etc}/jobs.d/one.toml)"
    )
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[1].split()[0]) == (0, "one"), done.stderr


def test_run_refuses_what_check_refuses_and_trusts_what_it_is_told(etc: Path, mallory: Person) -> None:
    mallory.owns(etc / "jobs.d" / "one.toml")
    run = ["run", "--no-live", "--for", "1s", "--state-dir", str(etc / "state")]
    command = [sys.executable, "-m", "taskman_cli", *run, str(etc / "jobs.toml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, f"belongs to {mallory}" in done.stderr) == (2, True)
    trusted = [*command, "--trust", str(mallory.uid)]
    done = subprocess.run(trusted, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


PROGRAMS = {
    "array": "command = ['{bin}/tool']",
    "PATH": "command = ['tool']\nenv = {{ PATH = '/usr/bin:{bin}' }}",
    "shell": "command = 'x'\nshell = '{bin}/tool'",
    "script": "command = ['{bin}/script']",
    "env": "command = ['{bin}/envscript']\nenv = {{ PATH = '{bin}' }}",
    "relative": "command = ['./tool']\ncwd = '{bin}'",
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_of_another_user_is_refused_in_root_s_own_jobs(
    etc: Path, text: str, capsys: pytest.CaptureFixture[str], mallory: Person
) -> None:
    bin_ = etc / "bin"
    bin_.mkdir()
    for name, first in (("tool", "x"), ("script", f"#!{bin_}/tool -x"), ("envscript", "#!/usr/bin/env tool")):
        (bin_ / name).write_text(f"{first}\n")
        (bin_ / name).chmod(0o755)
    path = etc / "jobs.toml"
    text = text.format(bin=bin_)
    check = ["check", "--state-dir", str(etc / "state"), str(path)]
    path.write_text(f"[jobs.a]\nevery = '1h'\n{text}\n")
    assert main(check) == 0
    capsys.readouterr()
    mallory.owns(bin_ / "tool")
    assert main(check) == 2
    key = "shell" if "shell" in text else "command"
    assert f": jobs.a.{key}: {bin_}/tool belongs to {mallory}" in capsys.readouterr().err
    assert main([*check, "--trust", str(mallory.uid)]) == 0
    path.write_text(f"[jobs.a]\nevery = '1h'\nuser = 'games'\n{text}\n")
    assert main(check) == 0


def test_a_command_on_another_machine_is_no_program_of_this_one(etc: Path, mallory: Person) -> None:
    tool = etc / "tool"
    tool.touch(0o755)
    mallory.owns(tool)
    path = etc / "jobs.toml"
    far = "[executors.far]\ntype = 'ssh'\nhost = 'far'\n"
    path.write_text(f"{far}[jobs.a]\nevery = '1h'\ncommand = ['{tool}']\nexecutor = 'far'\n")
    check = ["check", "--state-dir", str(etc / "state"), str(path)]
    assert main(check) == 0
    path.write_text(f"[jobs.a]\nevery = '1h'\ncommand = ['{tool}']\n")
    assert main(check) == 2


EXECUTORS = {
    "python": ('python = "{0}/tool"', "call = 'm:f'", "executors.x.python: {0}/tool belongs to {1}"),
    "path": ('path = "{0}/lib"', "call = 'm:f'", "executors.x.path[0]: modules are looked for in {0}/lib: "),
    "variable": (
        "",
        "call = 'm:f'\nenv = {{ PYTHONPATH = '/usr/lib:{0}/lib' }}",
        "jobs.a.call: modules are looked for in {0}/lib, which is on the PYTHONPATH: {0}/lib belongs to {1}",
    ),
    "file": ("", "call = 'tool.py:f'", "jobs.a.call: {0}/tool.py belongs to {1}"),
    "directory": ("", "call = 'lib/good.py:f'", "jobs.a.call: {0}/lib belongs to {1}"),
    "consumer": ('command = ["{0}/tool"]', "command = 'x'", "executors.x.command: {0}/tool belongs to {1}"),
    "program": (
        'host = "far"\nprogram = "{0}/tool"',
        "command = 'x'",
        "executors.x.program: {0}/tool belongs",
    ),
    "authority": (
        "address = 'tls://far:1'\ntls = {{ ca = '{0}/tool', cert = '/etc/hosts', key = '/etc/hosts' }}",
        "command = 'x'",
        "executors.x.tls.ca: {0}/tool belongs to {1}",
    ),
}


@pytest.mark.parametrize(("name", "case"), EXECUTORS.items(), ids=EXECUTORS)
def test_what_an_executor_runs_as_root_is_nobody_else_s(
    etc: Path, name: str, case: tuple[str, str, str], capsys: pytest.CaptureFixture[str], mallory: Person
) -> None:
    type_ = {"consumer": "consumer", "program": "ssh", "authority": "dask"}.get(name, "python")
    (etc / "lib").mkdir()
    for file in ("tool", "tool.py", "lib/good.py"):
        (etc / file).write_text("x = 1\n")
        (etc / file).chmod(0o755)
    settings, job, words = case
    text = f"[executors.x]\ntype = '{type_}'\n{settings}\n[jobs.a]\nevery = '1h'\nexecutor = 'x'\n{job}\n"
    path = etc / "jobs.toml"
    path.write_text(text.format(etc))
    check = ["check", "--state-dir", str(etc / "state"), str(path)]
    assert main(check) == 0
    for file in ("tool", "tool.py", "lib"):
        mallory.owns(etc / file)
    capsys.readouterr()
    assert main(check) == 2
    assert words.format(etc, mallory) in capsys.readouterr().err
    assert main([*check, "--trust", str(mallory.uid)]) == 0
    if type_ == "python":
        path.write_text(text.format(etc) + "user = 'games'\n")
        assert main(check) == 0


@pytest.fixture
def search(etc: Path) -> Path:
    """Return a directory on the PATH of root's job, before the one that has its program."""
    first = etc / "first"
    first.mkdir()
    (etc / "jobs.toml").write_text(
        "[jobs.a]\nevery = '1h'\ncommand = ['true']\n" + f"env = {{ PATH = '{first}:/usr/bin' }}\n"
    )
    return first


def test_a_directory_where_others_may_put_the_program_is_not_searched_for_root(
    etc: Path, search: Path, mallory: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["check", "--state-dir", str(etc / "state"), str(etc / "jobs.toml")]
    assert main(check) == 0
    where = f'jobs.toml:3:11: jobs.a.command: "true" is looked for in {search} first'
    for mode in (0o777, 0o1777):
        search.chmod(mode)
        capsys.readouterr()
        assert main(check) == 2
        said = capsys.readouterr().err
        assert where in said
        assert "anybody can" in said
        assert f"chmod o-w {search}; or write the full path of the program, or set PATH in env" in said
    mallory.does(lambda: (search / "true").symlink_to("/usr/bin/false"))
    assert main(check) == 2, "the same before and after"
    (search / "true").unlink()
    search.chmod(0o755)
    mallory.owns(search)
    capsys.readouterr()
    assert main(check) == 2
    assert f"{search} belongs to {mallory}" in capsys.readouterr().err
    assert main([*check, "--trust", str(mallory.uid)]) == 0
    assert main([*check, "--trust", str(search)]) == 0


def test_a_directory_of_the_search_path_that_others_may_make_is_not_searched_either(
    etc: Path, search: Path, mallory: Person
) -> None:
    check = ["check", "--state-dir", str(etc / "state"), str(etc / "jobs.toml")]
    search.rmdir()
    assert main(check) == 0
    etc.chmod(0o1777)
    assert main(check) == 2
    mallory.does(search.mkdir)
    assert main(check) == 2


def test_what_comes_after_the_program_s_own_directory_on_the_path_is_nobody_s_business(
    etc: Path, search: Path
) -> None:
    search.chmod(0o777)
    text = (etc / "jobs.toml").read_text().replace(f"{search}:/usr/bin", f"/usr/bin:{search}")
    (etc / "jobs.toml").write_text(text)
    assert main(["check", "--state-dir", str(etc / "state"), str(etc / "jobs.toml")]) == 0


def test_a_directory_of_the_search_path_may_be_a_group_s_that_has_nobody_in_it(
    etc: Path, search: Path, mallory: Person
) -> None:
    """As Debian had /usr/local/bin, of the group staff."""
    check = ["check", "--state-dir", str(etc / "state"), str(etc / "jobs.toml")]
    search.chmod(0o2775)
    os.chown(search, 0, grp.getgrnam("staff").gr_gid)
    assert main(check) == 0
    os.chown(search, 0, mallory.gid)
    assert main(check) == 2


def test_of_a_string_check_warns_where_others_may_put_programs_for_the_shell(
    etc: Path, search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (etc / "jobs.toml").read_text().replace("['true']", "'true'")
    (etc / "jobs.toml").write_text(text + text.replace("jobs.a", "jobs.b"))
    check = ["check", "--strict", "--state-dir", str(etc / "state"), str(etc / "jobs.toml")]
    assert main(check) == 0
    search.chmod(0o1777)
    capsys.readouterr()
    assert main(check) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "path-of-others" in line]
    assert f"jobs.toml:3:11: jobs.a.command: warning: its shell looks for programs in {search}" in line
    assert f"chmod o-w {search}" in line
    assert main([*check, "--trust", str(search)]) == 0
    (etc / "jobs.toml").write_text(text + "user = 'games'\n")
    assert main(check) == 0
