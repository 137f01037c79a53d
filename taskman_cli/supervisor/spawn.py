"""Starting one command as its task says: directory, environment, descriptors, session, niceness.

posix_spawn stops this thread until the child execs, but its cost does not grow with the parent. What it
cannot set (directory, umask, niceness), this process sets on itself for the moment of the spawn; it has one
thread, so that affects nothing else. Commands of another user, and programs that may be slow to start, are
forked: asuser.py.
"""

from __future__ import annotations

import _thread
import errno
import os
import signal

from taskman_cli.supervisor.asuser import (
    give_up_rights,
    has_too_many_processes,
    reset_signals,
    start_apart,
)
from taskman_cli.supervisor.direct import Prepared, are_files_prompt, enter, environment_of, file_actions
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.output import Capture
from taskman_cli.supervisor.streams import hand_over, memory_file, output_file, pipe
from taskman_cli.supervisor.trusted import TrustedPaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn, TypeAlias

    _Actions: TypeAlias = list[tuple[Any, ...]]
    _Launch: TypeAlias = Callable[[str, list[str], Mapping[str, str], _Actions], int]

#: Processes, files or memory ran out: not the command's fault, and likely to pass.
TRANSIENT = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS})

#: Commands get these with their default action, whatever this process and Python did to them.
_ALTERED_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGXFSZ,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
)
#: And those that this process was started with ignored (by a window manager, nohup(1), a shell's trap).
DEFAULT_SIGNALS = (
    *_ALTERED_SIGNALS,
    *(
        number
        for number in signal.valid_signals() - {*_ALTERED_SIGNALS}
        if signal.getsignal(number) is signal.SIG_IGN
    ),
)

#: For posix_spawn, which makes a system call for each signal that is not named: naming all is cheaper.
_ALL_SIGNALS = tuple(map(int, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))

_REASONS = {
    errno.ENOENT: "no such directory",
    errno.ENOTDIR: "not a directory",
    errno.EACCES: "permission denied",
}


class StartError(Exception):
    """Say why a command was not started."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number

    @property
    def is_transient(self) -> bool:
        """Tell if the same start may well succeed a little later."""
        return self.errno in TRANSIENT


class Spawner:
    """Starts commands; holds the descriptors that this takes."""

    def __init__(self) -> None:
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # O_PATH: the directory need not be readable, nor exist any more.
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._is_home = True
        try:
            home = os.getcwd()  # noqa: PTH109 - pathlib is 3 MB
        except FileNotFoundError:  # nothing is found in a directory that does not exist
            home = "/"
        self._trusted = TrustedPaths(home)

    def start(
        self, spec: Mapping[str, Any], *, now_ns: int, limit: Callable[[], str] | None = None
    ) -> tuple[int, Capture | None, int | None]:
        """Start what `spec` describes (its keys: wire.py); `limit` is called in its process (limiting.py).

        Return its pid, its captured output, if any, and for a process that has yet to become the command the
        descriptor that `hear_from_child` reads. Raises StartError, and whatever a malformed `spec` makes
        Python raise.
        """
        held: list[int] = []
        capture = None
        try:
            stdin = self._null
            if spec["stdin"] is not None:
                stdin = memory_file(spec["stdin"])
                held.append(stdin)
            actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
            file = output_file(spec)
            if file is not None:
                fd, sink = pipe()
                held.append(sink)
                capture = Capture(fd, file)
            else:
                sink = self._null
            if file is not None or spec["output"] == "discard":
                actions += [(os.POSIX_SPAWN_DUP2, sink, 1), (os.POSIX_SPAWN_DUP2, sink, 2)]
            if limit is None and self._is_start_prompt(spec, now_ns=now_ns):
                return self._in_place(spec, actions), capture, None
            if capture is not None and spec["user"] is not None:
                hand_over(sink, spec["user"][0])
            pid, told = self._apart(spec, actions, limit)
            return pid, capture, told
        except BaseException as error:
            if capture is not None:
                os.close(capture.fd)
            if isinstance(error, OSError):
                raise StartError(error.errno or 0, f"cannot be started: {error.strerror}") from error
            raise
        finally:
            for fd in held:
                os.close(fd)

    def _is_start_prompt(self, spec: Mapping[str, Any], *, now_ns: int) -> bool:
        """Tell if a spawn, for which this process waits, cannot be delayed by another user."""
        if spec["user"] is not None or spec.get("env_files"):
            return False
        return self._trusted.is_start_prompt(spec, now_ns=now_ns) and are_files_prompt(spec, self._trusted)

    def _in_place(self, spec: Mapping[str, Any], actions: _Actions) -> int:
        """Spawn in the task's directory and with its umask, and come back."""
        cwd, umask = spec["cwd"], spec["umask"]
        old_umask = None
        try:
            self._enter(cwd)
            if umask is not None:
                old_umask = os.umask(umask)
            if spec["nice"]:
                return _as_nice(spec["nice"], lambda: self._spawn_here(spec, actions))
            return self._spawn_here(spec, actions)
        finally:
            if old_umask is not None:
                os.umask(old_umask)
            if not self._is_home:
                self._come_back()

    def _spawn_here(self, spec: Mapping[str, Any], actions: _Actions) -> int:
        direct = spec.get("direct")
        pid = None if direct is None else self._spawn_direct(spec, direct, actions)
        return _first_possible(spec, actions, _spawn) if pid is None else pid

    def _spawn_direct(
        self, spec: Mapping[str, Any], direct: Mapping[str, Any], actions: _Actions
    ) -> int | None:
        """Spawn the program without its shell; None if the shell has to say what is wrong."""
        held: list[int] = []
        try:
            if direct["cd"] is not None:
                self._is_home = False
                enter(direct["cd"])
            files = file_actions(direct["files"], held)
            return _run(direct["argv"], environment_of(spec), [*actions, *files], _spawn)
        except (OSError, StartError) as error:
            if error.errno in TRANSIENT:
                raise
        finally:
            for fd in held:
                os.close(fd)
        self._enter(spec["cwd"])
        return None

    def _enter(self, cwd: str | None) -> None:
        """Go to a task's directory, from wherever this process is."""
        if not self._is_home and (cwd is None or not cwd.startswith("/")):
            self._go_home()
        if cwd is not None:
            _change_directory(cwd)
            self._is_home = False

    def _apart(
        self, spec: Mapping[str, Any], actions: _Actions, limit: Callable[[], str] | None
    ) -> tuple[int, int]:
        """Start it in a fork, which enters the directory and finds the program by itself."""
        if not self._is_home:
            self._go_home()
        files = [(ours, number) for _, ours, number in actions]
        return start_apart(lambda: _become(spec, actions, limit), files)

    def _come_back(self) -> None:
        """Return to the start directory; if that fails, leave this one, and the next start may fail."""
        try:
            os.chdir("/")
            self._go_home()
        except (OSError, StartError):
            return

    def _go_home(self) -> None:
        try:
            os.fchdir(self._home)
        except OSError as error:
            number = error.errno or 0
            reason = _REASONS.get(number, error.strerror)
            raise StartError(number, f"{reason}: the directory that taskman was started in") from error
        self._is_home = True


def _first_possible(spec: Mapping[str, Any], actions: _Actions, launch: _Launch) -> int:
    """Run `argv`, or if that cannot be started, the shell, which then reports it as a shell does."""
    if spec["shell"] is None:
        return _run(spec["argv"], spec["env"], actions, launch)
    try:
        return _run(spec["argv"], spec["env"], actions, launch)
    except StartError as error:
        if error.is_transient:
            raise
        return _run(spec["shell"], spec["env"], actions, launch)


def _run(argv: list[str], env: Mapping[str, str], actions: _Actions, launch: _Launch) -> int:
    if not argv or not argv[0]:
        raise StartError(errno.ENOENT, "not found: the command is empty")
    path = _find(argv[0], env)
    try:
        return launch(path, argv, env, actions)
    except OSError as error:
        number = error.errno or 0
        raise StartError(number, _why_not(path, number)) from error


def _spawn(path: str, argv: list[str], env: Mapping[str, str], actions: _Actions) -> int:
    return os.posix_spawn(
        path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_ALL_SIGNALS
    )


def _become(spec: Mapping[str, Any], actions: _Actions, limit: Callable[[], str] | None) -> NoReturn:
    """Turn this process, a fork, into the command; raises StartError."""
    words = "" if limit is None else limit()
    if spec["umask"] is not None:
        os.umask(spec["umask"])
    if spec["nice"]:
        _set_nice(spec["nice"])
    if spec["user"] is not None:
        _change_user(*spec["user"])
        if words and has_too_many_processes():
            raise StartError(0, words)
    if spec.get("env_files"):
        spec = {**spec, "env": _with_files(spec)}
    if spec["cwd"] is not None:
        _change_directory(spec["cwd"])
    reset_signals(DEFAULT_SIGNALS)
    if spec.get("direct"):
        _become_direct(spec)
    _first_possible(spec, actions, _exec)
    raise AssertionError("a command that began came back")


def _become_direct(spec: Mapping[str, Any]) -> None:
    """Turn this process into the program without its shell; return if the shell has to say what is wrong."""
    if has_too_many_processes():  # found out before a file is emptied
        raise StartError(errno.EAGAIN, f"cannot be started: {os.strerror(errno.EAGAIN)}")
    prepared = Prepared()
    try:
        prepared.enter(spec["direct"])
    except OSError:
        prepared.undo()
        return
    try:
        _run(spec["direct"]["argv"], environment_of(spec), [], _exec)
    except StartError as error:
        if error.is_transient:
            raise
        prepared.undo()


def _with_files(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment with the variables of the files, read as the user that the command runs as."""
    environment = dict(spec["env"])
    try:
        for path in spec["env_files"]:
            with EnvFile(path) as file:
                if spec["user"] is None and os.geteuid() == 0:
                    file.check_owner()
                environment.update(file.values())
    except EnvFileError as error:
        raise StartError(0, str(error)) from None
    environment.update(spec["env_over"])
    return environment


def _change_user(uid: int, gid: int, groups: list[int]) -> None:
    try:
        give_up_rights(uid, gid, groups)
    except OSError as error:
        number = error.errno or 0
        if number in TRANSIENT:
            raise StartError(number, f"cannot become user {uid}: {error.strerror}") from error
        raise StartError(number, f"permission denied: to become user {uid} with group {gid}") from error


def _exec(path: str, argv: list[str], env: Mapping[str, str], _: _Actions) -> NoReturn:
    os.execve(path, argv, env)  # noqa: S606 - no shell is wanted


def _find(name: str, env: Mapping[str, str]) -> str:
    """Return the path of a program as execvp(3) finds it, in the task's PATH instead of ours."""
    if "/" in name:
        return name
    refused = None
    for path in _candidates(name, env):
        is_executable = os.access(path, os.X_OK)
        if (is_executable or refused is None) and os.path.isfile(path):  # noqa: PTH113 - pathlib is 3 MB
            if is_executable:
                return path
            refused = path
    if refused is not None:
        raise StartError(errno.EACCES, f"not executable: {refused}")
    raise StartError(errno.ENOENT, f"not found: {name}")


def _candidates(name: str, env: Mapping[str, str]) -> Iterator[str]:
    for directory in env.get("PATH", os.defpath).split(":"):
        yield f"{directory}/{name}" if directory else name


def _why_not(path: str, number: int) -> str:
    """Return in words why `path` could not be run; it may be wrong if the file changes meanwhile."""
    exists = os.path.exists(path)  # noqa: PTH110 - pathlib is 3 MB
    if number == errno.ENOENT:
        return f"not found: the interpreter of {path}" if exists else f"not found: {path}"
    if number == errno.EACCES and not exists:
        return f"permission denied: {path}"
    if number == errno.EACCES:
        return f"not executable: {path}{' is a directory' if os.path.isdir(path) else ''}"  # noqa: PTH112
    if number == errno.ENOEXEC:
        return f"not executable: {path} is in no format that the system knows, or has no #! line"
    return f"cannot be started: {path}: {os.strerror(number)}"


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        number = error.errno or 0
        raise StartError(number, f"{_REASONS.get(number, error.strerror)}: {path} (cwd)") from error


def _as_nice(nice: int, spawn: Callable[[], int]) -> int:
    """Spawn from a thread of that niceness: on Linux it is the thread's own, and the child inherits it."""
    outcome: list[int | BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def body() -> None:
        try:
            _set_nice(nice)
            outcome.append(spawn())
        except BaseException as error:  # passed to the caller, whose thread it would not reach
            outcome.append(error)
        finally:
            done.release()

    try:
        _thread.start_new_thread(body, ())
    except RuntimeError as error:
        raise StartError(errno.EAGAIN, "cannot start a thread") from error
    done.acquire()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _set_nice(nice: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        raise StartError(error.errno or 0, f"permission denied: nice {nice}") from error
