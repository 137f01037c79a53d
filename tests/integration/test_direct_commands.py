"""A simple command without its shell does what it does in a real one: files, output, status, environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Execution, Output, Task, Trigger
from taskman_cli.launch.environment import Environments
from taskman_cli.launch.spec import Plans
from taskman_cli.supervisor.asuser import hear_from_child
from taskman_cli.supervisor.spawn import Spawner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from people import Person

# Reports its words, environment and descriptors to the file of $REPORT, reads a little, and writes a little.
PROBE = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    char text[4096];
    FILE *report = fopen(getenv("REPORT"), "ae");
    for (int i = 0; i < argc; i++) fprintf(report, "word %s%c", argv[i], 0);
    for (char **e = environ; *e; e++) fprintf(report, "env %s%c", *e, 0);
    for (int fd = 0; fd < 20; fd++) {
        char name[64], to[4096];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, to, sizeof to - 1);
        if (n < 0 || fd == fileno(report)) continue;
        to[n] = 0;
        if (!strncmp(to, "pipe:", 5)) to[5] = 0;
        fprintf(report, "fd %d %s %o %ld%c", fd, to, fcntl(fd, F_GETFL), (long)lseek(fd, 0, SEEK_CUR), 0);
    }
    fprintf(report, "cwd %s, umask %o%c", getcwd(text, sizeof text), umask(0), 0);
    struct stat input;
    ssize_t n = fstat(0, &input) == 0 && !S_ISFIFO(input.st_mode) ? read(0, text, 100) : 0;
    fprintf(report, "read %.*s%c", n < 0 ? 0 : (int)n, text, 0);
    fclose(report);
    if (write(1, "out\n", 4) < 0 || write(2, "err\n", 4) < 0) return 9;
    if (argc > 1 && !strcmp(argv[1], "die")) raise(SIGTERM);
    return argc % 7;
}
"""
SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]
#: More than enough for a run of the suite; a change of the reader deserves thousands.
EXAMPLES = int(os.environ.get("TASKMAN_EXAMPLES", "100"))
MANY = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

NAMES = [
    "probe",
    "probe",
    "probe",
    "probe",
    "$HOME/tool",
    "~/tool",
    "${A}tool",
    '"$HOME"/tool',
    "./tool",
    "nosuch",
    "./noexec",
    "./script",
    "./sub",
    "sub/tool",
]
# Nothing here leads out of the directory of the test: the shell runs what is generated, as root perhaps.
TARGETS = [
    *[
        "new",
        "old",
        "in",
        "sub/new",
        "link",
        "dangling",
        "dirlink/x",
        "sub",
        "missing/x",
        "'with blank'",
        "./new",
    ],
    *["../here/new", "/dev/null", "/dev/null", "-", "a=b", "1x", '"new"', "n'e'w", "sealed", "stdout-link"],
    *["~/new", "$HOME/new", '"$A"new', "$A"],
    *["circle", "in/x", "'with blank'", "{here}/absolute", "{here}/sub/../new", "{here}//new"],
]
DIRECTORIES = [
    *["sub", "sub/", "dirlink", "dirlink/sub2", "missing", "old", "{here}", "{here}/sub", "'sub'", "sub2"],
    *["~", "~/sub", "$HOME/sub", '"${HOME}"', "$A"],
    *["sub/sub2", ".", "-", "''", "{here}//sub", "sub/../sub"],
]
ASSIGNED = """
A=1 A= B='x y' HOME=/x TZ=UTC LC_ALL=C LANG=xx A=2 PATH=/x IFS=x PWD=/x _=1 SHLVL=7 TERM=x HISTSIZE=x MAIL=y
B=$A C="$HOME/x" D=~/x HOME=~
LINENO=7 OPTIND=x PS1=x A="b"'c' CDPATH=/ OLDPWD=/x HOSTNAME=h RANDOM=1 POSIXLY_CORRECT=y EDITOR=vi LINES=x
""".replace(" y'", "\0y'").split()
ASSIGNED = [word.replace("\0", " ") for word in ASSIGNED]

TO_FILES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", "0", "1", "2", "2"]),
    st.sampled_from([">", ">", ">>", "<"]),
    st.sampled_from(["", "", " "]),
    st.sampled_from(TARGETS),
)
COPIES = st.sampled_from(["2>&1", "2>&1", ">&2", "<&1", "0<&2", "1>&1", "2>& 0", "1>&0"])
ODD = st.sampled_from(["2>&-", ">&3", ">|old", "<>in", "3>new", "3<in", "12>new", ">&new", ">/dev/full"])
REDIRECTIONS = st.integers(0, 9).flatmap(lambda n: ODD if n == 9 else COPIES if n > 6 else TO_FILES)
WORDS = st.sampled_from(
    ["-x", "a=b", "'a b'", "x", "1", "2", '"q"', "-", "a", "b", "$HOME", "~", "$A", '"$A x"', "a$A"]
)
TAILS = st.lists(
    st.tuples(st.one_of(REDIRECTIONS, REDIRECTIONS, WORDS), st.sampled_from([" ", " ", "  ", ""])), max_size=5
)
HOMES = [{"HOME": "{here}/sub", "A": "a b"}, {"A": "0"}]
CDS = st.sampled_from(DIRECTORIES).map("cd {}".format)
EXPORTS = st.lists(st.sampled_from([*ASSIGNED, *ASSIGNED, "A", "$A", "-p"]), min_size=1, max_size=3).map(
    lambda words: " ".join(["export", *words])
)
#: What stands before a command: mostly nothing.
STEPS = st.one_of(st.just([]), st.lists(CDS, max_size=1), st.lists(st.one_of(CDS, EXPORTS), max_size=2))
HEADS = st.lists(st.one_of(st.sampled_from(ASSIGNED), REDIRECTIONS), max_size=2)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Make one line, in most cases of a simple command."""
    head = "".join(f"{word} " for word in draw(HEADS))
    tail = "".join(f"{blank}{word}" for word, blank in draw(TAILS))
    line = f"{head}{draw(st.sampled_from(NAMES))}{draw(st.sampled_from([' ', ' ', '']))}{tail}"
    for step in draw(STEPS):
        line = f"{step}{draw(st.sampled_from([' && ', '; ', ';', ' ;', ' && ', ' || ', ';; ']))}{line}"
    return line


@dataclass(frozen=True)
class Seen:
    """What a command left."""

    status: int
    output: bytes
    report: list[bytes]
    files: dict[str, tuple[str, int, bytes]]


class Stage:
    """A directory in which each command finds the same files, and the ways to run one there."""

    def __init__(self, root: Path, *, owner: Person | None = None) -> None:
        self.here = root / "here"
        self.tools = root / "tools"
        self.report = root / "report"
        self._owner = owner
        self._spawner = Spawner()
        self.tools.mkdir(exist_ok=True)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler for the probe")
        probe = self.tools / "probe"
        subprocess.run([compiler, "-x", "c", "-o", probe, "-"], input=PROBE, text=True, check=True)
        for shell in SHELLS:
            (self.tools / shell).mkdir(exist_ok=True)
            (self.tools / shell / "sh").symlink_to(str(shutil.which(shell)))

    def prepare(self) -> None:
        """Make the directory as it is before each command."""
        shutil.rmtree(self.here, ignore_errors=True)
        self.report.write_bytes(b"")
        (self.here / "sub" / "sub2").mkdir(parents=True)
        for name, content in {"in": "input\n", "old": "old content\n", "sealed": "x"}.items():
            (self.here / name).write_text(content)
        (self.here / "sealed").chmod(0o400)
        (self.here / "noexec").write_text("no program")
        (self.here / "script").write_text("exit 5\n")
        (self.here / "script").chmod(0o755)
        for name, target in {
            "link": "old", "dangling": "sub/new", "dirlink": "sub", "circle": "circle",
            "stdout-link": "/dev/stdout", "tool": self.tools / "probe", "sub/tool": self.tools / "probe",
            "procs": "/proc/self",
        }.items():  # fmt: skip
            (self.here / name).symlink_to(target)
        if self._owner is not None:
            self.report.chmod(0o666)
            for path in (self.here, *self.here.rglob("*")):
                os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)

    def spec(self, line: str, shell: str, execution: Execution, **environ: str) -> dict[str, Any]:
        # Always set: without a value, `>$HOME/new` would lead out of the directory.
        places = {"HOME": str(self.here), "A": f"{self.here}/"}
        environ = {"PATH": f"{self.tools}:/usr/bin:/bin", "REPORT": str(self.report), **places, **environ}
        plans = Plans(Environments(environ, cwd=str(self.here)), cwd=str(self.here), shell_name=shell)
        task = Task("main", line, execution)
        start = effects.Start("r.main.1", "r", "job", task, 1, None, Trigger.MANUAL, {})
        spec = plans.spec(start, path=str(self.here.parent / "output"))
        # The shell under the name that /bin/sh has.
        for name in ("argv", "shell"):
            if spec[name] and spec[name][0] == "/bin/sh":
                spec[name] = [str(self.tools / shell / "sh"), *spec[name][1:]]
        return spec

    def through_the_shell(self, line: str, shell: str, execution: Execution, **environ: str) -> Seen:
        spec = self.spec(line, shell, execution, **environ)
        spec.pop("direct", None)
        argv = [str(self.tools / shell / "sh"), "-c", line]
        return self.run({**spec, "argv": argv, "shell": None})

    def run(self, spec: dict[str, Any]) -> Seen:
        self.prepare()
        user = None if self._owner is None else self._owner.spec
        pid, capture, told = self._spawner.start(
            {**spec, "cwd": str(self.here), "user": user}, now_ns=time.monotonic_ns()
        )
        _, status = os.waitpid(pid, 0)
        if told is not None:
            assert hear_from_child(told)
            os.close(told)
        output = b""
        if capture is not None:
            while piece := _read(capture.fd):
                output += piece
            os.close(capture.fd)
        return Seen(status, output, sorted(self.report.read_bytes().split(b"\0")), self._files())

    def _files(self) -> dict[str, tuple[str, int, bytes]]:
        found = {}
        for path in sorted(self.here.rglob("*")):
            mode = path.lstat().st_mode
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(self.here))] = (f"{mode:o}", path.lstat().st_uid, content)
        return found


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


@pytest.fixture(scope="module", autouse=True)
def _no_descriptors_of_ours() -> None:
    """Keep what this process has inherited from the commands, as the supervisor does."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if int(link.name) > 2:
                os.set_inheritable(int(link.name), False)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    before = Path.cwd()
    os.chdir("/")
    yield Stage(tmp_path_factory.mktemp("direct").resolve())
    os.chdir(before)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of programs that were started without a shell."""
    started: list[str] = []
    spawn_direct = Spawner._spawn_direct

    def note(self: Spawner, spec: Any, environment: Any, actions: Any) -> int | None:
        pid = spawn_direct(self, spec, environment, actions)
        if pid is not None:
            started.append(spec["direct"]["argv"][0])
        return pid

    monkeypatch.setattr(Spawner, "_spawn_direct", note)
    return started


@pytest.mark.parametrize("shell", SHELLS)
def test_a_line_does_what_it_does_in_a_real_shell(stage: Stage, shell: str, counted: list[str]) -> None:
    @MANY
    @given(
        line=lines(),
        umask=st.sampled_from([0o22, 0o77, 0]),
        stdin=st.sampled_from([None, "text\n"]),
        output=st.sampled_from([Output.CAPTURE, Output.DISCARD]),
        environ=st.sampled_from(
            [{}, {}, {}, {"OLDPWD": "{here}/sub"}, {"CDPATH": "sub"}, {"A": "0", "odd-name": "x"}, *HOMES]
        ),
    )
    def check(line: str, umask: int, stdin: str | None, output: Output, environ: dict[str, str]) -> None:
        line = line.replace("{here}", str(stage.here))
        environ = {name: value.replace("{here}", str(stage.here)) for name, value in environ.items()}
        execution = Execution(umask=umask, stdin=stdin, output=output)
        seen = stage.run(stage.spec(line, shell, execution, **environ))
        assert seen == stage.through_the_shell(line, shell, execution, **environ)

    check()
    assert counted


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    [
        "export A=1; cd sub && probe",
        "export A=1; cd sub && export B=2 && probe",
        "export A=1 && cd sub; export B=2 && probe",
        "export A=1; cd sub; export B=2 && probe >old",
        "export A=1; cd sub && export B=2; probe",
        "export A=1 && cd sub && export B=2; export C=3; probe",
        "cd procs && readlink exe",
        "cd procs/fd; readlink ../exe",
        "cd /dev/fd && readlink ../exe",
    ],
)
def test_steps_do_what_they_do_in_a_real_shell(stage: Stage, shell: str, line: str) -> None:
    seen = stage.run(stage.spec(line, shell, Execution()))
    assert seen == stage.through_the_shell(line, shell, Execution())


@pytest.fixture
def her_stage(public_path: Path, alice: Person) -> Iterator[Stage]:
    """A stage that belongs to another user, for commands that become that user in a fork."""
    before = Path.cwd()
    os.chdir("/")
    yield Stage(public_path, owner=alice)
    os.chdir(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")
def test_a_line_of_another_user_does_what_it_does_in_a_real_shell(her_stage: Stage) -> None:
    @MANY
    @given(line=lines(), umask=st.sampled_from([0o22, 0o77, 0]), stdin=st.sampled_from([None, "text\n"]))
    def check(line: str, umask: int, stdin: str | None) -> None:
        line = line.replace("{here}", str(her_stage.here))
        execution = Execution(umask=umask, stdin=stdin)
        seen = her_stage.run(her_stage.spec(line, "dash", execution))
        assert seen == her_stage.through_the_shell(line, "dash", execution)

    check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")
@pytest.mark.parametrize("umask", [0o700, 0o400, 0o200])
@pytest.mark.parametrize("line", ["probe >new <nosuch", "nosuch 2>new", "probe <in >>new"])
def test_a_file_that_the_umask_takes_from_its_owner_is_made_by_the_shell(
    her_stage: Stage, line: str, umask: int
) -> None:
    """If something fails behind it, the shell opens it again: it cannot, if it was made here."""
    execution = Execution(umask=umask)
    seen = her_stage.run(her_stage.spec(line, "dash", execution))
    assert seen == her_stage.through_the_shell(line, "dash", execution)


def test_what_the_shell_would_leave_out_is_left_out_without_one(stage: Stage, counted: list[str]) -> None:
    """Each shape that is worth it: none of them may go to the shell unnoticed."""
    for line in (
        *("probe >new", "probe >>old", "probe <in", "probe >old 2>&1", "probe 2>&1 >old", ">link probe"),
        *("A=1 probe", "probe >/dev/null 2>&1", "cd sub && ./tool >>../log"),
        "cd dirlink/ && A=1 probe x <../in >new 2>/dev/null",
        *("cd sub; ./tool", "export A=1; probe", "export A=1 B=2 && cd sub; A=3 ./tool >>../log"),
    ):
        before = len(counted)
        seen = stage.run(stage.spec(line, "dash", Execution()))
        assert seen == stage.through_the_shell(line, "dash", Execution())
        assert len(counted) == before + 1, line


@pytest.mark.parametrize(
    "line", ["nosuch >old", "probe <nosuch >old", "probe >old >nosuch/x", "./noexec >old"]
)
def test_where_it_fails_the_shell_says_so(stage: Stage, counted: list[str], line: str) -> None:
    seen = stage.run(stage.spec(line, "dash", Execution()))
    assert seen == stage.through_the_shell(line, "dash", Execution())
    assert os.waitstatus_to_exitcode(seen.status) in (2, 126, 127)
    assert seen.output.startswith(str(stage.tools).encode())
    assert counted == []
